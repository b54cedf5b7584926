"""`gsmtp queue retry|hold|release|bounce|delete|export` on the spool of a server that doesn't run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gsmtp.cli.main import main
from gsmtp.spool.base import QueuedRecipient, State, Wish
from gsmtp.spool.inspect import Inspector
from tests.support.spool import WALL, accept, note, open_spool, queued

LARGE = b"l" * 9_000


@pytest.fixture
def ids(tmp_path: Path) -> list[str]:
    """One queued with an attempt, one dead, one held, one large and queued."""
    spool = open_spool(tmp_path)
    found = [accept(spool, data, f"{name}@{name}.example") for name, data in (("q", b"1"), ("d", b"2"), ("h", b"3"))]
    found.append(accept(spool, LARGE, "l@l.example"))
    note(
        spool,
        queued(found[0], 0, WALL + 1e7, attempts=3),
        queued(found[1], 0, 0, attempts=2, state=State.DEAD),
        queued(found[2], 0, 0, attempts=1, state=State.HELD),
    )
    spool.close()
    return found


def _queue(base: Path, *words: str) -> int:
    return main(["queue", *words, "--spool", str(base)])


def _recipients(base: Path) -> dict[str, QueuedRecipient]:
    inspector = Inspector(str(base))
    try:
        return {message.envelope.message_id: message.recipients[0] for message in inspector.messages()}
    finally:
        inspector.close()


def test_retry(tmp_path: Path, ids: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert _queue(tmp_path, "retry", *ids[:3]) == 0
    assert capsys.readouterr().out == "3 recipients of 3 messages to be tried now\n"
    found = _recipients(tmp_path)
    first, dead, held = (found[id_] for id_ in ids[:3])
    assert [one.state for one in (first, dead, held)] == ["queued"] * 3
    assert first.due_wall < WALL + 1e8
    assert (first.attempts, first.since_wall) == (3, 0.0)
    assert (dead.attempts, dead.since_wall) == (0, dead.when_wall), "a dead letter begins anew"
    assert [past.hop for past in dead.history] == ["127.0.0.1:25", "operator"]
    assert dead.history[-1].reply.startswith("replayed by ")


def test_hold_and_release(tmp_path: Path, ids: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert _queue(tmp_path, "hold", "--all", "--yes") == 0
    assert capsys.readouterr().out == "2 recipients of 2 messages held; 2 passed over: only queued ones can be\n"
    assert [one.state for one in _recipients(tmp_path).values()] == ["held", "dead", "held", "held"]
    assert _queue(tmp_path, "release", "--domain", "L.example", "--yes", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {"action": "release", "changed": 1, "messages": 1, "busy": 0, "passed_over": 0}
    assert [one.state for one in _recipients(tmp_path).values()] == ["held", "dead", "held", "queued"]


def test_bounce_is_a_wish_for_the_next_start(tmp_path: Path, ids: list[str]) -> None:
    assert _queue(tmp_path, "bounce", ids[1]) == 0
    one = _recipients(tmp_path)[ids[1]]
    assert (one.state, one.wish) == (State.QUEUED, Wish.BOUNCE)
    spool = open_spool(tmp_path)
    due = spool.due(one.due_wall, 10, ("d.example", "q.example", "l.example"))
    spool.close()
    assert [(found.message_id, found.wish) for found in due] == [(ids[1], Wish.BOUNCE)], "whatever domains are skipped"


def test_delete_takes_the_body_file_along(tmp_path: Path, ids: list[str]) -> None:
    files = [path for path in (tmp_path / "bodies").rglob("*") if path.is_file()]
    assert len(files) == 1
    assert _queue(tmp_path, "delete", ids[3]) == 0
    assert list(_recipients(tmp_path)) == ids[:3]
    assert not files[0].exists()


def test_a_dry_run_changes_nothing(tmp_path: Path, ids: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    before = _recipients(tmp_path)
    assert _queue(tmp_path, "delete", "--all", "--dry-run") == 0
    assert capsys.readouterr().out == "4 recipients of 4 messages would be removed\n"
    assert _recipients(tmp_path) == before


def test_everything_by_mistake(tmp_path: Path, ids: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert _queue(tmp_path, "delete") == 1
    assert capsys.readouterr().err == "gsmtp: which messages shall be removed? give ids or filters, or --all\n"
    assert _queue(tmp_path, "delete", "--state", "dead") == 1
    assert capsys.readouterr().err == (
        "gsmtp: 1 recipient of 1 message would be removed: say --yes, or --dry-run to see only\n"
    )
    assert len(_recipients(tmp_path)) == 4


def test_an_id_that_is_not_there(tmp_path: Path, ids: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert _queue(tmp_path, "hold", "00/00-00000-FFFFFFFF") == 1
    assert capsys.readouterr().out == "0 recipients of 0 messages held\n"


def test_a_server_without_a_console_is_not_passed_by(
    tmp_path: Path, ids: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    spool = open_spool(tmp_path)
    assert _queue(tmp_path, "hold", ids[0]) == 1
    spool.close()
    assert capsys.readouterr().err == (
        "gsmtp: a server uses this spool: name its configuration, or --socket of its console, to ask it\n"
    )
    assert _recipients(tmp_path)[ids[0]].state == State.QUEUED


def test_export(tmp_path: Path, ids: list[str], capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    folder = tmp_path / "out"
    assert _queue(tmp_path, "export", "--to", str(folder)) == 0
    names = {id_: id_.replace("/", "-") for id_ in ids}
    assert {path.name for path in folder.iterdir()} == {
        f"{name}.{end}" for name in names.values() for end in ("eml", "json")
    }
    assert (folder / f"{names[ids[3]]}.eml").read_bytes() == LARGE
    envelope = json.loads((folder / f"{names[ids[1]]}.json").read_text())
    assert (envelope["id"], envelope["sender"], envelope["recipients"][0]["state"]) == (
        ids[1],
        "sender@example.net",
        "dead",
    )
    capfdbinary.readouterr()
    assert _queue(tmp_path, "export", ids[3], "--stdout") == 0
    assert capfdbinary.readouterr().out == LARGE


def test_summary(tmp_path: Path, ids: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert _queue(tmp_path, "summary") == 0
    header, *rows, total = capsys.readouterr().out.splitlines()
    assert header.split() == ["DOMAIN", "QUEUED", "HELD", "DEAD", "SIZE", "OLDEST"]
    assert [row.split()[:6] for row in rows] == [
        ["d.example", "0", "0", "1", "1", "B"],
        ["h.example", "0", "1", "0", "1", "B"],
        ["l.example", "1", "0", "0", "8.8", "KiB"],
        ["q.example", "1", "0", "0", "1", "B"],
    ]
    assert total == "4 recipients of 4 domains"
