"""Files of traces: who is registered, and how a line of a dialogue is written.

`gsmtp.control.tracing` has the traces of inbound sessions, `gsmtp.control.outbound_tracing` those of deliveries.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from gsmtp.control.command import CommandError
from gsmtp.control.options import TRACE_SMTP_MODE
from gsmtp.core.errors import ConfigError

if TYPE_CHECKING:
    from gsmtp.control.console import Console


class TraceFile(Protocol):
    """Where lines go (`gsmtp.observe.files.LogFile`)."""

    def write(self, line: bytes) -> None:
        """Take one line with its end. Must not block."""

    def reopen(self) -> None:
        """Open the file of that name anew. Must not block."""

    def close(self) -> None:
        """Write what is left and close."""


@dataclass(slots=True, eq=False)
class FileTracer:
    """One trace.

    Args:
        number: by which it is removed.
        path: of the file.
        file: takes the lines.
        written: bytes so far.
    """

    number: int
    path: str
    file: TraceFile
    written: int = 0

    def write(self, line: bytes) -> None:
        """Write a line."""
        self.written += len(line)
        self.file.write(line)


T = TypeVar("T", bound=FileTracer)


@dataclass(slots=True, eq=False)
class Register(Generic[T]):
    """All traces of a kind."""

    tracers: dict[int, T] = field(default_factory=dict)
    _last: int = 0

    def register(self, make: Callable[[int], T], number: int = 0) -> T:
        """Register what is made with the next number, or with one that another process gave it."""
        number = number or self._last + 1
        self._last = max(self._last, number)
        tracer = self.tracers[number] = make(number)
        return tracer

    def remove(self, number: int) -> T | None:
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


def told(session: str, peer: str, side: bytes, text: bytes) -> bytes:
    """A line of a trace: time, session or message, the other end, who speaks, and what."""
    now = time.time()
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1000):03d}Z"
    return f"{stamp} {session} {peer} ".encode() + side + b": " + _printable(text) + b"\n"


def _printable(text: bytes) -> bytes:
    r"""No peer can forge a line or move a terminal's cursor: controls are shown as ``\xNN``."""
    return re.sub(rb"[\x00-\x08\x0b-\x1f\x7f]", lambda match: b"\\x%02x" % match[0][0], text)


def open_file(console: Console, path: str) -> TraceFile:
    """Open the file of a new trace. Raises CommandError."""
    if not os.path.isabs(path):
        raise CommandError(f"'{path}' is no absolute path: the server has another directory than you")
    host, operations = console.host, console.operations
    written = [tracer.path for tracer in host.traces.tracers.values()]
    written += [tracer.path for tracer in host.outbound_traces.tracers.values()]
    if path in written:
        raise CommandError(f"{path} is written by another trace")
    try:
        return operations.open_log(path, operations.configuration.view[TRACE_SMTP_MODE])
    except ConfigError as error:
        raise CommandError(str(error)) from None
