"""A whole server in the test's own process: real sockets, real spool, no monkey-patching.

Clients use `gevent.socket`, so client and server share the hub. For what needs a process of its own (signals, kill)
see `tests/support/server.py`.
"""

from __future__ import annotations

import io
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import gevent
from gevent import socket

from gsmtp.app import wiring
from gsmtp.app.loading import load
from gsmtp.app.supervisor import Supervisor
from gsmtp.observe.logs import EventLog
from gsmtp.runtime.native import HubMailbox
from gsmtp.server.listener import Listener

WAIT_S = 10.0


class Lines:
    """Takes log lines and keeps them."""

    def __init__(self) -> None:
        self.buffer = io.BytesIO()

    def write(self, line: bytes) -> None:
        self.buffer.write(line)

    def __str__(self) -> str:
        return self.buffer.getvalue().decode()


class Client:
    """A line-wise SMTP client that shows exactly what came."""

    def __init__(self, address: tuple[str, int] | str, source: str = "") -> None:
        if isinstance(address, str):
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.connect(address)
        else:
            self.socket = socket.create_connection(address, WAIT_S, (source, 0) if source else None)
        self.socket.settimeout(WAIT_S)
        self._file = self.socket.makefile("rb")

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.socket.sendall(data)

    def reply(self) -> bytes:
        """One whole reply, b"" when the server closed."""
        lines = []
        while line := self._file.readline():
            lines.append(line)
            if line[3:4] != b"-":
                break
        return b"".join(lines)

    def say(self, line: bytes) -> bytes:
        """Send a line and read its reply."""
        self.send(line + b"\r\n")
        return self.reply()

    def code(self, line: bytes) -> int:
        """Send a line and read the reply's code."""
        return int(self.say(line)[:3])

    def greet(self) -> Client:
        """Read the banner and say EHLO."""
        assert self.reply().startswith(b"220 ")
        assert self.code(b"EHLO client.example") == 250
        return self

    def transaction(
        self,
        body: bytes = b"Subject: x\r\n\r\nhello\r\n",
        sender: bytes = b"a@example.net",
        recipient: bytes = b"b@example.com",
    ) -> bytes:
        """A whole transaction; the reply to the final dot, or the first refusal."""
        for line in (b"MAIL FROM:<%s>" % sender, b"RCPT TO:<%s>" % recipient, b"DATA"):
            got = self.say(line)
            if got[:1] not in b"23":
                return got
        self.send(body + b".\r\n")
        return self.reply()

    def is_closed(self) -> bool:
        """Whether the server closes without saying more."""
        return self._file.read() == b""

    def close(self) -> None:
        """Close both directions."""
        self._file.close()
        self.socket.close()

    def reset(self) -> None:
        """Close with a reset, as a crashed client does."""
        import struct

        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()


class Running:
    """A server that runs in this process."""

    def __init__(self, supervisor: Supervisor, path: Path, lines: Lines) -> None:
        self.supervisor = supervisor
        self.path = path
        self.log = lines

    @property
    def listeners(self) -> list[Listener]:
        """The listeners in file order."""
        return list(self.supervisor._listeners.listeners.values())

    def address(self, number: int = 0) -> tuple[str, int] | str:
        """Where the n-th Listen listens; any-address as loopback."""
        address = self.listeners[number].address
        if not isinstance(address, tuple):
            return str(address)
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address[0], address[0])
        return host, address[1]

    def client(self, number: int = 0, source: str = "") -> Client:
        """A client of the n-th Listen."""
        return Client(self.address(number), source)

    @property
    def sessions(self) -> int:
        """Open sessions."""
        return len(self.supervisor._service.connections)

    def reconfigure(self, text: str) -> None:
        """Write the file anew and reload."""
        self.path.write_text(text)
        self.supervisor.reload()

    def queued(self) -> list[tuple[str, str]]:
        """Message id and address of every recipient in the spool."""
        with closing(sqlite3.connect(self.path.parent / "spool" / "spool.db")) as database:
            rows = database.execute("SELECT name, address FROM recipient JOIN message ON id = message ORDER BY id, idx")
            return [(str(name), str(address)) for name, address in rows]

    def wait_for(self, what: object, message: str = "") -> None:
        """Wait until a callable is true."""
        assert callable(what)
        with gevent.Timeout(WAIT_S, AssertionError(message or f"not within {WAIT_S} s")):
            while not what():
                gevent.sleep(0.005)


BASE = """
spoolbase = "{spool}"
spool_reserve = 0
hostname = "mx.example.com"
suspend_delivery = true
drain_time = 1
relay_domains = ( "example.com" )
"""


@contextmanager
def running(folder: Path, conf: str, *, base: str = BASE) -> Iterator[Running]:
    """Run a server with `conf` after the base settings (spool in `folder`, no deliveries)."""
    wiring.load()
    path = folder / "ecelerity.conf"
    path.write_text(base.format(spool=folder / "spool") + conf)
    loaded = load(str(path), 1)
    assert loaded.configuration is not None, [str(problem) for problem in loaded.problems]
    lines = Lines()
    supervisor = Supervisor(str(path), loaded.configuration, EventLog(lines), HubMailbox())
    supervisor.start()
    try:
        yield Running(supervisor, path, lines)
    finally:
        supervisor.stop()
