"""What `gsmtp spool repair` saves of spools with really damaged files."""

from __future__ import annotations

import json
import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gsmtp.cli.main import main
from gsmtp.core.errors import SpoolUnhealthy
from gsmtp.core.ids import number
from gsmtp.spool.repair import repair
from gsmtp.spool.verify import verify
from tests.spool.test_migration import VERSION_1
from tests.support.spool import WALL, accept, note, open_spool, queued

PAGE = 4096


def _bodies(count: int) -> list[bytes]:
    return [b"message %d " % one + b"." * (one * 37 % 3000) for one in range(count)]


def _filled(base: Path, count: int = 120) -> dict[str, bytes]:
    spool = open_spool(base)
    kept = {accept(spool, data): data for data in _bodies(count)}
    kept[accept(spool, b"l" * 9_000)] = b"l" * 9_000
    spool.close()
    return kept


def _overwrite(path: Path, page: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek((page - 1) * PAGE)
        file.write(data[:PAGE].ljust(PAGE, b"\0"))


def _pages_of(base: Path, table: str) -> list[int]:
    with closing(sqlite3.connect(base / "spool.db")) as database:
        rows = database.execute("SELECT pageno FROM dbstat WHERE name = ? AND pagetype = 'leaf'", (table,)).fetchall()
        return [row[0] for row in rows]


def _stored(base: Path) -> dict[str, bytes]:
    """All messages that can be delivered now, by a server that opens the spool."""
    spool = open_spool(base)
    try:
        return {due.message_id: b"".join(spool.body(due.message_id).pieces()) for due in spool.due(WALL + 1e9, 100_000)}
    finally:
        spool.close()


def test_nothing_is_lost_of_a_sound_spool(tmp_path: Path) -> None:
    kept = _filled(tmp_path)
    result = repair(str(tmp_path))
    assert (result.messages, result.recipients, result.held, result.lost, result.bodies) == (121, 121, 0, [], [])
    assert verify(str(tmp_path)).findings == []
    assert _stored(tmp_path) == kept


def test_states_and_history_are_kept(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    message_id = accept(spool, b"x", "a@a.example", "b@b.example")
    note(spool, queued(message_id, 1, WALL + 5000))
    spool.close()
    before = _rows(tmp_path)
    repair(str(tmp_path))
    assert _rows(tmp_path) == before


def _rows(base: Path) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(base / "spool.db")) as database:
        return database.execute("SELECT * FROM recipient ORDER BY message, idx").fetchall()


@pytest.mark.parametrize("fill", [b"", random.Random(1).randbytes(PAGE)], ids=["zeros", "garbage"])
def test_messages_around_a_damaged_page_are_saved(tmp_path: Path, fill: bytes) -> None:
    kept = _filled(tmp_path)
    pages = _pages_of(tmp_path, "message")
    _overwrite(tmp_path / "spool.db", pages[len(pages) // 2], fill)
    assert not verify(str(tmp_path)).is_sound
    result = repair(str(tmp_path))
    stored = _stored(tmp_path)
    assert stored.items() <= kept.items()
    lost = len(kept) - len(stored)
    assert 0 < lost < 20
    assert result.lost
    assert verify(str(tmp_path)).is_sound


def test_a_lost_root_is_one_finding(tmp_path: Path) -> None:
    _filled(tmp_path)
    with closing(sqlite3.connect(tmp_path / "spool.db")) as database:
        (root,) = database.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'message'").fetchone()
    _overwrite(tmp_path / "spool.db", root, b"\xff" * PAGE)
    text = "messages with these numbers, if there were any, can't be read"
    assert repair(str(tmp_path)).lost == [("000000000000-FFFFFFFFFFFF", text)]


@pytest.mark.parametrize("fill", [b"", random.Random(2).randbytes(PAGE)], ids=["zeros", "garbage"])
def test_recipients_whose_rows_are_damaged_are_held(tmp_path: Path, fill: bytes) -> None:
    kept = _filled(tmp_path)
    pages = _pages_of(tmp_path, "recipient")
    _overwrite(tmp_path / "spool.db", pages[-1], fill)
    result = repair(str(tmp_path))
    assert result.messages == len(kept)
    assert result.held > 0
    assert result.held + result.recipients == len(kept)
    states = verify(str(tmp_path)).recipients
    assert states == {"queued": result.recipients, "held": result.held}


@pytest.mark.parametrize("into_a_page", [0, 1000, 3000])
def test_a_database_that_lost_its_end_is_read_as_far_as_it_goes(tmp_path: Path, into_a_page: int) -> None:
    """Half a page counts for nothing: the bodies in it end in zeros."""
    kept = _filled(tmp_path)
    path = tmp_path / "spool.db"
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size * 2 // 3 // PAGE * PAGE + into_a_page)
    result = repair(str(tmp_path))
    assert 20 < result.messages < len(kept)
    assert 0 < len(result.lost) < len(kept), "told in ranges"
    assert _stored(tmp_path).items() <= kept.items()
    assert verify(str(tmp_path)).is_sound


@pytest.mark.parametrize("place", [3, 16, 19, 21, 46, 58, 60])
def test_a_damaged_header_costs_nothing(tmp_path: Path, place: int) -> None:
    kept = _filled(tmp_path)
    with (tmp_path / "spool.db").open("r+b") as file:
        file.seek(place)
        file.write(b"\xa5")
    assert repair(str(tmp_path)).lost == []
    assert _stored(tmp_path) == kept


@pytest.mark.parametrize(
    ("place", "data"),
    [
        (60, b"\0\0\0\0"),
        (60, b"\0\0\0\1"),
        (60, b"\0\0\1\3"),
        (68, b"\0\0\0\0"),
        (56, b"\0" * 16),
        (28, b"\xff" * 4),
        (28, b"\0\0\0\1"),
        (24, b"\xff" * 76),
        (0, b"\0" * 100),
        (0, b"\xff" * 100),
        (0, random.Random(7).randbytes(100)),
    ],
)
def test_of_a_header_that_says_nothing_the_tables_tell_whose_it_is(tmp_path: Path, place: int, data: bytes) -> None:
    """Version, owner and size are lost, or wrong; all pages behind are whole."""
    kept = _filled(tmp_path)
    with (tmp_path / "spool.db").open("r+b") as file:
        file.seek(place)
        file.write(data)
    assert repair(str(tmp_path)).lost == []
    assert _stored(tmp_path) == kept


@pytest.mark.parametrize("version", [0, 2, 5000])
def test_an_older_spool_whose_version_is_lost_is_brought_up_to_date(tmp_path: Path, version: int) -> None:
    with closing(sqlite3.connect(tmp_path / "spool.db")) as database:
        database.executescript(VERSION_1)
        database.execute(f"PRAGMA user_version = {version}")
    assert repair(str(tmp_path)).lost == []
    with closing(sqlite3.connect(tmp_path / "spool.db")) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (2,)


def test_a_newer_spool_is_not_guessed_at(tmp_path: Path) -> None:
    _filled(tmp_path, 3)
    with closing(sqlite3.connect(tmp_path / "spool.db")) as database:
        database.execute("PRAGMA user_version = 3")
    with pytest.raises(SpoolUnhealthy, match="newer gsmtp: its schema has version 3"):
        repair(str(tmp_path))


@pytest.mark.parametrize("version", [0, 2, 7, 5000])
@pytest.mark.parametrize("page_bytes", [1024, 4096])
def test_another_programs_database_is_left_alone(tmp_path: Path, version: int, page_bytes: int) -> None:
    path = tmp_path / "spool.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute(f"PRAGMA page_size = {page_bytes}")
        database.execute("CREATE TABLE mine (x)")
        database.execute(f"PRAGMA user_version = {version}")
    before = path.read_bytes()
    with pytest.raises(SpoolUnhealthy, match="not a gsmtp spool"):
        repair(str(tmp_path))
    assert path.read_bytes() == before
    assert sorted(one.name for one in tmp_path.iterdir()) == ["lock", "spool.db"]


def test_a_damaged_letter_stops_neither_the_queue_nor_the_repair(tmp_path: Path) -> None:
    kept = _filled(tmp_path)
    with closing(sqlite3.connect(tmp_path / "spool.db")) as database:
        database.execute(
            "UPDATE recipient SET address = CAST(X'61FE40612E6578616D706C65' AS TEXT), reply = CAST(X'FE' AS TEXT) "
            "WHERE message = (SELECT min(id) FROM message)"
        )
        database.commit()
    assert _stored(tmp_path) == kept
    assert repair(str(tmp_path)).messages == len(kept)
    assert _stored(tmp_path) == kept


def test_a_damaged_index_costs_nothing(tmp_path: Path) -> None:
    kept = _filled(tmp_path)
    for page in _pages_of(tmp_path, "recipient_due"):
        _overwrite(tmp_path / "spool.db", page, b"")
    result = repair(str(tmp_path))
    assert result.lost == []
    assert _stored(tmp_path) == kept


def test_a_body_whose_message_is_lost_is_kept_for_a_person(tmp_path: Path) -> None:
    kept = _filled(tmp_path, 3)
    large = next(message_id for message_id, data in kept.items() if len(data) == 9_000)
    small = next(iter(kept))
    with closing(sqlite3.connect(tmp_path / "spool.db")) as database, database:
        database.execute("DELETE FROM message WHERE name = ?", (large,))
        database.execute("UPDATE message SET envelope = 'no json' WHERE name = ?", (small,))
    result = repair(str(tmp_path))
    saved = {Path(path).name: Path(path).read_bytes() for path in result.bodies}
    assert saved == {f"{number(large):012X}.eml": kept[large], f"{number(small):012X}.eml": kept[small]}
    assert [what for what, _ in result.lost] == [small]
    assert len(_stored(tmp_path)) == 2
    assert all(Path(path).exists() for path in result.bodies)


def test_a_cut_write_ahead_log(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    kept = {accept(spool, data): data for data in _bodies(50)}
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("spool.db", "spool.db-wal"):
        (copy / name).write_bytes((tmp_path / name).read_bytes())
    spool.close()
    log = copy / "spool.db-wal"
    log.write_bytes(log.read_bytes()[: log.stat().st_size // 2])
    result = repair(str(copy))
    assert 0 < result.messages < 50
    assert result.lost == []
    assert _stored(copy).items() <= kept.items()


def test_the_damaged_database_is_kept_and_a_dry_run_changes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _filled(tmp_path, 3)
    before = (tmp_path / "spool.db").read_bytes()
    assert main(["spool", "repair", "--spool", str(tmp_path), "--dry-run"]) == 0
    assert capsys.readouterr().out == "4 messages can be saved, 4 recipients with their state\n"
    assert (tmp_path / "spool.db").read_bytes() == before
    assert main(["spool", "repair", "--spool", str(tmp_path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert Path(told["damaged"]).read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith("repair")) == []


def test_a_running_server_is_not_disturbed(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    with pytest.raises(SpoolUnhealthy, match="in use by process"):
        repair(str(tmp_path))
    spool.close()


def test_new_ids_go_on_behind_the_old_ones(tmp_path: Path) -> None:
    kept = _filled(tmp_path, 3)
    repair(str(tmp_path))
    spool = open_spool(tmp_path)
    fresh = accept(spool, b"new")
    spool.close()
    assert number(fresh) > max(map(number, kept))


@pytest.mark.parametrize("moved", [("",), ("", "-wal")], ids=["database", "log-too"])
def test_a_repair_that_was_cut_off_before_its_last_step_costs_no_body(tmp_path: Path, moved: tuple[str, ...]) -> None:
    """A new, empty database in the old one's place would have had all bodies removed as nobody's."""
    kept = _filled(tmp_path)
    (tmp_path / "spool.db-wal").write_bytes(b"")
    for suffix in moved:
        (tmp_path / f"spool.db{suffix}").rename(tmp_path / f"spool.db.damaged-20250101-000000{suffix}")
    with pytest.raises(
        SpoolUnhealthy, match=r"cut off: there, do mv spool\.db\.damaged-20250101-000000 spool\.db"
    ) as told:
        open_spool(tmp_path)
    assert ("&& mv spool.db.damaged-20250101-000000-wal spool.db-wal;" in str(told.value)) is (len(moved) == 2)
    for suffix in moved:
        (tmp_path / f"spool.db.damaged-20250101-000000{suffix}").rename(tmp_path / f"spool.db{suffix}")
    assert repair(str(tmp_path)).messages == 121
    assert _stored(tmp_path) == kept
