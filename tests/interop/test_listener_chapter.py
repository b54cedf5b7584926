"""The example of the listener chapter runs as it stands: its addresses, its ports, its socket options.

It runs in a network and mount name space of its own, so that port 25 is free, ::192.168.0.1 is an address there and the
default spool is nobody else's.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.peers import need_root, program
from tests.support.source import ROOT
from tests.support.waiting import wait_until

pytestmark = pytest.mark.interop

CONF = ROOT / "conf" / "examples" / "listener-chapter.conf"

_INSIDE = f"""\
ip link set lo up && ip -6 addr add ::192.168.0.1/128 dev lo && mount -t tmpfs tmpfs /var/spool &&
exec '{sys.executable}' -m gsmtp run '{CONF}'
"""

_TALK = """\
import smtplib, sys
with smtplib.SMTP(sys.argv[1], int(sys.argv[2]), timeout=10) as client:
    print(client.ehlo("client.example.net")[0], client.mail("a@example.net")[0])
    print(client.rcpt("b@example.org"))
"""


class Inside:
    """The server in its name spaces."""

    def __init__(self, pid: int, log: Path) -> None:
        self.pid = pid
        self._log = log

    def log(self) -> str:
        """What it wrote."""
        return self._log.read_text(encoding="utf-8")

    def run(self, *words: str) -> str:
        """Run a program in the server's network."""
        nsenter = [program("nsenter", "util-linux"), "-t", str(self.pid), "-n"]
        run = subprocess.run([*nsenter, *words], capture_output=True, text=True, timeout=30, check=False)
        assert run.returncode == 0, run.stderr
        return run.stdout


@pytest.fixture(scope="module")
def inside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inside]:
    need_root("makes name spaces")
    log = tmp_path_factory.mktemp("chapter") / "log"
    words = [program("unshare", "util-linux"), "-n", "-m", "sh", "-c", _INSIDE]
    program("ip", "iproute2")
    probe = subprocess.run([words[0], "-n", "-m", "true"], capture_output=True, text=True, check=False)
    if probe.returncode:
        pytest.skip(f"no name spaces here: {probe.stderr.strip()}")
    with log.open("wb") as out:
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(words, cwd=log.parent, stdout=out, stderr=subprocess.STDOUT, env=env)
    try:
        server = Inside(process.pid, log)
        wait_until(lambda: " ready " in server.log() or process.poll() is not None, "the ready line")
        assert process.poll() is None, server.log()
        yield server
    finally:
        process.terminate()
        assert process.wait(15) == 0


def _listening(inside: Inside) -> dict[str, int]:
    """Local address of each listening socket, with its backlog."""
    rows = [line.split() for line in inside.run(program("ss", "iproute2"), "-ltnH").splitlines()]
    return {row[3]: int(row[2]) for row in rows}


def test_it_opens_the_sockets_of_the_chapter(inside: Inside) -> None:
    """Three sockets: the last two stanzas are one address in two spellings, and :587 is disabled."""
    assert _listening(inside) == {"0.0.0.0:25": 500, "[::1]:25": 500, "[::192.168.0.1]:25": 500}


def test_the_ready_line_names_them(inside: Inside) -> None:
    (line,) = [line for line in inside.log().splitlines() if " ready " in line]
    match = re.search(r"listening=(\S+)", line)
    assert match
    assert set(match[1].split(",")) == {"0.0.0.0:25", "[::1]:25", "[::192.168.0.1]:25"}


def test_the_buffer_sizes_are_those_of_the_chapter(inside: Inside) -> None:
    """Linux doubles what setsockopt is given (man 7 socket)."""
    text = inside.run(program("ss", "iproute2"), "-ltnmH", "src", "0.0.0.0:25")
    match = re.search(r"rb(\d+),t\d+,tb(\d+)", text)
    assert match, text
    assert (int(match[1]), int(match[2])) == (8192, 8192)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "::192.168.0.1"])
def test_each_address_speaks_smtp(inside: Inside, address: str) -> None:
    assert inside.run(sys.executable, "-c", _TALK, address, "25") == ("250 250\n(550, b'5.7.1 relaying denied')\n")
