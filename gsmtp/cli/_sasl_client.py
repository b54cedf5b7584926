"""The client's side of the mechanisms by which one logs in to the console: one function each, responses to challenges.

Sources: RFC 4616 (PLAIN), RFC 2195 (CRAM-MD5), RFC 2831 (DIGEST-MD5), RFC 5802 and RFC 7677 (SCRAM-SHA-256).
"""

from __future__ import annotations

import base64
import hmac
import secrets
from collections.abc import Callable, Generator
from hashlib import pbkdf2_hmac, sha256
from typing import Final

from gsmtp.core.errors import GsmtpError
from gsmtp.sasl.digest import parse_directives, password_digest, quoted, response_value
from gsmtp.sasl.prep import saslprep

Steps = Generator[bytes | None, bytes, None]
"""Yields responses, gets challenges; the first yield is the initial response, None when the server speaks first."""


class BadServer(GsmtpError):
    """The server broke the mechanism, or did not prove that it knows the password."""


def _plain(user: str, password: str) -> Steps:
    yield b"\0" + user.encode() + b"\0" + password.encode()


def _login(user: str, password: str) -> Steps:
    yield None
    yield user.encode()
    yield password.encode()


def _cram_md5(user: str, password: str) -> Steps:
    challenge = yield None
    digest = hmac.new(password.encode(), challenge, "md5").hexdigest()
    yield f"{user} {digest}".encode()


def _digest_md5(user: str, password: str) -> Steps:
    challenge = yield None
    try:
        fields = parse_directives(challenge)
        nonce, realm = fields["nonce"], fields.get("realm", b"").decode()
    except (ValueError, KeyError):
        raise BadServer("the server's DIGEST-MD5 challenge can't be read") from None
    cnonce, uri = secrets.token_hex(16).encode(), b"gsmtp/" + realm.encode()
    secret = password_digest(user, realm, password.encode()).encode()
    response = response_value(secret, nonce=nonce, cnonce=cnonce, uri=uri)
    proof = yield (
        f"charset=utf-8,username={quoted(user)},realm={quoted(realm)},nonce={quoted(nonce.decode())},nc=00000001,"
        f'cnonce="{cnonce.decode()}",digest-uri={quoted(uri.decode())},response={response.decode()},qop=auth'
    ).encode()
    expected = b"rspauth=" + response_value(secret, nonce=nonce, cnonce=cnonce, uri=uri, is_server=True)
    if not hmac.compare_digest(proof, expected):
        raise BadServer("the server did not prove that it knows the password")
    yield b""


def _scram_sha_256(user: str, password: str) -> Steps:
    nonce = secrets.token_urlsafe(18)
    name = saslprep(user).replace("=", "=3D").replace(",", "=2C")
    bare = f"n={name},r={nonce}"
    first = yield b"n,," + bare.encode()
    try:
        fields = dict(part.split("=", 1) for part in first.decode().split(","))
        salt, iterations, both = base64.b64decode(fields["s"]), int(fields["i"]), fields["r"]
    except (ValueError, KeyError):
        raise BadServer("the server's SCRAM message can't be read") from None
    if not both.startswith(nonce) or not 0 < iterations <= 10_000_000:
        raise BadServer("the server's SCRAM message is for somebody else")
    try:
        prepared = saslprep(password)
    except ValueError:
        prepared = password
    salted = pbkdf2_hmac("sha256", prepared.encode(), salt, iterations)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    without_proof = f"c=biws,r={both}"
    message = f"{bare},{first.decode()},{without_proof}".encode()
    signature = hmac.digest(sha256(client_key).digest(), message, "sha256")
    proof = bytes(one ^ other for one, other in zip(client_key, signature, strict=True))
    last = yield f"{without_proof},p={base64.b64encode(proof).decode()}".encode()
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    expected = b"v=" + base64.b64encode(hmac.digest(server_key, message, "sha256"))
    if not hmac.compare_digest(last, expected):
        raise BadServer("the server did not prove that it knows the password")
    yield b""


MECHANISMS: Final[dict[str, Callable[[str, str], Steps]]] = {
    "SCRAM-SHA-256": _scram_sha_256,
    "DIGEST-MD5": _digest_md5,
    "CRAM-MD5": _cram_md5,
    "PLAIN": _plain,
    "LOGIN": _login,
}
