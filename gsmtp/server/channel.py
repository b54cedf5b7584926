"""A client's socket on the loop: what it reads and writes, under TLS or in clear, and how it is closed.

Waits as an io watcher, without a green thread. What a client may have buffered here is bounded: one recv, one turn's
replies; a client that reads nothing is read from no more. What the bytes mean is `server.connection`'s business, which
builds on this.
"""

from __future__ import annotations

import _socket
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from gsmtp.runtime.tls import TlsFault

if TYPE_CHECKING:
    from gsmtp.runtime.deadline import Bucket
    from gsmtp.runtime.sockets import RawSocket
    from gsmtp.runtime.tls import TlsLayer
    from gsmtp.server.outbox import Outbox

COMMAND_RECV: Final = 16_384
BODY_RECV: Final = 131_072
"""Never 256 KiB: there glibc maps and unmaps memory on every call (docs/decisions.md)."""
MORE: Final[int] = getattr(_socket, "MSG_MORE", 0)
"""More is to follow at once: the kernel sends it in one packet."""
LINGER_S: Final = 2.0
MOST_LINGER_BYTES: Final = 1_048_576

_now: Final = time.monotonic  # bound once: it runs at every recv


class Channel(ABC):
    """One accepted socket.

    Args:
        raw: connected, non-blocking.
        outbox: where it waits with what it has to say.

    Attributes:
        bucket: see `runtime.deadline.Waiter`.
        is_closed: whether the socket is gone.
    """

    __slots__ = (
        "_is_ended", "_is_reading", "_lingered", "_out", "_outbox", "_reader", "_said", "_socket", "_taker", "_tls",
        "_touched_mono", "_writer", "bucket", "is_closed",
    )  # fmt: skip

    def __init__(self, raw: RawSocket, outbox: Outbox) -> None:
        self._socket = raw
        self._outbox = outbox
        self._said = b""  # waits for the outbox
        self._out = b""  # waits for the client to read
        self._writer: Any = None
        self._reader: Any = None
        self._is_reading = False
        self._is_ended = False  # the client sends no more
        self._taker: Callable[[bytes], None] | None = None  # gets what is read, before the session: TLS, PROXY
        self._tls: TlsLayer | None = None
        self.is_closed = False
        self._lingered = -1
        self._touched_mono = _now()
        self.bucket: Bucket | None = None

    @property
    def descriptor(self) -> int:
        """The socket's file descriptor, -1 once it is closed."""
        return self._socket.fileno()

    # --- what is built on this says

    @abstractmethod
    def _recv_size(self) -> int:
        """See the class that is built on this."""

    @abstractmethod
    def _received(self, data: bytes) -> None:
        """Clear bytes came; b"" at the end."""

    @abstractmethod
    def _written(self) -> None:
        """The client has read all that waited."""

    @abstractmethod
    def break_off(self) -> None:
        """Close because of the exception that is being handled, and tell it."""

    @abstractmethod
    def _lost(self) -> None:
        """The socket is about to be closed, whatever the reason. Called once."""

    # --- reading

    def _read_on(self) -> None:
        if not self._is_reading and not self.is_closed:
            self._is_reading = True
            self._reader.start(self._readable)

    def _read_no_more(self) -> None:
        if self._is_reading:
            self._is_reading = False
            self._reader.stop()

    def _readable(self) -> None:
        try:
            data = self._socket.recv(self._recv_size())
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
            self._out = b""
        if self._lingered >= 0:
            self._linger(data)
            return
        self._touched_mono = _now()
        if not data:
            self._is_ended = True
            self._read_no_more()  # a level-triggered watcher would report the end for ever
        self._pass_on(data)

    def _pass_on(self, data: bytes) -> None:
        if self._taker is not None:
            self._taker(data)
        else:
            self._received(data)

    @property
    def is_ended(self) -> bool:
        """Whether the client sends no more."""
        return self._is_ended

    # --- writing

    def _send(self, data: bytes) -> None:
        """Have clear bytes sent at the end of this turn of the loop, under TLS if it is on."""
        tls = self._tls
        if tls is not None:
            try:
                if data:
                    tls.send(data)
            except TlsFault:
                self._close()
                return
            data = tls.data_to_send()
        if self._said:
            self._said += data
        elif data:
            self._said = data
            self._outbox.add(self)

    def send_now(self) -> None:
        """Send what was said in this turn of the loop."""
        if self._said and not self.is_closed:
            self._send_raw(b"")

    def _send_raw(self, data: bytes, flags: int = 0) -> bool:
        """Send what was said before and `data`, at once. False: the connection is closed."""
        if self._said:
            data = self._said + data
            self._said = b""
        if self._out:
            self._out += data
        elif data:
            try:
                sent = self._socket.send(data, flags)
            except (BlockingIOError, InterruptedError):
                sent = 0
            except OSError:
                self._close()
                return False
            if sent < len(data):
                self._wait_writable(data[sent:])
        return True

    def _wait_writable(self, rest: bytes) -> None:
        """The client doesn't read: keep the rest of this turn's replies and read nothing more from it."""
        self._out = rest
        self._read_no_more()
        self._writer = self._outbox.loop.io(self._socket.fileno(), 2)
        self._writer.start(self._writable)

    def _writable(self) -> None:
        try:
            sent = self._socket.send(self._out)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._close()
            return
        self._touched_mono = _now()
        self._out = self._out[sent:]
        if self._out:
            return
        self._writer.stop()
        self._writer.close()
        self._writer = None
        self._written()

    # --- the end

    def _hang_up(self, last: bytes = b"", *, at_once: bool = False) -> None:
        """Say the last clear bytes, TLS's end and that of the connection in one packet.

        Closing with unread input would make the kernel reset the connection and lose the last words; so it is read
        until the client closes, too, unless nothing more can come (`at_once`; under TLS its end does). When the client
        doesn't read them, `_written` comes and this is to be called again.
        """
        tls = self._tls
        if tls is not None:
            try:
                if last:
                    tls.send(last)
            except TlsFault:
                self._close()
                return
            tls.close()  # also to a client that has ended its side: it may still read (RFC 8446 section 6.1)
            last = tls.data_to_send()
        is_waiting = bool(self._out)
        if not self._send_raw(last, 0 if self._is_ended else MORE):
            return
        if self._out and not is_waiting:
            return
        if self._is_ended or self._out or (at_once and tls is None):
            self._close()
            return
        try:
            self._socket.shutdown(_socket.SHUT_WR)
        except OSError:
            self._close()
            return
        self._lingered = 0
        self._touched_mono = _now()  # from here on nothing moves it: lingering ends, whatever comes
        self._read_on()

    def _linger(self, data: bytes) -> None:
        """Read and forget until the client closes, for two seconds or a megabyte."""
        self._lingered += len(data)
        if not data or self._lingered > MOST_LINGER_BYTES:
            self._close()

    def _close(self) -> None:
        if not self.is_closed:
            self.send_now()  # which comes here where it can't
        if self.is_closed:
            return
        self.is_closed = True
        self._read_no_more()
        for watcher in (self._reader, self._writer):
            if watcher is not None:
                watcher.close()  # stops it, too
        try:
            self._lost()
        finally:
            self._taker = None  # may be a method of this very object
            self._socket.close()
