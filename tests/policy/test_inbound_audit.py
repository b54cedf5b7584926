"""inbound_audit in a server: what is counted, what the console shows, what outlives a restart and a reload."""

from __future__ import annotations

from pathlib import Path

import pytest

from gsmtp.control.command import COMMANDS, CommandError
from gsmtp.control.commands import inbound_audit as _commands  # noqa: F401 - registers them
from gsmtp.control.console import Console
from gsmtp.policy import audit
from tests.config_meaning.loading import messages
from tests.support.inprocess import Running, running

CONF = """
inbound_audit {{ monitors = ( "100000000,1" "7200,2" ) serialize_dir = "{folder}" }}
ESMTP_Listener {{ Listen "127.0.0.1:0" {{ Peer "127.0.7.1" {{ context = [ __bypass_inbound_audit = "true" ] }} }} }}
"""
WINDOW_S = 100_000_000


def _show(server: Running, network: str) -> tuple[str, ...]:
    command = COMMANDS.get("inbound_audit show ip")
    assert command is not None
    return tuple(command.run(Console(server.supervisor, "test"), [network]).lines)


def _use(server: Running, source: str) -> None:
    """One connection, one reception, two rejections."""
    client = server.client(source=source).greet()
    assert client.transaction().startswith(b"250 ")
    assert client.transaction(recipient=b"x@other.example").startswith(b"550 ")
    client.say(b"RSET")
    assert client.transaction(recipient=b"y@other.example").startswith(b"550 ")
    client.close()


def test_counts_and_what_the_console_shows(tmp_path: Path) -> None:
    with running(tmp_path, CONF.format(folder=tmp_path)) as server:
        for source in ("127.0.3.1", "127.0.3.1", "127.0.3.2"):
            _use(server, source)
        lines = _show(server, "127.0.3.0/24")
        assert lines[0] == "Connections 100000000/0: 3"
        assert [line.partition(":")[0] for line in lines] == [
            f"{kind} {window}"
            for kind in ("Connections", "Receptions", "Rejections")
            for window in ("100000000/0", "7200/0", "7200/1")
        ]
        assert "Receptions 100000000/0: 3" in lines
        assert "Rejections 100000000/0: 6" in lines
        assert "Connections 100000000/0: 1" in _show(server, "127.0.3.2")
        assert audit.count("rejections", "127.0.3.1", WINDOW_S) == 4
        with pytest.raises(CommandError, match="nonsense"):
            _show(server, "nonsense")


def test_counts_outlive_reload_and_restart(tmp_path: Path) -> None:
    conf = CONF.format(folder=tmp_path)
    with running(tmp_path, conf) as server:
        _use(server, "127.0.3.1")
        server.supervisor.reload()
        assert audit.count("connections", "127.0.3.1", WINDOW_S) == 1
        _use(server, "127.0.3.1")
    assert audit.current() is None
    with running(tmp_path, conf):
        assert audit.count("connections", "127.0.3.1", WINDOW_S) == 2
        assert audit.count("receptions", "127.0.3.1", WINDOW_S) == 2


def test_without_the_module_there_is_nothing(tmp_path: Path) -> None:
    with running(tmp_path, 'ESMTP_Listener { Listen "127.0.0.1:0" { } }') as server:
        assert audit.count("connections", "127.0.0.1", 300) == 0
        with pytest.raises(CommandError, match="no inbound_audit stanza"):
            _show(server, "127.0.0.1")


def test_what_is_said_at_load() -> None:
    assert 'expected "SECONDS,WINDOWS" such as "300,6"' in messages('inbound_audit { monitors = ( "300" ) }')[0]
    (found,) = messages('inbound_audit { log_dir = "/x" }')
    assert found.endswith("log_dir is not served: there are no named series, only those of Monitors")
