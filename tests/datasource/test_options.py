"""What is said at load of Datasource stanzas and of those that ask them."""

from __future__ import annotations

import pytest

from gsmtp.core.errors import ConfigError
from gsmtp.datasource.drivers.pgsql import Pgsql
from tests.config_meaning.loading import messages
from tests.datasource.kit import build


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("odbc:DSN=x", "gsmtp has no driver 'odbc': only SQLite and PostgreSQL are served"),
        ("ldap://h", "gsmtp has no driver 'ldap': LDAP directories are not asked"),
        ("mysql:host=h", "gsmtp has no driver 'mysql': only SQLite and PostgreSQL are served"),
        ("foo:x", "gsmtp has no driver 'foo'; there are pgsql, sqlite"),
        ("/path", "expected DRIVER:REST, such as sqlite:/var/lib/gsmtp/users.sqlite"),
        ("sqlite:", "expected sqlite:/path/to/file"),
        ("pgsql:nonsense", "expected settings such as host=db.example.com;dbname=mail;user=gsmtp"),
    ],
)
def test_what_no_driver_serves_is_refused_with_the_reason(uri: str, said: str) -> None:
    (found,) = messages(f'Datasource "d" {{ uri = ( "{uri}" ) }}')
    assert found.startswith(f"1:26: error: value '{uri}' is not valid for option 'uri': {said}")


def test_a_password_in_a_uri_is_not_repeated() -> None:
    (found,) = messages('Datasource "d" { uri = ( "odbc:DSN=x;PWD=secret" ) }')
    assert "secret" not in found


def test_a_charset_that_nobody_knows() -> None:
    (found,) = messages('Datasource "d" { uri = ( "sqlite:/x" ) assume_charset = "klingon" }')
    assert "expected the name of a character set" in found


def test_a_pool_that_nobody_defined() -> None:
    (found,) = messages('Datasource "d" { uri = ( "sqlite:/x" ) pool = "Auht" }\nThreadPool "Auth" { concurrency = 2 }')
    assert found == (
        '1:47: warning: ThreadPool "Auht" of Datasource "d" is not defined: 8 threads are used [did you mean \'Auth\'?]'
    )


def test_clusters_are_not_served() -> None:
    (found,) = messages('Datasource "d" { uri = ( "sqlite:/x" ) serialized = true }')
    assert found == (
        "1:40: warning: option serialized is not served: gsmtp forms no clusters: results are not published"
    )


def test_a_missing_extra_is_named_with_the_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pgsql, "requirement", lambda self: "pip install 'gsmtp[pgsql]'")
    with pytest.raises(ConfigError) as raised:
        build('Datasource "d" {\n  uri = ( "pgsql:host=db;dbname=mail" )\n}')
    assert str(raised.value) == (
        "test.conf:2:9: error: datasource 'd' uses pgsql, which needs: pip install 'gsmtp[pgsql]'"
    )


def test_no_uri_is_an_error() -> None:
    assert messages('Datasource "d" { }') == [
        '1:1: error: Datasource "d" has no uri [set uri = ( "sqlite:/path/to/file" )]'
    ]
