"""What a hook decides, as a value: nothing (go on), accept (no more hooks of this phase) or refuse with a reply."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from gsmtp.core.reply import Reply


class Phase(Enum):
    """The phases of a message (reference/policy-and-context.md section 1)."""

    CONNECT = "connect"
    BANNER = "banner"
    EHLO = "ehlo"
    AUTH = "auth"
    MAIL = "mailfrom"
    RCPT = "rcptto"
    RCPT_LIST = "rcptto_list"
    DATA = "data"
    DATA_SPOOL = "data_spool"
    EACH_RCPT = "each_rcpt"
    SET_BINDING = "set_binding"
    FINAL = "final"
    CLOSE = "dealloc"

    # members are single objects; Enum's own hash is a Python function, and phases are looked up for every command
    __hash__ = object.__hash__


@dataclass(frozen=True, slots=True)
class Decision:
    """The outcome of a phase.

    Args:
        reply: the refusal to send, or None when the phase ends well.
        reason: for the log only; the peer sees `reply`.
        check: the hook that decided, "core" for the machine.
        delay_s: how long the answer is held back, whatever it is; nobody else waits.
        is_discard: whether the peer is told success, and the message or recipient is forgotten; `reply` is for the log.
        goes_on: whether the other hooks of the phase run all the same; they can't undo it.
    """

    reply: Reply | None
    reason: str = ""
    check: str = "core"
    delay_s: float = 0.0
    is_discard: bool = False
    goes_on: bool = False

    def without_delay(self) -> Decision:
        """The same, to be answered now."""
        return replace(self, delay_s=0.0)


ACCEPT: Final = Decision(None)

MESSAGE_PHASES: Final = (
    Phase.RCPT_LIST,
    Phase.DATA,
    Phase.DATA_SPOOL,
    Phase.EACH_RCPT,
    Phase.SET_BINDING,
    Phase.FINAL,
)
"""Those that come when the text of a message is there, in their order."""
