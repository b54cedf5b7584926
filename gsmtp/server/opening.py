"""The first moments of a connection, before the session begins: for whom a proxy speaks (PROXY protocol), and TLS.

A client for whose address `Proxy_Protocol` is set must send its header before anything else, within a few seconds.
What is resolved at accept (Peers, pathway, limits of sessions, Use_SSL, context) is then resolved anew for the address
in the header, as if that client had connected. `server.connection` builds on this.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from gsmtp.core.reply import TOO_MANY_SESSIONS
from gsmtp.proxyproto import HeaderReader, ProxyFault, ProxyHeader
from gsmtp.server.channel import Channel
from gsmtp.server.peering import address_text, peering_of

if TYPE_CHECKING:
    from gsmtp.runtime.sockets import RawSocket
    from gsmtp.server.listener import Listener
    from gsmtp.server.reception import Reception
    from gsmtp.server.service import Plan
    from gsmtp.smtp.session import Session

PROXY_HEADER_S: Final = 5.0
"""How long a proxy may take for its header; with a shorter Idle_Time, that."""


class Opening(Channel):
    """A connection that may have to say first for whom it is.

    Attributes:
        listener: whose socket accepted it.
        session: the machine.
        reception: answers the machine's events.
        reason: why it ended or is about to, "" before.
    """

    __slots__ = ("_has_turn", "_plan", "_proxy", "_proxy_due_mono", "listener", "reason", "reception", "session")
    __deletable__ = ("reception",)
    """Says to mypyc that this is deleted at the end."""

    def __init__(self, raw: RawSocket, listener: Listener, plan: Plan) -> None:
        super().__init__(raw, listener.service.outbox)
        self.listener = listener
        self.reason = ""
        self.session: Session
        self.reception: Reception
        self._plan = plan
        self._has_turn = True  # False while a commit, a drain or a green thread owns the session
        self._proxy: HeaderReader | None = None
        self._proxy_due_mono = 0.0

    @abstractmethod
    def due_mono(self) -> float:
        """See `runtime.deadline.Waiter`."""

    @abstractmethod
    def expired(self) -> None:
        """See `runtime.deadline.Waiter`."""

    @abstractmethod
    def _start(self) -> None:
        """It is known who the client is: begin TLS or the session."""

    @property
    def awaits_header(self) -> bool:
        """Whether the proxy's header has not come yet."""
        return self._proxy is not None

    def _await_header(self) -> None:
        self._has_turn = False
        self._proxy = HeaderReader(self._plan.proxy_versions)
        self._proxy_due_mono = time.monotonic() + min(PROXY_HEADER_S, self._plan.idle_s)
        self._taker = self._take_header

    def _take_header(self, data: bytes) -> None:
        reader = self._proxy
        assert reader is not None
        if not data:
            self.header_failed("closed before its header was whole")
            return
        try:
            header = reader.feed(data)
        except ProxyFault as fault:
            self.header_failed(str(fault))
            return
        if header is None:
            return
        self._proxy = None
        self._taker = None
        wheel = self.listener.service.wheel
        wheel.discard(self)
        try:
            if not self._adopt_header(header):
                return
            wheel.add(self)
            self._has_turn = True
            self._start()
        except Exception:  # noqa: BLE001 - told by break_off
            self.break_off()  # or nobody would ever have the turn
        if reader.rest and not self.is_closed:
            self._pass_on(reader.rest)

    def header_failed(self, why: str) -> None:
        """The proxy's header is none, or didn't come: close without a word (nobody knows what the client speaks)."""
        facts = self.session.facts
        self.listener.service.events.event(
            "warning",
            "net",
            "no PROXY header",
            session=facts.connection_id,
            client=address_text(facts.client_ip, facts.client_port),
            endpoint=facts.endpoint,
            why=why,
        )
        self.reason = "no PROXY header"
        self._close()

    def _adopt_header(self, header: ProxyHeader) -> bool:
        """Count the client as the one that the header names. False: it was turned away."""
        facts = self.session.facts
        proxy = address_text(facts.client_ip, facts.client_port)
        if header.has_addresses:
            facts = replace(
                facts,
                client_ip=header.client_ip,
                client_port=header.client_port,
                local_ip=header.local_ip,
                local_port=header.local_port,
            )
            if not self._is_admitted(self.reception.place_client(facts)):
                return False
        self.reception.conn.update(_variables(header, proxy))
        return True

    def _is_admitted(self, plan: Plan) -> bool:
        """Count the session under the client's own limits instead of the proxy's."""
        service = self.listener.service
        if service.counts.move(self._plan.limits, plan.limits):
            self._plan = plan
            return True
        service.refuse_session(peering_of(self.session.facts, plan.view), TOO_MANY_SESSIONS)
        self.reason = "concurrency limit"
        if plan.tls_from_start is None:
            self._send_raw(TOO_MANY_SESSIONS.wire(True))
        if not self.is_closed:
            self._hang_up()
            if not self.is_closed:
                service.wheel.add(self)
        return False


def _variables(header: ProxyHeader, proxy: str) -> dict[str, str]:
    """What the header tells, as connection variables."""
    tls = header.tls
    found = {
        "proxy_protocol": f"v{header.version}",
        "proxy_address": proxy,
        "proxy_authority": header.authority,
        "proxy_unique_id": _printable(header.unique_id),
        "proxy_tls": tls.version if tls is not None else "",
        "proxy_tls_cipher": tls.cipher if tls is not None else "",
        "proxy_tls_client_cn": tls.client_cn if tls is not None else "",
        "proxy_tls_client_verified": "yes" if tls is not None and tls.is_verified else "",
    }
    return {name: value for name, value in found.items() if value}


def _printable(value: bytes) -> str:
    """Text as it is, other bytes in hexadecimal."""
    if value.isascii() and value.decode("ascii").isprintable():
        return value.decode("ascii")
    return value.hex()
