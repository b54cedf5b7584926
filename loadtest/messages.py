"""What the load tests send: kinds of messages, their sizes, and mixes of both.

A mix is written as on the command line: ``text:1k*70,html:10k*25,binary:1m*5`` (kind, size, weight).
"""

from __future__ import annotations

import base64
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from loadtest.smtp_client import stuffed

GATEWAY_MIX = "text:1k*60,html:10k*30,attachment:100k*9,attachment:1m*1"
SUBMISSION_MIX = "text:2k*70,html:20k*20,attachment:300k*10"

_UNITS = {"": 1, "k": 1024, "m": 1024 * 1024}
_PART = re.compile(r"(?P<kind>[a-z]+):(?P<size>\d+)(?P<unit>[km]?)(?:\*(?P<weight>\d+))?")
_LINE = b"The quick brown fox jumps over the lazy dog, and does so again.\r\n"
_HTML = b"<p>The <b>quick</b> brown fox jumps over the <i>lazy</i> dog.</p>\r\n"
_DOTS = b".A line that begins with a dot, and has to come out with one.\r\n"
_EIGHT_BIT = "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich.\r\n".encode()


def _repeated(line: bytes, size_bytes: int) -> bytes:
    return line * max(1, size_bytes // len(line))


def _attachment(size_bytes: int) -> bytes:
    content = base64.b64encode(random.Random(size_bytes).randbytes(max(57, size_bytes * 3 // 4)))
    lines = b"\r\n".join(content[start : start + 76] for start in range(0, len(content), 76))
    head = b"--frontier\r\nContent-Type: text/plain\r\n\r\n" + _LINE + b"--frontier\r\n"
    head += b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    return head + lines + b"\r\n--frontier--\r\n"


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of message.

    Args:
        content_type: of the header.
        body: makes a body of about so many bytes.
        parameters: of MAIL FROM.
    """

    content_type: str
    body: Callable[[int], bytes]
    parameters: str = ""


KINDS = {
    "text": Kind("text/plain; charset=us-ascii", lambda size: _repeated(_LINE, size)),
    "html": Kind("text/html; charset=us-ascii", lambda size: _repeated(_HTML, size)),
    "dots": Kind("text/plain; charset=us-ascii", lambda size: _repeated(_DOTS, size)),
    "eightbit": Kind("text/plain; charset=utf-8", lambda size: _repeated(_EIGHT_BIT, size), "BODY=8BITMIME"),
    "attachment": Kind("multipart/mixed; boundary=frontier", _attachment),
}


@dataclass(frozen=True, slots=True)
class Sample:
    """One entry of a mix.

    Args:
        kind: of `KINDS`.
        size_bytes: of the whole message, about.
        weight: how often, beside the others.
    """

    kind: str
    size_bytes: int
    weight: int = 1

    @property
    def name(self) -> str:
        """As reports show it: ``text 1 KiB``."""
        for unit, letter in ((1024 * 1024, "MiB"), (1024, "KiB")):
            if self.size_bytes >= unit:
                return f"{self.kind} {self.size_bytes / unit:g} {letter}"
        return f"{self.kind} {self.size_bytes} B"

    @property
    def parameters(self) -> str:
        """Of MAIL FROM."""
        return KINDS[self.kind].parameters

    def wire(self, token: str) -> bytes:
        """The message with a Message-ID made of `token`, as it goes on the wire with its end."""
        return b"Message-ID: <" + token.encode() + b"@load.example>\r\n" + _rest(self.kind, self.size_bytes)


@lru_cache(maxsize=64)
def _rest(kind: str, size_bytes: int) -> bytes:
    head = (
        "From: Sender <sender@load.example>\r\nTo: Reader <reader@example.com>\r\nSubject: load\r\n"
        "Date: Wed, 01 Jan 2025 00:00:00 +0000\r\nMIME-Version: 1.0\r\n"
        f"Content-Type: {KINDS[kind].content_type}\r\n\r\n"
    ).encode()
    return stuffed(head + KINDS[kind].body(size_bytes - len(head)))


class Mix:
    """Picks samples by weight.

    Args:
        text: e.g. ``text:1k*70,html:10k*30``.

    Raises:
        ValueError: it can't be read; the message says which part and what would do.
    """

    def __init__(self, text: str) -> None:
        self.samples = [self._sample(part.strip()) for part in text.split(",")]
        self._weights = [sample.weight for sample in self.samples]

    @staticmethod
    def _sample(part: str) -> Sample:
        match = _PART.fullmatch(part)
        if match is None or match["kind"] not in KINDS:
            raise ValueError(
                f"{part!r} is no part of a mix; write KIND:SIZE*WEIGHT with KIND one of {', '.join(KINDS)}"
            )
        return Sample(match["kind"], int(match["size"]) * _UNITS[match["unit"]], int(match["weight"] or 1))

    def pick(self) -> Sample:
        """One of them."""
        return random.choices(self.samples, self._weights)[0]


def span(text: str) -> tuple[int, int]:
    """``3`` or ``1-10`` as the least and the most. Raises ValueError."""
    first, dash, last = text.partition("-")
    least, most = int(first), int(last if dash else first)
    if not 0 < least <= most:
        raise ValueError(f"{text!r} is no number above 0, nor a range such as 1-10")
    return least, most
