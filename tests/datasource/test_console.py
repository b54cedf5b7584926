"""What the console shows of caches, in the documented shapes."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gsmtp.control.command import COMMANDS, CommandError, Output
from gsmtp.control.commands import caches as _commands  # noqa: F401 - registers them
from gsmtp.control.console import Console
from tests.support.inprocess import Running, running

HEAD = (
    "cache name                      lookups %                  deletions %",
    "                       elts  hit miss pend  total  inserts man ttl lru  total",
    "---------------------- ----- -------------------- -------- ------------------",
)


def _do(server: Running, name: str, *words: str) -> Output:
    command = COMMANDS.get(name)
    assert command is not None
    return command.run(Console(server.supervisor, "test"), words)


def test_caches_on_the_console(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "db")) as made:
        made.execute("CREATE TABLE t (a)")
    conf = f"""
      Datasource "a_long_name" {{ uri = ( "sqlite:{tmp_path}/db" ) cache_size = 2 }}
      Datasource "b" {{ uri = ( "sqlite:{tmp_path}/db" ) }}
      ESMTP_Listener {{ Listen "127.0.0.1:0" {{ }} }}
    """
    with running(tmp_path, conf) as server:
        for value in ("1", "2", "3", "3", "3"):
            server.supervisor.datasources.query("a_long_name", "SELECT :v", {"v": value})
        assert _do(server, "ds_core stats").lines == (
            *HEAD,
            "a_long_nam",
            "                           2  40  60   0        5        3   0   0 100      1",
            "b",
            "                           0   0   0   0        0        0   0   0   0      0",
        )
        assert _do(server, "cache stats") == _do(server, "ds_core stats")
        assert _do(server, "cache stat", "b").lines == (*HEAD, "b", tuple(_do(server, "ds_core stats").lines)[-1])
        assert _do(server, "cache list").lines == ("a_long_name", "b")
        assert _do(server, "ds_core flush", "a_long_name").lines == ("flushed 2 entries from cache 'a_long_name'",)
        assert _do(server, "ds_core flush", "cache", "b").lines == ("flushed 0 entries from cache 'b'",)
        with pytest.raises(CommandError, match="there is no datasource 'x'"):
            _do(server, "ds_core flush", "x")


def test_a_reload_keeps_caches_and_drops_what_is_gone(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "db")) as made:
        made.execute("CREATE TABLE t (a)")
    conf = f"""
      Datasource "a" {{ uri = ( "sqlite:{tmp_path}/db" ) }}
      Datasource "b" {{ uri = ( "sqlite:{tmp_path}/db" ) }}
      ESMTP_Listener {{ Listen "127.0.0.1:0" {{ }} }}
    """
    with running(tmp_path, conf) as server:
        for name in ("a", "b"):
            server.supervisor.datasources.query(name, "SELECT 1", {})
        text = server.path.read_text()
        server.reconfigure(text.replace('Datasource "b"', 'Datasource "c"'))
        kept = server.supervisor.datasources
        assert {datasource.name: len(datasource.cache) for datasource in kept} == {"a": 1, "c": 0}
        assert kept.get("a").users == 1
