"""How a delivery status notification is written: a Report in, the bytes of a multipart/report out. No I/O.

Whatever stands in addresses, replies and the returned original, the notice is well formed: control characters never get
into its fields, its lines keep RFC 5322's limit, its boundary occurs in none of its parts, and each byte of what is
returned is there again after decoding.

Sources: RFC 3461, RFC 3464, RFC 6522; RFC 6533 for addresses beyond ASCII; RFC 3834 (Auto-Submitted).
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass

from gsmtp.delivery.dsn_original import Original, Part, original_part, quoted_printable
from gsmtp.smtp.trace import date_time

FAILED = "failed"
DELAYED = "delayed"
DELIVERED = "delivered"
RELAYED = "relayed"
"""Values of Action (RFC 3464 section 2.3.3)."""

_LINE = 76
_LONGEST_BYTES = 900
_LONGEST_WORD = 200
"""Characters between two folds at the most: 800 bytes of UTF-8."""
_ENHANCED = re.compile(r"(?:[2-5][0-9]{2}[ -])?([245]\.[0-9]{1,3}\.[0-9]{1,3})(?![0-9.])")
_BY_CODE = {
    421: "4.3.2",
    450: "4.2.0",
    451: "4.3.0",
    452: "4.2.2",
    500: "5.5.2",
    501: "5.5.4",
    502: "5.5.1",
    503: "5.5.1",
    504: "5.5.4",
    551: "5.1.6",
    552: "5.2.2",
    553: "5.1.3",
}
"""What RFC 3463 has for basic codes that came alone; 550 and 554 say too little."""


@dataclass(frozen=True, slots=True)
class Told:
    """What became of one recipient.

    Args:
        address: where the message was to go.
        action: FAILED, DELAYED, DELIVERED or RELAYED.
        reply: the last answer, code included, or an ``[internal]`` text.
        hop: who answered, as the queue shows it.
        is_remote: whether the answer came from another host by SMTP or LMTP.
        orcpt: as the client sent it, or "".
        last_wall: time of the last attempt, seconds since the epoch.
        until_wall: for DELAYED, when it is given up; else 0.
    """

    address: str
    action: str
    reply: str
    hop: str = ""
    is_remote: bool = False
    orcpt: str = ""
    last_wall: float = 0.0
    until_wall: float = 0.0


@dataclass(frozen=True, slots=True)
class Report:
    """All that a notice says.

    Args:
        notice_id: the notice's own queue id.
        hostname: what reports.
        mailer_daemon: address for From.
        to: address that it goes to.
        when_wall: now.
        message_id: queue id of the message that it is about.
        received_wall: when that was accepted.
        recipients: at least one, all with an action of the same kind.
        original: what of the message goes with it.
        envid: ENVID as the client sent it (xtext), or "".
        is_utf8: whether who gets it takes UTF-8 in header fields (RFC 6531).
        is_double: whether the message has the null sender, so that somebody else is told.
    """

    notice_id: str
    hostname: str
    mailer_daemon: str
    to: str
    when_wall: float
    message_id: str
    received_wall: float
    recipients: tuple[Told, ...]
    original: Original
    envid: str = ""
    is_utf8: bool = False
    is_double: bool = False


@dataclass(frozen=True, slots=True)
class Composed:
    """A notice.

    Args:
        data: the whole message.
        is_8bit: whether it has bytes beyond ASCII.
    """

    data: bytes
    is_8bit: bool


def compose(report: Report) -> Composed:
    """The notice as a message."""
    parts = [_text_part(report), _status_part(report)]
    returned = original_part(report.original, is_utf8=report.is_utf8)
    if returned is not None:
        parts.append(returned)
    boundary = _boundary(report.notice_id, parts)
    is_8bit = any(part.is_8bit for part in parts)
    head = "".join(_head(report, boundary, is_8bit=is_8bit)).encode()
    pieces = [head]
    for part in parts:
        pieces += (b"\r\n--", boundary, b"\r\n", part.head, b"\r\n", part.content)
    pieces += (b"\r\n--", boundary, b"--\r\n")
    data = b"".join(pieces)
    return Composed(data, not data.isascii())


# --- header fields ----------------------------------------------------------------------------------


def _head(report: Report, boundary: bytes, *, is_8bit: bool) -> Iterator[str]:
    subject, _ = _WORDS[report.recipients[0].action]
    host = _domain_of(report.hostname)
    unique = report.notice_id.replace("/", "")
    yield f"Date: {date_time(int(report.when_wall))}\r\n"
    yield _address_field("From", "Mail Delivery System ", report.mailer_daemon, is_utf8=report.is_utf8)
    yield _address_field("To", "", report.to, is_utf8=report.is_utf8)
    yield f"Subject: {subject}\r\n"
    yield f"Message-ID: <{unique}.dsn@{host}>\r\n"
    yield "Auto-Submitted: auto-replied\r\n"
    yield "MIME-Version: 1.0\r\n"
    yield "Content-Type: multipart/report; report-type=delivery-status;\r\n"
    yield f'\tboundary="{boundary.decode()}"\r\n'
    if is_8bit:
        yield "Content-Transfer-Encoding: 8bit\r\n"


def _address_field(name: str, display: str, address: str, *, is_utf8: bool) -> str:
    """An address in a field; one that no field can hold is left out, for the envelope has it."""
    text = clean(address)
    spoiled = text != address or any(character in "<>" for character in text) or (not is_utf8 and not text.isascii())
    if spoiled or len(text.encode()) > _LONGEST_BYTES:
        return f"{name}: {display.strip() or 'undisclosed-recipients'}:;\r\n"
    return f"{name}: {display}<{text}>\r\n"


def _domain_of(hostname: str) -> str:
    return hostname if re.fullmatch(r"[A-Za-z0-9_.-]{1,255}", hostname) else "localhost"


def _boundary(notice_id: str, parts: list[Part]) -> bytes:
    """One that none of the parts holds."""
    stem = b"=_" + re.sub(r"[^0-9A-Za-z-]", "", notice_id).encode()
    boundary, number = stem, 0
    while any(boundary in part.content for part in parts):
        number += 1
        boundary = b"%s.%d" % (stem, number)
    return boundary


# --- for people -------------------------------------------------------------------------------------

_WORDS = {
    FAILED: ("Undelivered mail", "could not be delivered to the addresses below. It is not tried any more."),
    DELAYED: (
        "Delayed mail",
        "could not be delivered yet to the addresses below. You need not send it again: it is tried until %s.",
    ),
    DELIVERED: ("Delivered mail", "was delivered to the addresses below."),
    RELAYED: (
        "Mail was handed on",
        "was handed on for the addresses below, to hosts that may send no notice of delivery.",
    ),
}


def _text_part(report: Report) -> Part:
    text = "\r\n".join(_paragraphs(report)) + "\r\n"
    if text.isascii():
        return Part(b"Content-Type: text/plain; charset=us-ascii\r\n", text.encode())
    head = b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n"
    return Part(head, quoted_printable(text.encode()))


def _paragraphs(report: Report) -> Iterator[str]:
    _, what = _WORDS[report.recipients[0].action]
    until = max(one.until_wall for one in report.recipients)
    what = what.replace("%s", date_time(int(until)))
    yield from _wrapped(f"This is the mail system at {clean(report.hostname)}.", "")
    yield ""
    yield from _wrapped(f"The message that came on {date_time(int(report.received_wall))} {what}", "")
    if report.is_double:
        yield from _wrapped("It has the null sender, so that its sender can't be told.", "")
    for one in report.recipients:
        yield ""
        address = f"  <{clean(one.address)}>"
        yield from [address] if len(address.encode()) <= _LONGEST_BYTES else _wrapped(address, "  ")
        yield from _wrapped(clean(one.reply), "    ")
        if one.is_remote and one.hop:
            yield from _wrapped(f"(said by {clean(one.hop)})", "    ")
    if report.original.note:
        yield ""
        yield from _wrapped(report.original.note, "")


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, _LINE, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)


# --- for programs -----------------------------------------------------------------------------------


def _status_part(report: Report) -> Part:
    """What RFC 3464 section 2 defines; the other type when there is something beyond ASCII (RFC 6533 section 4)."""
    groups = ["".join(_message_fields(report)), *("".join(_fields(one, report.is_utf8)) for one in report.recipients)]
    content = "\r\n".join(groups).encode()
    if content.isascii():
        return Part(b"Content-Type: message/delivery-status\r\n", content)
    head = b"Content-Type: message/global-delivery-status\r\nContent-Transfer-Encoding: 8bit\r\n"
    return Part(head, content, is_8bit=True)


def _message_fields(report: Report) -> Iterator[str]:
    if report.envid:
        yield _field("Original-Envelope-Id", _ascii(clean(from_xtext(report.envid))))
    yield _field("Reporting-MTA", f"dns; {_ascii(clean(report.hostname))}")
    yield _field("Arrival-Date", date_time(int(report.received_wall)))
    yield _field("X-Gsmtp-Queue-Id", clean(report.message_id))


def _fields(one: Told, is_utf8: bool) -> Iterator[str]:
    kind, _, original = one.orcpt.partition(";")
    if original:
        yield _field("Original-Recipient", _typed(from_xtext(original), kind, is_utf8))
    yield _field("Final-Recipient", _typed(one.address, "rfc822", is_utf8))
    yield _field("Action", one.action)
    yield _field("Status", status_of(one.action, one.reply))
    if one.is_remote and one.hop:
        yield _field("Remote-MTA", f"dns; {_ascii(clean(_host_of(one.hop)))}")
    kind = "smtp" if one.is_remote else "X-gsmtp"
    reply = clean(one.reply)
    yield _folded("Diagnostic-Code", f"{kind}; {reply if is_utf8 else _ascii(reply)}")
    yield _field("Last-Attempt-Date", date_time(int(one.last_wall)))
    if one.until_wall:
        yield _field("Will-Retry-Until", date_time(int(one.until_wall)))


def status_of(action: str, reply: str) -> str:
    """The value of Status: the reply's own enhanced code where it fits the action, else what its basic code means.

    >>> status_of(FAILED, "550 5.1.1 no such user"), status_of(DELAYED, "421 busy"), status_of(FAILED, "550 no")
    ('5.1.1', '4.3.2', '5.0.0')
    """
    wanted = {FAILED: "5", DELAYED: "4"}.get(action, "2")
    found = _ENHANCED.match(reply)
    if found and found[1][0] == wanted:
        return found[1]
    code = reply[:3]
    mapped = _BY_CODE.get(int(code), "") if code.isascii() and code.isdigit() else ""
    return mapped if mapped[:1] == wanted else f"{wanted}.0.0"


def _typed(address: str, kind: str, is_utf8: bool) -> str:
    """An address with its type; one beyond ASCII is of type utf-8 (RFC 6533 section 3)."""
    text = clean(address)
    if text.isascii():
        return f"{clean(kind)}; {text}"
    return f"utf-8; {text if is_utf8 else _unitext(text)}"


def _unitext(text: str) -> str:
    r"""The ASCII form of an address of type utf-8 (utf-8-addr-xtext): ``\x{E4}`` for what stands in no field."""
    return "".join(char if "!" <= char <= "~" and char not in "\\+=" else f"\\x{{{ord(char):X}}}" for char in text)


def _ascii(text: str) -> str:
    return text if text.isascii() else "".join(char if char.isascii() else f"\\x{{{ord(char):X}}}" for char in text)


def _host_of(hop: str) -> str:
    """The host of ``mx.example.com:25`` or ``[2001:db8::1]:25``; addresses in brackets as in mail."""
    host = hop.rpartition(":")[0] if re.search(r":[0-9]+$", hop) else hop
    is_address = re.fullmatch(r"[0-9]+(\.[0-9]+){3}", host) or (":" in host and not host.startswith("["))
    return f"[{host}]" if is_address else host


def from_xtext(text: str) -> str:
    r"""Decode xtext (RFC 3461 section 4), and the ``\x{…}`` of RFC 6533 section 3.

    >>> from_xtext("a+2Bb+40example.com"), from_xtext("j\\x{FC}rgen@example.com")
    ('a+b@example.com', 'jürgen@example.com')
    """
    raw = re.sub(rb"\+([0-9A-F]{2})", lambda hit: bytes((int(hit[1], 16),)), text.encode("utf-8", "surrogateescape"))
    return re.sub(r"\\x\{([0-9A-Fa-f]{1,6})\}", _character, raw.decode("utf-8", "replace"))


def _character(hit: re.Match[str]) -> str:
    number = int(hit[1], 16)
    return chr(number) if number <= 0x10FFFF else "\N{REPLACEMENT CHARACTER}"


# --- lines ------------------------------------------------------------------------------------------


def clean(text: str) -> str:
    """Text without control characters, line ends and what is no character: a question mark stands for each."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else "?" for char in text)


def _field(name: str, value: str) -> str:
    line = f"{name}: {value}\r\n"
    return line if len(line.encode()) <= _LONGEST_BYTES else _folded(name, value)


def _folded(name: str, value: str) -> str:
    """A field folded at blanks, and within words that no line can hold."""
    pieces = [word[at : at + _LONGEST_WORD] for word in value.split() for at in range(0, len(word), _LONGEST_WORD)]
    lines, line = [], f"{name}:"
    for piece in pieces:
        if len(line) + 1 + len(piece) > _LINE and line != f"{name}:":
            lines.append(line)
            line = ""
        line += f" {piece}"
    lines.append(line)
    return "\r\n".join(lines) + "\r\n"
