"""``counter``: what hooks and operators count, in the documented table."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gsmtp.core.clock import FixedClock
from gsmtp.core.counters import COUNTERS, MOST, Counters
from tests.support.console import console_of
from tests.support.inprocess import running


def test_counters_are_counted_listed_and_forgotten(tmp_path: Path) -> None:
    with running(tmp_path, f'Control_Listener {{ Listen "{tmp_path}/control" {{ }} }}') as server:
        console = console_of(server)
        head = "VALUE       RESET_TIME       SEMANTICS COUNTER"
        assert console.lines("counter list") == [head, "", "0 counters listed."]
        assert console.lines("counter add /site/name 1020") == ["/site/name = 1020"]
        assert console.lines("counter increment /site/name") == ["/site/name = 1021"]
        assert console.lines("counter add /site/name -1000") == ["/site/name = 21"]
        COUNTERS.add("/site/hook")  # as a hook does
        lines = console.lines("counter list")
        assert [re.sub(r"\d{4}-\d\d-\d\d@\d\d:\d\d:\d\d", "YYYY-MM-DD@HH:MM:SS", line) for line in lines] == [
            head,
            "1      YYYY-MM-DD@HH:MM:SS    strict   /site/hook",
            "21     YYYY-MM-DD@HH:MM:SS    strict   /site/name",
            "",
            "2 counters listed.",
        ]
        assert console.lines("counter reset /site/name") == ["/site/name = 0"]
        assert [(one["name"], one["value"]) for one in console.data("counter list")] == [
            ("/site/hook", 1),
            ("/site/name", 0),
        ]
        for name in ("/site/name", "/site/hook"):
            assert console.lines(f"counter unlink {name}") == [f"{name} is gone."]
        assert console.say("counter unlink /site/name") == ["ERR there is no counter /site/name"]
        assert console.say("counter reset /site/name") == ["ERR there is no counter /site/name"]
        assert console.say("counter add x 1") == ["ERR 'x' is no name of a counter, such as /site/name"]
        assert (
            console.say("counter add /x y")[0] == "ERR a name and a whole number are expected: counter add NAME NUMBER"
        )
        assert [line.split("  ")[0] for line in console.lines("counter help")] == [
            "counter add NAME NUMBER",
            "counter help",
            "counter increment NAME",
            "counter list",
            "counter reset NAME",
            "counter unlink NAME",
        ]


def test_there_are_not_more_counters_than_memory_is_meant_for() -> None:
    counters = Counters(FixedClock())
    for number in range(MOST):
        counters.add(f"/site/{number}")
    with pytest.raises(ValueError, match="there are 10000 counters already"):
        counters.add("/site/more")
    assert counters.add("/site/0") == 2
