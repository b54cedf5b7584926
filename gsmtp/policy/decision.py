"""What a hook decides, as a value: nothing (go on), accept (no more hooks of this phase) or refuse with a reply."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from gsmtp.core.reply import Reply


class Phase(Enum):
    """The phases of a message (reference/policy-and-context.md section 1)."""

    CONNECT = "connect"
    EHLO = "ehlo"
    MAIL = "mailfrom"
    RCPT = "rcptto"
    DATA = "data"

    # members are single objects; Enum's own hash is a Python function, and phases are looked up for every command
    __hash__ = object.__hash__


@dataclass(frozen=True, slots=True)
class Decision:
    """The outcome of a phase.

    Args:
        reply: the refusal to send, or None when the phase ends well.
        reason: for the log only; the peer sees `reply`.
        check: the hook that decided, "core" for the machine.
    """

    reply: Reply | None
    reason: str = ""
    check: str = "core"


ACCEPT: Final = Decision(None)
