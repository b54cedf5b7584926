"""Logins that must not succeed, and stores whose content is broken: no way in, nobody held for ever."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from gsmtp.auth.store import STORES, Source
from gsmtp.auth.stores.digest import DigestStore
from gsmtp.auth.stores.file import FileStore
from gsmtp.sasl.digest import response_value
from gsmtp.sasl.need import Answer, CheckPassword, FetchSecret, Need, ScramSecret, Status
from tests.auth.test_login import BAD, cram, plain
from tests.support.inprocess import Client, running

FOREVER = 1e12
CONF = """
ESMTP_Listener {{
  Auth_Failure_Delay = 0
  SMTP_Extensions = ( "AUTH PLAIN LOGIN CRAM-MD5 DIGEST-MD5 SCRAM-SHA-256" )
  {stores}
  Listen "127.0.0.1:0" {{ }}
}}
"""
OPTIONS = (
    "AuthPlainParameters",
    "AuthLoginParameters",
    "AuthCramMD5Parameters",
    "AuthDigestMD5Parameters",
    "AuthScramSHA256Parameters",
)


def conf(uri: str, *options: str, more: str = "") -> str:
    return CONF.format(stores="\n  ".join(f'{name} = [ uri = "{uri}" {more} ]' for name in options or OPTIONS))


def digest_md5(client: Client, user: bytes, secret_hex: bytes) -> bytes:
    """Log in with what the server has stored."""
    challenge = base64.b64decode(client.say(b"AUTH DIGEST-MD5")[4:])
    nonce = challenge.split(b'nonce="')[1].split(b'"')[0]
    realm = challenge.split(b'realm="')[1].split(b'"')[0]
    response = response_value(secret_hex, nonce=nonce, cnonce=b"c", uri=b"smtp/mx")
    return client.say(
        base64.b64encode(
            b'username="%s",realm="%s",nonce="%s",cnonce="c",nc=00000001,qop=auth,digest-uri="smtp/mx",response=%s'
            % (user, realm, nonce, response)
        )
    )


@pytest.mark.parametrize("is_clear", [False, True])
def test_an_empty_field_of_a_digest_file_is_no_password(tmp_path: Path, is_clear: bool) -> None:
    users = tmp_path / "digests"
    users.write_text("bob:mx.example.com:\n")
    more = f'stored_cleartext = "{str(is_clear).lower()}"'
    zeros = b"0" * 32
    secret = hashlib.md5(b"bob:mx.example.com:" + zeros).hexdigest().encode() if is_clear else zeros
    text = conf(f"digest://{users}", "AuthPlainParameters", "AuthDigestMD5Parameters", more=more)
    with running(tmp_path, text) as server:
        client = server.client().greet()
        assert client.say(plain(b"bob", zeros)) == BAD
        assert client.say(plain(b"bob", b"")) == BAD
        assert digest_md5(server.client().greet(), b"bob", secret) == BAD


@pytest.mark.parametrize("entry", ["eve:", "eve:{CLEAR}"])
def test_an_empty_field_of_a_user_file_is_no_password(tmp_path: Path, entry: str) -> None:
    """Whoever empties the field locks the user out; PLAIN allows no empty password anyway (RFC 4616 section 2)."""
    users = tmp_path / "users"
    users.write_text(f"{entry}\ntim:tanstaaftanstaaf\n")
    with running(tmp_path, conf(f"file://{users}", more='stored_cleartext = "true"')) as server:
        client = server.client().greet()
        assert client.say(plain(b"eve", b"")) == BAD
        assert cram(client, b"eve", b"") == BAD
        client = server.client().greet()
        assert digest_md5(client, b"eve", hashlib.md5(b"eve:mx.example.com:").hexdigest().encode()) == BAD
        assert client.say(b"AUTH LOGIN ZXZl").startswith(b"334 ")
        assert client.say(b"") == BAD
    store = FileStore(str(users), "mx.example.com", has_clear_digests=True)
    assert store.answer(FetchSecret("eve", "scram-sha-256", "SCRAM-SHA-256"), FOREVER).status is Status.FAIL


def scram_facts(store: FileStore | DigestStore, user: str) -> tuple[int, int]:
    """Iterations and length of the salt, which everybody sees who begins a login as that user."""
    secret = store.answer(FetchSecret(user, "scram-sha-256", "SCRAM-SHA-256"), FOREVER).secret
    assert isinstance(secret, ScramSecret)
    return secret.iterations, len(secret.salt)


def test_scram_shows_of_an_unknown_user_what_it_shows_of_most(tmp_path: Path) -> None:
    users = tmp_path / "users"
    key = base64.b64encode(bytes(32)).decode()
    salt = base64.b64encode(bytes(12)).decode()
    users.write_text("".join(f"u{n}:{{SCRAM-SHA-256}}10000,{salt},{key},{key}\n" for n in range(3)))
    store = FileStore(str(users), "", has_clear_digests=True)
    assert scram_facts(store, "nobody") == scram_facts(store, "u1") == (10000, 12)


def test_scram_shows_nothing_of_one_whose_password_it_can_not_use(tmp_path: Path) -> None:
    users = tmp_path / "users"
    key = base64.b64encode(bytes(32)).decode()
    salt = base64.b64encode(bytes(12)).decode()
    users.write_text(
        "".join(f"u{n}:{{SCRAM-SHA-256}}10000,{salt},{key},{key}\n" for n in range(3)) + "old:{SSHA}c21mEZgiGBv6eO9W\n"
    )
    store = FileStore(str(users), "", has_clear_digests=True)
    assert scram_facts(store, "old") == scram_facts(store, "nobody")


class OddStore:
    """Gives what no mechanism can use."""

    is_green = False

    def answer(self, need: Need, deadline_mono: float) -> Answer:
        return Answer(Status.PASS, b"no digest at all")

    def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
def odd() -> Iterator[str]:
    def opened(_source: Source) -> OddStore:
        return OddStore()

    STORES.add("odd", opened, __name__)
    try:
        yield "odd://"
    finally:
        STORES._things.pop("odd")


def test_a_session_is_not_held_for_ever_by_a_secret_that_is_none(tmp_path: Path, odd: str) -> None:
    with running(tmp_path, conf(odd, "AuthDigestMD5Parameters")) as server:
        client = server.client().greet()
        digest_md5(client, b"ann", b"0" * 32)
        client.close()
        server.wait_for(lambda: not server.sessions, "the session stays")
        assert not server.sessions


CRYPT = "$5$rounds=1000$salt$pI2PXZ3zrjMAwFUtMqXUHXqXNjbPPw2hXNQXoHcPY17"


@pytest.mark.parametrize("password", [b"x" * 511, b"x" * 512, b"x" * 9000, b"x\0y", b"\xff" * 600])
def test_no_password_tells_who_is_there_by_a_hash_that_can_not_take_it(tmp_path: Path, password: bytes) -> None:
    """libxcrypt takes 511 octets at the most: that is a wrong password, not trouble with the store."""
    users = tmp_path / "users"
    users.write_text(f"old:{{CRYPT}}{CRYPT}\none:a\ntwo:b\n")
    store = FileStore(str(users), "", has_clear_digests=True)
    for user in ("old", "one", "nobody"):
        assert store.answer(CheckPassword(user, password), FOREVER).status is Status.FAIL
