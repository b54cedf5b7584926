"""Authentication-Results fields that a message brings along and that claim to be ours: they are taken out.

Readers behind us believe what stands under our name; whoever sends a message must not write there. Source: RFC 8601
section 5.
"""

from __future__ import annotations

import re
from typing import Final

NAME: Final = b"authentication-results"

_FIELD = re.compile(
    rb"^(authentication-results[ \t]*:([^\n]*\n(?:[ \t][^\n]*(?:\n|\Z))*))", re.IGNORECASE | re.MULTILINE
)
_COMMENT_PARTS = re.compile(rb"[()]|\\.", re.DOTALL)


def without_claims(head: bytes, hostname: str) -> bytes:
    """A header section without the fields whose authserv-id is ours.

    Args:
        head: the header section, lines end in CR LF.
        hostname: `Received_Hostname`.
    """
    ours = hostname.lower().rstrip(".").encode()

    def kept(match: re.Match[bytes]) -> bytes:
        return b"" if authserv_id(match[2]) == ours else match[1]

    return _FIELD.sub(kept, head)


def authserv_id(value: bytes) -> bytes:
    """Who a field claims to be by, in lower case; b"" when it can't be told.

    >>> authserv_id(b" (a comment) MX.example.com 1; auth=pass")
    b'mx.example.com'
    """
    text = _skip_blanks(value)
    if text.startswith(b'"'):
        end = re.match(rb'"((?:[^"\\]|\\.)*)"', text, re.DOTALL)
        return re.sub(rb"\\(.)", rb"\1", end[1]).lower().rstrip(b".") if end else b""
    token = re.match(rb"[^\s;()\"]+", text)
    return token[0].lower().rstrip(b".") if token else b""


def _skip_blanks(value: bytes) -> bytes:
    """What follows blanks and comments, which may be nested."""
    while True:
        value = value.lstrip(b" \t\r\n")
        if not value.startswith(b"("):
            return value
        depth = 0
        for part in _COMMENT_PARTS.finditer(value):
            depth += {b"(": 1, b")": -1}.get(part[0], 0)
            if not depth:
                value = value[part.end() :]
                break
        else:
            return b""
