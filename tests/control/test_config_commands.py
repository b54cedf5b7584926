"""The config commands on a running server: what they set, clients see.

Source: reference/console-and-logs.md section 3.
"""

from __future__ import annotations

from pathlib import Path

import gevent

from gsmtp.config.words import split
from gsmtp.control.command import COMMANDS, CommandError
from gsmtp.control.commands import config, config_files, config_transaction
from gsmtp.control.console import Console
from tests.support.inprocess import Running, running
from tests.support.ports import free_port

assert config
assert config_files
assert config_transaction

LISTEN = """
ESMTP_Listener {
  # what clients wait for
  Listen "127.0.0.1:0" {
    Banner_Hostname = "one.example"   # the name
  }
}
"""


def say(console: Console, line: str) -> str:
    """What a command prints; of a failed one the reason behind ``ERR``."""
    words = split(line)
    name = next(" ".join(words[:n]) for n in range(len(words), 0, -1) if " ".join(words[:n]) in COMMANDS)
    found = COMMANDS.get(name)
    assert found is not None
    try:
        return "\n".join(found.run(console, words[len(name.split()) :]).lines)
    except CommandError as error:
        return f"ERR {error}"


def console_of(server: Running) -> Console:
    """A session on a server's console."""
    return Console(server.supervisor, "tester")


def banner(server: Running, number: int = 0) -> bytes:
    """What a new client hears first."""
    client = server.client(number)
    try:
        return client.reply()
    finally:
        client.close()


def test_a_value_holds_for_the_next_client(tmp_path: Path) -> None:
    with running(tmp_path, LISTEN) as server:
        console = console_of(server)
        before = server.path.read_text()
        assert banner(server).startswith(b"220 one.example ")
        assert say(console, "config set esmtp_listener listen 127.0.0.1:0 banner_hostname two.example") == (
            "        Banner_Hostname = two.example"
        )
        assert banner(server).startswith(b"220 two.example ")
        assert say(console, "config writeback") == f"Written: {server.path}"
        assert server.path.read_text() == before.replace("one.example", "two.example")
        assert say(console, "config unset esmtp_listener listen 127.0.0.1:0 banner_hostname").startswith(
            '"Banner_Hostname" has been unset.'
        )
        assert banner(server).startswith(b"220 mx.example.com ")
        assert say(console, "config reload") == "Configuration reloaded.\n1 change made by console was dropped."
        assert banner(server).startswith(b"220 two.example ")


def test_enable_false_closes_the_socket_and_true_opens_it(tmp_path: Path) -> None:
    port = free_port()
    with running(tmp_path, LISTEN.replace(":0", f":{port}")) as server:
        console = console_of(server)
        kept = server.client().greet()
        listen = f"esmtp_listener listen 127.0.0.1:{port}"
        assert say(console, f"config set {listen} enable false") == "        Enable = false"
        assert not server.listeners
        # the session that was there goes on
        assert kept.code(b"NOOP") == 250
        assert say(console, f"config set {listen} enable true") == "        Enable = true"
        assert banner(server).startswith(b"220 one.example ")
        kept.close()


def test_what_cannot_be_used_changes_nothing(tmp_path: Path) -> None:
    with running(tmp_path, LISTEN) as server:
        console = console_of(server)
        running_now = server.supervisor.configuration
        said = say(console, "config set esmtp_listener pathway nowhere")
        assert said.startswith("ERR Reconfigure failed\n")
        assert "console: error: pathway 'nowhere' of ESMTP_Listener is not defined" in said
        said = say(console, "config set esmtp_listener listen 192.0.2.1:25 enable true")
        assert said.startswith("ERR Reconfigure failed\n")
        assert server.supervisor.configuration is running_now
        assert banner(server).startswith(b"220 one.example ")
        server.path.write_text(server.path.read_text() + "nonsense = 1\n")
        said = say(console, "config reload")
        assert said.startswith("ERR Reconfigure failed\n")
        assert "unknown option 'nonsense'" in said
        assert server.supervisor.configuration is running_now


def test_a_transaction_takes_effect_at_its_commit(tmp_path: Path) -> None:
    with running(tmp_path, LISTEN) as server:
        console = console_of(server)
        assert say(console, "config begin") == "Transaction begun."
        say(console, "config set esmtp_listener listen 127.0.0.1:0 banner_hostname three.example")
        assert banner(server).startswith(b"220 one.example ")
        assert say(console, "config reload").startswith("ERR a transaction is open")
        assert say(console, "config commit") == "Transaction committed: 1 change."
        assert banner(server).startswith(b"220 three.example ")


def test_many_sessions_lose_no_change(tmp_path: Path) -> None:
    """Each edit starts from the tree that the one before it made, however they come."""
    with running(tmp_path, LISTEN) as server:
        lines = [f"config set esmtp_listener listen 127.0.0.1:0 peer 10.0.0.{n} idle_time {n}" for n in range(1, 9)]
        jobs = [gevent.spawn(say, console_of(server), line) for line in lines]
        gevent.joinall(jobs, timeout=20, raise_error=True)
        assert [job.value for job in jobs] == [f"        Idle_Time = {n}" for n in range(1, 9)]
        listen = server.supervisor.configuration.listens[0]
        assert sorted(peer.spelled or "" for peer in listen.scope.all("peer")) == [f"10.0.0.{n}" for n in range(1, 9)]


def test_an_edit_that_meets_a_reload_starts_from_what_the_reload_brought(tmp_path: Path) -> None:
    with running(tmp_path, LISTEN) as server:
        text = server.path.read_text().replace("one.example", "two.example")
        server.path.write_text(text)
        reload = gevent.spawn(server.supervisor.reload)
        gevent.sleep(0)
        assert server.supervisor._is_busy
        assert say(console_of(server), "config set esmtp_listener idle_time 7") == "        Idle_Time = 7"
        reload.get(timeout=10)
        assert banner(server).startswith(b"220 two.example ")
        assert say(console_of(server), "config get esmtp_listener idle_time") == "        Idle_Time = 7"


def test_writeback_of_an_edited_file_says_that_it_was_edited(tmp_path: Path) -> None:
    with running(tmp_path, LISTEN) as server:
        console = console_of(server)
        say(console, "config set esmtp_listener idle_time 7")
        edited = server.path.read_text() + "# mine\n"
        server.path.write_text(edited)
        assert say(console, "config writeback") == (
            f"ERR {server.path} was changed on disk since it was loaded; nothing was written. Reload, or restore it"
        )
        assert server.path.read_text() == edited


def test_two_writebacks_at_once_write_once(tmp_path: Path) -> None:
    with running(tmp_path, LISTEN) as server:
        say(console_of(server), "config set esmtp_listener idle_time 7")
        jobs = [gevent.spawn(say, console_of(server), "config writeback") for _ in range(2)]
        gevent.joinall(jobs, timeout=20, raise_error=True)
        assert sorted(str(job.value) for job in jobs) == ["Nothing to write back.", f"Written: {server.path}"]


def test_a_reload_by_signal_names_the_changes_that_it_drops(tmp_path: Path) -> None:
    """A HUP for the sake of the logs must not take an operator's change away in silence."""
    with running(tmp_path, LISTEN) as server:
        say(console_of(server), "config set esmtp_listener idle_time 7")
        server.supervisor.reload()
        assert "dropped a change made by the console: 'Idle_Time' in scope 'Esmtp_Listener::'" in str(server.log)
        assert str(server.log).count("dropped a change") == 1
        server.supervisor.reload()
        assert str(server.log).count("dropped a change") == 1
