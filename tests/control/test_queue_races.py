"""What `queue hold`, `release` and `delete` count when recipients are delivered while the command is at work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gsmtp.control import queue_work
from gsmtp.control.console import Console
from gsmtp.core.errors import SpoolUnhealthy
from gsmtp.spool.actions import ACTIONS, Changed
from gsmtp.spool.selection import PAGE, START, Place, Selected, Selection
from gsmtp.spool.sqlite import SqliteSpool
from tests.support.spool import accept, delivered, note, open_spool, queued

Race = Callable[[SqliteSpool], None]


class Raced:
    """A spool in which something happens between the look that finds recipients and what is done with them."""

    def __init__(self, spool: SqliteSpool) -> None:
        self._spool = spool
        self.races: list[Race] = []
        self.looks = 0

    def select(
        self, selection: Selection, after: Place = START, limit: int = PAGE
    ) -> tuple[list[Selected], Place | None]:
        """As the spool's."""
        self.looks += 1
        found = self._spool.select(selection, after, min(limit, 5))
        if self.races:
            self.races.pop(0)(self._spool)
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._spool, name)


class Desk:
    """A console over a spool, without a server."""

    def __init__(self, spool: SqliteSpool) -> None:
        self.spool = spool
        self.raced = Raced(spool)
        self.log: list[str] = []

    def change(self, name: str, selection: Selection | None = None) -> Changed:
        """Do something to all recipients that are meant."""
        quiet = SimpleNamespace(give_back=lambda: None, poke=lambda: None)
        journal = SimpleNamespace(record=lambda attempt: self.log.append(attempt.recipient))
        operations = SimpleNamespace(spool=self.raced, delivery=quiet, service=SimpleNamespace(journal=journal))
        console = cast(Console, SimpleNamespace(operations=operations, user="op"))
        return queue_work.change(console, selection or Selection(), ACTIONS[name])

    def states(self) -> dict[str, str]:
        """By address."""
        found: dict[str, str] = {}
        after: Place | None = START
        while after is not None:
            some, after = self.spool.select(Selection(), after)
            found |= {one.address: one.state for one in some}
        return found


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """Over an empty spool."""
    spool = open_spool(tmp_path)
    yield Desk(spool)
    spool.close()


@pytest.mark.parametrize("name", ["hold", "delete"])
def test_who_was_delivered_meanwhile_is_not_counted_as_changed(desk: Desk, name: str) -> None:
    first = accept(desk.spool, b"1", "a@one.example", "b@one.example", "c@one.example")
    second = accept(desk.spool, b"2", "d@one.example")
    desk.raced.races = [lambda spool: note(spool, delivered(first, 1), delivered(second, 0))]
    assert desk.change(name) == Changed(changed=2, messages=1, busy=0, passed_over=1), "b; d is gone"
    assert desk.log == (["a@one.example", "c@one.example"] if name == "delete" else [])
    states = {"a@one.example": "held", "b@one.example": "delivered", "c@one.example": "held"}
    assert desk.states() == (states if name == "hold" else {})
    assert desk.spool.lease(second, 0), "nothing stays leased"


def test_who_was_let_go_meanwhile_is_passed_over(desk: Desk) -> None:
    message_id = accept(desk.spool, b"1", "a@one.example", "b@one.example")
    assert desk.change("hold").changed == 2
    desk.raced.races = [lambda spool: note(spool, queued(message_id, 0, 0.0, state="dead"))]
    assert desk.change("release") == Changed(changed=1, messages=1, busy=0, passed_over=1)
    assert desk.states() == {"a@one.example": "dead", "b@one.example": "queued"}


def test_who_is_being_delivered_is_busy(desk: Desk) -> None:
    message_id = accept(desk.spool, b"1", "a@one.example", "b@one.example")
    assert desk.spool.lease(message_id, 1)
    assert desk.change("hold") == Changed(changed=1, messages=1, busy=1, passed_over=0)
    assert desk.states() == {"a@one.example": "held", "b@one.example": "queued"}


def test_pages_whose_recipients_change_meanwhile_are_counted_once(desk: Desk) -> None:
    """Others that fit come in between, so that what was on one page is on two."""
    message_id = accept(desk.spool, b"1", *(f"u{number}@one.example" for number in range(12)))
    note(desk.spool, *(queued(message_id, number, 0.0, state="held") for number in range(1, 11, 2)))
    wanted = Selection(states=("queued",))

    def let_go(spool: SqliteSpool) -> None:
        note(spool, *(queued(message_id, number, 0.0) for number in range(1, 11, 2)))

    desk.raced.races = [let_go]
    assert desk.change("hold", wanted) == Changed(changed=8, messages=1, busy=0, passed_over=0)
    held = [address for address, state in desk.states().items() if state == "held"]
    assert held == [f"u{number}@one.example" for number in (0, 2, 4, 6, 8, 9, 10, 11)]
    assert all(desk.spool.lease(message_id, number) for number in range(12)), "nothing stays leased"


def test_a_spool_that_fails_meanwhile_leaves_nothing_leased(desk: Desk) -> None:
    message_id = accept(desk.spool, b"1", "a@one.example", "b@one.example")

    def fail(spool: SqliteSpool) -> None:
        raise SpoolUnhealthy("I/O error")

    desk.raced.races = [lambda spool: None, fail]
    with pytest.raises(Exception, match="after 0 recipients: I/O error"):
        desk.change("hold")
    assert all(desk.spool.lease(message_id, index) for index in range(2))
