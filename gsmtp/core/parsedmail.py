"""What a message says: addresses, subject, bodies and attachments, read out of any bytes without ever raising.

The standard library parses the structure; each thing that is read from it is read under guard, and what was wrong is
listed in `ParsedMail.defects`. Charsets that are unknown or broken are replaced, never an error. No I/O; the work grows
with the message, so large ones belong into native threads.

Source: RFC 5322, RFC 2045 to 2047, RFC 2231.
"""

from __future__ import annotations

import binascii
import email.utils
import quopri
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import Message
from email.parser import BytesHeaderParser, BytesParser
from email.policy import Compat32
from typing import TypeVar

from gsmtp.core.surrogates import clean

T = TypeVar("T")

_LONGEST_ADDRESSES = 262_144
"""Characters of a To or Cc field that are looked at; the library's address parser takes long over longer ones."""

_ENCODED_WORD = re.compile(r"=\?([^?\s]{1,80})\?([bBqQ])\?([^?\r\n]*)\?=")
_BETWEEN_WORDS = re.compile(r"(\?=)[ \t\r\n]+(?==\?[^?\s]{1,80}\?[bBqQ]\?)")
_FOLD = re.compile(r"\r?\n(?=[ \t])")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]+")


@dataclass(frozen=True, slots=True)
class Address:
    """One mailbox of an address field.

    Args:
        name: the display name, decoded, "" for none.
        address: as written, e.g. ``ann@example.org``.
    """

    name: str
    address: str

    def __str__(self) -> str:
        return f"{self.name} <{self.address}>" if self.name else self.address


@dataclass(frozen=True, slots=True)
class Attachment:
    """A part that is none of the two bodies; inline pictures and forwarded messages, too.

    Args:
        name: the file's name as the sender wrote it, decoded, "" for none. It may hold slashes and dots: never use it
            as a path.
        content_type: in lower case, e.g. ``application/pdf``.
        content_id: without angle brackets, "" for none (RFC 2392).
        disposition: ``"attachment"``, ``"inline"``, another word in lower case, or "".
        content: the bytes, transfer encoding undone. A forwarded message is written anew from its parsed form; its
            exact bytes are in the raw message.
    """

    name: str
    content_type: str
    content_id: str
    disposition: str
    content: bytes


@dataclass(frozen=True, slots=True)
class ParsedMail:
    """A message, read.

    Args:
        headers: all fields of the message in their order: name as written, value unfolded and decoded.
        subject: decoded, "" for none.
        date: None when there is none that can be read; with a zone, UTC where the field names none.
        message_id: as written, with its angle brackets, "" for none.
        from_: the mailboxes of From.
        reply_to: of Reply-To.
        to: of To.
        cc: of Cc.
        text: the first text/plain part that is no attachment, line ends as ``\\n``; None when there is none.
        html: likewise the first text/html part.
        attachments: all other parts.
        defects: what was wrong with the message, in no particular wording.
    """

    headers: tuple[tuple[str, str], ...]
    subject: str
    date: datetime | None
    message_id: str
    from_: tuple[Address, ...]
    reply_to: tuple[Address, ...]
    to: tuple[Address, ...]
    cc: tuple[Address, ...]
    text: str | None
    html: str | None
    attachments: tuple[Attachment, ...]
    defects: tuple[str, ...]

    def header(self, name: str) -> str:
        """The first field of that name (any case), "" for none."""
        key = name.lower()
        return next((value for one, value in self.headers if one.lower() == key), "")


def unfold(value: str) -> str:
    """A field's value on one line (RFC 5322 section 2.2.3)."""
    return _FOLD.sub("", value).strip(" \t\r\n")


class _Lenient(Compat32):
    """Gives fields as readable text instead of objects that show their 8-bit bytes as question marks."""

    def header_fetch_parse(self, name: str, value: str) -> str:
        return clean(unfold(value))


_POLICY = _Lenient(linesep="\r\n")


class _Reader:
    """Reads one message and notes what was wrong."""

    def __init__(self, data: bytes) -> None:
        self.defects: list[str] = []
        self.message = self._parse(data)

    def _parse(self, data: bytes) -> Message:
        try:
            return BytesParser(Message, policy=_POLICY).parsebytes(data)
        except Exception as error:  # noqa: BLE001 - nested too deep, or a bug of the library
            self.defects.append(f"the structure can't be parsed: {type(error).__name__}")
            return BytesHeaderParser(Message, policy=_POLICY).parsebytes(data)

    def safely(self, what: str, read: Callable[[], T], otherwise: T) -> T:
        """What `read` gives, or `otherwise` with a line among the defects."""
        try:
            return read()
        except Exception as error:  # noqa: BLE001 - whatever the library stumbles over
            self.defects.append(f"{what} can't be read: {type(error).__name__}")
            return otherwise

    def leaves(self) -> Iterator[Message]:
        """All parts that hold something themselves, in their order."""
        waiting = [self.message]
        while waiting:
            part = waiting.pop()
            self.defects += [type(defect).__name__ for defect in part.defects]
            if part.is_multipart() and self.content_type(part).startswith("multipart/"):
                inner = part.get_payload()
                waiting.extend(one for one in reversed(list(inner)) if isinstance(one, Message))
            else:
                yield part

    def content_type(self, part: Message) -> str:
        return clean(self.safely("a content type", part.get_content_type, "text/plain"))

    def content(self, part: Message) -> bytes:
        """A leaf's bytes."""
        if part.is_multipart():
            return self.safely("an embedded message", lambda: self._embedded(part), b"")
        return self.safely("a part", lambda: _decoded(part), b"")

    def _embedded(self, part: Message) -> bytes:
        whole = part.as_bytes(policy=_POLICY)
        if not whole.startswith(b"\r\n"):
            whole = b"\r\n" + whole
        data = whole.partition(b"\r\n\r\n")[2]
        encoding = str(part.get("content-transfer-encoding", "")).lower()
        if encoding == "base64":  # against RFC 2046 section 5.2.1, and met all the same
            return binascii.a2b_base64(data)
        return quopri.decodestring(data) if encoding == "quoted-printable" else data

    def text(self, part: Message) -> str:
        charset = self.safely("a charset", part.get_content_charset, None)
        return decoded(self.content(part), str(charset or "utf-8")).replace("\r\n", "\n")

    def attachment(self, part: Message) -> Attachment:
        name = self.safely("a file name", part.get_filename, None) or ""
        content_id = self.safely("a content id", lambda: part.get("content-id"), None) or ""
        return Attachment(
            _CONTROLS.sub(" ", decode_words(clean(str(name)))),
            self.content_type(part),
            str(content_id).strip().removeprefix("<").removesuffix(">"),
            self.disposition(part),
            self.content(part),
        )

    def disposition(self, part: Message) -> str:
        return clean(self.safely("a disposition", part.get_content_disposition, None) or "")

    def addresses(self, name: str) -> tuple[Address, ...]:
        return self.safely(f"the field {name}", lambda: self._addresses(name), ())

    def _addresses(self, name: str) -> tuple[Address, ...]:
        values = [str(value) for value in self.message.get_all(name, [])]
        if sum(map(len, values)) > _LONGEST_ADDRESSES:
            self.defects.append(f"the field {name} is too long to be taken apart")
            return ()
        pairs = email.utils.getaddresses(values)
        return tuple(Address(decode_words(clean(shown)), clean(address)) for shown, address in pairs if address)

    def date(self) -> datetime | None:
        value = self.message.get("date")
        if not value:
            return None
        found = email.utils.parsedate_to_datetime(str(value))
        found = found if found.tzinfo is not None else found.replace(tzinfo=UTC)
        found.astimezone(UTC)  # a year that only local time can hold
        return found


def parse(data: bytes) -> ParsedMail:
    """Read a message. Never raises.

    Args:
        data: the whole message, header and body, with any line ends.
    """
    reader = _Reader(data)
    text: str | None = None
    html: str | None = None
    attachments = []
    for part in reader.leaves():
        content_type = reader.content_type(part)
        is_attached = reader.disposition(part) == "attachment"
        is_text = content_type == "text/plain" or content_type.startswith("multipart/")  # one without parts
        if text is None and not is_attached and is_text and not part.is_multipart():
            text = reader.text(part)
        elif html is None and not is_attached and content_type == "text/html":
            html = reader.text(part)
        else:
            attachments.append(reader.attachment(part))
    message = reader.message
    return ParsedMail(
        headers=tuple((clean(name), decode_words(clean(unfold(str(value))))) for name, value in message.raw_items()),
        subject=decode_words(str(message.get("subject", ""))),
        date=reader.safely("the date", reader.date, None),
        message_id=str(message.get("message-id", "")),
        from_=reader.addresses("from"),
        reply_to=reader.addresses("reply-to"),
        to=reader.addresses("to"),
        cc=reader.addresses("cc"),
        text=text,
        html=html,
        attachments=tuple(attachments),
        defects=tuple(dict.fromkeys(reader.defects)),
    )


def _decoded(part: Message) -> bytes:
    try:
        payload = part.get_payload(decode=True)
    except TypeError:  # the library stumbles over a charset in the form of RFC 2231; the bytes don't depend on it
        del part["content-type"]
        payload = part.get_payload(decode=True)
    return payload if isinstance(payload, bytes) else str(payload or "").encode("utf-8", "replace")


def decoded(data: bytes, charset: str) -> str:
    """Bytes in a charset as text; an unknown charset counts as UTF-8, what doesn't fit is replaced."""
    try:
        return clean(data.decode(charset, "replace"))
    except (LookupError, ValueError):  # UnicodeError is a ValueError; codecs such as "hex" are no charsets
        return data.decode("utf-8", "replace")


def decode_words(value: str) -> str:
    """A text with its encoded words decoded (RFC 2047); words that are broken stay as they are.

    >>> decode_words("=?utf-8?q?Gr=C3=BC=C3=9Fe?= aus =?iso-8859-1?b?S/ZsbiE=?=")
    'Grüße aus Köln!'
    """
    if "=?" not in value:
        return value
    value = _BETWEEN_WORDS.sub(r"\1", value)
    pieces: list[str] = []
    held: tuple[str, bytes] | None = None  # of one charset: a letter may be spread over two words
    end = 0
    for match in _ENCODED_WORD.finditer(value):
        data = _word_bytes(match[2].lower(), match[3])
        charset = match[1].partition("*")[0].lower()  # RFC 2231 section 5: a language may follow
        if held is not None and (match.start() > end or charset != held[0] or data is None):
            pieces.append(decoded(held[1], held[0]))
            held = None
        pieces.append(value[end : match.start()])
        end = match.end()
        if data is None:
            pieces.append(match[0])
        else:
            held = (charset, (held[1] if held else b"") + data)
    if held is not None:
        pieces.append(decoded(held[1], held[0]))
    return "".join(pieces) + value[end:]


def _word_bytes(encoding: str, text: str) -> bytes | None:
    """The bytes of an encoded word, None for a broken one."""
    if not text.isascii():
        return None
    if encoding == "q":
        return quopri.decodestring(text.replace("_", "=20").encode("ascii"))
    try:
        return binascii.a2b_base64(text + "=" * (-len(text) % 4))
    except binascii.Error:
        return None
