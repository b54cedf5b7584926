"""Spools in tests: open one, accept into it, note outcomes; every wait has a deadline."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

from gevent.event import AsyncResult

from gsmtp.core.envelope import Envelope, Recipient
from gsmtp.core.errors import SpoolError
from gsmtp.spool.base import BodyWriter, Record, Spool, State
from gsmtp.spool.sqlite import SqliteSpool

WALL = 1_735_689_600.25
THRESHOLD = 4096
WAIT_S = 20.0

_counter = count(1)


def open_spool(base: Path, **settings: Any) -> SqliteSpool:
    """A spool with a low threshold."""
    settings.setdefault("large_threshold", THRESHOLD)
    return SqliteSpool.open_at(str(base), **settings)


def fill(body: BodyWriter, data: bytes, piece_bytes: int = 65_536) -> None:
    """Write a body in pieces, obeying back-pressure."""
    for start in range(0, len(data), piece_bytes):
        if not body.write(data[start : start + piece_bytes]):
            drained: AsyncResult[bool] = AsyncResult()
            body.on_drain(lambda drained=drained: drained.set(True))  # type: ignore[misc]
            drained.get(timeout=WAIT_S)


def commit(spool: Spool, envelope: Envelope, data: bytes) -> SpoolError | None:
    """Commit a whole message and wait for the answer."""
    body = spool.open()
    fill(body, data)
    answer: AsyncResult[SpoolError | None] = AsyncResult()
    spool.commit(envelope, body, answer.set)
    return answer.get(timeout=WAIT_S)


def make_envelope(generation: int, *addresses: str, wall: float = WALL) -> Envelope:
    """An envelope with a new id."""
    recipients = [Recipient(address, address.rpartition("@")[2]) for address in addresses or ("user@example.com",)]
    message_id = f"{generation >> 8:02X}/{generation & 0xFF:02X}-00001-{next(_counter):08X}"
    return Envelope(message_id, "", "sender@example.net", recipients, wall)


def accept(spool: Spool, data: bytes, *addresses: str, wall: float = WALL) -> str:
    """Commit a message that must be taken; its id."""
    envelope = make_envelope(spool.generation, *addresses, wall=wall)
    assert commit(spool, envelope, data) is None
    return envelope.message_id


def note(spool: Spool, *records: Record) -> None:
    """Record outcomes and wait until they are durable."""
    answer: AsyncResult[SpoolError | None] = AsyncResult()
    spool.record(records, answer.set)
    assert answer.get(timeout=WAIT_S) is None


def delivered(message_id: str, index: int) -> Record:
    """A delivery."""
    return Record(message_id, index, State.DELIVERED, 0.0, 1, "250 2.0.0 OK", "127.0.0.1:25", WALL)


def queued(message_id: str, index: int, due_wall: float, *, state: str = State.QUEUED, attempts: int = 1) -> Record:
    """A delivery that failed, for now or for good."""
    return Record(message_id, index, state, due_wall, attempts, "451 4.3.0 later", "127.0.0.1:25", WALL)


def body_of(spool: Spool, message_id: str) -> bytes:
    """The bytes of a committed body."""
    return b"".join(spool.body(message_id).pieces())
