"""The types of stored passwords that auth_ds knows, from clear text to salted hashes.

Forms: ``md5_hex``, ``sha1_hex``: hex digits; ``md5_base64``, ``sha1_base64``: base64; ``smd5``, ``ssha1``: base64 of
digest and salt; ``md5``: either form, or crypt's ``$1$``; ``digest-md5``: hex MD5 of ``user:realm:password``;
``hmac_md5``: 64 hex digits, the outer and inner MD5 states of HMAC-MD5 (RFC 2195), as Dovecot's CRAM-MD5 scheme
stores them; ``ucrypt``: crypt(3), whatever the system's knows; ``rfc2307``: ``{crypt}``, ``{md5}``, ``{smd5}``,
``{sha}`` or ``{ssha}`` in front. Comparing takes the same time wherever two differ.

Source: reference/policy-and-context.md section 4 (auth_ds); the forms where Momentum names types only are ours.
"""

from __future__ import annotations

import base64
import binascii
import ctypes
import functools
import math
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import md5, sha1, sha256
from hmac import compare_digest
from typing import Any


@dataclass(frozen=True, slots=True)
class Login:
    """What is compared.

    Args:
        user: as sent.
        realm: of the mechanism's parameters.
        password: as sent.
    """

    user: str
    realm: str
    password: bytes


Verify = Callable[[Login, str], bool]
"""Whether a login fits what is stored. Raises ValueError when that can't be of the type."""


def _octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _same(mine: bytes, stored: bytes) -> bool:
    return compare_digest(mine, stored)


def _from_hex(stored: str, size: int) -> bytes:
    data = bytes.fromhex(stored.strip())
    if len(data) != size:
        raise ValueError(f"{len(data)} octets instead of {size}")
    return data


def _from_base64(stored: str) -> bytes:
    try:
        return base64.b64decode(stored.strip(), validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from None


def _clear(login: Login, stored: str) -> bool:
    return _same(sha256(login.password).digest(), sha256(_octets(stored)).digest())  # not even the length shows


def _hex_of(algorithm: Any) -> Verify:
    size = algorithm().digest_size
    return lambda login, stored: _same(algorithm(login.password).digest(), _from_hex(stored, size))


def _base64_of(algorithm: Any) -> Verify:
    return lambda login, stored: _same(algorithm(login.password).digest(), _from_base64(stored))


def _salted(algorithm: Any) -> Verify:
    size = algorithm().digest_size

    def verify(login: Login, stored: str) -> bool:
        data = _from_base64(re.sub(r"\A\{[A-Za-z0-9]+\}", "", stored))
        if len(data) < size:
            raise ValueError("it is too short")
        return _same(algorithm(login.password + data[size:]).digest(), data[:size])

    return verify


def _md5(login: Login, stored: str) -> bool:
    if stored.startswith("$1$"):
        return _ucrypt(login, stored)
    kind = _hex_of(md5) if re.fullmatch(r"[0-9A-Fa-f]{32}", stored.strip()) else _base64_of(md5)
    return kind(login, stored)


def digest_md5_secret(login: Login) -> bytes:
    """The hex digest that DIGEST-MD5 computes with (RFC 2831 section 2.1.2.1)."""
    whole = b":".join((_octets(login.user), _octets(login.realm), login.password))
    return md5(whole).hexdigest().encode()  # noqa: S324 - what the mechanism is made of


def _digest_md5(login: Login, stored: str) -> bool:
    return _same(digest_md5_secret(login), stored.strip().lower().encode("ascii", "replace"))


def _hmac_md5(login: Login, stored: str) -> bool:
    states = _same(hmac_md5_states(login.password), _from_hex(stored, 32))
    return states and b"\0" not in login.password  # HMAC fills keys up with NUL: some would not differ


def _rfc2307(login: Login, stored: str) -> bool:
    match = re.fullmatch(r"\{([A-Za-z0-9]+)\}(.*)", stored, re.DOTALL)
    kind = _RFC2307.get(match[1].lower()) if match else None
    if match is None or kind is None:
        raise ValueError("expected {crypt}, {md5}, {smd5}, {sha} or {ssha} in front")
    return kind(login, match[2])


# --- crypt(3) -------------------------------------------------------------------------------------

_CRYPT_DATA_BYTES = 1 << 18  # more than any library's struct crypt_data
_CRYPT_MOST_BYTES = 511  # libxcrypt's limit; a longer password is wrong and no trouble, which would tell who is there


@functools.cache
def _crypt_r() -> Any:
    try:
        library = ctypes.CDLL("libcrypt.so.1")
    except OSError:
        library = ctypes.CDLL("libcrypt.so.2")  # where it was built without the old interfaces
    library.crypt_r.restype = ctypes.c_char_p
    library.crypt_r.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p)
    return library.crypt_r


def _ucrypt(login: Login, stored: str) -> bool:
    """The library runs without the interpreter's lock: a slow hash holds up nobody."""
    setting = _octets(stored.strip())
    if b"\0" in login.password or b"\0" in setting:
        return False  # C would see the part before it
    try:
        password = login.password[:_CRYPT_MOST_BYTES]
        made = _crypt_r()(password, setting, ctypes.create_string_buffer(_CRYPT_DATA_BYTES))
    except OSError as error:
        raise ValueError(f"this machine has no libcrypt: {error}") from None
    if made is None or made.startswith(b"*"):
        raise ValueError("crypt(3) doesn't know its form")
    return _same(made, setting) and password == login.password


# --- the states of HMAC-MD5 -----------------------------------------------------------------------

_SHIFTS = ((7, 12, 17, 22), (5, 9, 14, 20), (4, 11, 16, 23), (6, 10, 15, 21))
_SINES = tuple(int(abs(math.sin(i + 1)) * 2**32) for i in range(64))
_FIRST_STATE = (0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476)
_MASK = 0xFFFFFFFF


def _state_after(block: bytes) -> bytes:
    """MD5's state after one block of 64 octets (RFC 1321 section 3.4); hashlib shows none but the last."""
    words = struct.unpack("<16I", block)
    a, b, c, d = _FIRST_STATE
    for i in range(64):
        turn = i // 16
        mixed, word = (
            ((b & c) | (~b & d), i),
            ((d & b) | (~d & c), 5 * i + 1),
            (b ^ c ^ d, 3 * i + 5),
            (c ^ (b | ~d), 7 * i),
        )[turn]
        total = (a + mixed + _SINES[i] + words[word % 16]) & _MASK
        shift = _SHIFTS[turn][i % 4]
        a, d, c, b = d, c, b, (b + (total << shift | total >> (32 - shift))) & _MASK
    return struct.pack("<4I", *((x + y) & _MASK for x, y in zip(_FIRST_STATE, (a, b, c, d), strict=True)))


def hmac_md5_states(password: bytes) -> bytes:
    """The outer and inner state of HMAC-MD5 with that key: what can be stored instead of it (RFC 2195 section 3)."""
    key = md5(password).digest() if len(password) > 64 else password  # noqa: S324 - RFC 2104 section 2
    key = key.ljust(64, b"\0")
    return b"".join(_state_after(bytes(octet ^ pad for octet in key)) for pad in (0x5C, 0x36))


TYPES: dict[str, Verify] = {
    "clear": _clear,
    "digest-md5": _digest_md5,
    "hmac_md5": _hmac_md5,
    "md5": _md5,
    "md5_base64": _base64_of(md5),
    "md5_hex": _hex_of(md5),
    "rfc2307": _rfc2307,
    "sha1_base64": _base64_of(sha1),
    "sha1_hex": _hex_of(sha1),
    "smd5": _salted(md5),
    "ssha1": _salted(sha1),
    "ucrypt": _ucrypt,
}
"""All types by their documented names."""

_RFC2307: dict[str, Verify] = {
    "crypt": _ucrypt,
    "md5": _base64_of(md5),
    "sha": _base64_of(sha1),
    "smd5": _salted(md5),
    "ssha": _salted(sha1),
}
