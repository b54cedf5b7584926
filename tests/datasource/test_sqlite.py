"""Datasources over SQLite files: results, caching, bounds, deadlines, fail-over."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import gevent
import pytest

from gsmtp.datasource.result import DatasourceError, Result
from gsmtp.datasource.store import Datasource
from tests.datasource.kit import build, one

QUERY = "SELECT login, kind FROM users WHERE login = :user"
FOREVER = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT count(*) FROM c"


def database(path: Path, *rows: tuple[object, object]) -> Path:
    with closing(sqlite3.connect(path)) as made:
        made.execute("CREATE TABLE users (login, kind)")
        made.executemany("INSERT INTO users VALUES (?, ?)", rows)
        made.commit()
    return path


def sqlite(path: Path, more: str = "") -> Datasource:
    return one(f'"sqlite:{path}"', more)


def test_rows_come_as_texts(tmp_path: Path) -> None:
    source = sqlite(database(tmp_path / "a", ("ann", 7), ("bob", None), ("zoé", b"raw")))
    assert source.query(QUERY, {"user": "ann"}) == Result(("login", "kind"), (("ann", "7"),))
    assert source.query(QUERY, {"user": "bob"}).rows == (("bob", None),)
    assert source.query(QUERY, {"user": "zoé"}).rows == (("zoé", "raw"),)
    assert source.query(QUERY, {"user": "' OR 1=1 --"}).rows == ()


def test_columns_are_found_without_case_and_missing_ones_named(tmp_path: Path) -> None:
    result = sqlite(database(tmp_path / "a", ("ann", "C"))).query(QUERY, {"user": "ann"})
    assert (result.first(), result.first("KIND")) == ("ann", "C")
    with pytest.raises(DatasourceError, match="no column 'password', but login, kind"):
        result.first("password")


def test_results_are_kept_for_their_life_and_errors_never(tmp_path: Path) -> None:
    path = database(tmp_path / "a", ("ann", 1))
    source = sqlite(path, "cache_life = 3600")
    assert source.query(QUERY, {"user": "ann"}).first("kind") == "1"
    with closing(sqlite3.connect(path)) as other:
        other.execute("UPDATE users SET kind = 2")
        other.commit()
    assert source.query(QUERY, {"user": "ann"}).first("kind") == "1"
    assert (source.cache.counts.hits, source.cache.counts.misses) == (1, 1)
    assert source.flush() == 1
    assert source.query(QUERY, {"user": "ann"}).first("kind") == "2"
    with pytest.raises(DatasourceError, match="no such table"):
        source.query("SELECT 1 FROM missing", {})
    assert len(source.cache) == 1


def test_no_cache_asks_each_time(tmp_path: Path) -> None:
    path = database(tmp_path / "a", ("ann", 1))
    source = sqlite(path, "no_cache = true")
    for expected in ("1", "2"):
        assert source.query(QUERY, {"user": "ann"}).first("kind") == expected
        with closing(sqlite3.connect(path)) as other:
            other.execute("UPDATE users SET kind = kind + 1")
            other.commit()


def test_the_cache_is_bounded_and_the_least_used_goes(tmp_path: Path) -> None:
    source = sqlite(database(tmp_path / "a", ("ann", 1)), "cache_size = 2")
    for user in ("ann", "b", "ann", "c"):
        source.query(QUERY, {"user": user})
    assert len(source.cache) == 2
    assert source.cache.counts.removed_full == 1
    source.query(QUERY, {"user": "ann"})
    assert source.cache.counts.hits == 2


def test_a_result_is_cut_at_max_rows(tmp_path: Path) -> None:
    path = database(tmp_path / "a", *(("ann", n) for n in range(150)))
    assert len(sqlite(path).query(QUERY, {"user": "ann"})) == 100
    assert len(sqlite(path, "max_rows = 3").query(QUERY, {"user": "ann"})) == 3
    assert len(sqlite(path, "max_rows = -1").query(QUERY, {"user": "ann"})) == 150


def test_text_in_another_charset(tmp_path: Path) -> None:
    path = database(tmp_path / "a", ("ann", 1))
    with closing(sqlite3.connect(path)) as other:
        other.execute("UPDATE users SET kind = CAST(x'e9' AS TEXT)")
        other.commit()
    assert sqlite(path, 'assume_charset = "latin-1"').query(QUERY, {"user": "ann"}).first("kind") == "é"
    assert sqlite(path).query(QUERY, {"user": "ann"}).first("kind") == "\udce9"


def test_a_query_that_never_ends_is_given_up_and_the_loop_goes_on(tmp_path: Path) -> None:
    source = sqlite(database(tmp_path / "a", ("ann", 1)), "query_timeout = 1\npool = CPU")
    turns = 0

    def count() -> None:
        nonlocal turns
        while True:
            gevent.sleep(0.01)
            turns += 1

    counter = gevent.spawn(count)
    with pytest.raises(DatasourceError, match=r"no answer within 1 s|interrupted"):
        source.query(FOREVER, {})
    counter.kill()
    assert turns > 10
    assert source.query(QUERY, {"user": "ann"}).first() == "ann"


def test_callers_beyond_the_threads_wait_no_longer_than_their_own_deadline(tmp_path: Path) -> None:
    path = database(tmp_path / "a", ("ann", 1))
    pool = 'ThreadPool "One" { concurrency = 1 }'
    source = build(f'{pool} Datasource "d" {{ uri = ( "sqlite:{path}" ) query_timeout = 1 pool = One }}').get("d")
    jobs = [gevent.spawn(source.query, f"{FOREVER} WHERE n <> {number}", {}) for number in range(5)]
    gevent.joinall(jobs, timeout=10)
    assert [type(job.exception) for job in jobs] == [DatasourceError] * 5


def test_a_missing_file_is_an_error_and_no_file_is_made(tmp_path: Path) -> None:
    with pytest.raises(DatasourceError, match="No such file"):
        sqlite(tmp_path / "none").query(QUERY, {"user": "ann"})
    assert not (tmp_path / "none").exists()


def test_a_file_that_is_replaced_is_opened_anew(tmp_path: Path) -> None:
    path = database(tmp_path / "a", ("ann", 1))
    source = sqlite(path, "no_cache = true")
    assert source.query(QUERY, {"user": "ann"}).first("kind") == "1"
    database(tmp_path / "b", ("ann", 2)).rename(path)
    assert source.query(QUERY, {"user": "ann"}).first("kind") == "2"


def test_uris_are_asked_in_turn_and_dead_ones_passed_over(tmp_path: Path) -> None:
    first = database(tmp_path / "a", ("ann", "first"))
    second = database(tmp_path / "b", ("ann", "second"))
    source = one(f'"sqlite:{first}" "sqlite:{second}"', "no_cache = true")
    assert [source.query(QUERY, {"user": "ann"}).first("kind") for _ in range(4)] == ["first", "second"] * 2
    first.unlink()
    assert [source.query(QUERY, {"user": "ann"}).first("kind") for _ in range(4)] == ["second"] * 4


def test_a_reload_keeps_the_cache_of_what_did_not_change(tmp_path: Path) -> None:
    path = database(tmp_path / "a", ("ann", 1))
    text = f'Datasource "same" {{ uri = ( "sqlite:{path}" ) }}\nDatasource "new" {{ uri = ( "sqlite:{path}" ) %s }}'
    old = build(text % "")
    for name in ("same", "new"):
        old.query(name, QUERY, {"user": "ann"})
    new = build(text % "cache_life = 5", old)
    old.release()
    assert (new.get("same") is old.get("same"), new.get("new") is old.get("new")) == (True, False)
    assert (len(new.get("same").cache), len(new.get("new").cache)) == (1, 0)
    assert new.query("same", QUERY, {"user": "ann"}).first() == "ann"
    with pytest.raises(DatasourceError, match="a reload has replaced"):
        old.query("new", QUERY, {"user": "bob"})
    new.release()


def test_ds_core_can_be_switched_off(tmp_path: Path) -> None:
    path = database(tmp_path / "a", ("ann", 1))
    sources = build(f'ds_core {{ enabled = false }}\nDatasource "d" {{ uri = ( "sqlite:{path}" ) }}')
    with pytest.raises(DatasourceError, match="ds_core is not enabled"):
        sources.query("d", QUERY, {"user": "ann"})
