"""The arithmetic and the syntax of SCRAM with SHA-256, for mechanisms and for stores (RFC 5802, RFC 7677)."""

from __future__ import annotations

import binascii
import hmac
from dataclasses import dataclass
from hashlib import pbkdf2_hmac, sha256, shake_256
from typing import Final

from gsmtp.sasl.mechanism import DECOY_KEY
from gsmtp.sasl.need import ScramSecret
from gsmtp.sasl.prep import saslprep

ITERATIONS: Final = 4096
"""For secrets that are made anew (RFC 7677 section 4 asks for at least this)."""

SALT_BYTES: Final = 16


def _digest(key: bytes, data: bytes) -> bytes:
    return hmac.digest(key, data, "sha256")


def make_secret(password: bytes, salt: bytes, iterations: int = ITERATIONS) -> ScramSecret:
    """The verifier of a password (RFC 5802 section 3). The password is prepared where it can be."""
    try:
        prepared = saslprep(password.decode()).encode()
    except ValueError:
        prepared = password
    salted = pbkdf2_hmac("sha256", prepared, salt, iterations)
    client_key = _digest(salted, b"Client Key")
    return ScramSecret(salt, iterations, sha256(client_key).digest(), _digest(salted, b"Server Key"))


def salt_for(user: str, size_bytes: int = SALT_BYTES) -> bytes:
    """A salt that is the same for one user as long as the process lives: unknown users', and those of clear text."""
    return shake_256(DECOY_KEY + user.encode("utf-8", "surrogateescape")).digest(size_bytes)


def decoy_for(user: str, iterations: int = ITERATIONS, salt_bytes: int = SALT_BYTES) -> ScramSecret:
    """What an unknown user's dialogue goes on with; no password fits it."""
    key = _digest(DECOY_KEY, b"secret of " + user.encode("utf-8", "surrogateescape"))
    return ScramSecret(salt_for(user, salt_bytes), iterations, key, _digest(key, b"server"))


def is_password(secret: ScramSecret, password: bytes) -> bool:
    """Whether a verifier was made from this password."""
    made = make_secret(password, secret.salt, secret.iterations)
    return hmac.compare_digest(made.stored_key, secret.stored_key)


def proves(secret: ScramSecret, auth_message: bytes, proof: bytes) -> bool:
    """Whether a ClientProof shows that the client knows the password (RFC 5802 section 3)."""
    signature = _digest(secret.stored_key, auth_message)
    if len(proof) != len(signature):
        return False
    client_key = bytes(one ^ other for one, other in zip(proof, signature, strict=True))
    return hmac.compare_digest(sha256(client_key).digest(), secret.stored_key)


def server_signature(secret: ScramSecret, auth_message: bytes) -> bytes:
    """What proves the server (RFC 5802 section 3)."""
    return _digest(secret.server_key, auth_message)


@dataclass(frozen=True, slots=True)
class ClientFirst:
    """The client's first message.

    Args:
        gs2_header: as sent, up to and with the second comma.
        flag: ``"n"``, ``"y"`` or ``"p"``.
        binding: name of the channel binding with ``"p"``, else "".
        authzid: unescaped, "" when it wasn't given.
        bare: what follows the header.
        user: unescaped, not prepared.
        nonce: the client's.
    """

    gs2_header: bytes
    flag: str
    binding: str
    authzid: str
    bare: bytes
    user: str
    nonce: bytes


def parse_client_first(message: bytes) -> ClientFirst:
    """Read client-first-message (RFC 5802 section 7). Raises ValueError."""
    parts = message.split(b",", 2)
    if len(parts) != 3:
        raise ValueError("no gs2 header")
    flag_text, authzid_text, bare = parts
    flag, _, binding = flag_text.decode("ascii").partition("=")
    if flag not in ("n", "y", "p") or (flag == "p") != bool(binding):
        raise ValueError("bad channel binding flag")
    if authzid_text and not authzid_text.startswith(b"a="):
        raise ValueError("bad authorization identity")
    attributes = bare.split(b",")
    if attributes[0].startswith(b"m="):
        raise ValueError("extensions are not supported")
    if len(attributes) < 2 or not attributes[0].startswith(b"n=") or not attributes[1].startswith(b"r="):
        raise ValueError("no user name and nonce")
    nonce = attributes[1][2:]
    if not nonce or not all(33 <= octet <= 126 for octet in nonce):
        raise ValueError("bad nonce")
    header = message[: len(message) - len(bare)]
    return ClientFirst(header, flag, binding, _name(authzid_text[2:]), bare, _name(attributes[0][2:]), nonce)


def _name(text: bytes) -> str:
    """A saslname: ``=2C`` is a comma, ``=3D`` an equals sign, other uses of ``=`` are errors."""
    pieces = text.decode().split("=")
    for piece in pieces[1:]:
        if piece[:2] not in ("2C", "3D"):
            raise ValueError("bad escape in a name")
    return pieces[0] + "".join(("," if piece[:2] == "2C" else "=") + piece[2:] for piece in pieces[1:])


@dataclass(frozen=True, slots=True)
class ClientFinal:
    """The client's last message.

    Args:
        channel: what ``c=`` holds, decoded.
        nonce: both nonces.
        proof: decoded.
        without_proof: what is signed.
    """

    channel: bytes
    nonce: bytes
    proof: bytes
    without_proof: bytes


def parse_client_final(message: bytes) -> ClientFinal:
    """Read client-final-message (RFC 5802 section 7). Raises ValueError."""
    without_proof, separator, proof = message.rpartition(b",p=")
    attributes = without_proof.split(b",")
    if not separator or len(attributes) < 2 or attributes[0][:2] != b"c=" or attributes[1][:2] != b"r=":
        raise ValueError("no channel binding, nonce and proof")
    return ClientFinal(decode(attributes[0][2:]), attributes[1][2:], decode(proof), without_proof)


def decode(text: bytes) -> bytes:
    """Base64, strictly: nothing but its alphabet, padded to a multiple of four. Raises ValueError."""
    if len(text) % 4:
        raise ValueError("bad base64")
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except binascii.Error as error:
        raise ValueError("bad base64") from error
