"""Messages that tests send, and what of a delivered file is the message as sent."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

_TRACE = re.compile(rb"(?:Return-Path|Delivered-To|Received):", re.IGNORECASE)
NUMBER = re.compile(rb"^X-Number: (\d+)\r?$", re.MULTILINE)


@dataclass(frozen=True)
class Mail:
    """One message to send.

    Args:
        number: also in its first header field, by which it is found again.
        sender: reverse-path; `recipient`: forward-path.
        content: header and body, CRLF line ends.
        options: parameters of MAIL FROM.
    """

    number: int
    sender: str
    recipient: str
    content: bytes
    options: tuple[str, ...] = ()


def compose(number: int, body: bytes) -> bytes:
    """A whole message around a body: header fields that no server on the way needs to add to."""
    return (
        b"X-Number: %d\r\n" % number
        + b"From: Sender <sender@example.net>\r\nTo: Somebody <somebody@example.com>\r\n"
        + b"Subject: number %d\r\n" % number
        + b"Date: Sat, 01 Nov 2025 12:00:00 +0000\r\n"
        + b"Message-ID: <%d@example.net>\r\n\r\n" % number
        + body
    )


def number_of(stored: bytes) -> int:
    """The number of a delivered message."""
    match = NUMBER.search(stored)
    assert match, f"no X-Number in {stored[:300]!r}"
    return int(match[1])


def without_trace(stored: bytes) -> bytes:
    """A delivered message without the trace fields that servers put before it (RFC 5321 section 4.4)."""
    lines = stored.splitlines(keepends=True)
    at = 0
    while at < len(lines) and (_TRACE.match(lines[at]) or (at and lines[at][:1] in (b" ", b"\t"))):
        at += 1
    return b"".join(lines[at:])


def plain(number: int) -> bytes:
    """Short ASCII lines."""
    return b"".join(b"line %d of message %d\r\n" % (line, number) for line in range(20))


def eight_bit(number: int) -> bytes:
    """UTF-8 and Latin-1 in one body, as real mail has it."""
    return f"Grüße aus Köln, Nummer {number}, 日本語\r\n".encode() + "déjà vu\r\n".encode("latin-1") * 10


def dots(number: int) -> bytes:
    """Lines that begin with dots, in every place where transparency could go wrong (RFC 5321 section 4.5.2)."""
    return b".\r\n..\r\n...\r\n.leading\r\nmiddle . dot\r\n..two %d\r\n\r\n.\r\n\r\n. \r\nend.\r\n.\r\n" % number


def large(number: int, size_bytes: int) -> bytes:
    """A body of about that size, of lines that differ."""
    random_bytes = random.Random(number)
    line = b"%08d " + bytes(random_bytes.choices(b"abcdefghijklmnopqrstuvwxyz ", k=60)) + b"\r\n"
    return b"".join(line % count for count in range(size_bytes // len(line % 0)))
