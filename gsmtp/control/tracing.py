"""Traces of inbound sessions: what both sides said, written to a file, without what is secret.

A trace begins with the sessions that begin after it was registered; without one, sessions are made as ever and nobody
looks. What goes in and out of the machine is what is written: clear text under TLS too. Lines of an AUTH exchange are
masked. Source: reference/console-and-logs.md section 4.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING, Final, Protocol

from gsmtp.config.scopes import client_address
from gsmtp.sasl.mechanism import load_mechanisms
from gsmtp.smtp.session import Session

if TYPE_CHECKING:
    from gsmtp.config.view import View
    from gsmtp.core.clock import Clock
    from gsmtp.smtp.facts import Facts

MASKED: Final = b"[masked]"
_LONGEST: Final = 8192
_AUTH: Final = re.compile(rb"(?i)\s*(auth)(?:\s+(\S+))?(.*)", re.DOTALL)


class TraceFile(Protocol):
    """Where lines go (`gsmtp.observe.files.LogFile`)."""

    def write(self, line: bytes) -> None:
        """Take one line with its end. Must not block."""

    def reopen(self) -> None:
        """Open the file of that name anew. Must not block."""

    def close(self) -> None:
        """Write what is left and close."""


@dataclass(slots=True, eq=False)
class Tracer:
    """One trace.

    Args:
        number: by which it is removed.
        network: whose sessions, None for all.
        path: of the file.
        file: takes the lines.
        written: bytes so far.
    """

    number: int
    network: IPv4Network | IPv6Network | None
    path: str
    file: TraceFile
    written: int = 0

    def wants(self, client_ip: str) -> bool:
        """Whether a client's session is written."""
        return self.network is None or client_address(client_ip) in self.network

    def write(self, line: bytes) -> None:
        """Write a line."""
        self.written += len(line)
        self.file.write(line)


@dataclass(slots=True, eq=False)
class Traces:
    """All traces that are registered."""

    tracers: dict[int, Tracer] = field(default_factory=dict)
    _last: int = 0

    def add(self, network: IPv4Network | IPv6Network | None, path: str, file: TraceFile) -> Tracer:
        """Register one."""
        self._last += 1
        tracer = self.tracers[self._last] = Tracer(self._last, network, path, file)
        return tracer

    def remove(self, number: int) -> Tracer | None:
        """Forget one; its file is closed."""
        tracer = self.tracers.pop(number, None)
        if tracer is not None:
            tracer.file.close()
        return tracer

    def reopen(self) -> None:
        """Open all files anew, after what was written until now."""
        for tracer in self.tracers.values():
            tracer.file.reopen()

    def close(self) -> None:
        """Forget all."""
        for number in list(self.tracers):
            self.remove(number)

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
        *lines, rest = data.split(b"\n")
        for line in lines:
            self._write(side, shown(line.removesuffix(b"\r")))
        if len(rest) > _LONGEST:
            self._write(side, shown(rest))
            rest = b""
        return rest

    def _write(self, side: bytes, text: bytes) -> None:
        facts = self.facts
        tracers = self._traces.of(facts.client_ip)
        if not tracers:
            return
        now = time.time()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1000):03d}Z"
        ip = f"[{facts.client_ip}]" if ":" in facts.client_ip else facts.client_ip
        client = f"{ip}:{facts.client_port}" if facts.client_port else "unix"
        line = f"{stamp} {facts.connection_id} {client} ".encode() + side + b": " + _printable(text) + b"\n"
        for tracer in tracers:
            tracer.write(line)


def _without_challenge(line: bytes) -> bytes:
    return b"334 " + MASKED if line.startswith(b"334 ") and len(line) > 4 else line


def _printable(text: bytes) -> bytes:
    r"""No client can forge a line or move a terminal's cursor: controls are shown as ``\xNN``."""
    return re.sub(rb"[\x00-\x08\x0b-\x1f\x7f]", lambda match: b"\\x%02x" % match[0][0], text)
