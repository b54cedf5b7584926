"""The message as hooks see it: envelope, header fields, text. It costs what a hook asks for, and nothing before.

The header section is parsed when it is first looked at; the text of a large message is in a file and is read only for
`raw`, `body` and `pieces`. Edits of header fields go into what is spooled, all other bytes stay as they came.

Source: reference/policy-and-context.md sections 1 and 3.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from gsmtp.core.domains import normal_domain
from gsmtp.core.envelope import Recipient
from gsmtp.policy.headers import Headers
from gsmtp.spool.base import StoredBody

_NOT_IN_ADDRESS = frozenset(" \t\r\n<>\x00")


class MessageTooLarge(Exception):
    """A hook asked for the whole text of a message above Legacy_Message_Threshold: answered 421 4.3.0."""


class Text(Protocol):
    """Where the text of a message is while hooks look at it."""

    @property
    def size_bytes(self) -> int:
        """How long it is, the header section as it came included."""

    def stored(self) -> StoredBody:
        """The text as it came; waits in the calling green thread until a large one is in its file."""

    def whole(self) -> bytes:
        """All of it; waits as `stored` does."""


class NoText:
    """The text of a message that has not come yet."""

    size_bytes = 0

    def stored(self) -> StoredBody:
        """Nothing."""
        return StoredBody(0, b"", "")

    def whole(self) -> bytes:
        """Nothing."""
        return b""


class Recipients:
    """The recipients of one transaction, in order; a list that can be changed until rcptto_list is over.

    Args:
        recipients: of the transaction; changed in place.
        is_open: whether it may still be changed.
    """

    __slots__ = ("_all", "is_open")

    def __init__(self, recipients: list[Recipient], *, is_open: bool = True) -> None:
        self._all = recipients
        self.is_open = is_open

    def add(self, address: str) -> Recipient:
        """Add a recipient, unless it is there already. Raises RuntimeError when it is too late, ValueError for no
        address."""
        self._check_open()
        recipient = make_recipient(address)
        return self._put(len(self._all), recipient)

    def remove(self, address: str) -> bool:
        """Remove a recipient; whether it was there. Raises RuntimeError when it is too late."""
        self._check_open()
        found = self._find(address)
        if found < 0:
            return False
        del self._all[found]
        return True

    def replace(self, address: str, *others: str) -> None:
        """Put other recipients in the place of one, with its DSN parameters; several do without NOTIFY=SUCCESS, for who
        wrote to one address should not hear of each that it stands for (RFC 3461 section 5.2.7).

        Raises:
            KeyError: it is not there.
            RuntimeError: it is too late.
            ValueError: one of the others is no address.
        """
        self._check_open()
        place = self._find(address)
        if place < 0:
            raise KeyError(address)
        made = [make_recipient(other) for other in others]
        old = self._all.pop(place)
        if len(made) == 1:
            made[0].original = old.original
        for recipient in made:
            recipient.notify = old.notify if len(made) == 1 else _without_success(old.notify)
            recipient.orcpt = old.orcpt
            if self._put(place, recipient) is recipient:
                place += 1

    def addresses(self) -> list[str]:
        """All addresses."""
        return [recipient.address for recipient in self._all]

    def __contains__(self, address: str) -> bool:
        return self._find(address) >= 0

    def __iter__(self) -> Iterator[Recipient]:
        return iter(list(self._all))

    def __len__(self) -> int:
        return len(self._all)

    def __getitem__(self, place: int) -> Recipient:
        return self._all[place]

    def _find(self, address: str) -> int:
        key = _key(address)
        return next((place for place, one in enumerate(self._all) if _key(one.address) == key), -1)

    def _put(self, place: int, recipient: Recipient) -> Recipient:
        found = self._find(recipient.address)
        if found >= 0:
            return self._all[found]
        self._all.insert(place, recipient)
        return recipient

    def _check_open(self) -> None:
        if not self.is_open:
            raise RuntimeError("the list of recipients can't be changed any more: rcptto_list is over")


def _key(address: str) -> tuple[str, str]:
    local_part, _, domain = address.rpartition("@")
    return local_part, normal_domain(domain)


def make_recipient(address: str) -> Recipient:
    """A recipient from ``local@domain``. Raises ValueError when it is none."""
    local_part, _, domain = address.rpartition("@")
    if not local_part or not domain or not _NOT_IN_ADDRESS.isdisjoint(address):
        raise ValueError(f"{address!r} is no address of the form local@domain")
    return Recipient(address, normal_domain(domain), address)


class Message:
    """One message, or what is known of it in the phase.

    Args:
        message_id: the queue id, "" before the text came.
        conn_id: of the session.
        sender: without angle brackets, "" for the null sender.
        recipients: of the transaction.
        head: the header section as it came, b"" before.
        text: where the text is.
        most_bytes: of a text that hooks may have whole, 0 for any.

    Attributes:
        recipient: the one that a call is about (rcptto, each_rcpt, set_binding, final), else None.
        binding: what set_binding chose for the recipient, "" for nothing.
        is_locked: whether header fields can no longer be edited.
        local_address: ``ip:port`` of our end.
        remote_address: of the client's.
    """

    __slots__ = (
        "_head", "_headers", "_text", "binding", "conn_id", "id", "is_locked", "local_address", "most_bytes",
        "recipient", "recipients", "remote_address", "sender",
    )  # fmt: skip

    def __init__(
        self,
        message_id: str,
        conn_id: str,
        sender: str,
        recipients: Recipients,
        *,
        head: bytes = b"",
        text: Text | None = None,
        most_bytes: int = 0,
    ) -> None:
        self.id = message_id
        self.conn_id = conn_id
        self.sender = sender
        self.recipients = recipients
        self.recipient: Recipient | None = None
        self.binding = ""
        self.most_bytes = most_bytes
        self.is_locked = False
        self.local_address = ""
        self.remote_address = ""
        self._head = head
        self._headers: Headers | None = None
        self._text: Text = text if text is not None else NoText()

    @property
    def batch_id(self) -> str:
        """The id of all recipients' messages together: `id`."""
        return self.id

    @property
    def rcptto(self) -> str:
        """The address that a call is about, "" for none."""
        return self.recipient.address if self.recipient is not None else ""

    def readdress(self, address: str) -> None:
        """Give the recipient that the call is about another address. Raises ValueError for none, RuntimeError when
        there is no such recipient."""
        if self.recipient is None:
            raise RuntimeError("this call is about no single recipient")
        made = make_recipient(address)
        self.recipient.address, self.recipient.domain = made.address, made.domain

    @property
    def headers(self) -> Headers:
        """The header fields, trace fields included."""
        if self._headers is None:
            self._headers = Headers(self._head)
        self._headers.is_locked = self.is_locked
        return self._headers

    @property
    def size(self) -> int:
        """Bytes of the message as it is to be kept."""
        return self._text.size_bytes - len(self._head) + len(self.head)

    @property
    def head(self) -> bytes:
        """The header section as it is now, blank line included."""
        return self._head if self._headers is None else self._headers.section()

    @property
    def is_edited(self) -> bool:
        """Whether a header field was changed."""
        return self._headers is not None and self._headers.is_edited

    def raw(self) -> bytes:
        """The whole message as it is now.

        Raises:
            MessageTooLarge: it is above Legacy_Message_Threshold. Left alone, it answers the client 421 4.3.0.
        """
        return self.head + self.body()

    def body(self) -> bytes:
        """What comes behind the blank line. Raises as `raw`."""
        if self.most_bytes and self._text.size_bytes > self.most_bytes:
            raise MessageTooLarge(f"{self._text.size_bytes} bytes are more than Legacy_Message_Threshold")
        return self._text.whole()[len(self._head) :]

    def pieces(self, size_bytes: int = 131_072) -> Iterator[bytes]:
        """The whole message, of any size, in pieces. Reads a file with blocking calls: for native threads."""
        head = self.head
        if head:
            yield head
        skip = len(self._head)
        for piece in self._text.stored().pieces(size_bytes):
            if skip >= len(piece):
                skip -= len(piece)
            else:
                yield piece[skip:] if skip else piece
                skip = 0

    # --- for the server

    def detached(self, text: Text | None = None) -> Message:
        """A copy for a native thread: what is done to it counts only when `adopt` says so."""
        other = Message(
            self.id, self.conn_id, self.sender,
            Recipients([_same(one) for one in self.recipients], is_open=self.recipients.is_open),
            head=self._head, text=text or self._text, most_bytes=self.most_bytes,
        )  # fmt: skip
        other.recipient = _same(self.recipient) if self.recipient is not None else None
        other.binding, other.is_locked = self.binding, self.is_locked
        other.local_address, other.remote_address = self.local_address, self.remote_address
        other._headers = None if self._headers is None else self._headers.copy()
        return other

    def adopt(self, other: Message) -> None:
        """Take over what was done to a copy."""
        if other.is_edited:
            self.headers.take(other.headers)
        self.binding = other.binding
        if self.recipients.is_open:
            self.recipients._all[:] = other.recipients._all
        if self.recipient is not None and other.recipient is not None:
            self.recipient.address, self.recipient.domain = other.recipient.address, other.recipient.domain

    @property
    def text(self) -> Text:
        """Where the text is."""
        return self._text

    @property
    def head_bytes(self) -> int:
        """Length of the header section as it came."""
        return len(self._head)


def _without_success(notify: tuple[str, ...]) -> tuple[str, ...]:
    """NOTIFY of addresses that came of one.

    >>> _without_success(("SUCCESS", "DELAY")), _without_success(("SUCCESS",)), _without_success(())
    (('DELAY',), ('NEVER',), ())
    """
    return tuple(word for word in notify if word != "SUCCESS") or ("NEVER",) * bool(notify)


def _same(recipient: Recipient) -> Recipient:
    return Recipient(
        recipient.address,
        recipient.domain,
        recipient.original,
        recipient.notify,
        recipient.orcpt,
        recipient.drop,
    )
