"""The arithmetic and the syntax of DIGEST-MD5, for the mechanism and for those who make password files (RFC 2831)."""

from __future__ import annotations

import re
from hashlib import md5
from typing import Final

_DIRECTIVE: Final = re.compile(
    rb"[ \t\r\n]*([!#$%&'*+\-.^_`|~0-9A-Za-z]+)[ \t]*=[ \t]*"
    rb"(?:\"((?:[^\"\\]|\\.)*)\"|([!#$%&'*+\-./:^_`|~0-9A-Za-z]+))[ \t\r\n]*(?:,|\Z)",
    re.DOTALL,
)
_MOST_BYTES: Final = 4096


def parse_directives(text: bytes) -> dict[str, bytes]:
    """The directives of a response by name in lower case, quotes taken off.

    Raises:
        ValueError: it is no list of directives, one comes twice, or it is longer than 4,096 octets (RFC 2831
            section 2.1.2).
    """
    if len(text) > _MOST_BYTES:
        raise ValueError("it is too long")
    found: dict[str, bytes] = {}
    position = 0
    while position < len(text):
        if text[position] in b", \t\r\n":  # empty elements (RFC 2831 section 7.1)
            position += 1
            continue
        match = _DIRECTIVE.match(text, position)
        if match is None:
            raise ValueError(f"no directive at octet {position}")
        name = match[1].decode().lower()
        if name in found:
            raise ValueError(f"{name} comes twice")
        found[name] = re.sub(rb"\\(.)", rb"\1", match[2], flags=re.DOTALL) if match[2] is not None else match[3]
        position = match.end()
    return found


def quoted(text: str) -> str:
    """A quoted string (RFC 2831 section 7.2)."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _hashed_form(text: bytes) -> bytes:
    """UTF-8 as it is hashed: in ISO 8859-1 where that can say it (RFC 2831 section 2.1.2.1)."""
    try:
        return text.decode().encode("latin-1")
    except (UnicodeDecodeError, UnicodeEncodeError):
        return text


def password_digest(user: str, realm: str, password: bytes) -> str:
    """What ``digest://`` files hold: hex MD5 of ``user:realm:password``.

    >>> password_digest("chris", "elwood.innosoft.com", b"secret")
    'eb5a750053e4d2c34aa84bbc9b0b6ee7'
    """
    parts = (user.encode(), realm.encode(), password)
    return md5(b":".join(_hashed_form(part) for part in parts), usedforsecurity=False).hexdigest()


def response_value(
    secret_hex: bytes,
    *,
    nonce: bytes,
    cnonce: bytes,
    uri: bytes,
    authzid: bytes | None = None,
    is_server: bool = False,
) -> bytes:
    """The response of a client, or with `is_server` the server's ``rspauth``, for qop=auth and nc=00000001.

    Args:
        secret_hex: hex MD5 of ``user:realm:password``.
        nonce: the server's.
        cnonce: the client's.
        uri: the digest-uri.
        authzid: as sent; None when it wasn't.
        is_server: whether the server proves itself.

    Source: RFC 2831 section 2.1.2.1.
    """
    start = bytes.fromhex(secret_hex.decode("ascii")) + b":" + nonce + b":" + cnonce
    if authzid is not None:
        start += b":" + authzid
    second = (b"" if is_server else b"AUTHENTICATE") + b":" + uri
    parts = (_hex(start), nonce, b"00000001", cnonce, b"auth", _hex(second))
    return _hex(b":".join(parts))


def _hex(data: bytes) -> bytes:
    return md5(data, usedforsecurity=False).hexdigest().encode()
