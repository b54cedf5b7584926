"""What waits together is committed together, memory is bounded, the WAL is bounded, the disk gets its room back."""

from __future__ import annotations

import gc
import os
import tracemalloc
from pathlib import Path

import gevent
import pytest
from gevent.event import AsyncResult, Event

from gsmtp.core.errors import SpoolError
from gsmtp.spool import keeper, store
from gsmtp.spool.base import Record
from gsmtp.spool.bodies import HIGH_WATER_BYTES
from tests.support.spool import (
    THRESHOLD,
    WAIT_S,
    WALL,
    accept,
    body_of,
    delivered,
    fill,
    make_envelope,
    note,
    open_spool,
)


def test_what_waits_together_shares_a_transaction(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    first = accept(spool, b"first")
    before = spool.counters.transactions
    answers: list[SpoolError | None] = []
    over = Event()

    def done(problem: SpoolError | None) -> None:
        answers.append(problem)
        if len(answers) == 301:
            over.set()

    for number in range(300):
        body = spool.open()
        body.write(b"%d" % number)
        spool.commit(make_envelope(spool.generation), body, done)
        if number == 150:
            spool.record([delivered(first, 0)], done)
    assert over.wait(WAIT_S)
    assert answers == [None] * 301
    assert spool.counters.transactions - before <= 60, "the first to come goes alone, the rest in large groups"
    assert spool.counters.largest_batch >= 10
    assert spool.envelope(first) is None
    spool.close()


@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 9, 1023, 1024, 1025])
def test_groups_of_any_size(tmp_path: Path, count: int) -> None:
    spool = open_spool(tmp_path)
    addresses = [f"u{number}@example.com" for number in range(count)]
    message_id = accept(spool, b"to many", *addresses)
    found = spool.due(WALL, count + 1)
    assert [due.address for due in found] == addresses
    answer: AsyncResult[SpoolError | None] = AsyncResult()
    spool.record([delivered(message_id, due.index) for due in found[:-1]], answer.set)
    assert answer.get(timeout=WAIT_S) is None
    assert spool.envelope(message_id) is not None
    note(spool, delivered(message_id, count - 1))
    assert spool.envelope(message_id) is None
    assert store.MOST_ROWS == 1024
    spool.close()


def test_one_bad_row_fails_alone(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    answers: list[SpoolError | None] = []
    twice = make_envelope(spool.generation)
    envelopes = [make_envelope(spool.generation), twice, twice, make_envelope(spool.generation)]
    for envelope in envelopes:
        body = spool.open()
        body.write(b"x")
        spool.commit(envelope, body, answers.append)
    with gevent.Timeout(WAIT_S):
        while len(answers) < 4:
            gevent.sleep(0.01)
    assert [type(answer) is type(None) for answer in answers] == [True, True, False, True]
    assert len(spool.due(WALL, 10)) == 3
    assert spool.unhealthy_reason() is None
    spool.close()


def test_an_outcome_of_an_unknown_state_is_refused_not_stored(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    message_id = accept(spool, b"x")
    with pytest.raises(ValueError, match="state"):
        spool.record([Record(message_id, 0, "lost", 0.0, 1, "", "", WALL)])
    spool.close()


def test_a_large_body_is_never_whole_in_memory(tmp_path: Path) -> None:
    threshold = 131_072
    spool = open_spool(tmp_path, large_threshold=threshold)
    accept(spool, b"warm" * threshold)
    size_bytes, piece_bytes = 48 << 20, 131_072
    body = spool.open()
    gc.collect()
    tracemalloc.start()
    base, _ = tracemalloc.get_traced_memory()
    waits = 0
    for _ in range(size_bytes // piece_bytes):
        if not body.write(os.urandom(piece_bytes)):
            waits += 1
            drained = Event()
            body.on_drain(drained.set)
            assert drained.wait(WAIT_S)
    answer: AsyncResult[SpoolError | None] = AsyncResult()
    envelope = make_envelope(spool.generation)
    spool.commit(envelope, body, answer.set)
    assert answer.get(timeout=WAIT_S) is None
    peak = tracemalloc.get_traced_memory()[1] - base
    tracemalloc.stop()
    assert waits > 50
    assert peak < threshold + HIGH_WATER_BYTES + 2 * piece_bytes + 300_000
    assert spool.body(envelope.message_id).size_bytes == size_bytes
    spool.close()


def test_drain_is_told_once_and_also_when_nothing_waits(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    body = spool.open()
    told: list[int] = []
    body.on_drain(lambda: told.append(1))
    assert told == [], "never inside the call"
    gevent.sleep(0.05)
    assert body.write(b"L" * 10 * HIGH_WATER_BYTES) is False
    body.on_drain(lambda: told.append(2))
    with gevent.Timeout(WAIT_S):
        while len(told) < 2:
            gevent.sleep(0.01)
    fill(body, b"M" * HIGH_WATER_BYTES)
    assert told == [1, 2]
    body.abort()
    spool.close()


def test_many_large_bodies_at_once_stay_whole(tmp_path: Path) -> None:
    spool = open_spool(tmp_path, writers=3)
    datas = [bytes([number]) * (40 * THRESHOLD + number) for number in range(30)]
    jobs = [gevent.spawn(accept, spool, data) for data in datas]
    gevent.joinall(jobs, timeout=WAIT_S, raise_error=True)
    for job, data in zip(jobs, datas, strict=True):
        message_id = job.value
        assert message_id is not None
        assert body_of(spool, message_id) == data
    spool.close()


def test_the_wal_stays_bounded_and_room_is_given_back(tmp_path: Path) -> None:
    spool = open_spool(tmp_path, large_threshold=131_072)
    wal, database = tmp_path / "spool.db-wal", tmp_path / "spool.db"
    ids: list[str] = []

    def client() -> None:
        for _ in range(100):
            ids.append(accept(spool, os.urandom(30_000)))

    gevent.joinall([gevent.spawn(client) for _ in range(10)], timeout=WAIT_S * 2, raise_error=True)
    assert spool.counters.checkpoints >= 2
    assert wal.stat().st_size < 4096 * keeper.HARD_PAGES
    assert database.stat().st_size > 15_000_000
    answer: AsyncResult[SpoolError | None] = AsyncResult()
    spool.record([delivered(message_id, 0) for message_id in ids], answer.set)
    assert answer.get(timeout=WAIT_S) is None
    assert spool.next_due_wall() is None
    full = 30_000_000
    with gevent.Timeout(WAIT_S):
        while database.stat().st_size > full * 2 // 3:
            gevent.sleep(0.05)
    spool.close()


def test_closing_writes_what_was_committed_before(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    answers: list[SpoolError | None] = []
    for number in range(20):
        body = spool.open()
        body.write(bytes([number]) * (THRESHOLD * 50 if number % 2 else 50))
        spool.commit(make_envelope(spool.generation), body, answers.append)
    spool.close()
    assert answers == [None] * 20
    again = open_spool(tmp_path)
    assert len(again.due(WALL, 100)) == 20
    assert again.recovery.unfinished_removed == 0
    again.close()
