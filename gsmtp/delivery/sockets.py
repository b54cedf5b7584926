"""A connected socket for green threads that costs little: what transports use of it, and no more.

gevent's own sockets serve everything; of what a delivery does, sending fits into the socket's buffer and reading waits
for a reply. So sending is one call here, and reading begins with waiting when there can't be anything yet.
"""

from __future__ import annotations

import errno
import socket as names
from typing import Any

import gevent
import gevent.socket
from gevent.hub import Waiter

from gsmtp.delivery.hops import is_address
from gsmtp.delivery.transport import HopSocket


class GreenSocket:
    """See `delivery.transport.HopSocket`.

    Args:
        sock: gevent's, connected.
    """

    __slots__ = ("_loop", "_raw", "_reader", "_sent", "_sock", "_timeout_s", "_waiter")

    def __init__(self, sock: Any) -> None:
        self._sock: Any = sock
        self._raw: Any = sock._sock  # the socket of the operating system, not blocking
        self._loop: Any = gevent.get_hub().loop
        self._reader: Any = self._loop.io(sock.fileno(), 1)
        self._timeout_s: float | None = None
        self._sent = False
        self._waiter: Any = None

    def settimeout(self, value: float | None, /) -> None:
        """Seconds that the next call may take; 0 for no waiting."""
        self._timeout_s = value

    def sendall(self, data: bytes, /) -> None:
        """Send everything. Raises OSError, TimeoutError when the time was over."""
        try:
            sent: int = self._raw.send(data)
        except BlockingIOError:
            if self._timeout_s == 0:
                raise
            sent = 0
        self._sent = True
        if sent < len(data):
            self._sock.settimeout(self._timeout_s)
            self._sock.sendall(memoryview(data)[sent:])

    def recv(self, size: int, /) -> bytes:
        """Up to `size` bytes, b"" at the end. Raises OSError, TimeoutError when the time was over."""
        if self._sent and self._timeout_s != 0:
            self._sent = False  # the other end has not had the time to answer
            self._wait()
        while True:
            try:
                data: bytes = self._raw.recv(size)
            except BlockingIOError:
                if self._timeout_s == 0:
                    raise
                self._wait()
            else:
                return data

    def _wait(self) -> None:
        """Until there is something to read."""
        reader = self._reader
        if reader is None:
            raise OSError(errno.EBADF, "the socket is closed")
        waiter: Any = Waiter()
        self._waiter = waiter
        timer: Any = None
        if self._timeout_s is not None:
            timer = self._loop.timer(self._timeout_s)
            timer.start(waiter.throw, TimeoutError("timed out"))
        reader.start(waiter.switch, None)
        try:
            waiter.get()
        finally:
            self._waiter = None
            reader.stop()
            if timer is not None:
                timer.stop()
                timer.close()

    def getpeername(self) -> Any:
        """The other end, its address first. Raises OSError."""
        return self._raw.getpeername()

    def fileno(self) -> int:
        """The descriptor, -1 once it is closed."""
        return int(self._sock.fileno())

    def close(self) -> None:
        """Close it; who reads from it is told."""
        reader, self._reader = self._reader, None
        if self._waiter is not None:
            self._loop.run_callback(self._waiter.throw, OSError(errno.EBADF, "the socket was closed"))
        elif reader is not None:
            reader.close()
        self._sock.close()


def lean(sock: HopSocket) -> HopSocket:
    """A socket that costs less, where it is one of gevent's; it takes the other one's place."""
    return GreenSocket(sock) if isinstance(sock, gevent.socket.socket) else sock


def green_connect(host: str, port: int, timeout_s: float, /, source: str = "") -> HopSocket:
    """Connect in a green thread; the limit holds for name look-up and all addresses together. Raises OSError.

    An IP address is connected to without the system's resolver, whose few threads others' look-ups may hold.
    """
    with gevent.Timeout(timeout_s, TimeoutError("timed out")):
        if is_address(host):
            sock = _connect_to(host, port, source)
        else:
            sock = gevent.socket.create_connection((host, port), source_address=(source, 0) if source else None)
    sock.setsockopt(names.IPPROTO_TCP, names.TCP_NODELAY, 1)
    return sock  # type: ignore[no-any-return,unused-ignore]


def _connect_to(ip: str, port: int, source: str) -> gevent.socket.socket:
    sock = gevent.socket.socket(names.AF_INET6 if ":" in ip else names.AF_INET, names.SOCK_STREAM)
    try:
        if source:
            sock.bind((source, 0))
        sock.connect((ip, port))
    except BaseException:
        sock.close()
        raise
    return sock
