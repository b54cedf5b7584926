"""kill -9 with a next hop that counts: everything arrives, and twice only what was between final dot and record.

The next hop itself kills the server, at the moment that the test asks for: when it sees MAIL, in the middle of a body,
when it has the final dot and has not answered, and when its 250 is on the way (the server is stopped first, so that it
can't note it). See "Noting an outcome" in docs/spool-states.md.
"""

from __future__ import annotations

import os
import random
import re
import signal
import smtplib
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.server import Server
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.durability, pytest.mark.timeout(120)]

CONF = """
hostname = "mx.example.com"
spoolbase = "{folder}/spool"
relay_domains = ( "example.com" )
In_Doubt = "IN_DOUBT"
ESMTP_Listener { Listen "127.0.0.1:{port}" { } }
Domain "example.com" {
  gateway = "127.0.0.1:NEXT_PORT"  retry_interval = 1  max_retry_interval = 1  max_outbound_connections = 4
}
"""

DOUBT = re.compile(r"may have been delivered before the crash.*?<?(u\d+@example\.com)")
BIG = 16 << 20
"""More than the sockets' buffers hold: who has only begun to read such a body can't have got its end."""


class CountingHop:
    """A next hop that counts arrivals by recipient, and kills the server when it is told to.

    Attributes:
        arrived: how often each recipient's message came in whole, with its final dot.
    """

    def __init__(self) -> None:
        self.arrived: Counter[str] = Counter()
        self.killed = threading.Event()
        self._armed: tuple[str, int, Server] | None = None
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def kill_at(self, moment: str, server: Server, after: int = 0) -> None:
        """Kill the server at a moment, once so many more messages have arrived."""
        self.killed.clear()
        self._armed = (moment, sum(self.arrived.values()) + after, server)

    def close(self) -> None:
        """Take no more connections."""
        self._listener.close()

    def _strikes(self, moment: str) -> Server | None:
        """The server to be killed now, once."""
        with self._lock:
            if self._armed is None or self._armed[0] != moment or sum(self.arrived.values()) < self._armed[1]:
                return None
            server, self._armed = self._armed[2], None
            return server

    def _kill(self, moment: str) -> None:
        server = self._strikes(moment)
        if server is not None:
            os.kill(server.pid, signal.SIGKILL)
            self.killed.set()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._session, args=(sock,), daemon=True).start()

    def _session(self, sock: socket.socket) -> None:
        try:
            with sock, sock.makefile("rb") as lines:
                self._speak(sock, lines)
        except OSError:
            pass  # the server was killed

    def _speak(self, sock: socket.socket, lines: Iterator[bytes]) -> None:
        sock.sendall(b"220 counting\r\n")
        recipient = ""
        for line in lines:
            verb = line[:4].upper()
            if verb == b"DATA":
                sock.sendall(b"354 go on\r\n")
                if not self._body(lines):
                    return
                self._taken(sock, recipient)
                continue
            if verb == b"MAIL":
                self._kill("mail")
            elif verb == b"RCPT":
                recipient = line[line.index(b"<") + 1 : line.index(b">")].decode()
            sock.sendall(b"250 ok\r\n")

    def _body(self, lines: Iterator[bytes]) -> bool:
        """Read to the final dot; False when the connection ended before."""
        for number, line in enumerate(lines):
            if line == b".\r\n":
                return True
            if number == 100:
                self._kill("half")
        return False

    def _taken(self, sock: socket.socket, recipient: str) -> None:
        self.arrived[recipient] += 1
        self._kill("dot")
        server = self._strikes("taken")
        if server is None:
            sock.sendall(b"250 taken\r\n")
            return
        os.kill(server.pid, signal.SIGSTOP)
        sock.sendall(b"250 taken\r\n")
        os.kill(server.pid, signal.SIGKILL)
        self.killed.set()


@contextmanager
def _both(folder: Path, in_doubt: str) -> Iterator[tuple[CountingHop, Server]]:
    hop = CountingHop()
    server = Server(folder, CONF.replace("NEXT_PORT", str(hop.port)).replace("IN_DOUBT", in_doubt))
    try:
        server.start()
        yield hop, server
    finally:
        server.kill()
        hop.close()


def _send(server: Server, recipient: str, lines: int = 3) -> None:
    with server.client() as client:
        client.sendmail("from@example.net", [recipient], "Subject: count me\r\n\r\n" + f"{'x' * 70}\r\n" * lines)


def _doubts(server: Server) -> set[str]:
    return set(DOUBT.findall(server.log()))


MOMENTS = [("mail", False), ("half", False), ("dot", True), ("taken", True)]


@pytest.mark.parametrize(("moment", "is_doubtful"), MOMENTS)
def test_only_what_was_between_dot_and_record_comes_twice(tmp_path: Path, moment: str, is_doubtful: bool) -> None:
    with _both(tmp_path, "retry") as (hop, server):
        hop.kill_at(moment, server)
        _send(server, "u1@example.com", lines=BIG // 72 if moment == "half" else 3)
        assert hop.killed.wait(20)
        server.wait()
        before = hop.arrived["u1@example.com"]
        assert before == (1 if is_doubtful else 0)
        server.start()
        wait_until(lambda: hop.arrived["u1@example.com"] == before + 1, "the message, whole", 20)
        assert _doubts(server) == ({"u1@example.com"} if is_doubtful else set())
        _send(server, "u2@example.com")
        wait_until(lambda: hop.arrived["u2@example.com"] == 1, "the next message", 20)
        assert hop.arrived["u1@example.com"] == before + 1


@pytest.mark.parametrize(("moment", "is_doubtful"), MOMENTS)
def test_what_is_in_doubt_can_be_held_so_that_nothing_comes_twice(
    tmp_path: Path, moment: str, is_doubtful: bool
) -> None:
    with _both(tmp_path, "hold") as (hop, server):
        hop.kill_at(moment, server)
        _send(server, "u1@example.com", lines=BIG // 72 if moment == "half" else 3)
        assert hop.killed.wait(20)
        server.wait()
        server.start()
        _send(server, "u2@example.com")
        wait_until(lambda: hop.arrived["u2@example.com"] == 1, "the next message", 20)
        wait_until(lambda: hop.arrived["u1@example.com"] == 1, "the message, once", 20)
        assert _doubts(server) == ({"u1@example.com"} if is_doubtful else set())


def test_kills_under_load_lose_nothing_and_double_only_what_was_in_doubt(tmp_path: Path) -> None:
    chance = random.Random(4)
    numbers = iter(range(1, 100_000))
    acknowledged: set[str] = set()
    doubts: set[str] = set()
    with _both(tmp_path, "retry") as (hop, server):

        def load() -> None:
            try:
                with server.client() as client:
                    while not hop.killed.is_set():
                        recipient = f"u{next(numbers)}@example.com"
                        client.sendmail("from@example.net", [recipient], "Subject: count me\r\n\r\nx\r\n")
                        acknowledged.add(recipient)
            except (smtplib.SMTPException, OSError):
                pass  # the server was killed

        for _ in range(6):
            hop.kill_at(chance.choice(("mail", "dot", "taken")), server, after=chance.randrange(40))
            senders = [threading.Thread(target=load, daemon=True) for _ in range(4)]
            for sender in senders:
                sender.start()
            assert hop.killed.wait(20)
            server.wait()
            for sender in senders:
                sender.join(20)
            server.start()
            doubts |= _doubts(server)
        wait_until(lambda: acknowledged <= hop.arrived.keys(), "every message that got its 250", 30)
        server.stop()
    doubled = {recipient for recipient, count in hop.arrived.items() if count > 1}
    assert doubled <= doubts
