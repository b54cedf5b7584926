"""Traces of inbound sessions: what both sides said, written to a file, without what is secret.

A trace begins with the sessions that begin after it was registered; without one, sessions are made as ever and nobody
looks. What goes in and out of the machine is what is written: clear text under TLS too. Lines of an AUTH exchange are
masked. Source: reference/console-and-logs.md section 4.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING, Final

from gsmtp.config.scopes import client_address
from gsmtp.control.trace_files import FileTracer, Register, TraceFile, split, told
from gsmtp.sasl.mechanism import load_mechanisms
from gsmtp.smtp.session import Session

if TYPE_CHECKING:
    from gsmtp.config.view import View
    from gsmtp.core.clock import Clock
    from gsmtp.smtp.facts import Facts

MASKED: Final = b"[masked]"
_AUTH: Final = re.compile(rb"(?i)\s*(auth)(?:\s+(\S+))?(.*)", re.DOTALL)


@dataclass(slots=True, eq=False)
class Tracer(FileTracer):
    """One trace.

    Args:
        network: whose sessions, None for all.
    """

    network: IPv4Network | IPv6Network | None = None

    def wants(self, client_ip: str) -> bool:
        """Whether a client's session is written."""
        return self.network is None or client_address(client_ip) in self.network


class Traces(Register[Tracer]):
    """All traces that are registered."""

    __slots__ = ()

    def add(self, network: IPv4Network | IPv6Network | None, path: str, file: TraceFile) -> Tracer:
        """Register one."""
        return self.register(lambda number: Tracer(number, path, file, 0, network))

    def of(self, client_ip: str) -> list[Tracer]:
        """Those that want a client's session."""
        return [tracer for tracer in self.tracers.values() if tracer.wants(client_ip)]

    @property
    def make_session(self) -> Callable[[View, Facts, Clock], Session]:
        """What new sessions are to be made by: the machine's own class when there is no trace."""
        return self._traced if self.tracers else Session

    def _traced(self, view: View, facts: Facts, clock: Clock) -> Session:
        return TracedSession(view, facts, clock, self)


class TracedSession(Session):
    """A session of which both directions are written down for the traces that want its client."""

    __slots__ = ("_from_client", "_is_secret", "_to_client", "_traces")

    def __init__(self, view: View, facts: Facts, clock: Clock, traces: Traces) -> None:
        super().__init__(view, facts, clock)
        self._traces = traces
        self._from_client = b""
        self._to_client = b""
        self._is_secret = False

    def receive_data(self, data: bytes) -> None:
        """As the machine's."""
        if not self.is_over:
            if not data:
                self._write(b"C", b"[no more]")
            else:
                self._from_client = self._split(b"C", self._from_client + data, self._masked)
        super().receive_data(data)

    def data_to_send(self) -> bytes:
        """As the machine's."""
        data = super().data_to_send()
        if data:
            self._to_client = self._split(b"S", self._to_client + data, _without_challenge)
            if self._is_secret and not self.in_exchange and not self.pending_bytes:
                self._is_secret = False
        return data

    def _masked(self, line: bytes) -> bytes:
        if self._is_secret or self.in_exchange:
            return MASKED
        found = _AUTH.fullmatch(line)
        if found is None or (self.in_body and (found[2] or b"").decode("latin-1") not in load_mechanisms()):
            return line  # in a message it may be text; behind its end in the same piece it may be a login
        self._is_secret = True
        return b" ".join(filter(None, (found[1], found[2], MASKED if found[3].strip() else b"")))

    def _split(self, side: bytes, data: bytes, shown: Callable[[bytes], bytes]) -> bytes:
        """Write whole lines; what is left."""
        return split(data, lambda line: self._write(side, shown(line)))

    def _write(self, side: bytes, text: bytes) -> None:
        facts = self.facts
        tracers = self._traces.of(facts.client_ip)
        if not tracers:
            return
        ip = f"[{facts.client_ip}]" if ":" in facts.client_ip else facts.client_ip
        client = f"{ip}:{facts.client_port}" if facts.client_port else "unix"
        line = told(facts.connection_id, client, side, text)
        for tracer in tracers:
            tracer.write(line)


def _without_challenge(line: bytes) -> bytes:
    return b"334 " + MASKED if line.startswith(b"334 ") and len(line) > 4 else line
