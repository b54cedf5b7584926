"""Each mechanism against the examples of its RFC, and against clients that do it wrong."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gsmtp.sasl.digest import password_digest, response_value
from gsmtp.sasl.mechanism import Challenge, Mechanism, Outcome, Setting, load_mechanisms
from gsmtp.sasl.need import Answer, CheckPassword, FetchSecret, ScramSecret, Status
from gsmtp.sasl.scram import make_secret
from tests.engine.driving import store_answer

Respond = Callable[[bytes], bytes]


def found(name: str) -> Mechanism:
    mechanism = load_mechanisms().get(name)
    assert mechanism is not None
    return mechanism


def play(
    name: str, *responses: bytes | Respond, setting: Setting | None = None, answer: Answer | None = None
) -> tuple[Outcome, list[bytes]]:
    """The outcome of an exchange, and the challenges; a response may be made from its challenge."""
    run = found(name).run(setting or Setting("mx.example.com", "mx.example.com"))
    challenges: list[bytes] = []
    left = list(responses)
    value: bytes | Answer | None = None
    try:
        while True:
            step = run.send(value) if value is not None else next(run)
            if isinstance(step, Challenge):
                challenges.append(step.data)
                response = left.pop(0)
                value = response if isinstance(response, bytes) else response(step.data)
            else:
                value = answer or store_answer(step)
    except StopIteration as stop:
        outcome: Outcome = stop.value
    assert not left
    return outcome, challenges


def verdict(name: str, *responses: bytes | Respond, setting: Setting | None = None) -> tuple[str, str]:
    outcome, _ = play(name, *responses, setting=setting)
    return outcome.status.value, outcome.user


# --- PLAIN and LOGIN


def test_plain_as_in_rfc_4616_section_4() -> None:
    assert verdict("PLAIN", b"\0tim\0tanstaaftanstaaf") == ("pass", "tim")
    assert verdict("PLAIN", b"Ursel\0tim\0tanstaaftanstaaf") == ("fail", "tim")
    assert verdict("PLAIN", b"tim\0tim\0tanstaaftanstaaf") == ("pass", "tim")


def test_plain_asks_the_store_before_it_judges_the_authorization_identity() -> None:
    """Or the answer would come sooner, and tell that the identity was wrong."""
    run = found("PLAIN").run(Setting("mx"))
    next(run)
    assert run.send(b"other\0tim\0x") == CheckPassword("tim", b"x", "PLAIN")


@pytest.mark.parametrize("response", [b"", b"tim", b"\0tim", b"\0\0x", b"\0a\0b\0c", b"\0\xff\0x", b"\xff\0a\0b"])
def test_malformed_plain_fails(response: bytes) -> None:
    assert verdict("PLAIN", response)[0] == "fail"


def test_user_names_are_prepared() -> None:
    """RFC 4013 section 3: soft hyphens go, compatibility forms become plain, controls are not allowed."""
    assert verdict("PLAIN", "\0ti\u00adm\0tanstaaftanstaaf".encode()) == ("pass", "tim")
    assert verdict("LOGIN", "\uff54im".encode(), b"tanstaaftanstaaf") == ("pass", "tim")
    assert verdict("PLAIN", b"\0t\x07im\0tanstaaftanstaaf") == ("fail", "")
    assert verdict("PLAIN", "\0\u0627\u0031\0x".encode()) == ("fail", "")


def test_login_prompts() -> None:
    outcome, challenges = play("LOGIN", b"tim", b"tanstaaftanstaaf")
    assert (outcome.status, challenges) == (Status.PASS, [b"Username:", b"Password:"])
    assert verdict("LOGIN", b"tim", b"TANSTAAF") == ("fail", "tim")
    assert verdict("LOGIN", b"broken", b"x") == ("error", "broken")


# --- CRAM-MD5


def cram(user: bytes, password: bytes) -> Respond:
    return lambda challenge: user + b" " + hmac.new(password, challenge, hashlib.md5).hexdigest().encode()


def test_cram_md5_as_in_rfc_2195_section_2() -> None:
    """The digest of the example, by the same function."""
    challenge = b"<1896.697170952@postoffice.reston.mci.net>"
    assert cram(b"tim", b"tanstaaftanstaaf")(challenge) == b"tim b913a602c7eda7a495b4e6e7334d3890"
    outcome, challenges = play("CRAM-MD5", cram(b"tim", b"tanstaaftanstaaf"))
    assert outcome == Outcome(Status.PASS, "tim")
    assert challenges[0].startswith(b"<")
    assert challenges[0].endswith(b"@mx.example.com>")
    assert play("CRAM-MD5", cram(b"tim", b"x"))[1] != challenges


@pytest.mark.parametrize(
    "response", [b"", b"tim", cram(b"tim", b"wrong"), cram(b"nobody", b""), cram(b"", b"x"), b"tim \xff"]
)
def test_wrong_cram_md5_fails(response: bytes | Respond) -> None:
    assert verdict("CRAM-MD5", response)[0] == "fail"


# --- DIGEST-MD5


def digest(user: str, password: bytes, *, realm: str = "mx.example.com", **changed: str) -> Respond:
    def respond(challenge: bytes) -> bytes:
        nonce = challenge.split(b'nonce="')[1].split(b'"')[0].decode()
        fields = {
            "charset": "utf-8",
            "username": f'"{user}"',
            "realm": f'"{realm}"',
            "nonce": f'"{nonce}"',
            "nc": "00000001",
            "cnonce": '"OA6MHXh6VqTrRk"',
            "digest-uri": '"smtp/mx.example.com"',
            "qop": "auth",
        }
        fields.update({name.replace("_", "-"): value for name, value in changed.items()})
        value = response_value(
            password_digest(user, realm, password).encode(),
            nonce=nonce.encode(),
            cnonce=b"OA6MHXh6VqTrRk",
            uri=fields["digest-uri"].strip('"').encode(),
            authzid=fields["authzid"].strip('"').encode() if "authzid" in fields else None,
        )
        fields.setdefault("response", value.decode())
        return ",".join(f"{name}={text}" for name, text in fields.items() if text).encode()

    return respond


def test_digest_md5_arithmetic_as_in_rfc_2831_section_4() -> None:
    secret = password_digest("chris", "elwood.innosoft.com", b"secret").encode()
    values: dict[str, Any] = {
        "nonce": b"OA6MG9tEQGm2hh",
        "cnonce": b"OA6MHXh6VqTrRk",
        "uri": b"imap/elwood.innosoft.com",
    }
    assert response_value(secret, **values) == b"d388dad90d4bbd760a152321f2143af7"
    assert response_value(secret, is_server=True, **values) == b"ea40f60335c427b5527b84dbabcdfffd"
    acap: dict[str, Any] = {"nonce": b"OA9BSXrbuRhWay", "cnonce": b"OA9BSuZWMSpW8m", "uri": b"acap/elwood.innosoft.com"}
    assert response_value(secret, **acap) == b"6084c6db3fede7352c551284490fd0fc"


def test_digest_md5_proves_both_sides() -> None:
    outcome, challenges = play("DIGEST-MD5", digest("chris", b"secret"), b"")
    assert outcome == Outcome(Status.PASS, "chris")
    assert b'realm="mx.example.com"' in challenges[0]
    assert b'qop="auth"' in challenges[0]
    assert challenges[1].startswith(b"rspauth=")
    assert verdict("DIGEST-MD5", digest("chris", b"secret", authzid='"chris"'), b"") == ("pass", "chris")


@pytest.mark.parametrize(
    "response",
    [
        digest("chris", b"wrong"),
        digest("nobody", b"secret"),
        digest("chris", b"secret", realm="other"),
        digest("chris", b"secret", nonce='"x"'),
        digest("chris", b"secret", nc="00000002"),
        digest("chris", b"secret", qop="auth-conf"),
        digest("chris", b"secret", digest_uri='"imap/mx.example.com"'),
        digest("chris", b"secret", charset="utf-16"),
        digest("chris", b"secret", authzid='"tim"'),
        digest("chris", b"secret", cnonce=""),
        b"",
        b'username="chris',
        b"username=a,username=b",
        b"x" * 5000,
    ],
)
def test_wrong_digest_md5_fails(response: bytes | Respond) -> None:
    assert verdict("DIGEST-MD5", response)[0] == "fail"


def test_digest_md5_hashes_latin_1_where_it_can() -> None:
    """RFC 2831 section 2.1.2.1."""
    plain = hashlib.md5("j\u00fcrgen:r:p\u00e4ss".encode("latin-1")).hexdigest()
    assert password_digest("j\u00fcrgen", "r", "p\u00e4ss".encode()) == plain
    assert password_digest("\u0142", "r", b"x") == hashlib.md5("\u0142:r:x".encode()).hexdigest()


# --- SCRAM


def scram_final(password: bytes, first_bare: bytes, channel: bytes, *, proof: bytes | None = None) -> Respond:
    """The client's last message (RFC 5802 section 3), from the server's first."""

    def respond(server_first: bytes) -> bytes:
        fields = dict(part.split(b"=", 1) for part in server_first.split(b","))
        salted = hashlib.pbkdf2_hmac("sha256", password, base64.b64decode(fields[b"s"]), int(fields[b"i"]))
        client_key = hmac.digest(salted, b"Client Key", "sha256")
        without = b"c=%s,r=%s" % (base64.b64encode(channel), fields[b"r"])
        signed = b",".join((first_bare, server_first, without))
        signature = hmac.digest(hashlib.sha256(client_key).digest(), signed, "sha256")
        made = bytes(one ^ other for one, other in zip(client_key, signature, strict=True))
        return without + b",p=" + base64.b64encode(proof if proof is not None else made)

    return respond


BARE = b"n=user,r=rOprNGfwEbeRWgbNEkqO"


def test_scram_sha_256_as_in_rfc_7677_section_3() -> None:
    salt = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
    secret = make_secret(b"pencil", salt, 4096)
    outcome, challenges = play(
        "SCRAM-SHA-256",
        b"n,," + BARE,
        scram_final(b"pencil", BARE, b"n,,"),
        b"",
        setting=Setting("mx", random=bytes),
        answer=Answer(Status.PASS, secret),
    )
    assert outcome == Outcome(Status.PASS, "user")
    assert challenges[1].endswith(b",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096")
    assert challenges[2].startswith(b"v=")


def test_scram_sha_256_to_the_last_octet_of_the_example() -> None:
    """The example's nonce isn't base64, so the machine is given the messages around it."""
    from gsmtp.sasl.scram import parse_client_final, proves, server_signature

    secret = make_secret(b"pencil", base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ=="), 4096)
    nonce = b"rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    server_first = b"r=" + nonce + b",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    final = parse_client_final(b"c=biws,r=" + nonce + b",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
    signed = b",".join((BARE, server_first, final.without_proof))
    assert proves(secret, signed, final.proof)
    assert base64.b64encode(server_signature(secret, signed)) == b"6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
    assert not proves(secret, signed + b" ", final.proof)


def bound(kind: str = "tls-exporter", data: bytes = b"the channel") -> Setting:
    return Setting("mx", channel_bindings={kind: data}, offered=frozenset(("SCRAM-SHA-256", "SCRAM-SHA-256-PLUS")))


@pytest.mark.parametrize("kind", ["tls-exporter", "tls-server-end-point", "tls-unique"])
def test_scram_plus_proves_the_channel(kind: str) -> None:
    header = b"p=%s,," % kind.encode()
    final = scram_final(b"pencil", BARE, header + b"the channel")
    assert verdict("SCRAM-SHA-256-PLUS", header + BARE, final, b"", setting=bound(kind)) == ("pass", "user")
    elsewhere = scram_final(b"pencil", BARE, header + b"another")
    assert verdict("SCRAM-SHA-256-PLUS", header + BARE, elsewhere, setting=bound(kind)) == ("fail", "user")


def test_a_client_that_was_told_of_no_binding_was_lied_to() -> None:
    """RFC 5802 section 6: flag y, while -PLUS is offered."""
    final = scram_final(b"pencil", BARE, b"y,,")
    assert verdict("SCRAM-SHA-256", b"y,," + BARE, setting=bound()) == ("fail", "user")
    assert verdict("SCRAM-SHA-256", b"y,," + BARE, final, b"") == ("pass", "user")


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("SCRAM-SHA-256", b"p=tls-exporter,," + BARE),
        ("SCRAM-SHA-256-PLUS", b"n,," + BARE),
        ("SCRAM-SHA-256-PLUS", b"p=tls-unique,," + BARE),
        ("SCRAM-SHA-256", b""),
        ("SCRAM-SHA-256", b"n," + BARE),
        ("SCRAM-SHA-256", b"x,," + BARE),
        ("SCRAM-SHA-256", b"n,,m=1," + BARE),
        ("SCRAM-SHA-256", b"n,,n=user"),
        ("SCRAM-SHA-256", b"n,,n=us=er,r=abc"),
        ("SCRAM-SHA-256", b"n,,n=,r=abc"),
        ("SCRAM-SHA-256", b"n,,n=user,r="),
        ("SCRAM-SHA-256", b"n,,n=\xff,r=abc"),
    ],
)
def test_wrong_first_messages_fail(name: str, first: bytes) -> None:
    assert verdict(name, first, setting=bound())[0] == "fail"


@pytest.mark.parametrize(
    "final",
    [
        scram_final(b"wrong", BARE, b"n,,"),
        scram_final(b"pencil", BARE, b"y,,"),
        scram_final(b"pencil", BARE, b"n,,", proof=b"short"),
        b"",
        b"c=biws,r=abc",
        b"c=biws,r=abc,p=!",
        lambda first: scram_final(b"pencil", BARE, b"n,,")(first.replace(b"r=", b"r=x", 1)),
    ],
)
def test_wrong_final_messages_fail(final: bytes | Respond) -> None:
    assert verdict("SCRAM-SHA-256", b"n,," + BARE, final)[0] == "fail"


def test_names_with_commas_and_authorization_identities() -> None:
    bare = b"n=user,r=abc"
    good = scram_final(b"pencil", bare, b"n,a=user,")
    assert verdict("SCRAM-SHA-256", b"n,a=user," + bare, good, b"") == ("pass", "user")
    other = scram_final(b"pencil", bare, b"n,a=a=2Cb=3D,")
    assert verdict("SCRAM-SHA-256", b"n,a=a=2Cb=3D," + bare, other) == ("fail", "user")


def test_an_unknown_user_gets_the_same_salt_each_time_and_can_not_log_in() -> None:
    bare = b"n=nobody,r=abc"
    seen = set()
    for _ in range(2):
        outcome, challenges = play("SCRAM-SHA-256", b"n,," + bare, scram_final(b"x", bare, b"n,,"))
        assert outcome.status is Status.FAIL
        seen.add(challenges[1].split(b",", 1)[1])
    other = play("SCRAM-SHA-256", b"n,,n=noone,r=abc", scram_final(b"x", b"n=noone,r=abc", b"n,,"))[1]
    assert len(seen) == 1
    assert other[1].split(b",", 1)[1] not in seen


def test_a_decoy_of_the_store_is_used_and_never_good() -> None:
    decoy = make_secret(b"pencil", b"0123456789abcdef", 5000)
    outcome, challenges = play(
        "SCRAM-SHA-256", b"n,," + BARE, scram_final(b"pencil", BARE, b"n,,"), answer=Answer(Status.FAIL, decoy)
    )
    assert outcome.status is Status.FAIL
    assert challenges[1].endswith(b",i=5000")


def test_a_store_in_trouble_ends_every_exchange_with_an_error() -> None:
    assert verdict("CRAM-MD5", cram(b"broken", b"")) == ("error", "broken")
    assert verdict("DIGEST-MD5", digest("broken", b"")) == ("error", "broken")
    assert verdict("SCRAM-SHA-256", b"n,,n=broken,r=abc") == ("error", "broken")


def test_a_stored_digest_that_is_none_is_trouble() -> None:
    for secret in (b"", b"secret", b"0" * 31 + b"x"):
        outcome, _ = play("DIGEST-MD5", digest("chris", b"x"), answer=Answer(Status.PASS, secret))
        assert outcome.status is Status.ERROR


_PIECES = st.sampled_from(
    [b"n,,", b"y,,", b"p=tls-exporter,,", b"n=user", b"r=abc", b"c=biws", b"p=AAAA", b"a=b", b"=2C", b",", b"\0", b" ",
     b"tim", b"\xff", b"username=", b'"chris"', b"nonce=", b"response=", b"\\", b'"', b"qop=auth", b"charset=utf-8"]
)  # fmt: skip


@given(
    name=st.sampled_from([mechanism.name for mechanism in load_mechanisms()]),
    responses=st.lists(st.one_of(st.binary(max_size=60), st.lists(_PIECES, max_size=12).map(b"".join)), max_size=4),
)
def test_no_response_makes_a_mechanism_raise_or_pass(name: str, responses: list[bytes]) -> None:
    run = found(name).run(bound())
    left = list(responses)
    value: bytes | Answer | None = None
    try:
        while True:
            step = run.send(value) if value is not None else next(run)
            value = (left.pop(0) if left else b"") if isinstance(step, Challenge) else store_answer(step)
    except StopIteration as stop:
        outcome: Outcome = stop.value
    assert outcome.status is not Status.PASS


# --- EXTERNAL


def test_external_takes_whom_the_certificate_names() -> None:
    certified = Setting("mx", certified_user="tim")
    assert verdict("EXTERNAL", b"", setting=certified) == ("pass", "tim")
    assert verdict("EXTERNAL", b"tim", setting=certified) == ("pass", "tim")
    assert verdict("EXTERNAL", b"root", setting=certified) == ("fail", "tim")
    assert verdict("EXTERNAL", b"tim") == ("fail", "")


def test_secrets_are_not_shown() -> None:
    secret = ScramSecret(b"salt", 1, b"stored", b"server")
    shown = repr((CheckPassword("u", b"hush"), Answer(Status.PASS, b"hush"), Challenge(b"hush"), secret))
    assert "hush" not in shown
    assert "stored" not in shown
    assert "server" not in shown.replace("server_key", "")
    assert FetchSecret("u", "cleartext", "X").user == "u"
