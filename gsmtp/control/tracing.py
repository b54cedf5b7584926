"""Traces of inbound sessions: what both sides said, written to a file, without what is secret.

A trace begins with the sessions that begin after it was registered; without one, sessions are made as ever and nobody
looks. What goes in and out of the machine is what is written: clear text under TLS too (`smtp.traced`).
Source: reference/console-and-logs.md section 4.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING

from gsmtp.config.scopes import client_address
from gsmtp.control.trace_files import FileTracer, Register, TraceFile, told
from gsmtp.smtp.session import Session
from gsmtp.smtp.traced import TracedSession

if TYPE_CHECKING:
    from gsmtp.config.view import View
    from gsmtp.core.clock import Clock
    from gsmtp.smtp.facts import Facts


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

    def add(self, network: IPv4Network | IPv6Network | None, path: str, file: TraceFile, *, number: int = 0) -> Tracer:
        """Register one; see `Register.register`."""
        return self.register(lambda number: Tracer(number, path, file, 0, network), number)

    def of(self, client_ip: str) -> list[Tracer]:
        """Those that want a client's session."""
        return [tracer for tracer in self.tracers.values() if tracer.wants(client_ip)]

    @property
    def make_session(self) -> Callable[[View, Facts, Clock], Session]:
        """What new sessions are to be made by: the machine's own class when there is no trace."""
        return self._traced if self.tracers else Session

    def _traced(self, view: View, facts: Facts, clock: Clock) -> Session:
        return TracedSession(view, facts, clock, self._write)

    def _write(self, facts: Facts, side: bytes, text: bytes) -> None:
        tracers = self.of(facts.client_ip)
        if not tracers:
            return
        ip = f"[{facts.client_ip}]" if ":" in facts.client_ip else facts.client_ip
        client = f"{ip}:{facts.client_port}" if facts.client_port else "unix"
        line = told(facts.connection_id, client, side, text)
        for tracer in tracers:
            tracer.write(line)
