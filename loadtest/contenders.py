"""Which servers the comparison can run, and how each is set up: gsmtp, smtp-sink, Postfix, aiosmtpd, Haraka.

Each is started on a port of its own for one row, works in a folder of its own, and is gone afterwards. *Sinks* keep
nothing; *durable* servers have a message on disk, synced, before they say 250, and hand nothing on.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from gsmtp import __version__, compiled
from loadtest.programs import ROOT, environment, family_cpu_s, family_memory_kib, find, version_of
from tests.support.peers import open_folder
from tests.support.ports import free_port, wait_for_port
from tests.support.postfix import Postfix, postfix
from tests.support.server import Server, serving
from tests.support.waiting import wait_until

TOOLS = ROOT / "var" / "compare"
AIOSMTPD_PYTHON = TOOLS / "aiosmtpd" / "bin" / "python"
HARAKA = TOOLS / "haraka" / "node_modules" / ".bin" / "haraka"
HARAKA_SHIPS = TOOLS / "haraka" / "node_modules" / "Haraka" / "config"
SESSIONS = 20_000

_GSMTP = """
hostname = "bench.example.com"
spoolbase = "{folder}/spool"
relay_domains = ( "example.com" )
server_max_file_descriptors = 60000
KEEPING
ESMTP_Listener {
  smtp_extensions = ( "ENHANCEDSTATUSCODES" "SMTPUTF8" "CHUNKING" "DSN" TLS )
  listener_sessions = 20000
  service_sessions = 20000
  listen_backlog = 5000
  CERTIFICATE
  Listen "127.0.0.1:{port}" { }
}
"""
_KEEPING = {"gsmtp": "suspend_delivery = true", "gsmtp-sink": 'blackhole = "internal"'}
_POSTFIX = {
    "postfix": "smtpd_client_restrictions = check_client_access static:HOLD\nin_flow_delay = 0\n",
    "postfix-discard": "default_transport = discard\nrelay_transport = discard\nin_flow_delay = 0\n",
}


class Missing(Exception):
    """A server can't be run here; the message says what would help."""


@dataclass
class Running:
    """A server that takes load.

    Args:
        port: on the loopback address.
        pid: gives its first process.
        drop: empties what it keeps; run between rounds, outside the time.
        settle: waits until what a round left to do is done, before processor time is read.
    """

    port: int
    pid: Callable[[], int]
    drop: Callable[[bool], None]
    settle: Callable[[], object] = lambda: None

    def cpu_s(self) -> float:
        """Processor seconds so far, all its processes."""
        return family_cpu_s(self.pid())

    def memory_kib(self) -> int:
        """Of all its processes."""
        return family_memory_kib(self.pid())


@dataclass(frozen=True)
class Contender:
    """A server as it can be chosen with ``--servers``.

    Args:
        name: there.
        title: in tables.
        is_durable: whether a 250 means on disk.
        start: runs it; the argument is a PEM file for STARTTLS, or None.
        version: what it is, "" when it isn't there.
        needs: what would bring it here.
        most_held: connections that it can hold, where that is few.
    """

    name: str
    title: str
    is_durable: bool
    start: Callable[[Path | None], object]
    version: Callable[[], str]
    needs: str
    has_tls: bool = True
    most_held: int = SESSIONS


def _nothing(is_large: bool) -> None:
    pass


def _gsmtp_version() -> str:
    commit = version_of("git", "-C", str(ROOT), "rev-parse", "--short", "HEAD")
    short = f" ({commit})" if commit and " " not in commit else ""
    how = "compiled" if compiled.state()[0] else "all in Python"
    guided = ", guided by a profile" if compiled.is_guided() else ""
    return f"gsmtp {__version__}{short}, Python {sys.version.split()[0]}, {how}{guided}"


@contextmanager
def _run_gsmtp(name: str, certificate: Path | None) -> Iterator[Running]:
    conf = _GSMTP.replace("KEEPING", _KEEPING[name]).replace(" TLS", ' "STARTTLS"' if certificate else "")
    conf = conf.replace("CERTIFICATE", f'tls_certificate = "{certificate}"' if certificate else "")
    with open_folder(f"compare-{name}") as folder, serving(folder, conf) as server:
        yield Running(server.port, lambda: server.pid, lambda is_large: _fresh_spool(server) if is_large else None)


def _fresh_spool(server: Server) -> None:
    server.stop()
    shutil.rmtree(server.spool, ignore_errors=True)
    server.start()


@contextmanager
def _process(command: list[str], port: int, env: dict[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    with open_folder("compare-log") as folder, (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment(env), start_new_session=True)
        try:
            try:
                wait_for_port(port)
            except AssertionError as error:
                tail = (folder / "log").read_text(errors="replace")[-800:]
                raise Missing(f"{command[0]} does not serve: {error}\n{tail}") from error
            yield process
        finally:
            for number in (signal.SIGTERM, signal.SIGKILL):
                if process.poll() is None:
                    os.killpg(process.pid, number)
                    try:
                        process.wait(5)
                    except subprocess.TimeoutExpired:
                        continue


@contextmanager
def _run_smtp_sink(certificate: Path | None) -> Iterator[Running]:
    port, path = free_port(), find("smtp-sink")
    assert path is not None
    user = ["-u", "nobody"] if os.geteuid() == 0 else []
    command = [path, *user, "-m", str(SESSIONS), f"127.0.0.1:{port}", "5000"]
    with _process(command, port) as process:
        yield Running(port, lambda: process.pid, _nothing)


def _nothing_queued(server: Postfix) -> Callable[[], object]:
    return lambda: wait_until(lambda: server.queued() == 0, "an empty queue of Postfix", 120, every_s=0.1)


@contextmanager
def _run_postfix(name: str, certificate: Path | None) -> Iterator[Running]:
    extra = _POSTFIX[name]
    if certificate is not None:
        extra += (
            f"smtpd_tls_cert_file = {certificate}\nsmtpd_tls_key_file = {certificate}\nsmtpd_tls_security_level = may\n"
        )
    with open_folder(f"compare-{name}") as folder, postfix(folder, extra=extra, processes=100) as server:
        master = server.master_pid()
        settle = _nothing_queued(server) if name == "postfix-discard" else lambda: None
        yield Running(server.port, lambda: master, lambda is_large: server.drop_all(), settle)


def _emptying(maildir: Path) -> Callable[[bool], None]:
    def drop(is_large: bool) -> None:
        for file in (maildir / "new").iterdir():
            file.unlink()

    return drop


@contextmanager
def _maildir(is_durable: bool) -> Iterator[Path | None]:
    if not is_durable:
        yield None
        return
    with open_folder("compare-maildir") as folder:
        for name in ("tmp", "new", "cur"):
            (folder / name).mkdir()
        yield folder


@contextmanager
def _run_aiosmtpd(is_durable: bool, certificate: Path | None) -> Iterator[Running]:
    port = free_port()
    with _maildir(is_durable) as maildir:
        command = [str(AIOSMTPD_PYTHON), str(ROOT / "loadtest" / "peers" / "aiosmtpd_server.py"), str(port)]
        command += ["--maildir", str(maildir)] if maildir else []
        command += ["--certificate", str(certificate)] if certificate else []
        with _process(command, port) as process:
            yield Running(port, lambda: process.pid, _emptying(maildir) if maildir else _nothing)


@contextmanager
def _run_haraka(is_durable: bool, certificate: Path | None) -> Iterator[Running]:
    port = free_port()
    with open_folder("compare-haraka") as folder, _maildir(is_durable) as maildir:
        for name in ("config", "plugins", "queue"):
            (folder / name).mkdir()
        plugins = ["compare_queue", *(["tls"] if certificate else [])]
        files = {
            "smtp.ini": f"listen=127.0.0.1:{port}\n",
            "plugins": "\n".join(plugins) + "\n",
            "me": "bench.example.com\n",
            "loglevel": "ERROR\n",
            "databytes": "104857600\n",
            "connection.ini": (HARAKA_SHIPS / "connection.ini")
            .read_text()
            .replace("bytes=26214400", "bytes=104857600"),
        }
        for name, text in files.items():
            (folder / "config" / name).write_text(text)
        if certificate is not None:
            for name in ("tls_cert.pem", "tls_key.pem"):
                shutil.copy(certificate, folder / "config" / name)
        shutil.copy(ROOT / "loadtest" / "peers" / "haraka_queue.js", folder / "plugins" / "compare_queue.js")
        command = [str(HARAKA), "-c", str(folder)]
        with _process(command, port, {"GSMTP_MAILDIR": str(maildir or "")}) as process:
            yield Running(port, lambda: process.pid, _emptying(maildir) if maildir else _nothing)


def _postfix_version() -> str:
    path = find("postconf")
    version = version_of(path, "-d", "-h", "mail_version") if path else ""
    return f"Postfix {version}" if version and find("postfix") and os.geteuid() == 0 else ""


def _smtp_sink_version() -> str:
    path = find("postconf")
    return f"smtp-sink of Postfix {version_of(path, '-d', '-h', 'mail_version')}" if path and find("smtp-sink") else ""


def _aiosmtpd_version() -> str:
    if not AIOSMTPD_PYTHON.exists():
        return ""
    code = "import aiosmtpd,sys; print('aiosmtpd', aiosmtpd.__version__+', Python', sys.version.split()[0])"
    return version_of(str(AIOSMTPD_PYTHON), "-c", code)


def _haraka_version() -> str:
    package = TOOLS / "haraka" / "node_modules" / "Haraka" / "package.json"
    if not package.exists() or find("node") is None:
        return ""
    return f"Haraka {json.loads(package.read_text())['version']}, Node {version_of('node', '--version')}"


_INSTALL = "--install gets it"
_DEBIAN = "Debian's package postfix, and root; --install gets it"

CONTENDERS = {
    one.name: one
    for one in (
        Contender("smtp-sink", "smtp-sink", False, _run_smtp_sink, _smtp_sink_version, _DEBIAN, has_tls=False),
        Contender("gsmtp-sink", "gsmtp, sink", False, lambda tls: _run_gsmtp("gsmtp-sink", tls), _gsmtp_version, ""),
        Contender(
            "aiosmtpd-sink", "aiosmtpd, sink", False, lambda tls: _run_aiosmtpd(False, tls), _aiosmtpd_version, _INSTALL
        ),
        Contender("haraka-sink", "Haraka, sink", False, lambda tls: _run_haraka(False, tls), _haraka_version, _INSTALL),
        Contender(
            "postfix",
            "Postfix, holding",
            True,
            lambda tls: _run_postfix("postfix", tls),
            _postfix_version,
            _DEBIAN,
            most_held=100,
        ),
        Contender(
            "postfix-discard",
            "Postfix, discarding",
            True,
            lambda tls: _run_postfix("postfix-discard", tls),
            _postfix_version,
            _DEBIAN,
            most_held=100,
        ),
        Contender("gsmtp", "gsmtp", True, lambda tls: _run_gsmtp("gsmtp", tls), _gsmtp_version, ""),
        Contender(
            "aiosmtpd", "aiosmtpd, Maildir", True, lambda tls: _run_aiosmtpd(True, tls), _aiosmtpd_version, _INSTALL
        ),
        Contender("haraka", "Haraka, Maildir", True, lambda tls: _run_haraka(True, tls), _haraka_version, _INSTALL),
    )
}
