"""The commands of a client on their way: said, not yet sent, or sent and not yet answered. No I/O.

Source: RFC 2920 (PIPELINING).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from gsmtp.delivery.steps import Step

PIPELINE_BYTES = 4096
"""Unanswered command bytes at the most: small enough for any peer's receive buffer (RFC 2920 section 3.1)."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command, or a place in the order of replies.

    Args:
        step: what its reply is waited for as.
        wire: its line, b"" for none.
        index: of the recipient it is about, -1 for none.
    """

    step: Step
    wire: bytes = b""
    index: int = -1


class Line:
    """Commands in their order.

    Attributes:
        pending: said, not yet sent.
        awaiting: replies that are to come.
    """

    __slots__ = ("_out", "_unanswered_bytes", "awaiting", "pending")

    def __init__(self) -> None:
        self.pending: deque[Command] = deque()
        self.awaiting: deque[Command] = deque()
        self._out = bytearray()
        self._unanswered_bytes = 0

    def say(self, step: Step, wire: bytes, index: int = -1) -> None:
        """Queue a command."""
        self.pending.append(Command(step, wire, index))

    def expect(self, step: Step, index: int = -1) -> None:
        """One more reply is to come, to what is no queued command."""
        self.awaiting.append(Command(step, b"", index))

    def add(self, data: bytes) -> None:
        """Send these bytes next."""
        self._out += data

    def take(self) -> bytes:
        """Bytes to send now; they are forgotten here."""
        data = bytes(self._out)
        self._out.clear()
        return data

    def answered(self) -> Command:
        """The command to which a reply has come."""
        command = self.awaiting.popleft()
        self._unanswered_bytes -= len(command.wire)
        return command

    def pump(self, *, pipelining: bool) -> None:
        """Send what may be sent: everything in one go when the hop takes it, else one command at a time."""
        while self.pending:
            command = self.pending[0]
            if not command.wire or (self.awaiting and not pipelining):
                return
            if self.awaiting and self._unanswered_bytes + len(command.wire) > PIPELINE_BYTES:
                return
            self.pending.popleft()
            self._out += command.wire
            self._unanswered_bytes += len(command.wire)
            self.awaiting.append(command)

    def clear(self) -> None:
        """Forget everything: the connection is over."""
        self.pending.clear()
        self.awaiting.clear()
        self._out.clear()
        self._unanswered_bytes = 0
