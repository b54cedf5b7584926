"""Datasources over a real PostgreSQL server: types, errors, a server that goes, comes back, or hangs."""

from __future__ import annotations

import os
import signal
import socket

import gevent
import pytest

from gsmtp.datasource.drivers.pgsql import connection_string
from gsmtp.datasource.options import without_secrets
from gsmtp.datasource.result import DatasourceError
from gsmtp.datasource.store import Datasource
from tests.datasource.kit import one
from tests.support.ports import free_port
from tests.support.postgres import Postgres

QUERY = "SELECT login, password, is_active, n FROM users WHERE login = :user"


def source_of(database: Postgres, more: str = "no_cache = true") -> Datasource:
    return one('"' + database.uri.replace("\\", "\\\\") + '"', more)


@pytest.mark.parametrize(
    ("rest", "wanted"),
    [
        ("host=db;dbname=mail", "host='db' dbname='mail'"),
        ("host=db dbname=mail;", "host='db' dbname='mail'"),
        ("host = db ; password='a b;c'", "host='db' password='a b;c'"),
        (r"password=a'b\c;user=u", r"password='a\'b\\c' user='u'"),
        ("password=;user=u", "password='' user='u'"),
        ("postgresql://u@db/mail", "postgresql://u@db/mail"),
    ],
)
def test_settings_are_read_in_momentums_form_and_libpqs(rest: str, wanted: str) -> None:
    assert connection_string(rest) == wanted


def test_passwords_are_not_shown() -> None:
    assert without_secrets("pgsql:host=db;password='a b';user=u") == "pgsql:host=db;password=…;user=u"
    assert without_secrets("pgsql:postgresql://u:secret@db/mail") == "pgsql:postgresql://u:…@db/mail"


def test_rows_come_as_texts(database: Postgres) -> None:
    source = source_of(database)
    result = source.query(QUERY, {"user": "ann"})
    assert result.columns == ("login", "password", "is_active", "n")
    assert result.rows == (("ann", "böse", "1", "7"),)
    assert source.query(QUERY, {"user": "bob"}).rows == (("bob", None, "0", "8"),)
    assert source.query(QUERY, {"user": "'; DROP TABLE users; --"}).rows == ()
    assert source.query("SELECT '\\x00ff41'::bytea, :x::int + 1", {"x": "3"}).rows == (("\0\udcffA", "4"),)


def test_a_nul_in_a_value_is_refused_instead_of_cutting_it_off(database: Postgres) -> None:
    with pytest.raises(DatasourceError, match="NUL"):
        source_of(database).query(QUERY, {"user": "ann\0x"})


def test_what_the_server_refuses_is_told_and_the_connection_stays(database: Postgres) -> None:
    source = source_of(database, "no_cache = true\npool = CPU")
    with pytest.raises(DatasourceError, match='relation "missing" does not exist'):
        source.query("SELECT 1 FROM missing", {})
    assert source.query("SELECT 1", {}).first() == "1"


def test_a_wrong_password_is_told(database: Postgres) -> None:
    uri = f"pgsql:host=127.0.0.1;port={database.port};dbname=mail;user=gsmtp;password=wrong"
    with pytest.raises(DatasourceError, match="password authentication failed"):
        one(f'"{uri}"').query("SELECT 1", {})


def test_nobody_there_is_an_error_and_the_next_uri_answers(database: Postgres) -> None:
    dead = f"pgsql:host=127.0.0.1;port={free_port()};dbname=mail"
    with pytest.raises(DatasourceError, match="refused"):
        one(f'"{dead}"').query("SELECT 1", {})
    both = one(f'"{dead}" "' + database.uri.replace("\\", "\\\\") + '"', "no_cache = true")
    assert [both.query("SELECT 1", {}).first() for _ in range(4)] == ["1"] * 4


def test_somebody_else_who_listens_there_is_an_error(database: Postgres) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        uri = f"pgsql:host=127.0.0.1;port={silent.getsockname()[1]};dbname=mail"
        with pytest.raises(DatasourceError, match="no answer"):
            one(f'"{uri}"', "query_timeout = 1").query("SELECT 1", {})
        both = one(f'"{uri}" "' + database.uri.replace("\\", "\\\\") + '"', "no_cache = true\nquery_timeout = 2")
        assert [both.query("SELECT 1", {}).first() for _ in range(3)] == ["1"] * 3


def test_a_host_that_has_no_address_is_an_error() -> None:
    with pytest.raises(DatasourceError, match=r"nowhere\.invalid"):
        one('"pgsql:host=nowhere.invalid;dbname=mail"').query("SELECT 1", {})


def test_a_server_that_was_restarted_is_found_again(database: Postgres) -> None:
    source = source_of(database)
    assert source.query("SELECT 1", {}).first() == "1"
    database.stop()
    with pytest.raises(DatasourceError, match="datasource d"):
        source.query("SELECT 1", {})
    database.start()
    assert source.query("SELECT 1", {}).first() == "1"


def test_a_connection_that_the_server_cut_is_made_anew(database: Postgres) -> None:
    source = source_of(database)
    pid = source.query("SELECT pg_backend_pid()", {}).first()
    database.run(f"SELECT pg_terminate_backend({pid})")
    assert source.query("SELECT 1", {}).first() == "1"


def test_a_slow_query_ends_at_its_deadline(database: Postgres) -> None:
    source = source_of(database, "no_cache = true\nquery_timeout = 1")
    with pytest.raises(DatasourceError, match="no answer"):
        source.query("SELECT pg_sleep(30)", {})
    assert source.query("SELECT 1", {}).first() == "1"


def test_a_server_that_hangs_holds_up_neither_the_loop_nor_for_ever(database: Postgres) -> None:
    """Stopped processes take connections and answer nothing."""
    source = source_of(database, "no_cache = true\nquery_timeout = 1")
    pid = int(source.query("SELECT pg_backend_pid()", {}).first() or 0)
    ticks = 0

    def count() -> None:
        nonlocal ticks
        while True:
            gevent.sleep(0.01)
            ticks += 1

    counter = gevent.spawn(count)
    os.kill(pid, signal.SIGSTOP)
    os.kill(database.pid, signal.SIGSTOP)
    try:
        for _ in range(2):
            with pytest.raises(DatasourceError, match="no answer"):
                source.query("SELECT 1", {})
    finally:
        os.kill(database.pid, signal.SIGCONT)
        os.kill(pid, signal.SIGCONT)
        counter.kill()
    assert ticks > 20
    assert source.query("SELECT 1", {}).first() == "1"


def test_many_ask_at_once_over_no_more_connections_than_threads(database: Postgres) -> None:
    source = source_of(database, "no_cache = true\npool = CPU")  # four threads
    jobs = [gevent.spawn(source.query, f"SELECT {number}, pg_backend_pid()", {}) for number in range(60)]
    gevent.joinall(jobs, timeout=20, raise_error=True)
    rows = [job.get().rows[0] for job in jobs]
    assert [row[0] for row in rows] == [str(number) for number in range(60)]
    assert len({row[1] for row in rows}) <= 4
