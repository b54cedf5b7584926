"""Password formats of ``file://``: clear text, and hashes behind a prefix such as ``{SSHA512}``; checking and making.

What stands behind the first ``:`` is clear text unless it begins with ``{SCHEME}`` in upper case, or is as a whole an
argon2id or bcrypt hash as their libraries write it; nothing else is guessed. A ``{SCHEME}`` that isn't known is an
error, never a password: or whoever reads the file could log in with the hash. A password that itself begins so is
written ``{CLEAR}{…``.

Source: reference/esmtp-listener.md section 11.2. The prefixes are those of OpenLDAP and Dovecot.
"""

from __future__ import annotations

import base64
import hmac
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import new as new_hash
from hashlib import pbkdf2_hmac, sha256
from typing import Any, Final

from gsmtp.auth.stored_types import TYPES, Login
from gsmtp.sasl.need import ScramSecret
from gsmtp.sasl.scram import decode, is_password, make_secret

EXTRA: Final = "gsmtp[auth]"
"""What has to be installed for argon2 and bcrypt."""


class UnusablePassword(ValueError):
    """A stored password that nothing can be compared with; the text says why and holds nothing of it."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A password as it is kept.

    Args:
        scheme: in upper case, ``"CLEAR"`` for clear text.
        value: without the prefix.
    """

    scheme: str
    value: bytes = field(repr=False)

    @property
    def kind(self) -> tuple[str, bytes]:
        """Scheme and cost: what is alike takes the same time."""
        scheme = SCHEMES.get(self.scheme)
        return self.scheme, scheme.cost_of(self.value) if scheme is not None else b""

    @property
    def is_clear(self) -> bool:
        """Whether the password itself is known."""
        return self.scheme == "CLEAR"


@dataclass(frozen=True, slots=True)
class Scheme:
    """One format.

    Args:
        name: in upper case.
        check: whether a stored value was made of a password. Raises UnusablePassword.
        make: makes a value of a password, None for what is only read.
        needs: the module that it needs, "" for none.
        cost_of: what of a value says how long checking takes.
        doc: for `gsmtp passwd --help`.
    """

    name: str
    check: Callable[[bytes, bytes], bool]
    make: Callable[[bytes], bytes] | None = None
    needs: str = ""
    cost_of: Callable[[bytes], bytes] = lambda _value: b""
    doc: str = ""


def parse(text: bytes) -> Stored:
    """Tell the format of what stands behind the colon.

    >>> parse(b"secret").scheme, parse(b"{SSHA}abc").scheme, parse(b"{abc}").scheme
    ('CLEAR', 'SSHA', 'CLEAR')
    """
    match = _PREFIX.match(text)
    if match is not None:
        name = match[1].decode()
        return Stored(_ALIASES.get(name, name), text[match.end() :])
    if _ARGON2.fullmatch(text):
        return Stored("ARGON2ID", text)
    return Stored("BCRYPT" if _BCRYPT.fullmatch(text) else "CLEAR", text)


def check(stored: Stored, password: bytes) -> bool:
    """Whether this is the password. Slow for slow hashes: native threads only.

    Raises:
        UnusablePassword: the format isn't known, is damaged, or needs what isn't installed.
    """
    scheme = SCHEMES.get(stored.scheme)
    if scheme is None:
        raise UnusablePassword(f"unknown password scheme {{{stored.scheme}}}")
    return scheme.check(stored.value, password)


def make(scheme: str, password: bytes) -> bytes:
    """What to write behind the colon for a new password, prefix included.

    Raises:
        UnusablePassword: the scheme isn't known or only read, or needs what isn't installed.
    """
    found = SCHEMES.get(scheme)
    if found is None or found.make is None:
        raise UnusablePassword(f"no passwords are made as {scheme}")
    value = found.make(password)
    if scheme == "CLEAR":
        return value if parse(value).is_clear else b"{CLEAR}" + value
    return b"{%s}%s" % (scheme.encode(), value)


def scram_secret(stored: Stored) -> ScramSecret:
    """The verifier of a ``{SCRAM-SHA-256}`` entry. Raises UnusablePassword."""
    parts = stored.value.split(b",")
    try:
        if len(parts) != 4:
            raise ValueError
        iterations = int(parts[0])
        salt, stored_key, server_key = (decode(part) for part in parts[1:])
    except ValueError:
        raise UnusablePassword("damaged {SCRAM-SHA-256} value") from None
    if not 1 <= iterations <= 10_000_000 or len(stored_key) != 32 or len(server_key) != 32:
        raise UnusablePassword("damaged {SCRAM-SHA-256} value")
    return ScramSecret(salt, iterations, stored_key, server_key)


def is_installed(scheme: str) -> bool:
    """Whether what a scheme needs can be imported."""
    found = SCHEMES.get(scheme)
    return found is not None and (not found.needs or _import(found.needs) is not None)


# --- the formats

_PREFIX = re.compile(rb"\{([A-Z][A-Z0-9.-]+)\}")
_ARGON2 = re.compile(rb"\$argon2id\$v=\d+\$m=\d+,t=\d+,p=\d+(?:,\w+=[^$,]+)*\$[A-Za-z0-9+/]{11,}\$[A-Za-z0-9+/]{16,}")
_BCRYPT = re.compile(rb"\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}")
_ALIASES: Final = {
    "PLAIN": "CLEAR",
    "CLEARTEXT": "CLEAR",
    "BLF-CRYPT": "BCRYPT",
    "ARGON2": "ARGON2ID",
    "PBKDF2": "PBKDF2-SHA256",
}
_PBKDF2_ROUNDS = 600_000
_SALT_BYTES = 16


def _same(one: bytes, other: bytes) -> bool:
    """Whether two secrets are equal, in a time that depends on neither's content nor on their lengths' difference."""
    return hmac.compare_digest(sha256(one).digest(), sha256(other).digest())


def _decoded(value: bytes, what: str) -> bytes:
    try:
        return decode(value)
    except ValueError:
        raise UnusablePassword(f"damaged {what} value") from None


def _plain_digest(name: str, algorithm: str) -> Scheme:
    def is_same(value: bytes, password: bytes) -> bool:
        return _same(new_hash(algorithm, password).digest(), _decoded(value, f"{{{name}}}"))

    return Scheme(name, is_same, doc="unsalted, read only")


def _salted_digest(name: str, algorithm: str, *, doc: str = "salted, fast") -> Scheme:
    size = new_hash(algorithm).digest_size

    def is_same(value: bytes, password: bytes) -> bool:
        raw = _decoded(value, f"{{{name}}}")
        if len(raw) <= size:
            raise UnusablePassword(f"damaged {{{name}}} value")
        return _same(new_hash(algorithm, password + raw[size:]).digest(), raw[:size])

    def made(password: bytes) -> bytes:
        salt = os.urandom(_SALT_BYTES)
        return base64.b64encode(new_hash(algorithm, password + salt).digest() + salt)

    return Scheme(name, is_same, made, doc=doc)


def _pbkdf2(name: str, algorithm: str) -> Scheme:
    """``rounds$salt$digest`` in the base64 of passlib: ``.`` for ``+``, no padding."""

    def parts(value: bytes) -> tuple[int, bytes, bytes]:
        try:
            rounds, salt, digest = value.removeprefix(b"$").split(b"$")
            count = int(rounds)
            if not 1 <= count <= 100_000_000:
                raise ValueError
            return count, _adapted_decode(salt), _adapted_decode(digest)
        except ValueError:
            raise UnusablePassword(f"damaged {{{name}}} value") from None

    def is_same(value: bytes, password: bytes) -> bool:
        rounds, salt, digest = parts(value)
        return _same(pbkdf2_hmac(algorithm, password, salt, rounds, len(digest)), digest)

    def made(password: bytes) -> bytes:
        salt = os.urandom(_SALT_BYTES)
        digest = pbkdf2_hmac(algorithm, password, salt, _PBKDF2_ROUNDS)
        return b"%d$%s$%s" % (_PBKDF2_ROUNDS, _adapted_encode(salt), _adapted_encode(digest))

    return Scheme(name, is_same, made, cost_of=lambda value: value.split(b"$")[0], doc="slow; needs no extra package")


def _adapted_encode(data: bytes) -> bytes:
    return base64.b64encode(data, b"./").rstrip(b"=")


def _adapted_decode(text: bytes) -> bytes:
    return decode(text.replace(b".", b"+") + b"=" * (-len(text) % 4))


@lru_cache
def _import(module: str) -> Any:
    """A module of the extra, None when it isn't installed."""
    try:
        return __import__(module)
    except ImportError:
        return None


def _needed(module: str) -> Any:
    found = _import(module)
    if found is None:
        raise UnusablePassword(f"needs the Python package {module}: pip install {EXTRA}")
    return found


def _argon2_check(value: bytes, password: bytes) -> bool:
    argon2 = _needed("argon2")
    try:
        return bool(argon2.low_level.verify_secret(value, password, argon2.low_level.Type.ID))
    except argon2.exceptions.VerifyMismatchError:
        return False
    except argon2.exceptions.Argon2Error:
        raise UnusablePassword("damaged {ARGON2ID} value") from None


def _argon2_make(password: bytes) -> bytes:
    return _needed("argon2").PasswordHasher().hash(password).encode()  # type: ignore[no-any-return]


def _bcrypt_check(value: bytes, password: bytes) -> bool:
    bcrypt = _needed("bcrypt")
    if _BCRYPT.fullmatch(value) is None:
        raise UnusablePassword("damaged {BCRYPT} value")
    # bcrypt looks at 72 octets, newer versions of the package refuse longer ones; it would stop at a NUL
    is_same = bool(bcrypt.checkpw(password[:72].replace(b"\0", b""), value))
    return is_same and b"\0" not in password


def _bcrypt_make(password: bytes) -> bytes:
    if len(password) > 72 or b"\0" in password:
        raise UnusablePassword("bcrypt takes no more than 72 octets")
    return _needed("bcrypt").hashpw(password, _needed("bcrypt").gensalt())  # type: ignore[no-any-return]


def _scram_check(value: bytes, password: bytes) -> bool:
    return is_password(scram_secret(Stored("SCRAM-SHA-256", value)), password)


def _scram_make(password: bytes) -> bytes:
    secret = make_secret(password, os.urandom(_SALT_BYTES))
    keys = b",".join(base64.b64encode(part) for part in (secret.salt, secret.stored_key, secret.server_key))
    return b"%d,%s" % (secret.iterations, keys)


def _crypt_check(value: bytes, password: bytes) -> bool:
    try:
        return TYPES["ucrypt"](Login("", "", password), value.decode("utf-8", "surrogateescape"))
    except ValueError as error:
        raise UnusablePassword(f"damaged {{CRYPT}} value: {error}") from None


SCHEMES: Final[dict[str, Scheme]] = {
    scheme.name: scheme
    for scheme in (
        Scheme(
            "ARGON2ID",
            _argon2_check,
            _argon2_make,
            "argon2",
            lambda value: value.rpartition(b"$")[0].rpartition(b"$")[0],
            "slow and hard on memory; the best for PLAIN and LOGIN",
        ),
        Scheme("BCRYPT", _bcrypt_check, _bcrypt_make, "bcrypt", lambda value: value[:7], "slow; at most 72 octets"),
        _pbkdf2("PBKDF2-SHA256", "sha256"),
        _pbkdf2("PBKDF2-SHA512", "sha512"),
        Scheme(
            "SCRAM-SHA-256",
            _scram_check,
            _scram_make,
            cost_of=lambda value: value.split(b",")[0],
            doc="for SCRAM-SHA-256 as well as PLAIN and LOGIN",
        ),
        _salted_digest("SSHA512", "sha512"),
        _salted_digest("SSHA256", "sha256"),
        _salted_digest("SSHA", "sha1"),
        _plain_digest("SHA512", "sha512"),
        _plain_digest("SHA256", "sha256"),
        _plain_digest("SHA", "sha1"),
        Scheme("CRYPT", _crypt_check, cost_of=lambda value: b"$".join(value.split(b"$")[:3]), doc="read only"),
        Scheme("CLEAR", _same, bytes, doc="the password itself: for CRAM-MD5 and DIGEST-MD5"),
    )
}
"""By name; the best first."""


def best_scheme() -> str:
    """The best scheme that is installed."""
    return next(name for name, scheme in SCHEMES.items() if scheme.make is not None and is_installed(name))
