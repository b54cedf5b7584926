"""What can happen in a session, as the machine tells it to its driver.

`Session.next_event()` returns one of these, or `NEED_DATA` when more bytes must come first. Each event marked
*answered* stops the machine until the driver called `Session.reply(...)`, so replies keep the commands' order under
PIPELINING. Everything that no policy can change (syntax, order, NOOP, RSET, HELP …) the machine answers alone.

Not frozen, because a frozen dataclass costs three times as much to make and these are made for every command; nobody
changes them. For the same reason those that every message has write their `__init__` out (see `core.envelope`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gsmtp.core.envelope import Recipient
from gsmtp.core.reply import Reply
from gsmtp.sasl.need import Need, Status

if TYPE_CHECKING:
    from gsmtp.smtp.driver import Driver


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


@dataclass(slots=True, init=False)
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

    def __init__(self, reverse_path: str, domain: str, size: int, line: str) -> None:
        self.reverse_path = reverse_path
        self.domain = domain
        self.size = size
        self.line = line


@dataclass(slots=True, init=False)
class Rcpt:
    """RCPT TO, syntax, parameters and limits checked. *Answered*: positive adds `recipient` to the transaction.

    Policy may change `recipient` (its address, `drop`) before it answers.
    """

    recipient: Recipient
    line: str

    def __init__(self, recipient: Recipient, line: str) -> None:
        self.recipient = recipient
        self.line = line


@dataclass(slots=True)
class BodyStart:
    """DATA, or the first BDAT of a transaction. *Answered* by `Session.accept_body(message_id)` or `reply(refusal)`.

    After a refusal of a BDAT the machine swallows the chunk and the rest of the transaction.

    Args:
        chunking: whether it is BDAT (RFC 3030), which gets no 354.
    """

    chunking: bool


@dataclass(slots=True, init=False)
class Body:
    """A piece of the body as it is to be kept: transparency removed, fixes applied, trace headers in front.

    Not answered. Pieces come in order; together they are the message, byte for byte.
    """

    data: bytes

    def __init__(self, data: bytes) -> None:
        self.data = data


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
class StartTls:
    """STARTTLS (RFC 3207). *Answered*: None sends the 220; then the session takes nothing in until `tls_started`.

    Args:
        bytes_behind: how much followed the command in clear; `Session.drop_pending` forgets it.
    """

    bytes_behind: int


@dataclass(slots=True)
class Credentials:
    """A SASL exchange needs a credential store. *Answered* by `Session.answer_credentials(answer)`.

    Args:
        mechanism: in upper case.
        need: what the store is asked.
    """

    mechanism: str
    need: Need


@dataclass(slots=True)
class AuthEnd:
    """An AUTH exchange came to a verdict. *Answered*: None sends the standard reply for `status`.

    A negative reply given for PASS leaves the client unauthenticated; a positive one for another status makes it
    authenticated, as the documented validate_auth hook may.

    Args:
        mechanism: in upper case.
        user: the identity, as claimed.
        status: the outcome.
        reason: for the log only.
    """

    mechanism: str
    user: str
    status: Status
    reason: str = ""


@dataclass(slots=True)
class Ask:
    """A command of an extension that needs what only the driver has. *Answered* by the driver calling `serve`.

    Args:
        serve: does it and gives the reply to send; None when the session has answered by itself.
    """

    serve: Callable[[Driver], Reply | None]


@dataclass(slots=True)
class Refused:
    """The machine refused a command by itself: syntax, order, limits. Not answered; for the log.

    Args:
        reply: what was sent.
        state: Momentum's reception state name.
    """

    reply: Reply
    state: str


@dataclass(slots=True)
class Quit:
    """The session is over: flush what is to be sent, then close. Not answered; the last event.

    Args:
        reason: ``"quit"``, ``"closed by reply"``, ``"peer closed"``.
    """

    reason: str


Event = (
    Connect
    | Greeting
    | Mail
    | Rcpt
    | BodyStart
    | Body
    | BodyEnd
    | BodyAbort
    | StartTls
    | Credentials
    | AuthEnd
    | Ask
    | Refused
    | Quit
)
