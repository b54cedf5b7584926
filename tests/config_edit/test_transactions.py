"""Transactions of console sessions: together or not at all, and the first of two wins.

Source: reference/console-and-logs.md section 3.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.desk import Desk

MAIN = 'Hostname = a.example\nESMTP_Listener {\n  Idle_Time = 300\n  Listen ":25" { }\n}\n'


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path, {"ecelerity.conf": MAIN})


def test_changes_wait_for_the_commit(desk: Desk) -> None:
    other = desk.other()
    assert desk.say("config begin") == "Transaction begun."
    assert desk.say("config set esmtp_listener listen :587 idle_time 5") == "        Idle_Time = 5"
    assert desk.say("config unset hostname").startswith('"Hostname" has been unset. Effective value is now:')
    assert desk.say('config set esmtp_listener reconfig_message "a b"') == '        Reconfig_Message = "a b"'
    assert desk.say("config get esmtp_listener listen :587 idle_time") == "        Idle_Time = 5"
    assert other.say("config get esmtp_listener listen :587 idle_time") == (
        "Option 'Idle_Time' is not set in scope 'Esmtp_Listener::Listen:\\:587:'."
    )
    assert desk.say("config replay") == (
        "config set esmtp_listener listen :587 idle_time 5\nconfig unset hostname\n"
        'config set esmtp_listener reconfig_message "a b"'
    )
    assert desk.say("config commit") == "Transaction committed: 3 changes."
    assert other.say("config get esmtp_listener listen :587 idle_time") == "        Idle_Time = 5"
    assert desk.console.transaction is None


def test_a_rollback_forgets(desk: Desk) -> None:
    running = desk.server.configuration
    desk.say("config begin")
    desk.say("config set hostname b.example")
    assert desk.say("config rollback") == "Transaction rolled back."
    assert desk.server.configuration is running
    assert desk.say("config commit") == "ERR no transaction is open: `config begin` opens one"


def test_the_first_commit_wins_and_the_later_one_changes_nothing(desk: Desk) -> None:
    other = desk.other()
    for session, value in ((desk, "b.example"), (other, "c.example")):
        session.say("config begin")
        session.say(f"config set hostname {value}")
    other.say("config set blackhole true")
    assert desk.say("config commit") == "Transaction committed: 1 change."
    assert other.say("config commit") == (
        "ERR Commit failed: 'Hostname' in scope '' was changed by somebody else since this transaction began; "
        "roll it back"
    )
    assert desk.say("config get hostname") == "Hostname = b.example"
    assert desk.say("config get blackhole") == "Option 'Blackhole' is not set in scope ''."
    assert other.say("config get hostname") == "Hostname = c.example"
    assert other.say("config rollback") == "Transaction rolled back."
    assert other.say("config get hostname") == "Hostname = b.example"


@pytest.mark.parametrize(
    ("mine", "theirs"),
    [
        ("unset esmtp_listener listen :25", "set esmtp_listener listen :25 idle_time 5"),
        ("set esmtp_listener listen :25 idle_time 5", "unset esmtp_listener"),
        ("set esmtp_listener listen :26 idle_time 5", "set esmtp_listener listen :26 enable false"),
        ("set esmtp_listener idle_time 5", "set esmtp_listener idle_time 5"),
    ],
)
def test_what_meets_in_a_scope_conflicts(desk: Desk, mine: str, theirs: str) -> None:
    other = desk.other()
    desk.say("config begin")
    desk.say(f"config {mine}")
    assert not other.say(f"config {theirs}").startswith("ERR")
    assert desk.say("config commit").startswith("ERR Commit failed: ")


def test_what_does_not_meet_is_kept_by_both(desk: Desk) -> None:
    other = desk.other()
    desk.say("config begin")
    desk.say("config set esmtp_listener idle_time 5")
    other.say("config set esmtp_listener listen :25 enable false")
    other.say("config set esmtp_listener listen :26 idle_time 9")
    assert desk.say("config commit") == "Transaction committed: 1 change."
    assert desk.say("config showrecurse esmtp_listener") == (
        'Idle_Time = 5\nListen ":25" {\n  Enable = false\n}\nListen ":26" {\n  Idle_Time = 9\n}'
    )


def test_an_outcome_that_cannot_be_used_leaves_the_transaction_open(desk: Desk) -> None:
    running = desk.server.configuration
    desk.say("config begin")
    assert desk.say("config set esmtp_listener idle_time soon") == "        Idle_Time = soon"
    said = desk.say("config commit")
    assert said.startswith("ERR Reconfigure failed\nconsole: error: value 'soon' is not valid for option 'Idle_Time'")
    assert desk.server.configuration is running
    desk.say("config set esmtp_listener idle_time 5")
    assert desk.say("config commit") == "Transaction committed: 1 change."


def test_from_scratch_begins_with_what_is_preset(desk: Desk) -> None:
    assert desk.say("config begin from scratch") == "Transaction begun from scratch."
    shown = desk.say("config show").splitlines()
    assert shown[0] == 'TimestampFormat = "[%a %d %b %Y %H:%M:%S] "'
    assert 'ThreadPool "IO" { ... }' in shown
    assert "Debug_Flags { ... }" in shown
    assert desk.say("config get threadpool unlink backlog") == "        Backlog = 100"
    assert desk.say("config replay") == ""
    desk.say("config set hostname new.example")
    assert desk.say("config commit").startswith("Transaction committed: ")
    assert desk.say("config show esmtp_listener") == "ERR Scope 'Esmtp_Listener::' is not set."
    assert desk.say("config get hostname") == "Hostname = new.example"
    assert desk.say("config writeback") == "Written: DIR/ecelerity.conf"
    text = desk.text("ecelerity.conf")
    assert text.startswith("Hostname = new.example\n")
    assert "ESMTP_Listener" not in text


def test_from_scratch_loses_against_any_other_change(desk: Desk) -> None:
    desk.say("config begin from scratch")
    desk.other().say("config set blackhole true")
    assert desk.say("config commit").startswith("ERR Commit failed: 'Blackhole' in scope ''")


@pytest.mark.parametrize("line", ["config reload", "config begin", "config begin from scratch"])
def test_what_an_open_transaction_forbids(desk: Desk, line: str) -> None:
    desk.say("config begin")
    assert desk.say(line).startswith("ERR a transaction is open")


def test_a_reload_meanwhile_conflicts_where_the_files_changed_the_same(desk: Desk) -> None:
    desk.say("config begin")
    desk.say("config set hostname b.example")
    (desk.folder / "ecelerity.conf").write_text(MAIN.replace("a.example", "c.example"))
    assert desk.other().say("config reload") == "Configuration reloaded."
    assert desk.say("config commit").startswith("ERR Commit failed: 'Hostname' in scope ''")
