"""Which recipients an operator's words mean, and that pages give all of them once."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gsmtp.spool import schema, selection
from gsmtp.spool.base import State
from gsmtp.spool.filters import parse, span_s, words
from gsmtp.spool.selection import Selection, pages, totals
from tests.support.spool import WALL, accept, commit, make_envelope, note, open_spool, queued

NOW = WALL + 7200


@pytest.fixture
def filled(tmp_path: Path) -> tuple[sqlite3.Connection, dict[str, str]]:
    """Three messages, 0, 1 and 2 hours old at NOW, one recipient of which is dead and one held."""
    spool = open_spool(tmp_path)
    ids = {
        "old": accept(spool, b"12", "a@one.example", "B@two.example"),
        "mid": accept(spool, b"345", "c@two.example", wall=WALL + 3600),
        "new": accept(spool, b"6789", "d@three.example", wall=NOW),
    }
    note(spool, queued(ids["old"], 1, 0, state=State.DEAD), queued(ids["new"], 0, 0, state=State.HELD))
    spool.close()
    return schema.connect(schema.database_path(str(tmp_path))), ids


def _meant(connection: sqlite3.Connection, selection: Selection) -> list[str]:
    return [one.address for page in pages(connection, selection, NOW) for one in page]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("all", ["a@one.example", "B@two.example", "c@two.example", "d@three.example"]),
        ("domain Two.Example", ["B@two.example", "c@two.example"]),
        ("state dead", ["B@two.example"]),
        ("state dead state held", ["B@two.example", "d@three.example"]),
        ("domain two.example state queued", ["c@two.example"]),
        ("recipient b@TWO.example", ["B@two.example"]),
        ("sender <Sender@example.net>", ["a@one.example", "B@two.example", "c@two.example", "d@three.example"]),
        ("sender <>", []),
        ("older 1h", ["a@one.example", "B@two.example", "c@two.example"]),
        ("older 90m", ["a@one.example", "B@two.example"]),
        ("newer 1h", ["c@two.example", "d@three.example"]),
        ("older 30m newer 90m", ["c@two.example"]),
    ],
)
def test_filters(filled: tuple[sqlite3.Connection, dict[str, str]], text: str, found: list[str]) -> None:
    connection, _ = filled
    meant = parse(text.split())
    assert _meant(connection, meant) == found
    assert parse(words(meant)) == meant


def test_ids(filled: tuple[sqlite3.Connection, dict[str, str]]) -> None:
    connection, ids = filled
    meant = parse([ids["new"].lower(), ids["old"]])
    assert _meant(connection, meant) == ["a@one.example", "B@two.example", "d@three.example"]
    assert parse(words(meant)) == meant


@pytest.mark.parametrize(("limit", "scanned"), [(1, 1), (1, 2), (2, 20_000), (500, 1), (3, 2)])
def test_pages_of_any_size_give_everybody_once(
    filled: tuple[sqlite3.Connection, dict[str, str]], monkeypatch: pytest.MonkeyPatch, limit: int, scanned: int
) -> None:
    connection, _ = filled
    monkeypatch.setattr(selection, "MOST_SCANNED", scanned)
    found: list[str] = []
    after: selection.Place | None = selection.START
    while after is not None:
        some, after = selection.page(connection, Selection(), NOW, after, limit)
        assert len(some) <= limit
        found += [one.address for one in some]
    assert found == ["a@one.example", "B@two.example", "c@two.example", "d@three.example"]


def _count_decoding(connection: sqlite3.Connection) -> list[str]:
    """Have each look into an envelope's JSON by SQLite noted."""
    looks: list[str] = []

    def note_look(name: str, answer: Callable[[Any, Any], str | int]) -> Callable[..., str | int]:
        def look(text: Any, path: Any = None) -> str | int:
            looks.append(name)
            return answer(json.loads(text), path)

        return look

    connection.create_function("->>", 2, note_look("->>", lambda value, path: value.get(path.removeprefix("$."))))
    connection.create_function("json_valid", 1, note_look("json_valid", lambda value, path: 1))
    return looks


@pytest.mark.parametrize(
    "text", ["all", "sender sender@example.net", "domain two.example", "sender nobody@example.net"]
)
def test_an_envelope_with_many_recipients_is_read_once_a_page(tmp_path: Path, text: str) -> None:
    """Its text is as long as its recipients are many: to read it for each of them takes the square of their number."""
    spool = open_spool(tmp_path)
    for _ in range(2):
        accept(spool, b"12", *(f"u{number}@two.example" for number in range(700)))
    spool.close()
    connection = schema.connect(schema.database_path(str(tmp_path)))
    looks = _count_decoding(connection)
    found = _meant(connection, parse(text.split()))
    assert found == ([] if "nobody" in text else [f"u{number}@two.example" for number in range(700)] * 2)
    assert 2 <= len(looks) <= 30


def test_bindings_are_those_of_each_recipient(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    for bindings in (("", "b", "c"), ("d", "", ""), ("", "", "")):
        message = make_envelope(spool.generation, "u@one.example", "v@one.example", "w@one.example")
        for recipient, binding in zip(message.recipients, bindings, strict=True):
            recipient.binding = binding
        assert commit(spool, message, b"1") is None
    spool.close()
    connection = schema.connect(schema.database_path(str(tmp_path)))
    meant = parse(["all"])
    found = [one.binding for page in pages(connection, meant, NOW) for one in page]
    assert found == ["", "b", "c", "d", "", "", "", "", ""]
    connection.execute("UPDATE message SET envelope = 'no JSON' WHERE id = (SELECT min(id) FROM message)")
    assert [(one.sender, one.binding) for page in pages(connection, meant, NOW) for one in page][:4] == [
        ("", ""),
        ("", ""),
        ("", ""),
        ("sender@example.net", "d"),
    ]


def test_a_sender_s_recipients_come_in_pages_of_any_size(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    mine = [accept(spool, b"1", *(f"u{number}@one.example" for number in range(5))) for _ in range(3)]
    spool.close()
    connection = schema.connect(schema.database_path(str(tmp_path)))
    for limit in (1, 2, 5, 7, 100):
        found: list[tuple[str, int]] = []
        after: selection.Place | None = selection.START
        while after is not None:
            some, after = selection.page(connection, Selection(sender="sender@example.net"), NOW, after, limit)
            found += [(one.message_id, one.index) for one in some]
        assert found == [(message_id, index) for message_id in mine for index in range(5)]


def test_totals(filled: tuple[sqlite3.Connection, dict[str, str]]) -> None:
    connection, _ = filled
    assert [(one.domain, one.counts, one.size_bytes, one.oldest_wall) for one in totals(connection)] == [
        ("two.example", {"dead": 1, "queued": 1}, 5, WALL),
        ("one.example", {"queued": 1}, 2, WALL),
        ("three.example", {"held": 1}, 4, NOW),
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "which recipients?"),
        ("domain", "'domain' of what?"),
        ("state odd", "'odd' is no state of a recipient"),
        ("older soon", "'soon' is no span of time"),
        ("00/2A-1", "is not a message id"),
        ("all domain x.example", "'all' and a filter at once"),
    ],
)
def test_words_that_mean_nothing(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem.replace("?", r"\?")):
        parse(text.split())


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("15m", 900), ("2h", 7200), ("1.5d", 129_600), ("1w", 604_800)]
)
def test_spans(text: str, seconds: float) -> None:
    assert span_s(text) == seconds
