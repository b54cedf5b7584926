"""Traces of deliveries: what was said to next hops and what they answered, written to a file.

A trace sees the deliveries that begin after it was registered (`gsmtp.delivery.tracing`); without one nobody looks.
What is said is written in clear text, under TLS too. We log in nowhere, so there is nothing to mask.
Source: reference/console-and-logs.md section 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gsmtp.control.trace_files import FileTracer, Register, TraceFile, told
from gsmtp.core.lines import split

if TYPE_CHECKING:
    from gsmtp.delivery.tracing import Subject


@dataclass(slots=True, eq=False)
class OutboundTracer(FileTracer):
    """One trace.

    Args:
        binding: of which deliveries, "" for those by no binding, None for all.
        domain: to which domain, None for all.
        wish: its number at `gsmtp.delivery.tracing.OBSERVERS`.
    """

    binding: str | None = None
    domain: str | None = None
    wish: int = 0


class Dialogue:
    """One delivery, as a trace sees it; an `gsmtp.delivery.tracing.Observer`."""

    __slots__ = ("_heard", "_said", "_subject", "_tracer")

    def __init__(self, tracer: OutboundTracer, subject: Subject) -> None:
        self._tracer = tracer
        self._subject = subject
        self._said = self._heard = b""

    def event(self, text: str) -> None:
        """Something happened beside the dialogue."""
        self._write(b"-", text.encode("utf-8", "backslashreplace"))

    def sent(self, data: bytes) -> None:
        """These bytes went out."""
        self._said = split(self._said + data, lambda line: self._write(b"C", line))

    def received(self, data: bytes) -> None:
        """These came in, b"" at the end."""
        if not data:
            self._write(b"S", b"[no more]")
        self._heard = split(self._heard + data, lambda line: self._write(b"S", line))

    def _write(self, side: bytes, text: bytes) -> None:
        self._tracer.write(told(self._subject.message_id, self._subject.hop, side, text))


class OutboundTraces(Register[OutboundTracer]):
    """All traces of deliveries that are registered."""

    __slots__ = ()

    def add(
        self, binding: str | None, domain: str | None, path: str, file: TraceFile, *, number: int = 0
    ) -> OutboundTracer:
        """Register one; see `OutboundTracer` and `Register.register`."""
        from gsmtp.delivery.tracing import OBSERVERS

        tracer = self.register(lambda number: OutboundTracer(number, path, file, 0, binding, domain), number)
        tracer.wish = OBSERVERS.add(lambda subject: Dialogue(tracer, subject), binding=binding, domain=domain)
        return tracer

    def remove(self, number: int) -> OutboundTracer | None:
        """Forget one; its file is closed. Deliveries that are under way write no more."""
        from gsmtp.delivery.tracing import OBSERVERS

        tracer = self.tracers.get(number)
        if tracer is not None:
            OBSERVERS.remove(tracer.wish)
            super().remove(number)
            tracer.file = _Nowhere()
        return tracer


class _Nowhere:
    """Takes what deliveries say that began before their trace was removed."""

    def write(self, line: bytes) -> None: ...

    def reopen(self) -> None: ...

    def close(self) -> None: ...
