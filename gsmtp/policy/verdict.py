"""What a hook says, as values: a hook returns one of these, or None to go on.

The server makes a `Decision` of it (`policy.judge`). Codes and texts are checked here, where the mistake is made: a
hook that says ``Reject(250)`` raises, which costs its client a 451 and the log a traceback.

Source: reference/policy-and-context.md sections 3 and 3.1.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

LONGEST_TARPIT_S: Final = 3600.0
_DISCARDED: Final = "550 5.7.0 discarded by policy"
_CONTROLS = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")


def _check(code: int, text: str, low: int, high: int) -> None:
    if isinstance(code, bool) or not isinstance(code, int) or not low <= code <= high:
        raise ValueError(f"{code!r} is no code between {low} and {high}")
    if not isinstance(text, str) or not text.strip():
        raise ValueError("a reply needs a text, e.g. '5.7.1 not here'")
    if _CONTROLS.search(text):
        raise ValueError(f"the text {text!r} holds control characters; \\n alone begins a new line of the reply")


@dataclass(frozen=True, slots=True)
class Accept:
    """End the phase well: no other hook of it is asked. What was decided before stays decided."""


@dataclass(frozen=True, slots=True)
class Reject:
    r"""Refuse: the client gets code and text.

    Args:
        code: 400 to 599. 421 closes the connection, as RFC 5321 section 3.8 wants it.
        text: may begin with an enhanced code of the same class; ``\n`` begins another line of the reply.
        reason: for the log only.
    """

    code: int = 550
    text: str = "5.7.1 refused by policy"
    reason: str = ""

    def __post_init__(self) -> None:
        _check(self.code, self.text, 400, 599)


@dataclass(frozen=True, slots=True)
class TempFail:
    """Refuse for now: the client is to try again. Args as `Reject`, code 400 to 499."""

    text: str = "4.7.1 try again later"
    code: int = 451
    reason: str = ""

    def __post_init__(self) -> None:
        _check(self.code, self.text, 400, 499)


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Refuse and close the connection. Args as `Reject`."""

    code: int = 421
    text: str = "4.7.1 closing connection"
    reason: str = ""

    def __post_init__(self) -> None:
        _check(self.code, self.text, 400, 599)


@dataclass(frozen=True, slots=True)
class Discard:
    """Tell the client success and forget: the recipient (rcptto, each_rcpt, final) or the message (data, data_spool).

    Args:
        reason: for the log, where it counts as a rejection; begins with a reply code.
    """

    reason: str = _DISCARDED

    def __post_init__(self) -> None:
        code, _, text = self.reason.partition(" ")
        if not (code.isascii() and code.isdigit()):
            raise ValueError(f"the reason {self.reason!r} has to begin with a reply code, e.g. {_DISCARDED!r}")
        _check(int(code), text, 400, 599)


@dataclass(frozen=True, slots=True)
class Tarpit:
    """Hold the answer back and go on with the next hook; several add up. Nobody else waits.

    Args:
        seconds: 0 to 3600.
    """

    seconds: float

    def __post_init__(self) -> None:
        if not 0 <= self.seconds <= LONGEST_TARPIT_S:
            raise ValueError(f"{self.seconds!r} is no number of seconds between 0 and {LONGEST_TARPIT_S:.0f}")


Verdict = Accept | Reject | TempFail | Disconnect | Discard | Tarpit

CONT: Final = None
"""Go on with the next hook (Momentum's VALIDATE_CONT); the same as returning nothing."""

DONE: Final = Accept()
"""No more hooks of this phase (Momentum's VALIDATE_DONE)."""
