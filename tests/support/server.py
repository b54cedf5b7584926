"""`gsmtp run` as a process of its own, for tests that look at it from outside."""

from __future__ import annotations

import os
import signal
import smtplib
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.ports import NO_NAME_SERVER, free_port
from tests.support.source import ROOT
from tests.support.waiting import wait_until

READY = " ready listening="


class Server:
    """One configuration, started and stopped as often as a test likes.

    Args:
        folder: where its configuration, spool, Maildirs and log are; kept between starts.
        conf: the configuration; ``{folder}`` and ``{port}`` in it are replaced.
        port: the port of ``{port}``; a free one when None.
    """

    def __init__(self, folder: Path, conf: str, port: int | None = None) -> None:
        self.folder = folder
        self.port = port or free_port()
        self.conf = folder / "gsmtp.conf"
        self.write_conf(conf)
        self.spool = folder / "spool"
        self.maildir = folder / "maildir"
        self.log_file = folder / "log"
        self.process: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    def write_conf(self, conf: str) -> None:
        """Write the configuration anew; a running server takes it at the next HUP."""
        if "dns_servers" not in conf.lower():
            conf += f'\nDNS_Servers = ( "{NO_NAME_SERVER}" )\n'
        self.conf.write_text(conf.replace("{folder}", str(self.folder)).replace("{port}", str(self.port)))

    def launch(self, env: dict[str, str] | None = None, words: tuple[str, ...] = ()) -> None:
        """Start the process with further `words`, without waiting until it is ready."""
        self._log_start = self.log_file.stat().st_size if self.log_file.exists() else 0
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gsmtp", "run", str(self.conf), *words],
                cwd=self.folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **(env or {})},
            )

    def start(self, deadline_s: float = 20.0) -> Server:
        """Start the process and wait for its ready line."""
        self.launch()
        wait_until(lambda: READY in self.log() or not self.is_running, "the ready line", deadline_s, every_s=0.01)
        assert self.is_running, f"gsmtp run ended at once:\n{self.log()}"
        return self

    @property
    def is_running(self) -> bool:
        """Whether the process lives."""
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self.process is not None
        return self.process.pid

    def log(self) -> str:
        """What it wrote since the last start."""
        with self.log_file.open("rb") as file:
            file.seek(self._log_start)
            return file.read().decode("utf-8", "replace")

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def wait(self, deadline_s: float = 20.0) -> int:
        """Wait for its end; the exit status, negative for a signal."""
        assert self.process is not None
        return self.process.wait(deadline_s)

    def kill(self) -> None:
        """End it as a power cut would end the process."""
        if self.is_running:
            self.signal(signal.SIGKILL)
            self.wait()

    def stop(self, deadline_s: float = 20.0) -> int:
        """End it as a process manager does, by TERM; the exit status."""
        if self.is_running:
            self.signal(signal.SIGTERM)
        return self.wait(deadline_s)

    def client(self, timeout_s: float = 20.0) -> smtplib.SMTP:
        """A session that got its banner."""
        return smtplib.SMTP("127.0.0.1", self.port, timeout=timeout_s)

    def delivered(self) -> list[Path]:
        """The messages in all its Maildirs."""
        return sorted(self.maildir.glob("**/new/*"))

    def rss_bytes(self) -> int:
        """Memory of the process that is resident now."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("no VmRSS")

    def cpu_seconds(self) -> float:
        """Processor time of the process so far, user and system."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def serving(folder: Path, conf: str, port: int | None = None) -> Iterator[Server]:
    """A started server that is gone afterwards, whatever happened."""
    server = Server(folder, conf, port)
    try:
        yield server.start()
    finally:
        if server.is_running:
            server.signal(signal.SIGTERM)
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                server.kill()
