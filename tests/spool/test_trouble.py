"""A full or failing disk: the right error for the messages at hand, no loss, and service comes back by itself."""

from __future__ import annotations

import os
import resource
import sqlite3
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import gevent
import pytest
from gevent.event import AsyncResult

from gsmtp.core.errors import SpoolError, SpoolFull, SpoolUnhealthy
from gsmtp.spool import store
from gsmtp.spool.base import Notice
from gsmtp.spool.sqlite import SqliteSpool
from tests.support.peers import need_root
from tests.support.spool import (
    THRESHOLD,
    WAIT_S,
    WALL,
    accept,
    body_of,
    commit,
    delivered,
    fill,
    make_envelope,
    note,
    open_spool,
)

MIB = 1 << 20


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 MiB."""
    need_root("mounts a tmpfs")
    command = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(tmp_path)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.strip()}")
    yield tmp_path
    subprocess.run(["umount", "-l", str(tmp_path)], check=True)


def _until_healthy(spool: SqliteSpool) -> None:
    with gevent.Timeout(WAIT_S):
        while spool.unhealthy_reason() is not None:
            gevent.sleep(0.02)


def _until_unhealthy(spool: SqliteSpool) -> SpoolError:
    with gevent.Timeout(WAIT_S):
        while (reason := spool.unhealthy_reason()) is None:
            gevent.sleep(0.02)
    return reason


def _free(folder: Path) -> int:
    facts = os.statvfs(folder)
    return facts.f_bavail * facts.f_frsize


@pytest.mark.parametrize("size_bytes", [3000, THRESHOLD * 20], ids=["in rows", "in files"])
def test_accepting_until_the_disk_is_full(disk: Path, size_bytes: int) -> None:
    spool = open_spool(disk / "spool", reserve_bytes=0)
    accepted: dict[str, bytes] = {}
    problem: SpoolError | None = None
    while problem is None:
        envelope, data = make_envelope(0), os.urandom(size_bytes)
        problem = commit(spool, envelope, data)
        if problem is None:
            accepted[envelope.message_id] = data
    assert isinstance(problem, SpoolFull)
    assert isinstance(_until_unhealthy(spool), SpoolFull)
    assert not spool.has_room(1)
    assert len(accepted) > 20
    for message_id, data in accepted.items():
        assert body_of(spool, message_id) == data
    for message_id in accepted:
        note(spool, delivered(message_id, 0))
    _until_healthy(spool)
    assert body_of(spool, accept(spool, b"again" * 1000)) == b"again" * 1000
    spool.close()


def test_outcomes_are_written_with_no_byte_free(disk: Path) -> None:
    spool = open_spool(disk / "spool", reserve_bytes=0)
    ids = [accept(spool, b"x" * 2000) for _ in range(100)]
    large = accept(spool, b"L" * 20 * THRESHOLD)
    with open(disk / "filler", "wb", buffering=0) as filler:
        while free := _free(disk):
            try:
                filler.write(bytes(min(free, MIB)))
            except OSError:
                break
    assert isinstance(_until_unhealthy(spool), SpoolFull)
    assert isinstance(commit(spool, make_envelope(0), b"small"), SpoolFull)
    assert isinstance(commit(spool, make_envelope(0), b"L" * 20 * THRESHOLD), SpoolFull)
    for message_id in ids:
        note(spool, delivered(message_id, 0))
    assert body_of(spool, large) == b"L" * 20 * THRESHOLD
    os.unlink(disk / "filler")
    _until_healthy(spool)
    accept(spool, b"welcome back")
    spool.close()
    again = open_spool(disk / "spool")
    assert len(again.due(WALL, 1000)) == 2
    again.close()


def test_the_reserve_is_kept_and_declared_sizes_are_compared_with_it(disk: Path) -> None:
    spool = open_spool(disk / "spool", reserve_bytes=8 * MIB)
    assert spool.has_room(4 * MIB)
    assert not spool.has_room(7 * MIB)
    (disk / "filler").write_bytes(bytes(7 * MIB))
    assert isinstance(_until_unhealthy(spool), SpoolFull)
    os.unlink(disk / "filler")
    _until_healthy(spool)
    spool.close()


def test_an_aborted_large_body_gives_its_room_back(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    body = spool.open()
    fill(body, b"L" * 100 * THRESHOLD)
    body.abort()
    with gevent.Timeout(WAIT_S):
        while os.listdir(tmp_path / "bodies" / "new"):
            gevent.sleep(0.02)
    assert not [one for one in (tmp_path / "bodies").rglob("*") if one.is_file()]
    spool.close()


@pytest.mark.parametrize("piece", [b"s" * THRESHOLD, b"L" * 60 * THRESHOLD], ids=["in rows", "in files"])
def test_an_io_error_refuses_and_service_comes_back(tmp_path: Path, piece: bytes) -> None:
    """A file size limit makes every write beyond it an error (EFBIG), in the WAL and in body files."""
    spool = open_spool(tmp_path)
    kept = accept(spool, piece)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    record_done: AsyncResult[SpoolError | None] = AsyncResult()
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        answers = {type(commit(spool, make_envelope(0), piece)) for _ in range(30)}
        assert SpoolUnhealthy in answers
        assert SpoolFull not in answers
        if len(piece) <= THRESHOLD:
            assert isinstance(spool.unhealthy_reason(), SpoolUnhealthy)
            assert body_of(spool, kept) == piece
        spool.record([delivered(kept, 0)], record_done.set)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert record_done.get(timeout=WAIT_S) is None, "outcomes are kept until they are written"
    _until_healthy(spool)
    assert spool.envelope(kept) is None
    assert body_of(spool, accept(spool, piece)) == piece
    spool.close()


def test_a_database_that_somebody_holds_locked(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    kept = accept(spool, b"x")
    other = sqlite3.connect(tmp_path / "spool.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    record_done: AsyncResult[SpoolError | None] = AsyncResult()
    problem = commit(spool, make_envelope(0), b"y")
    assert isinstance(problem, SpoolUnhealthy)
    assert "locked" in str(problem)
    spool.record([delivered(kept, 0)], record_done.set)
    other.execute("ROLLBACK")
    other.close()
    assert record_done.get(timeout=WAIT_S) is None
    _until_healthy(spool)
    accept(spool, b"z")
    spool.close()


def test_a_database_that_was_moved_away_is_noticed(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    accept(spool, b"x")
    (tmp_path / "spool.db").rename(tmp_path / "elsewhere.db")
    reason = _until_unhealthy(spool)
    assert isinstance(reason, SpoolUnhealthy)
    (tmp_path / "elsewhere.db").rename(tmp_path / "spool.db")
    _until_healthy(spool)
    spool.close()


def test_a_damaged_table_refuses_and_stays_refusing(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    for _ in range(50):
        accept(spool, b"x" * 3000)
    spool.close()
    path = tmp_path / "spool.db"
    data = bytearray(path.read_bytes())
    for page in range(2, len(data) // 4096):  # the first two hold the schema and the map of pages
        data[page * 4096 : page * 4096 + 8] = b"\xff" * 8
    path.write_bytes(data)
    with pytest.raises(SpoolError):  # at opening, where that meets the damage; at the latest at the first use
        _use(tmp_path)


def _use(base: Path) -> None:
    spool = open_spool(base)
    try:
        problem = commit(spool, make_envelope(1), b"y")
        assert isinstance(problem, SpoolUnhealthy)
        assert isinstance(spool.unhealthy_reason(), SpoolUnhealthy)
        spool.due(WALL, 10)
    finally:
        spool.close()


def test_an_unforeseen_error_in_the_writer_answers_everybody_and_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug below the writer: the commit that met it is refused, not left waiting, and the next ones are taken."""
    spool = open_spool(tmp_path / "spool")
    real = store.apply

    def broken(connection: sqlite3.Connection, rows: Sequence[store.Row]) -> None:
        monkeypatch.setattr(store, "apply", real)
        raise RuntimeError("a bug")

    before = accept(spool, b"kept", "a@example.com")
    monkeypatch.setattr(store, "apply", broken)
    with gevent.Timeout(WAIT_S):
        problem = commit(spool, make_envelope(spool.generation, "b@example.com"), b"refused")
    assert isinstance(problem, SpoolUnhealthy)
    assert "a bug" in str(problem)
    _until_healthy(spool)
    after = accept(spool, b"taken", "c@example.com")
    assert [body_of(spool, id_) for id_ in (before, after)] == [b"kept", b"taken"]
    spool.close()


def test_a_recipient_whose_outcome_cannot_be_stored_is_not_handed_out_again(tmp_path: Path) -> None:
    """It was delivered: handing it out would deliver it once more, each time that writing fails."""
    spool = open_spool(tmp_path / "spool")
    message_id, other = accept(spool, b"x"), accept(spool, b"y")
    assert len(spool.due(WALL, 10)) == 2
    doubled = Notice(make_envelope(spool.generation), b"z")
    doubled.envelope.message_id = other
    answer: AsyncResult[SpoolError | None] = AsyncResult()
    spool.record([delivered(message_id, 0)], answer.set, [doubled])
    assert isinstance(answer.get(timeout=WAIT_S), SpoolUnhealthy)
    assert spool.due(WALL, 10) == []
    note(spool, delivered(message_id, 0))
    assert spool.envelope(message_id) is None
    spool.close()
