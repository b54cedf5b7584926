"""file://, digest:// and groups://: what lines mean, what is found; unknown users cost what known ones cost."""

from __future__ import annotations

import base64
import hashlib
import subprocess
from pathlib import Path
from typing import Any

import pytest

from gsmtp.auth import passwords
from gsmtp.auth.attempts import MOST_ADDRESSES, FailedAttempts, delay_after
from gsmtp.auth.passwords import SCHEMES, UnusablePassword, check, make, parse
from gsmtp.auth.stores.digest import DigestStore
from gsmtp.auth.stores.file import FileStore
from gsmtp.auth.stores.groups import GroupStore
from gsmtp.core.clock import FixedClock
from gsmtp.core.errors import ConfigError
from gsmtp.sasl import scram
from gsmtp.sasl.digest import password_digest
from gsmtp.sasl.need import Answer, CheckPassword, FetchSecret, ScramSecret, Status

FOREVER = 1e12


def file_store(folder: Path, text: str | bytes, **settings: Any) -> FileStore:
    path = folder / "users"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    settings.setdefault("has_clear_digests", True)
    return FileStore(str(path), "r", **settings)


def asked(store: FileStore | DigestStore, user: str, password: bytes) -> str:
    return store.answer(CheckPassword(user, password), FOREVER).status.value


def fetched(store: FileStore | DigestStore, user: str, kind: str, realm: str = "") -> Answer:
    return store.answer(FetchSecret(user, kind, "X", realm), FOREVER)


@pytest.fixture(autouse=True)
def few_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """How slow a hash is says nothing here."""
    monkeypatch.setattr(passwords, "_PBKDF2_ROUNDS", 1000)


# --- formats

HASHES = {
    # made by others: slappasswd, doveadm pw, passlib, the argon2 and bcrypt programs
    "SHA": b"{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=",
    "SSHA": b"{SSHA}" + base64.b64encode(hashlib.sha1(b"secretsalt").digest() + b"salt"),
    "SSHA256": b"{SSHA256}" + base64.b64encode(hashlib.sha256(b"secretsalt").digest() + b"salt"),
    "SSHA512": b"{SSHA512}" + base64.b64encode(hashlib.sha512(b"secretsalt").digest() + b"salt"),
    "PBKDF2-SHA256": b"{PBKDF2-SHA256}1000$c2FsdHNhbHQ$" + base64.b64encode(
        hashlib.pbkdf2_hmac("sha256", b"secret", b"saltsalt", 1000), b"./"
    ).rstrip(b"="),
    "BCRYPT": b"$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
}  # fmt: skip


@pytest.mark.parametrize("scheme", [name for name in HASHES if name != "BCRYPT"])
def test_hashes_made_by_others(scheme: str) -> None:
    stored = parse(HASHES[scheme])
    assert stored.scheme == scheme
    assert check(stored, b"secret")
    assert not check(stored, b"Secret")


def test_crypt_as_openssl_writes_it() -> None:
    command = ("openssl", "passwd", "-6", "-salt", "saltsalt", "secret")
    made = subprocess.run(command, check=True, capture_output=True, timeout=20).stdout.strip()
    assert check(parse(b"{CRYPT}" + made), b"secret")
    assert not check(parse(b"{CRYPT}" + made), b"wrong")
    assert parse(made).is_clear


def test_bcrypt_and_argon2_as_their_libraries_write_them() -> None:
    stored = parse(HASHES["BCRYPT"])  # U*U, of the vectors of crypt_blowfish
    assert stored.scheme == "BCRYPT"
    assert check(stored, b"U*U")
    assert not check(stored, b"U*U*")
    argon2 = pytest.importorskip("argon2")
    written = argon2.PasswordHasher(time_cost=1, memory_cost=64).hash("secret").encode()
    assert parse(written) == passwords.Stored("ARGON2ID", written)
    assert check(parse(written), b"secret")
    assert not check(parse(b"{ARGON2ID}" + written), b"wrong")


@pytest.mark.parametrize("scheme", [name for name, scheme in SCHEMES.items() if scheme.make is not None])
def test_what_is_made_is_checked(scheme: str) -> None:
    stored = parse(make(scheme, b"pass:word{}"))
    assert stored.scheme == scheme
    assert check(stored, b"pass:word{}")
    assert not check(stored, b"pass:word{} ")


def test_nothing_is_guessed_and_unknown_schemes_are_no_passwords() -> None:
    for clear in (
        b"{abc}x",
        b"{}x",
        b"{ABC",
        b"$1$abc$def",
        b"$argon2id$x",
        b"$2b$10$short",
        b"5ebe2294ecd0e0f08eab7690",
    ):
        assert parse(clear).is_clear
        assert check(parse(clear), clear)
    assert parse(b"{CLEAR}{SSHA}x") == passwords.Stored("CLEAR", b"{SSHA}x")
    assert make("CLEAR", b"{SSHA}x") == b"{CLEAR}{SSHA}x"
    with pytest.raises(UnusablePassword, match=r"unknown password scheme \{FOO\}"):
        check(parse(b"{FOO}bar"), b"{FOO}bar")


@pytest.mark.parametrize(
    "damaged",
    [
        b"{SSHA}!", b"{SSHA}AAAA", b"{SHA}x", b"{PBKDF2-SHA256}0$YQ$YQ", b"{PBKDF2-SHA256}x", b"{BCRYPT}x",
        b"{ARGON2ID}x", b"{SCRAM-SHA-256}4096,a", b"{SCRAM-SHA-256}0,YWJj,YWJj,YWJj", b"{CRYPT}x",
    ],
)  # fmt: skip
def test_damaged_hashes_are_trouble_and_no_password(tmp_path: Path, damaged: bytes) -> None:
    store = file_store(tmp_path, b"u:" + damaged + b"\nv:x\n")
    assert asked(store, "u", damaged) == "error"
    assert asked(store, "v", b"x") == "pass"


# --- file://


def test_lines_of_a_file(tmp_path: Path) -> None:
    text = b"# u:commented\n\nu:p:q \r\nv:\nw\n:x\nu:second\n\xff:latin\nj\xc3\xbcrgen:\xc3\xa4\n#:hash"
    store = file_store(tmp_path, text)
    assert asked(store, "u", b"p:q ") == "pass"
    assert asked(store, "u", b"second") == "fail"
    assert asked(store, "v", b"") == "fail"  # whose field is empty is locked out
    assert asked(store, "w", b"") == "fail"
    assert asked(store, "", b"x") == "fail"
    assert asked(store, "j\u00fcrgen", "\u00e4".encode()) == "pass"
    assert asked(store, "#", b"hash") == "fail"
    assert list(store.warnings()) == [f"{tmp_path}/users:4: no user:password; 3 such lines"]


def test_secrets_of_a_file(tmp_path: Path) -> None:
    store = file_store(tmp_path, "u:secret\nh:{SSHA}AAAA\n")
    assert fetched(store, "u", "cleartext") == Answer(Status.PASS, b"secret")
    assert fetched(store, "u", "digest-md5", "r") == Answer(Status.PASS, password_digest("u", "r", b"secret").encode())
    assert fetched(store, "h", "cleartext").status is Status.FAIL
    assert fetched(store, "x", "cleartext").status is Status.FAIL
    hashed = file_store(tmp_path, f"u:{password_digest('u', 'r', b'secret').upper()}\n", has_clear_digests=False)
    assert fetched(hashed, "u", "digest-md5", "r") == Answer(Status.PASS, password_digest("u", "r", b"secret").encode())


def test_scram_from_clear_text_and_from_verifiers(tmp_path: Path) -> None:
    verifier = make("SCRAM-SHA-256", b"secret").decode()
    store = file_store(tmp_path, f"u:secret\nv:{verifier}\n")
    for user in ("u", "v"):
        answer = fetched(store, user, "scram-sha-256")
        assert answer.status is Status.PASS
        assert isinstance(answer.secret, ScramSecret)
        assert scram.is_password(answer.secret, b"secret")
    assert fetched(store, "u", "scram-sha-256") == fetched(store, "u", "scram-sha-256")


def test_a_scheme_that_needs_a_package_stops_the_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "_import", lambda module: None)
    store = file_store(tmp_path, b"u:" + HASHES["BCRYPT"])
    with pytest.raises(ConfigError, match=r"holds BCRYPT passwords: pip install gsmtp\[auth\]"):
        list(store.warnings())
    answer = store.answer(CheckPassword("u", b"U*U"), FOREVER)
    assert answer.status is Status.ERROR


# --- the same cost


def counted(monkeypatch: pytest.MonkeyPatch, scheme: str) -> list[bytes]:
    """The values that a scheme's check is called with from now on."""
    calls: list[bytes] = []
    found = SCHEMES[scheme]

    def count(value: bytes, password: bytes) -> bool:
        calls.append(found.cost_of(value))
        return found.check(value, password)

    monkeypatch.setitem(SCHEMES, scheme, passwords.Scheme(scheme, count, cost_of=found.cost_of))
    return calls


@pytest.mark.parametrize("scheme", ["ARGON2ID", "BCRYPT", "PBKDF2-SHA256", "SSHA512", "CLEAR"])
def test_an_unknown_user_costs_the_same_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    lines = [b"%s:%s" % (user, make(scheme, b"secret")) for user in (b"a", b"b")]
    store = file_store(tmp_path, b"\n".join([b"x:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", *lines]))
    calls = counted(monkeypatch, scheme)
    assert asked(store, "a", b"wrong") == "fail"
    known = calls.copy()
    assert asked(store, "nobody", b"wrong") == "fail"
    assert len(known) == 1
    assert calls == known * 2


def test_an_unknown_scram_user_costs_the_same_derivation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = file_store(tmp_path, "u:secret\n")
    rounds: list[int] = []
    original = hashlib.pbkdf2_hmac

    def count(name: str, password: bytes, salt: bytes, iterations: int) -> bytes:
        rounds.append(iterations)
        return original(name, password, salt, iterations)

    monkeypatch.setattr(scram, "pbkdf2_hmac", count)
    known = fetched(store, "u", "scram-sha-256").secret
    unknown = fetched(store, "nobody", "scram-sha-256").secret
    assert rounds == [4096, 4096]
    assert isinstance(known, ScramSecret)
    assert isinstance(unknown, ScramSecret)
    assert (len(known.salt), known.iterations) == (len(unknown.salt), unknown.iterations)


def test_an_unknown_user_of_verifiers_gets_their_iterations(tmp_path: Path) -> None:
    made = scram.make_secret(b"x", b"0123456789abcdef", 7777)
    keys = ",".join(base64.b64encode(part).decode() for part in (made.salt, made.stored_key, made.server_key))
    store = file_store(tmp_path, f"u:{{SCRAM-SHA-256}}7777,{keys}\n")
    unknown = fetched(store, "nobody", "scram-sha-256").secret
    assert isinstance(unknown, ScramSecret)
    assert unknown.iterations == 7777


# --- digest:// and groups://


def test_lines_of_htdigest(tmp_path: Path) -> None:
    path = tmp_path / "digests"
    digest = password_digest("u", "r", b"secret")
    path.write_text(f"# comment\nu:other:{'0' * 32}\nu:r:{digest.upper()}\nw:r:damaged\n")
    store = DigestStore(str(path), "r", is_clear=False)
    assert fetched(store, "u", "digest-md5", "r") == Answer(Status.PASS, digest.encode())
    assert fetched(store, "u", "digest-md5", "other").status is Status.FAIL
    assert fetched(store, "x", "digest-md5", "r").status is Status.FAIL
    assert [asked(store, "u", b"secret"), asked(store, "u", b"x"), asked(store, "x", b"")] == ["pass", "fail", "fail"]
    assert asked(store, "w", b"") == "error"
    assert list(DigestStore(str(path), "none", is_clear=False).warnings()) == [
        f"{path} has no user of the realm none (there are other, r)"
    ]
    path.write_text("u:r:secret\n")
    assert fetched(DigestStore(str(path), "r", is_clear=True), "u", "digest-md5", "r").secret == digest.encode()


def test_groups_in_both_forms(tmp_path: Path) -> None:
    path = tmp_path / "groups"
    path.write_text("# comment\nadmin:root, alice\nread:unused:alice,bob\nadmin:carol\nempty:\nbroken\n")
    store = GroupStore(str(path))
    assert store.roles("alice", FOREVER) == ("admin", "read")
    assert store.roles("carol", FOREVER) == ("admin",)
    assert store.roles("nobody", FOREVER) == ()
    assert store.all_roles(FOREVER) == ("admin", "read", "empty")


# --- failed attempts


def test_failures_are_forgotten_bit_by_bit() -> None:
    clock = FixedClock()
    attempts = FailedAttempts(clock)
    assert [attempts.failed("192.0.2.1", 100) for _ in range(10)] == list(range(1, 11))
    clock.advance(150)
    assert attempts.count("192.0.2.1", 100) == 5
    assert attempts.failed("192.0.2.1", 100) == 6
    clock.advance(200)
    assert attempts.count("192.0.2.1", 100) == 0
    assert attempts.count("192.0.2.2", 100) == 0


def test_ipv6_clients_are_counted_by_network() -> None:
    attempts = FailedAttempts(FixedClock())
    attempts.failed("2001:db8::1", 100)
    assert attempts.failed("2001:db8::ffff:1", 100) == 2
    assert attempts.failed("2001:db8:0:1::1", 100) == 1
    attempts.failed("::ffff:192.0.2.1", 100)
    assert attempts.count("192.0.2.1", 100) == 1


def test_memory_is_bounded() -> None:
    attempts = FailedAttempts(FixedClock())
    for number in range(MOST_ADDRESSES + 10):
        attempts.failed(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 100)
    assert len(attempts) == MOST_ADDRESSES
    assert attempts.count("10.0.0.1", 100) == 0


def test_delays_grow_to_sixteen_times() -> None:
    assert [delay_after(count, 1) for count in range(1, 8)] == [1, 2, 4, 8, 16, 16, 16]
    assert delay_after(5, 0) == 0
