"""auth_ds: each type of stored password, both ways of judging, what challenges need, groups, and trouble."""

from __future__ import annotations

import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from gsmtp.auth.store import OpenedStores, RoleStore, Store
from gsmtp.auth.stored_types import TYPES, Login, hmac_md5_states
from gsmtp.core.clock import SystemClock
from gsmtp.datasource.store import Datasources
from gsmtp.runtime.native import NativePool
from gsmtp.sasl.need import Answer, CheckPassword, FetchSecret, ScramSecret, Status
from gsmtp.sasl.scram import is_password
from tests.config_meaning.loading import compiled, messages
from tests.datasource.kit import mailbox
from tests.support.peers import program
from tests.support.postgres import Postgres

# Each is "secret", made with openssl, slappasswd or doveadm.
STORED = {
    "clear": "secret",
    "digest-md5": "72ee00e0987bf55c1d0d0e0e614a729f",
    "hmac_md5": "cd3ba7deaad6e5ca23448ba42e379747a9e0f7f1fbc00c8a81bbaac395731b56",
    "md5": "5ebe2294ecd0e0f08eab7690d2a6ee69",
    "md5_base64": "Xr4ilOzQ4PCOq3aQ0qbuaQ==",
    "md5_hex": "5EBE2294ECD0E0F08EAB7690D2A6EE69",
    "rfc2307": "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=",
    "sha1_base64": "5en6G6MezRroT3XKqkdPOmY/BfQ=",
    "sha1_hex": "e5e9fa1ba31ecd1ae84f75caaa474f3a663f05f4",
}
"""digest-md5 is of ``ann:mail.example.com:secret``."""

CONF = """
Datasource "users" {{ uri = ( "sqlite:{path}" ) no_cache = true query_timeout = 5 }}
auth_ds {{
  Scheme "Typed" {{
    Authenticate {{
      query = "SELECT password, kind FROM users WHERE login = :user"
      cache = "users"
      map = [ user = "%{{username}}" ]
      returns_password = true
      password_column = "password"
      type_column = "kind"
      type_map = [ C = "clear" H = "sha1_hex" ]
    }}
    QueryGroups {{
      query = "SELECT 'x' AS x, name FROM groups WHERE member = :u"
      cache = "users"
      map = [ u = "%{{username}}" ]
      group_column = "name"
    }}
    EnumGroups {{ query = "SELECT DISTINCT name FROM groups ORDER BY name" cache = "users" }}
  }}
  Scheme "judging" {{
    Authenticate {{
      query = "SELECT count(*) FROM users WHERE login = :user AND password = :pass AND :how = 'clear/judging://x'"
      cache = "users"
      map = [ user = "%{{username}}" pass = "%{{password}}" how = "%{{crypt}}/%{{uri}}" ]
    }}
  }}
  Scheme "broken" {{
    Authenticate {{ query = "SELECT password FROM nowhere" cache = "users" returns_password = true }}
  }}
}}
"""


class Stores:
    """The stores of a configuration over a database of users."""

    def __init__(self, text: str) -> None:
        configuration = compiled(text)
        self.datasources = Datasources.build(configuration, None, mailbox(), SystemClock())
        self._native = NativePool("test", 2, mailbox())
        self._stores = OpenedStores(configuration, "mail.example.com", self.datasources, self._native.call)

    def open(self, uri: str, mechanism: str = "PLAIN") -> Store:
        return self._stores.open({"uri": uri}, mechanism)

    def check(self, user: str, password: bytes, uri: str = "typed://") -> Answer:
        return self.open(uri).answer(CheckPassword(user, password), 0.0)

    def fetch(self, user: str, kind: str, mechanism: str) -> Answer:
        return self.open("typed://", mechanism).answer(FetchSecret(user, kind, mechanism), 0.0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "users.sqlite"
    with closing(sqlite3.connect(path)) as made:
        made.execute("CREATE TABLE users (login, password, kind)")
        made.execute("CREATE TABLE groups (member, name)")
        rows: list[tuple[str, str | None, str | None]] = [
            (kind if kind != "digest-md5" else "ann", stored, kind) for kind, stored in STORED.items()
        ]
        rows += [("letter", "secret", "C"), ("hash", STORED["sha1_hex"], "H"), ("odd", "x", "Z"), ("null", None, "C")]
        rows += [("untyped", "secret", None), ("spoilt", "zz", "sha1_hex")]
        made.executemany("INSERT INTO users VALUES (?, ?, ?)", rows)
        made.executemany("INSERT INTO groups VALUES (?, ?)", [("letter", "root"), ("letter", "ops"), ("x", "ops")])
        made.commit()
    return path


@pytest.fixture
def stores(path: Path) -> Iterator[Stores]:
    made = Stores(CONF.format(path=path))
    yield made
    made.datasources.release()


@pytest.mark.parametrize("kind", STORED)
def test_each_type_of_stored_password(stores: Stores, kind: str) -> None:
    user = kind if kind != "digest-md5" else "ann"
    assert stores.check(user, b"secret").status is Status.PASS
    assert stores.check(user, b"Secret").status is Status.FAIL
    assert stores.check(user, b"").status is Status.FAIL
    assert stores.check(user, b"secret\0").status is Status.FAIL


@pytest.mark.parametrize("scheme", ["MD5-CRYPT", "SHA256-CRYPT", "SHA512-CRYPT", "SMD5", "SSHA", "CRAM-MD5"])
def test_what_dovecot_makes_is_understood(scheme: str) -> None:
    made = subprocess.run(
        [program("doveadm", "dovecot-core"), "pw", "-s", scheme, "-p", "s€cret"],
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
    ).stdout.strip()
    stored = made.partition("}")[2]
    kinds = {"SMD5": ["smd5"], "SSHA": ["ssha1"], "CRAM-MD5": ["hmac_md5"], "MD5-CRYPT": ["ucrypt", "md5"]}
    for kind in kinds.get(scheme, ["ucrypt"]):
        assert TYPES[kind](Login("u", "r", "s€cret".encode()), stored)
        assert not TYPES[kind](Login("u", "r", b"secret"), stored)
    if scheme in ("SMD5", "SSHA"):
        assert TYPES["rfc2307"](Login("u", "r", "s€cret".encode()), made)
    if scheme.endswith("-CRYPT"):
        assert TYPES["rfc2307"](Login("u", "r", "s€cret".encode()), "{CRYPT}" + stored)


def test_long_keys_are_hashed_first_as_hmac_does() -> None:
    made = subprocess.run(
        [program("doveadm", "dovecot-core"), "pw", "-s", "CRAM-MD5", "-p", "x" * 80],
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
    ).stdout.strip()
    assert made == "{CRAM-MD5}" + hmac_md5_states(b"x" * 80).hex()


def test_type_map_and_the_names_of_types(stores: Stores) -> None:
    for user in ("letter", "hash", "untyped"):
        assert stores.check(user, b"secret").status is Status.PASS
        assert stores.check(user, b"wrong") == Answer(Status.FAIL, reason="wrong password")


def test_who_is_not_there_fails(stores: Stores) -> None:
    assert stores.check("nobody", b"secret") == Answer(Status.FAIL, reason="no such user")
    assert stores.check("null", b"") == Answer(Status.FAIL, reason="no such user")
    assert stores.check("' OR 1=1 --", b"secret").status is Status.FAIL


def test_what_is_spoilt_in_the_data_base_is_an_error_not_a_failure(stores: Stores) -> None:
    assert stores.check("odd", b"x") == Answer(
        Status.ERROR, reason="the type of the stored password is 'z', which type_map doesn't know"
    )
    spoilt = stores.check("spoilt", b"x")
    assert (spoilt.status, spoilt.reason[:46]) == (Status.ERROR, "what is stored for the user is no sha1_hex: no")
    broken = stores.check("ann", b"x", "broken://")
    assert broken.status is Status.ERROR
    assert "no such table: nowhere" in broken.reason


def test_a_query_may_judge_by_itself(stores: Stores) -> None:
    assert stores.check("letter", b"secret", "judging://x").status is Status.PASS
    assert stores.check("letter", b"wrong", "judging://x").status is Status.FAIL
    assert stores.check("nobody", b"secret", "judging://x").status is Status.FAIL
    assert stores.check("letter", b"secret", "judging://y").status is Status.FAIL
    need = FetchSecret("letter", "cleartext", "CRAM-MD5")
    assert stores.open("judging://", "CRAM-MD5").answer(need, 0.0) == Answer(
        Status.ERROR, reason="CRAM-MD5 needs a query that returns the password"
    )


def test_challenges_get_their_secrets(stores: Stores) -> None:
    assert stores.fetch("letter", "cleartext", "CRAM-MD5") == Answer(Status.PASS, b"secret")
    assert stores.fetch("ann", "digest-md5", "DIGEST-MD5") == Answer(Status.PASS, STORED["digest-md5"].encode())
    computed = stores.fetch("letter", "digest-md5", "DIGEST-MD5").secret
    assert computed is not None
    assert computed != STORED["digest-md5"].encode()
    scram = stores.fetch("letter", "scram-sha-256", "SCRAM-SHA-256").secret
    assert isinstance(scram, ScramSecret)
    assert is_password(scram, b"secret")
    for kind, mechanism in (("cleartext", "CRAM-MD5"), ("scram-sha-256", "SCRAM-SHA-256")):
        refused = stores.fetch("hash", kind, mechanism)
        assert refused == Answer(
            Status.FAIL, reason=f"{mechanism} can't be computed from a password stored as sha1_hex"
        )
        assert stores.fetch("nobody", kind, mechanism) == Answer(Status.FAIL, reason="no such user")


def test_groups_of_a_user_and_all_groups(stores: Stores) -> None:
    store = stores.open("typed://", "")
    assert isinstance(store, RoleStore)
    assert store.roles("letter", 0.0) == ("root", "ops")
    assert store.roles("nobody", 0.0) == ()
    assert store.all_roles(0.0) == ("ops", "root")


def test_a_data_base_that_is_gone_is_an_error(path: Path, stores: Stores) -> None:
    path.unlink()
    answer = stores.check("letter", b"secret")
    assert (answer.status, answer.secret) == (Status.ERROR, None)
    store = stores.open("typed://", "")
    assert isinstance(store, RoleStore)
    with pytest.raises(OSError, match="No such file"):
        store.roles("letter", 0.0)


def test_logins_over_postgresql(database: Postgres) -> None:
    uri = database.uri.replace("\\", "\\\\")
    made = Stores(f"""
      Datasource "users" {{ uri = ( "{uri}" ) }}
      auth_ds {{
        Scheme "typed" {{
          Authenticate {{
            query = "SELECT password, kind FROM users WHERE login = :user AND is_active"
            cache = "users"
            map = [ user = "%{{username}}" ]
            returns_password = true
            type_column = "kind"
            type_map = [ C = "clear" H = "sha1_hex" ]
          }}
        }}
        Scheme "judging" {{
          Authenticate {{
            query = "SELECT password = :pass FROM users WHERE login = :user"
            cache = "users"
            map = [ user = "%{{username}}" pass = "%{{password}}" ]
          }}
        }}
      }}
    """)
    assert made.check("ann", "böse".encode()).status is Status.PASS
    assert made.check("ann", b"secret").status is Status.FAIL
    assert made.check("bob", b"secret").status is Status.FAIL
    assert made.check("ann", "böse".encode(), "judging://").status is Status.PASS
    assert made.check("ann", b"x", "judging://").status is Status.FAIL
    assert made.check("ann", b"b\0", "judging://").status is Status.ERROR
    made.datasources.release()


def test_what_is_said_at_load() -> None:
    text = """\
Datasource "users" { uri = ( "sqlite:/x" ) }
auth_ds {
  Scheme "s" {
    query = "SELECT 1"
    Authenticate {
      query = "SELECT 1 FROM users WHERE a = :a AND b = :b"
      cache = "user"
      map = [ a = "%{user}" ]
      type_map = [ C = "cleer" ]
    }
    QueryGroups { cache = "users" }
  }
}
"""
    assert messages(text) == [
        "4:5: error: query can't stand right in a Scheme of auth_ds"
        " [put it in Authenticate { }, QueryGroups { } or EnumGroups { }]",
        '6:15: error: the query names :b, which map doesn\'t set [write map = [ b = "%{username}" ]]',
        "7:15: error: datasource 'user' is not defined [did you mean 'users'?]",
        "8:13: error: %{user} is not known here [there are %{username}, %{password}, %{crypt}, %{realm}, %{nonce}, "
        "%{uri}, %{digest-uri}]",
        "9:18: error: value [ … ] is not valid for option 'type_map': expected one of clear, digest-md5, hmac_md5, "
        "md5, md5_base64, md5_hex, rfc2307, sha1_base64, sha1_hex, smd5, ssha1, ucrypt",
        '11:5: error: QueryGroups has no query [set query = "SELECT …"]',
    ]
    assert messages('auth_ds { Scheme "s" { Authenticate { returns_password = true } } }') == [
        '1:24: error: Authenticate has no query [set query = "SELECT …"]',
        '1:24: error: Authenticate has no cache [set cache = "DATASOURCE"]',
    ]
