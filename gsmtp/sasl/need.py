"""What a mechanism needs from a credential store, and what a store answers. Values only; the driver carries them.

A mechanism that sees the password asks `CheckPassword`; one that works on a challenge asks `FetchSecret`. A store
(`gsmtp.auth.stores`) answers either with an `Answer`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum


class Status(Enum):
    """The outcome of a look-up or an attempt; the values are those of the context variable ``auth_status``."""

    PASS = "pass"  # noqa: S105 - the documented word
    FAIL = "fail"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class CheckPassword:
    """Is this the user's password?

    Args:
        user: the authentication identity as sent.
        password: byte-exact; never shown by repr.
        mechanism: in upper case.
    """

    user: str
    password: bytes = field(repr=False)
    mechanism: str = "PLAIN"


@dataclass(frozen=True, slots=True)
class FetchSecret:
    """The stored secret that a challenge-response mechanism computes with.

    Args:
        user: the authentication identity as sent.
        kind: ``"cleartext"`` (CRAM-MD5; DIGEST-MD5 with ``stored_cleartext``), ``"digest-md5"`` (hex MD5 of
            ``user:realm:password``) or ``"scram-sha-256"`` (`ScramSecret`; made from clear text where that is stored).
        mechanism: in upper case.
        realm: of DIGEST-MD5, else "".
        details: what a datasource query may use besides: ``nonce``, ``uri``.
    """

    user: str
    kind: str
    mechanism: str
    realm: str = ""
    details: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ScramSecret:
    """A SCRAM verifier (RFC 5802 section 3)."""

    salt: bytes
    iterations: int
    stored_key: bytes = field(repr=False)
    server_key: bytes = field(repr=False)


Need = CheckPassword | FetchSecret


@dataclass(frozen=True, slots=True)
class Answer:
    """What a store says.

    Args:
        status: PASS with `secret` for FetchSecret, PASS or FAIL for CheckPassword; FAIL for an unknown user; ERROR
            when the back end can't tell.
        secret: clear text or hex digest as bytes, or a ScramSecret, where a FetchSecret passed. With FAIL it may be a
            decoy (as a known user's would look, salt and iterations included), so that the dialogue goes on as for
            one who exists; the mechanism makes one where there is none. The exchange fails all the same.
        reason: for the log only.
    """

    status: Status
    secret: bytes | ScramSecret | None = field(default=None, repr=False)
    reason: str = ""
