"""What a Python handler gets and gives: the message as an object, and the words for "not now" and "never".

Authors import these from `gsmtp.api`. The object is the same in a green thread, a native thread and a process of its
own; where reading may block the hub, whoever makes it says by `offload` how to do it elsewhere.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, BinaryIO

from gsmtp.core.envelope import Envelope, Recipient
from gsmtp.core.surrogates import clean

if TYPE_CHECKING:
    from gsmtp.core.parsedmail import ParsedMail

Offload = Callable[[Callable[[], Any]], Any]
"""Calls a function that may take its time, and gives its result."""

INLINE_BYTES = 32_768
"""Messages up to this size are signed on the hub."""


class Retry(Exception):
    """To be raised or returned by a handler: not now, try again.

    Args:
        text: for the log and the queue; it may begin with a 4xx code and an enhanced code.
        after_s: seconds that the next try waits at least; 0 for what the retry options say.
    """

    def __init__(self, text: str = "", after_s: float = 0.0) -> None:
        super().__init__(text)
        self.text = text
        self.after_s = after_s


class Refuse(Exception):
    """To be raised or returned by a handler: never; the message becomes a dead letter.

    Args:
        text: for the log and the queue; it may begin with a 5xx code and an enhanced code.
    """

    def __init__(self, text: str = "") -> None:
        super().__init__(text)
        self.text = text


Verdict = Retry | Refuse | None
"""What became of one recipient; None is delivered."""


@dataclass
class InboundMail:
    """One message for some of its recipients.

    Args:
        id: the message's id, as in the 250, the logs and the queue.
        key: names this message and these recipients: the same at each try, so that one who has seen it can tell.
        sender: the reverse-path, "" for a bounce.
        recipients: the addresses that it is for now.
        attempt: 1 for the first try.
        received: when it was accepted, in UTC.
        size_bytes: of the message.
        client: ``ip:port`` of the client, "" for a Unix socket.
        helo: what it called itself.
        protocol: how it spoke, e.g. ``ESMTPSA`` (RFC 3848).
        auth_user: who it logged in as, "" for nobody.
        smtputf8: whether addresses and fields may hold more than ASCII (RFC 6531).
        conn: the connection's variables that policy kept.
        mess: the message's.
        data: the message, None when it is in a file.
        path: the file, "" when it is in memory. It goes away when the handler has answered.
        offload: see `Offload`.
    """

    id: str
    key: str
    sender: str
    recipients: tuple[str, ...]
    attempt: int
    received: datetime
    size_bytes: int
    client: str = ""
    helo: str = ""
    protocol: str = "ESMTP"
    auth_user: str = ""
    smtputf8: bool = False
    conn: Mapping[str, str] = field(default_factory=dict)
    mess: Mapping[str, str] = field(default_factory=dict)
    data: bytes | None = field(default=None, repr=False)
    path: str = field(default="", repr=False)
    offload: Offload | None = field(default=None, repr=False, compare=False)

    @property
    def raw(self) -> bytes:
        """The whole message as bytes, line ends CR LF. A large one is read from its file, anew each time."""
        if self.data is not None:
            return self.data
        return bytes(self._elsewhere(self._read))

    def open(self) -> BinaryIO:
        """The message as a file to read from; for large ones. In a green thread its reads block the server a little."""
        return io.BytesIO(self.data) if self.data is not None else open(self.path, "rb")

    @cached_property
    def parsed(self) -> ParsedMail:
        """The message taken apart; done when first asked for. Never raises for what the message says."""
        from gsmtp.core.parsedmail import parse  # with the library's parser of mail, which many a process never needs

        # a small one that is made for it takes half a second, too
        found: ParsedMail = self._elsewhere(lambda: parse(self._read()))
        return found

    def _read(self) -> bytes:
        if self.data is not None:
            return self.data
        with open(self.path, "rb") as file:
            return file.read()

    def _elsewhere(self, function: Callable[[], Any]) -> Any:
        return function() if self.offload is None else self.offload(function)


def inbound_mail(
    envelope: Envelope,
    recipients: Sequence[Recipient],
    attempts: int,
    data: bytes | None,
    path: str,
    offload: Offload | None = None,
) -> InboundMail:
    """The object for a message of the spool.

    Args:
        envelope: of the message.
        recipients: some of its recipients, the same objects.
        attempts: tries before this one.
        data: the message, None when it is in a file.
        path: the file.
        offload: see `Offload`.
    """
    return InboundMail(
        id=envelope.message_id,
        key=idempotency_key(envelope, recipients),
        sender=clean(envelope.reverse_path),
        recipients=tuple(clean(one.address) for one in recipients),
        attempt=attempts + 1,
        received=datetime.fromtimestamp(envelope.received_wall, UTC),
        size_bytes=envelope.size_bytes,
        client=envelope.client_address,
        helo=clean(envelope.helo),
        protocol=envelope.protocol,
        auth_user=clean(envelope.conn.get("auth_user", "")),
        smtputf8=envelope.smtputf8,
        conn={clean(key): clean(value) for key, value in envelope.conn.items()},
        mess={clean(key): clean(value) for key, value in envelope.mess.items()},
        data=data,
        path=path,
        offload=offload,
    )


def places(envelope: Envelope, recipients: Sequence[Recipient]) -> list[int]:
    """The recipients' places in the envelope, from 0."""
    known = {id(one): index for index, one in enumerate(envelope.recipients)}
    return [known[id(one)] for one in recipients]


def idempotency_key(envelope: Envelope, recipients: Sequence[Recipient]) -> str:
    """Names a message, or with their places a part of its recipients; the same at each try.

    >>> envelope = Envelope("00/01-1", "", "", [Recipient("a@x", "x"), Recipient("b@x", "x"), Recipient("c@x", "x")])
    >>> idempotency_key(envelope, envelope.recipients), idempotency_key(envelope, envelope.recipients[1:])
    ('00/01-1', '00/01-1#1,2')
    """
    if len(recipients) == len(envelope.recipients):
        return envelope.message_id
    return f"{envelope.message_id}#{','.join(map(str, sorted(places(envelope, recipients))))}"


def verdicts(recipients: Sequence[str], answer: object) -> list[Verdict]:
    """What a handler's answer means for each recipient.

    Args:
        recipients: the addresses it was called for.
        answer: what it returned: None, a `Retry`, a `Refuse`, or a dictionary from addresses to these; recipients
            that the dictionary doesn't name are delivered.

    Raises:
        TypeError: it returned something else.
        LookupError: it named an address that it was not called for.
    """
    if answer is None or isinstance(answer, (Retry, Refuse)):
        return [answer] * len(recipients)
    if not isinstance(answer, Mapping):
        raise TypeError(f"a handler returns None, Retry, Refuse or a dictionary, not {answer!r:.200}")
    for address, one in answer.items():
        if address not in recipients:
            raise LookupError(f"the handler judged {address!r:.200}, who is no recipient of this call")
        if not (one is None or isinstance(one, (Retry, Refuse))):
            raise TypeError(f"a handler judges a recipient by None, Retry or Refuse, not {one!r:.200}")
    return [answer.get(address) for address in recipients]
