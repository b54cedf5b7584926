"""What can happen in a session, as the machine tells it to its driver.

`Session.next_event()` returns one of these, or `NEED_DATA` when more bytes must come first. Each event marked
*answered* stops the machine until the driver called `Session.reply(...)`, so replies keep the commands' order under
PIPELINING. Everything that no policy can change (syntax, order, NOOP, RSET, HELP …) the machine answers alone.

Not frozen, because a frozen dataclass costs three times as much to make and these are made for every command; nobody
changes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gsmtp.core.envelope import Recipient
from gsmtp.core.reply import Reply


class NeedData:
    """The type of NEED_DATA."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "NEED_DATA"


NEED_DATA: Final = NeedData()


@dataclass(slots=True)
class Connect:
    """The session begins. *Answered*: positive sends the banner, negative is sent instead of it and closes."""


@dataclass(slots=True)
class Greeting:
    """EHLO or HELO. *Answered*: None gives the standard 250 with the extensions.

    Args:
        verb: ``"EHLO"`` or ``"HELO"``.
        domain: the argument as sent.
        line: the whole line without its end, for policy.
    """

    verb: str
    domain: str
    line: str


@dataclass(slots=True)
class Mail:
    """MAIL FROM, syntax and parameters checked. *Answered*: positive opens the transaction.

    Args:
        reverse_path: without angle brackets, "" for the null sender; unqualified senders already completed.
        domain: lower case, "" for the null sender.
        size: SIZE= in bytes, 0 when not given (RFC 1870).
        line: the whole line.
    """

    reverse_path: str
    domain: str
    size: int
    line: str


@dataclass(slots=True)
class Rcpt:
    """RCPT TO, syntax, parameters and limits checked. *Answered*: positive adds `recipient` to the transaction.

    Policy may change `recipient` (its address, `drop`) before it answers.
    """

    recipient: Recipient
    line: str


@dataclass(slots=True)
class BodyStart:
    """DATA, or the first BDAT of a transaction. *Answered* by `Session.accept_body(message_id)` or `reply(refusal)`.

    After a refusal of a BDAT the machine swallows the chunk and the rest of the transaction.

    Args:
        chunking: whether it is BDAT (RFC 3030), which gets no 354.
    """

    chunking: bool


@dataclass(slots=True)
class Body:
    """A piece of the body as it is to be kept: transparency removed, fixes applied, trace headers in front.

    Not answered. Pieces come in order; together they are the message, byte for byte.
    """

    data: bytes


@dataclass(slots=True)
class BodyEnd:
    """The body is whole and acceptable as such. *Answered*, typically after the spool's commit.

    None sends ``250 2.0.0 OK <message id>`` with the id that `accept_body` got.

    A body that the machine refuses by itself (size, lone LF …) ends in `BodyAbort` instead, already answered.
    """


@dataclass(slots=True)
class BodyAbort:
    """What was given as Body since BodyStart is to be forgotten. Not answered.

    Comes when the machine refused the message, at RSET or EHLO between two BDATs, and when the peer went away.

    Args:
        reply: the refusal that was sent, for the log; None when the message was given up by the peer.
    """

    reply: Reply | None = None


@dataclass(slots=True)
class Quit:
    """The session is over: flush what is to be sent, then close. Not answered; the last event.

    Args:
        reason: ``"quit"``, ``"closed by reply"``, ``"peer closed"``.
    """

    reason: str


Event = Connect | Greeting | Mail | Rcpt | BodyStart | Body | BodyEnd | BodyAbort | Quit
