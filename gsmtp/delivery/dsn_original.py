"""What of a message goes back with a notice, and how: whole, its header fields, or nothing; each byte survives.

Sources: RFC 6522 section 3, RFC 2046 section 5.2.1 (message/rfc822 is never encoded), RFC 6533 section 5.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass

from gsmtp.core.errors import SpoolError
from gsmtp.delivery.bounce_options import ALL, NONE
from gsmtp.spool.base import StoredBody

MOST_WHOLE_BYTES = 1_048_576
"""A larger message goes back as its header fields."""
MOST_HEAD_BYTES = 65_536
_MOST_LINE_BYTES = 998
_LONG_LINE = re.compile(rb"[^\n]{999}")
_LONE = re.compile(rb"\r(?!\n)|(?<!\r)\n|\0")
_BLANK_LINE = re.compile(rb"\r?\n\r?\n")


@dataclass(frozen=True, slots=True)
class Original:
    """What goes back.

    Args:
        data: the message, or its header fields.
        is_whole: which of both.
        note: why it is less than was wished, a sentence, or "".
    """

    data: bytes = b""
    is_whole: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a multipart message.

    Args:
        head: its header fields, each with its line end.
        content: encoded as the head says.
        is_8bit: whether the content has bytes beyond ASCII.
    """

    head: bytes
    content: bytes
    is_8bit: bool = False


def read_original(body: StoredBody, wanted: str) -> Original:
    """Read as much as is wanted and allowed. Blocks: for native threads.

    Args:
        body: of the message.
        wanted: NONE, HEADERS or ALL.
    """
    if wanted == NONE:
        return Original()
    try:
        if wanted == ALL and body.size_bytes <= MOST_WHOLE_BYTES:
            return Original(b"".join(body.pieces()), is_whole=True)
        start = next(body.pieces(MOST_HEAD_BYTES), b"")[:MOST_HEAD_BYTES]
    except (OSError, SpoolError) as error:
        return Original(note=f"Its text can't be read: {getattr(error, 'strerror', None) or error}.")
    notes = []
    if wanted == ALL:
        notes.append(f"It has {body.size_bytes} bytes, too many to go back; its header fields do.")
    blank = _BLANK_LINE.search(start)
    if start[:2] == b"\r\n" or start[:1] == b"\n":
        head = b""
    elif blank is not None:
        head = start[: blank.start()] + b"\r\n"
    else:
        head = start
        if body.size_bytes > len(start):
            head = start[: start.rfind(b"\n") + 1] or start
            notes.append(f"Its header fields are cut off after {len(head)} bytes.")
    return Original(head, note=" ".join(notes))


def original_part(original: Original, *, is_utf8: bool) -> Part | None:
    """The third part of a notice, None when nothing goes back.

    Args:
        original: what does.
        is_utf8: whether the receiver takes UTF-8 in header fields.
    """
    data = original.data
    if not data:
        return None
    return _whole_part(data, is_utf8=is_utf8) if original.is_whole else _head_part(data, is_utf8=is_utf8)


def _whole_part(data: bytes, *, is_utf8: bool) -> Part:
    if not fits_lines(data):
        # A type message/rfc822 that isn't lines of text would need BINARYMIME on its whole way.
        head = (
            b'Content-Type: application/octet-stream; name="original.eml"\r\n'
            b'Content-Disposition: attachment; filename="original.eml"\r\n'
            b"Content-Transfer-Encoding: base64\r\n"
        )
        return Part(head, base64.encodebytes(data).replace(b"\n", b"\r\n"))
    if data.isascii():
        return Part(b"Content-Type: message/rfc822\r\n", data)
    blank = _BLANK_LINE.search(data)
    is_global = is_utf8 and not data[: blank.start() if blank else len(data)].isascii()
    kind = b"global" if is_global else b"rfc822"
    return Part(b"Content-Type: message/%s\r\nContent-Transfer-Encoding: 8bit\r\n" % kind, data, is_8bit=True)


def _head_part(data: bytes, *, is_utf8: bool) -> Part:
    fits = fits_lines(data)
    if fits and data.isascii():
        return Part(b"Content-Type: text/rfc822-headers\r\n", data)
    if fits and is_utf8:
        head = b"Content-Type: message/global-headers\r\nContent-Transfer-Encoding: 8bit\r\n"
        return Part(head, data, is_8bit=True)
    head = b"Content-Type: text/rfc822-headers\r\nContent-Transfer-Encoding: quoted-printable\r\n"
    return Part(head, quoted_printable(data))


def fits_lines(data: bytes) -> bool:
    """Whether it is lines as SMTP carries them: at most 998 bytes, CR and LF in pairs only, no NUL."""
    if _LONE.search(data) is not None:
        return False
    return all(len(hit[0].split(b"\r", 1)[0]) <= _MOST_LINE_BYTES for hit in _LONG_LINE.finditer(data))


def quoted_printable(data: bytes) -> bytes:
    """Quoted-printable of text in CR LF lines; what else there is of CR and LF is encoded (RFC 2045 section 6.7)."""
    lines = data.split(b"\r\n")
    return b"\r\n".join(binascii.b2a_qp(line, istext=False).replace(b"=\n", b"=\r\n") for line in lines)
