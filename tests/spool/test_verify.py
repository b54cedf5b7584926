"""What `gsmtp spool verify` finds in spools that were damaged in each way, and that a sound one has no findings."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gsmtp.cli.main import main
from gsmtp.core.ids import number
from gsmtp.spool.inspect import NoSpool
from gsmtp.spool.verify import verify
from tests.support.spool import accept, open_spool

LARGE = b"l" * 9_000


def _filled(base: Path) -> list[str]:
    """Three messages; the body of the last one is in a file."""
    spool = open_spool(base)
    ids = [accept(spool, b"one"), accept(spool, b"two", "a@a.example", "b@b.example"), accept(spool, LARGE)]
    spool.close()
    return ids


def _edit(base: Path, sql: str, *values: object) -> None:
    with closing(sqlite3.connect(base / "spool.db")) as database, database:
        database.execute(sql, values)


def _file(base: Path, message_id: str) -> Path:
    return next((base / "bodies").glob(f"*/*/{number(message_id):012X}"))


def _told(base: Path) -> list[tuple[str, str, bool]]:
    return [(finding.kind, finding.message_id, finding.loses) for finding in verify(str(base)).findings]


def test_a_sound_spool(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _filled(tmp_path)
    verdict = verify(str(tmp_path))
    assert verdict.is_sound
    assert verdict.findings == []
    assert (verdict.messages, verdict.body_files, verdict.recipients) == (3, 1, {"queued": 4})
    assert main(["spool", "verify", "--spool", str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{tmp_path}: 3 messages, 1 of them in files (no server runs on it)",
        "recipients: 4 queued",
        "sound",
    ]


def test_beside_a_running_server(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    accept(spool, LARGE)
    verdict = verify(str(tmp_path))
    assert verdict.in_use
    assert verdict.findings == []
    spool.close()


def test_no_spool(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(NoSpool):
        verify(str(tmp_path))
    assert main(["spool", "verify", "--spool", str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"gsmtp: there is no spool at {tmp_path}\n"


def test_each_kind_of_damage_in_rows(tmp_path: Path) -> None:
    one, two, _ = _filled(tmp_path)
    _edit(tmp_path, "UPDATE message SET envelope = '{' WHERE name = ?", one)
    _edit(tmp_path, "UPDATE message SET size = 7 WHERE name = ?", one)
    _edit(tmp_path, "DELETE FROM recipient WHERE message = ? AND idx = 1", number(two))
    _edit(tmp_path, "UPDATE recipient SET state = 'odd', due = 9e15 WHERE message = ?", number(two))
    _edit(tmp_path, "UPDATE message SET received = 0 WHERE name = ?", two)
    assert _told(tmp_path) == [
        ("body", one, True),
        ("envelope", one, True),
        ("time", two, False),
        ("recipient", two, True),
        ("recipient", two, True),
    ]


def test_body_files_that_are_gone_cut_or_nobodys(tmp_path: Path) -> None:
    *_, three = _filled(tmp_path)
    path = _file(tmp_path, three)
    path.with_name(f"{number(three) + 1:012X}").write_bytes(b"nobody's")
    path.write_bytes(b"cut")
    assert _told(tmp_path) == [("body", three, True), ("file", "", False)]
    path.unlink()
    assert _told(tmp_path)[0] == ("body", three, True)


def test_a_database_that_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spool = open_spool(tmp_path)
    for count in range(200):
        accept(spool, b"%d" % count * 500)
    spool.close()
    path = tmp_path / "spool.db"
    pages = path.stat().st_size // 4096
    with path.open("r+b") as file:
        file.seek(pages // 2 * 4096)
        file.write(os.urandom(4096))
    assert main(["spool", "verify", "--spool", str(tmp_path), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert not told["sound"]
    assert {finding["kind"] for finding in told["findings"]} >= {"database"}


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    _filled(tmp_path)
    (tmp_path / "spool.db").write_bytes(b"x" * 8192)
    assert _told(tmp_path) == [("database", "", True)]
