"""xtext: text in which a plus sign and two hexadecimal digits stand for an octet (RFC 3461 section 4)."""

from __future__ import annotations

import re

from gsmtp.smtp.abnf import is_xtext

_ESCAPE = re.compile(rb"\+([0-9A-F]{2})")


def decode_xtext(text: str) -> str | None:
    """What xtext stands for, read as UTF-8; None when it is no xtext, no UTF-8, or holds control characters.

    The brackets of ``[UNAVAILABLE]`` and the like are ordinary characters of xtext.
    """
    if not text.isascii() or not is_xtext(text):
        return None
    octets = _ESCAPE.sub(lambda match: bytes.fromhex(match[1].decode()), text.encode())
    try:
        found = octets.decode()
    except UnicodeDecodeError:
        return None
    return None if any(ord(character) < 32 or ord(character) == 127 for character in found) else found
