"""A server in a network of its own, so that an example's addresses and ports are used as they are written.

The loopback interface of a new network name space gets the addresses; clients run inside it and say from which of
them they come. Paths are moved into the test's folder by replacing their beginnings.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.peers import need_root, program
from tests.support.source import ROOT
from tests.support.waiting import wait_until

_TALKER = ROOT / "tests" / "support" / "talker.py"


class NetSpace:
    """The network of one test.

    Args:
        holder: a process that lives in it.
    """

    def __init__(self, holder: subprocess.Popen[bytes]) -> None:
        self._enter = [program("nsenter", "util-linux"), "-t", str(holder.pid), "-n"]

    def run(self, *words: str, stdin: str | None = None, deadline_s: float = 30.0) -> str:
        """Run a program in it and return what it prints."""
        run = subprocess.run(
            [*self._enter, *words], input=stdin, capture_output=True, text=True, timeout=deadline_s, check=False
        )
        assert run.returncode == 0, f"{words}: {run.returncode}\n{run.stdout}\n{run.stderr}"
        return run.stdout

    def spawn(self, *words: str, log: Path, cwd: Path) -> subprocess.Popen[bytes]:
        """Start a program in it."""
        with log.open("ab") as out:
            env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
            return subprocess.Popen([*self._enter, *words], cwd=cwd, stdout=out, stderr=subprocess.STDOUT, env=env)

    def talk(self, target: tuple[str, int] | str, *lines: str, source: str = "", **more: Any) -> list[str]:
        """A dialogue: the banner, then the reply to each line, each reply's lines joined by ``\\n``.

        Args:
            target: address and port, or the path of a Unix socket.
            lines: commands; ``"STARTTLS!"`` begins TLS after a 220, ``"."``-ended texts are sent as they are.
            source: the client's address, "" for any.
            more: as `tests/support/talker.py` documents, e.g. ``tls=True``, ``cert=path``.
        """
        job = {"target": target, "lines": lines, "source": source, **more}
        return list(json.loads(self.run(sys.executable, str(_TALKER), stdin=json.dumps(job))))


@contextmanager
def net_space(addresses: Sequence[str]) -> Iterator[NetSpace]:
    """A network with these addresses, IPv4 and IPv6, on its loopback interface."""
    need_root("makes name spaces")
    unshare = program("unshare", "util-linux")
    program("ip", "iproute2")
    probe = subprocess.run([unshare, "-n", "true"], capture_output=True, text=True, check=False)
    if probe.returncode:
        pytest.skip(f"no name spaces here: {probe.stderr.strip()}")
    setup = ["ip link set lo up"]
    setup += [f"ip addr add {address}{'/128' if ':' in address else '/32'} dev lo" for address in addresses]
    script = " && ".join([*setup, "echo up", "exec sleep 600"])
    holder = subprocess.Popen([unshare, "-n", "sh", "-c", script], stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"up\n"
        yield NetSpace(holder)
    finally:
        holder.kill()
        holder.wait(10)
        if holder.stdout is not None:
            holder.stdout.close()


@contextmanager
def serving_in(
    space: NetSpace, folder: Path, conf: str, paths: Mapping[str, str] | None = None, name: str = "ecelerity.conf"
) -> Iterator[Path]:
    """Run a server in a network until the end of the block.

    Args:
        space: the network.
        folder: the server's files.
        conf: the configuration as it is written.
        paths: beginnings of paths and what they become.
        name: of the configuration file, for its ending.

    Yields:
        the file of its log.
    """
    if paths:
        # In one pass: what a path became may hold another one's beginning.
        conf = re.sub("|".join(map(re.escape, paths)), lambda match: paths[match[0]], conf)
    file = folder / name
    file.write_text(conf)
    log = folder / "output"
    log.touch()
    process = space.spawn(sys.executable, "-m", "gsmtp", "run", str(file), log=log, cwd=folder)
    try:
        wait_until(lambda: " ready " in log.read_text() or process.poll() is not None, "the ready line")
        assert process.poll() is None, log.read_text()
        yield log
    finally:
        process.terminate()
        process.wait(15)
