"""Mail in a steady flow over some sessions: what was answered when, and which ids the 250s named."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise

import gevent
from gevent import socket
from gevent.event import Event
from gevent.pool import Group

_WAIT_S = 60.0


@dataclass
class Flow:
    """Sends numbered messages to 127.0.0.1 until `total` of them were accepted.

    Args:
        port: of the server.
        total: messages.
        body: of each; ``%d`` becomes its number.
        sessions: at a time.

    Attributes:
        ids: the message id of each 250, by the message's number.
        accepted: when each of them came, in order.
        refused: other replies to the final dot, by their first words.
        broken: connections that ended.
    """

    port: int
    total: int
    body: bytes
    sessions: int = 20
    ids: dict[int, str] = field(default_factory=dict)
    accepted: list[float] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    broken: int = 0

    def __post_init__(self) -> None:
        self._next = 0
        self._again: list[int] = []
        self._go = Event()
        self._limit = self.total
        self._group = Group()

    def start(self) -> None:
        """Begin to send."""
        for _ in range(self.sessions):
            self._group.spawn(self._session)

    def wait(self, deadline_s: float) -> None:
        """Wait until all were accepted."""
        self._group.join(deadline_s, raise_error=True)
        assert len(self.ids) == self.total, f"{len(self.ids)} of {self.total}, {self.refused}"

    def wait_accepted(self, count: int, deadline_s: float = _WAIT_S) -> None:
        """Wait until so many were accepted."""
        with gevent.Timeout(
            deadline_s, AssertionError(f"{len(self.ids)} of {count}, {self.refused}, {self.broken} broken")
        ):
            while len(self.ids) < count:
                gevent.sleep(0.01)

    def hold_at(self, count: int) -> None:
        """Begin no message beyond the first `count` until called again."""
        self._limit = count
        self._go.set()

    def longest_gap_s(self, since: float, until: float | None = None) -> float:
        """The longest time without a 250 between two moments."""
        times = [since, *(one for one in self.accepted if since <= one <= (until or one))]
        return max((later - earlier for earlier, later in pairwise(times)), default=0.0)

    def _take(self) -> int | None:
        if self._again:
            return self._again.pop()
        if self._next >= self.total:
            return None
        self._next += 1
        return self._next - 1

    def _session(self) -> None:
        while (number := self._take()) is not None:
            self._again.append(number)
            try:
                connection = socket.create_connection(("127.0.0.1", self.port), _WAIT_S)
            except OSError:
                self.broken += 1
                gevent.sleep(0.05)
                continue
            with connection:
                try:
                    self._talk(connection)
                except OSError:
                    self.broken += 1

    def _talk(self, connection: socket.socket) -> None:
        replies = connection.makefile("rb")

        def reply() -> bytes:
            while True:
                line: bytes = replies.readline()
                if not line:
                    raise ConnectionResetError
                if line[3:4] != b"-":
                    return line

        reply()
        connection.sendall(b"EHLO flow.example\r\n")
        reply()
        while True:
            while self._limit <= len(self.ids) < self.total:
                self._go.clear()
                self._go.wait()
            number = self._take()
            if number is None:
                return
            try:
                connection.sendall(b"MAIL FROM:<%d@example.net>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n" % number)
                for _ in range(3):
                    reply()
                connection.sendall(self.body % number + b".\r\n")
                answer = reply()
            except OSError:
                self._again.append(number)
                raise
            if answer.startswith(b"250 "):
                self.ids[number] = next(word for word in answer.decode().split() if "/" in word and "-" in word)
                self.accepted.append(time.monotonic())
            else:
                self.refused[answer[:10].decode()] += 1
                self._again.append(number)
                gevent.sleep(0.05)


def body_of(size_bytes: int) -> bytes:
    """A message of about that size, with a place for its number."""
    line = b"x" * 76 + b"\r\n"
    return b"Subject: number %d\r\n\r\n" + line * (size_bytes // len(line))
