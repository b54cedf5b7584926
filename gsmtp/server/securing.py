"""TLS on a connection: its handshake, its deadline, and what passes through it afterwards.

Stands between the socket (`server.channel`) and the session, which sees clear bytes only. `server.connection` builds
on this.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from typing import TYPE_CHECKING

from gsmtp.core.records import Peering, TlsFailure
from gsmtp.runtime.tls import TlsFault, TlsLayer
from gsmtp.server.opening import Opening

if TYPE_CHECKING:
    from gsmtp.runtime.sockets import RawSocket
    from gsmtp.runtime.tls import TlsContext
    from gsmtp.server.listener import Listener
    from gsmtp.server.service import Plan


class Securing(Opening):
    """A connection that may begin TLS, at once or by STARTTLS.

    Attributes:
        tls_context: what TLS was begun with, None in clear.
    """

    __slots__ = ("_tls_due_mono", "tls_context")

    def __init__(self, raw: RawSocket, listener: Listener, plan: Plan) -> None:
        super().__init__(raw, listener, plan)
        self.tls_context: TlsContext | None = None
        self._tls_due_mono = 0.0  # of the handshake; 0.0 before and after it

    @property
    @abstractmethod
    def peering(self) -> Peering:
        """Both ends, for records."""

    @abstractmethod
    def resume(self) -> None:
        """Whoever had the turn gives it back."""

    @abstractmethod
    def _flush(self) -> None:
        """Send what the session has to say."""

    @property
    def shakes_hands(self) -> bool:
        """Whether a handshake is under way."""
        return bool(self._tls_due_mono)

    def start_tls(self, context: TlsContext) -> None:
        """Begin the handshake; the turn must have been taken with `pause`. What was queued goes out in clear first."""
        self._flush()
        if self.is_closed:
            return
        self.tls_context = context
        self._tls = context.begin()
        self._taker = self._take_tls
        self._tls_due_mono = time.monotonic() + self._plan.handshake_s
        wheel = self.listener.service.wheel
        wheel.discard(self)
        wheel.add(self)
        self._read_on()

    def _take_tls(self, data: bytes) -> None:
        tls = self._tls
        assert tls is not None
        try:
            clear = self._opened(tls, data)
            if clear is None:
                return
            if clear:
                self._received(clear)
            elif not self._send_raw(tls.data_to_send()):  # a renegotiation's or a key update's part
                return
            if tls.is_ended or self._is_ended:
                self._is_ended = True
                self._read_no_more()
                if not self.is_closed:
                    self._received(b"")
        except Exception:  # noqa: BLE001 - told by break_off
            self.break_off()

    def _opened(self, tls: TlsLayer, data: bytes) -> bytes | None:
        """The clear bytes in what came, None where there is nothing to go on with."""
        was_ready = tls.is_ready
        try:
            clear = tls.receive(data)
        except TlsFault as fault:
            self._send_raw(tls.data_to_send())  # the alert
            self.tls_failed(str(fault))
            return None
        if was_ready:
            return clear
        if not self._send_raw(tls.data_to_send()):
            return None
        if not tls.is_ready:
            if self._is_ended:
                self.tls_failed("the client went away in the handshake")
            return None
        self._tls_due_mono = 0.0
        self.reception.tls_started(tls.facts())
        if clear:  # b"" would mean the end
            self.session.receive_data(clear)
        self.resume()
        return None if self.is_closed else b""

    def tls_failed(self, why: str) -> None:
        """Close without a word that could be read, and tell why."""
        if not self.is_closed:
            record = TlsFailure(self.peering, why, was_on=not self._tls_due_mono)
            self.listener.service.journal.record(record)
            self.reason = "TLS failed"
            self._close()
