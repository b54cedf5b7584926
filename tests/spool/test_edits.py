"""Bodies before their commit: read as they are, given another head; recipients that failed before they were queued."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from gevent.event import AsyncResult

from gsmtp.core.envelope import Envelope, Recipient
from gsmtp.core.errors import SpoolError
from gsmtp.spool.base import BodyWriter, StoredBody
from gsmtp.spool.memory import MemorySpool
from gsmtp.spool.sqlite import SqliteSpool
from tests.support.spool import THRESHOLD, WAIT_S, WALL, make_envelope, open_spool

AnySpool = SqliteSpool | MemorySpool
SIZES = {"in memory": THRESHOLD // 2, "in a file": THRESHOLD + 5, "large": 3_000_000}


@pytest.fixture(params=["sqlite", "memory"])
def spool(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[AnySpool]:
    made: AnySpool = open_spool(tmp_path) if request.param == "sqlite" else MemorySpool()
    yield made
    made.close()


def _commit(spool: AnySpool, envelope: Envelope, body: BodyWriter) -> SpoolError | None:
    answer: AsyncResult[SpoolError | None] = AsyncResult()
    spool.commit(envelope, body, answer.set)
    return answer.get(timeout=WAIT_S)


def _settled(body: BodyWriter) -> bytes:
    answer: AsyncResult[tuple[StoredBody | None, SpoolError | None]] = AsyncResult()
    body.settle(lambda stored, error: answer.set((stored, error)))
    got = answer.get(timeout=WAIT_S)
    assert got is not None
    stored, error = got
    assert error is None
    assert stored is not None
    assert stored.size_bytes == body.size_bytes
    return b"".join(stored.pieces())


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("head", [b"", b"h", b"H" * 70_000], ids=["none", "shorter", "longer"])
def test_another_head_and_the_same_rest(spool: AnySpool, size: int, head: bytes) -> None:
    data = os.urandom(size)
    envelope = make_envelope(1)
    body = spool.open()
    for start in range(0, size, 100_000):
        body.write(data[start : start + 100_000])
    assert _settled(body) == data
    body.replace_head(20, head)
    assert body.size_bytes == size - 20 + len(head)
    assert _settled(body) == head + data[20:]
    assert _commit(spool, envelope, body) is None
    stored = spool.body(envelope.message_id)
    assert b"".join(stored.pieces()) == head + data[20:]
    assert stored.size_bytes == size - 20 + len(head)


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_an_edited_body_is_committed_or_aborted_at_once(tmp_path: Path, size: int) -> None:
    spool = open_spool(tmp_path)
    data = os.urandom(size)
    envelope = make_envelope(1)
    aborted, kept = spool.open(), spool.open()
    for body in (aborted, kept):
        body.write(data)
        body.replace_head(1, b"two")
    aborted.abort()
    aborted.abort()
    assert _commit(spool, envelope, kept) is None
    assert b"".join(spool.body(envelope.message_id).pieces()) == b"two" + data[1:]
    spool.close()
    assert not list((tmp_path / "bodies" / "new").iterdir())


def test_a_copy_that_fails_refuses_the_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk while the file is copied: the commit says so, and nothing is left."""
    spool = open_spool(tmp_path)

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    body = spool.open()
    body.write(b"x" * (THRESHOLD * 2))
    _settled(body)
    monkeypatch.setattr(os, "sendfile", full)
    body.replace_head(1, b"y")
    problem = _commit(spool, make_envelope(1), body)
    assert "no room for a body" in str(problem)
    spool.close()
    assert not list((tmp_path / "bodies" / "new").iterdir())


def test_who_was_refused_after_the_text_is_due_like_the_others_and_its_failure_is_kept(spool: AnySpool) -> None:
    both = make_envelope(1)
    both.recipients = [
        Recipient("b@example.com", "example.com", failure="550 5.1.1 nobody"),
        Recipient("c@example.com", "example.com"),
    ]
    alone = make_envelope(2)
    alone.recipients = [Recipient("d@example.com", "example.com", failure="550 5.7.1 no")]
    for envelope in (both, alone):
        body = spool.open()
        body.write(b"x")
        assert _commit(spool, envelope, body) is None
    due = spool.due(WALL + 1e9, 10)
    assert [one.address for one in due] == ["b@example.com", "c@example.com", "d@example.com"]
    found = spool.envelope(alone.message_id)
    assert found is not None
    assert found.recipients[0].failure == "550 5.7.1 no"
