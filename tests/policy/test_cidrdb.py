"""cidrdb in a server: tables from files and data bases, asked by a script, listed and loaded from the console."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gsmtp.control.command import COMMANDS, CommandError, Output
from gsmtp.control.commands import cidrdb as _commands  # noqa: F401 - registers them
from gsmtp.control.console import Console
from gsmtp.core.errors import ConfigError
from gsmtp.policy import cidr
from tests.config_meaning.loading import messages
from tests.support.inprocess import Running, running

SCRIPT = """
from gsmtp.api import Hook, Reject
from gsmtp.policy import cidr

class Blocked(Hook):
    def connect(self, conn, ctx):
        if cidr.query("blocked", conn.client_ip) == "127.0.0.3":
            return Reject(554, "5.7.1 listed")
"""
CONF = """
cidrdb {{
  CIDR_Table "blocked" {{ type = "rbldnsd" source = "{folder}/blocked" }}
  CIDR_Table "partners" {{
    type = "datasource" cachename = "db" query = "SELECT name, network FROM networks"
    cidr_column = "network" value_column = "name" refresh = 0 default_value = "nobody"
  }}
  CIDR_Table "mine" {{ type = "empty" }}
}}
Datasource "db" {{ uri = ( "sqlite:{folder}/networks" ) max_rows = -1 no_cache = true }}
scriptlet "scriptlet" {{ script "blocked" {{ source = "{folder}/blocked_script.py" }} }}
ESMTP_Listener {{ Listen "127.0.0.1:0" {{ }} }}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "blocked").write_text("127.0.5.0/24:3:\n")
    (tmp_path / "blocked_script.py").write_text(SCRIPT)
    with closing(sqlite3.connect(tmp_path / "networks")) as made:
        made.execute("CREATE TABLE networks (name, network)")
        made.execute("INSERT INTO networks VALUES ('ann', '10.1.0.0/16'), ('bob', '2001:db8::/32')")
        made.commit()
    return tmp_path


def _do(server: Running, name: str, *words: str) -> Output:
    command = COMMANDS.get(name)
    assert command is not None
    return command.run(Console(server.supervisor, "test"), words)


def test_a_script_asks_what_a_file_holds(folder: Path) -> None:
    with running(folder, CONF.format(folder=folder)) as server:
        listed = server.client(source="127.0.5.9")
        assert listed.reply() == b"554 5.7.1 listed\r\n"
        server.client(source="127.0.6.9").greet().close()
        (folder / "blocked").write_text("127.0.6.0/24:3:\n192.0.2.1\n")
        assert _do(server, "cidrdb reload", "blocked").lines == ("blocked: 2 entries",)
        assert server.client(source="127.0.6.9").reply() == b"554 5.7.1 listed\r\n"
        server.client(source="127.0.5.9").greet().close()


def test_a_data_base_fills_a_table(folder: Path) -> None:
    with running(folder, CONF.format(folder=folder)):
        asked = [cidr.query("partners", one) for one in ("10.1.2.3", "2001:db8::1", "10.2.0.1")]
        assert asked == ["ann", "bob", "nobody"]


def test_the_console_lists_and_tells_trouble(folder: Path) -> None:
    with running(folder, CONF.format(folder=folder)) as server:
        lines = tuple(_do(server, "cidrdb list").lines)
        assert re.fullmatch(r"blocked \[refresh in (1800|1799) seconds\]", lines[0])
        assert lines[1:] == ("mine [refresh in 0 seconds]", "partners [refresh in 0 seconds]")
        (folder / "blocked").unlink()
        with pytest.raises(CommandError, match=r"blocked keeps what it has: .*: No such file"):
            _do(server, "cidrdb reload", "blocked")
        assert cidr.query("blocked", "127.0.5.1") == "127.0.0.3"
        with pytest.raises(CommandError, match="there is no table 'x'"):
            _do(server, "cidrdb reload", "x")


def test_a_file_that_is_wrong_changes_nothing(folder: Path) -> None:
    conf = CONF.format(folder=folder)
    with running(folder, conf) as server:
        (folder / "blocked").write_text("nonsense\n")
        server.supervisor.reload()
        assert "CIDR_Table blocked: line 1: " in str(server.log)
        assert cidr.query("blocked", "127.0.5.1") == "127.0.0.3"
    (folder / "none").mkdir()
    with pytest.raises(ConfigError, match="CIDR_Table blocked: line 1: "), running(folder, conf):
        pass


def test_without_the_stanza_the_console_says_so(tmp_path: Path) -> None:
    with (
        running(tmp_path, 'ESMTP_Listener { Listen "127.0.0.1:0" { } }') as server,
        pytest.raises(CommandError, match="no cidrdb stanza"),
    ):
        _do(server, "cidrdb list")


def test_what_is_said_at_load() -> None:
    assert messages('cidrdb { CIDR_Table "x" { } }') == [
        '1:10: error: CIDR_Table "x" has no type [set type = "rbldnsd", "datasource" or "empty"]'
    ]
