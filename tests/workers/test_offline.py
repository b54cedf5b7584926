"""`gsmtp queue` and `gsmtp spool` without a server: all workers' spools are meant, as if they were one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gsmtp.cli.main import main
from gsmtp.spool.adopt import adopt_all, spool_of
from gsmtp.spool.base import State
from gsmtp.spool.inspect import Inspector
from gsmtp.spool.sqlite import SqliteSpool
from tests.support.spool import WALL, accept, note, open_spool, queued


def _spool(base: Path, slot: int) -> SqliteSpool:
    opening = adopt_all(str(base), 2).opening
    return open_spool(Path(spool_of(str(base), slot)), first_opening=opening)


@pytest.fixture
def ids(tmp_path: Path) -> list[str]:
    """Four messages in the order of reception, by turns in both spools; the third is a dead letter."""
    one, two = _spool(tmp_path, 1), _spool(tmp_path, 2)
    found = [
        accept(spool, body, f"{name}@{domain}.example", wall=WALL + number)
        for number, (spool, body, name, domain) in enumerate(
            [(two, b"1", "a", "x"), (one, b"2", "b", "y"), (two, b"3", "c", "y"), (one, b"4" * 9000, "d", "x")]
        )
    ]
    note(two, queued(found[2], 0, 0, state=State.DEAD))
    one.close()
    two.close()
    return found


def _queue(base: Path, *words: str) -> int:
    return main(["queue", *words, "--spool", str(base)])


def _states(base: Path) -> dict[str, str]:
    found = {}
    for slot in (1, 2):
        inspector = Inspector(spool_of(str(base), slot))
        found.update({one.envelope.message_id: one.recipients[0].state for one in inspector.messages()})
        inspector.close()
    return found


def test_list_show_and_summary(tmp_path: Path, ids: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert _queue(tmp_path, "list", "--json") == 0
    assert [json.loads(line)["id"] for line in capsys.readouterr().out.splitlines()] == ids
    assert _queue(tmp_path, "list", "--limit", "2") == 0
    head, *lines, last = capsys.readouterr().out.splitlines()
    assert head.startswith("ID ")
    assert [line.split()[0] for line in lines] == ids[:2]
    assert last == "2 messages (limit)"
    assert _queue(tmp_path, "list", "--domain", "y.example", "--json") == 0
    assert [json.loads(line)["id"] for line in capsys.readouterr().out.splitlines()] == ids[1:3]
    for one in ids:
        assert _queue(tmp_path, "show", one) == 0
        assert capsys.readouterr().out.startswith(f"{one}\n")
    assert _queue(tmp_path, "summary", "--json") == 0
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [
        {"domain": "x.example", "counts": {"queued": 2}, "size": 9001, "oldest": WALL},
        {"domain": "y.example", "counts": {"queued": 1, "dead": 1}, "size": 2, "oldest": WALL + 1},
    ]


def test_changes(tmp_path: Path, ids: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert _queue(tmp_path, "hold", "--all", "--dry-run") == 0
    assert capsys.readouterr().out == "3 recipients of 3 messages would be held\n"
    assert _queue(tmp_path, "hold", "--all", "--yes") == 0
    assert capsys.readouterr().out == "3 recipients of 3 messages held; 1 passed over: only queued ones can be\n"
    assert _states(tmp_path) == dict(zip(ids, ("held", "held", "dead", "held"), strict=True))
    assert _queue(tmp_path, "release", ids[0], ids[3]) == 0
    assert capsys.readouterr().out == "2 recipients of 2 messages released\n"
    assert _queue(tmp_path, "delete", ids[1], ids[2]) == 0
    assert capsys.readouterr().out == "2 recipients of 2 messages removed\n"
    assert _states(tmp_path) == {ids[0]: "queued", ids[3]: "queued"}
    assert _queue(tmp_path, "delete", ids[1]) == 1


def test_export(tmp_path: Path, ids: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert _queue(tmp_path, "export", "--to", str(tmp_path / "to")) == 0
    assert capsys.readouterr().out == f"4 messages in {tmp_path / 'to'}\n"
    bodies = [(tmp_path / "to" / f"{one.replace('/', '-')}.eml").read_bytes() for one in ids]
    assert bodies == [b"1", b"2", b"3", b"4" * 9000]


def test_what_a_crash_left_in_two_spools_is_shown_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spool = _spool(tmp_path, 1)
    id_ = accept(spool, b"1", "a@x.example")
    spool.close()
    (tmp_path / "worker-2").mkdir()
    for name in ("spool.db", "lock"):
        (tmp_path / "worker-2" / name).write_bytes((tmp_path / name).read_bytes())
    assert _queue(tmp_path, "list", "--json") == 0
    assert [json.loads(line)["id"] for line in capsys.readouterr().out.splitlines()] == [id_]


def test_a_change_while_a_worker_is_up_asks_the_server(
    tmp_path: Path, ids: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    spool = _spool(tmp_path, 2)
    try:
        assert _queue(tmp_path, "hold", ids[1]) == 1
        assert "a server uses this spool" in capsys.readouterr().err
        assert main(["spool", "repair", "--spool", str(tmp_path)]) == 1
        assert capsys.readouterr().err.endswith(f"the spool {tmp_path}/worker-2 is in use: stop the server first\n")
        assert not list(tmp_path.glob("spool.db.damaged-*"))
    finally:
        spool.close()


def test_verify_and_repair(tmp_path: Path, ids: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["spool", "verify", "--spool", str(tmp_path), "--json"]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(one["base"], one["messages"], one["sound"]) for one in found] == [
        (str(tmp_path), 2, True),
        (f"{tmp_path}/worker-2", 2, True),
    ]
    path = tmp_path / "worker-2" / "spool.db"
    data = bytearray(path.read_bytes())
    data[8192:12288] = b"\xff" * 4096
    path.write_bytes(data)
    assert main(["spool", "verify", "--spool", str(tmp_path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "sound" in lines
    assert lines[-1] == "damaged: stop the server, then `gsmtp spool repair` saves what is readable"
    main(["spool", "repair", "--spool", str(tmp_path), "--json"])
    repaired = [json.loads(line)["base"] for line in capsys.readouterr().out.splitlines()]
    assert repaired == [str(tmp_path), f"{tmp_path}/worker-2"]
    assert main(["spool", "verify", "--spool", str(tmp_path)]) == 0


def test_no_spool_at_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _queue(tmp_path, "list") == 0
    assert capsys.readouterr().err == f"there is no spool at {tmp_path}: it is made when the server first starts\n"
