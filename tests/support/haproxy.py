"""An HAProxy of our own in front of servers of tests."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.peers import program
from tests.support.waiting import wait_until

_CONF = """\
global
    log stderr format raw local0
    stats socket {folder}/haproxy.stats mode 600 level admin
defaults
    mode tcp
    log global
    timeout connect 10s
    timeout client 60s
    timeout server 60s
"""


class HAProxy:
    """A running instance.

    Args:
        folder: its folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def status(self, backend: str) -> str:
        """What its health check says of the backend's server, e.g. ``"UP"``."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10)
            client.connect(str(self.folder / "haproxy.stats"))
            client.sendall(b"show stat\n")
            text = b""
            while piece := client.recv(65536):
                text += piece
        rows = [line.split(",") for line in text.decode().splitlines() if line]
        head = rows[0]
        for row in rows[1:]:
            if row[0] == backend and row[1] not in ("BACKEND", "FRONTEND"):
                return row[head.index("status")]
        return ""

    def log(self) -> str:
        """What it has written."""
        return (self.folder / "haproxy.log").read_text()


@contextmanager
def haproxy(folder: Path, sections: str) -> Iterator[HAProxy]:
    """Run an HAProxy with these ``listen`` sections, all in TCP mode."""
    path = folder / "haproxy.cfg"
    path.write_text(_CONF.format(folder=folder) + sections)
    server = HAProxy(folder)
    with (folder / "haproxy.log").open("wb") as log:
        words = [program("haproxy", "haproxy"), "-db", "-f", str(path)]
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            wait_until(
                lambda: process.poll() is not None or (folder / "haproxy.stats").exists(), "haproxy to be running"
            )
            assert process.poll() is None, server.log()
            yield server
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)
