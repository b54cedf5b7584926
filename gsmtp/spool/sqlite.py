"""The spool: SQLite written by one native thread in groups, large bodies in files of their own.

This file joins the parts and keeps the contract of `spool.base`; all of its methods run on the hub. The parts:
`bodies` (large bodies to files), `writer` (the group commit), `keeper` (checkpoints, free space), `store` (SQL),
`readers` (reads in native threads), `leases`, `recover` (opening). States and crash windows: docs/spool-states.md.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Sequence
from functools import partial

from gsmtp.core.clock import Clock, SystemClock
from gsmtp.core.envelope import Envelope
from gsmtp.core.errors import SpoolError, SpoolUnhealthy
from gsmtp.core.ids import number as id_number
from gsmtp.runtime.native import HubMailbox, NativePool, native_lock
from gsmtp.spool import domains, recover, schema, store
from gsmtp.spool.ballast import Ballast
from gsmtp.spool.base import BodyWriter, Change, Committed, Due, Notice, Record, State, StoredBody
from gsmtp.spool.bodies import Body
from gsmtp.spool.body_files import BodyFiles
from gsmtp.spool.codec import encode_envelope, microseconds, seconds
from gsmtp.spool.domains import Waiting
from gsmtp.spool.health import Counters, Health
from gsmtp.spool.leases import Leases
from gsmtp.spool.readers import Readers
from gsmtp.spool.recent import RecentBodies
from gsmtp.spool.selection import PAGE, START, DomainTotal, Place, Selected, Selection, page, totals
from gsmtp.spool.writer import Entry, GroupWriter

CLOSE_WITHIN_S = 5.0


class SqliteSpool:
    """A `base.Spool` on disk. Make it with `open_at`.

    Attributes:
        generation: how often the spool was opened before; grows durably at each opening.
        recovery: what was put right at opening; for the log.
    """

    def __init__(
        self,
        base: str,
        generation: int,
        recovery: recover.Recovery,
        *,
        lock: int,
        ballast: Ballast,
        files: BodyFiles,
        filed: set[int],
        large_threshold: int,
        reserve_bytes: int,
        writers: int,
    ) -> None:
        path = schema.database_path(base)
        self.base = base
        self.generation = generation
        self.recovery = recovery
        self._lock = lock
        self._files = files
        self._threshold = large_threshold
        self._mailbox = HubMailbox()
        self._health = Health(base, reserve_bytes, ballast, (path, os.path.join(base, schema.LOCK)))
        self._health.hold_ballast()
        self._pool = NativePool("SwapOut", max(writers, 1), self._mailbox)
        self._readers = Readers(base, self._mailbox)
        self._leases = Leases()
        self._recent = RecentBodies()
        self._files_coming = 0  # commits whose body is on its way to its file
        self._writer = GroupWriter(
            path,
            fsync=files.fsync,
            mailbox=self._mailbox,
            health=self._health,
            filed=filed,
            removed=lambda number: self._pool.submit(files.remove, number),
        )

    @classmethod
    def open_at(
        cls,
        base: str,
        *,
        mode: int = 0o640,
        fsync: bool = True,
        large_threshold: int = 131_072,
        reserve_bytes: int = 16 << 20,
        writers: int = 5,
        hold_in_doubt: bool = False,
        first_opening: int = 0,
        clock: Clock | None = None,
    ) -> SqliteSpool:
        """Open the spool in a directory, made if need be, and repair what a crash left. Blocks: for the start.

        Args:
            base: the spool's directory (SPOOLBASE).
            mode: of files in it (Spool_Mode); directories may be entered by those who may read.
            fsync: whether a commit is on the disk before `done` is called (Force_Fsync). False: after a power cut the
                last seconds of mail may be gone; after a mere crash of the process they are not.
            large_threshold: bodies above go to a file (Large_Message_Threshold), in bytes.
            reserve_bytes: free space under which no mail is taken.
            writers: native threads that write large bodies.
            hold_in_doubt: whether recipients that a crash left in doubt are held for an operator (In_Doubt).
            first_opening: the least number for this opening: greater than those of other spools whose messages may
                come to this one, so that no two numbers are the same.
            clock: tells the wall time that repairs are noted with.

        Raises:
            SpoolUnhealthy: it can't be used: in use by another process, damaged, made by a newer gsmtp, no permission.
        """
        files = BodyFiles(base, mode=mode, fsync=fsync)
        recover.make_directories(base, files)
        lock = recover.take_lock(base, mode)
        ballast = recover.find_ballast(base, mode)
        try:
            connection, generation = recover.open_database(base, first_opening)
            try:
                report, filed = recover.repair(
                    connection, files, (clock or SystemClock()).wall(), hold_in_doubt=hold_in_doubt
                )
                return cls(
                    base, generation, report, lock=lock, ballast=ballast, files=files, filed=filed,
                    large_threshold=large_threshold, reserve_bytes=reserve_bytes, writers=writers,
                )  # fmt: skip
            finally:
                connection.close()
        except (sqlite3.Error, SpoolError) as error:
            os.close(lock)
            if isinstance(error, SpoolError):
                raise
            raise SpoolUnhealthy(f"can't use the spool at {base}: {error}") from error

    @property
    def counters(self) -> Counters:
        """What the writer did since opening."""
        return self._health.counters

    # Acceptance.

    def unhealthy_reason(self) -> SpoolError | None:
        """Why no mail can be kept now, or None. No I/O: it is asked on every MAIL."""
        return self._health.reason()

    def has_room(self, size_bytes: int) -> bool:
        """Whether a message of the declared size (SIZE=) can be kept. No I/O."""
        return self._health.has_room(size_bytes)

    def open(self) -> Body:
        """A writer for one body. No I/O."""
        return Body(self._files, self._threshold, self._pool, self._mailbox, self._health)

    def commit(self, envelope: Envelope, body: BodyWriter, done: Committed) -> None:
        """Make the message durable with the next group; `done` runs on the hub with None or the reason it failed.

        All recipients begin as QUEUED and due at once. The envelope is read now and not kept. After an error nothing
        of the message is left. `done` never runs inside this call.

        Raises:
            ValueError: the id is not one, there is no recipient, or the body was committed or aborted.
        """
        if not isinstance(body, Body) or body.is_over:
            raise ValueError("not an open body of this spool")
        if not envelope.recipients:
            raise ValueError(f"message {envelope.message_id} has no recipient")
        number = id_number(envelope.message_id)
        if self._health.closed:
            body.abort()
            self._mailbox.call_soon(done, SpoolUnhealthy("the spool is closed"))
            return
        received_us = microseconds(envelope.received_wall)
        text = encode_envelope(envelope)
        name, size_bytes = envelope.message_id, body.size_bytes
        if not body.is_file:
            data = body.take()
            row = store.accept_row(number, name, size_bytes, received_us, text, data, envelope.recipients)
            self._writer.put(Entry([row], partial(self._accepted, number, data, done), size_bytes, messages=1))
            return
        row = store.accept_row(number, name, size_bytes, received_us, text, None, envelope.recipients)
        self._files_coming += 1
        body.finish(number, partial(self._body_finished, number, row, done))

    def _accepted(self, number: int, data: bytes, done: Committed, problem: SpoolError | None) -> None:
        if problem is None:
            self._recent.put(number, data)
        done(problem)

    def _body_finished(self, number: int, row: store.Row, done: Committed, problem: SpoolError | None) -> None:
        def committed(problem: SpoolError | None) -> None:
            if problem is not None:
                self._pool.submit(self._files.remove, number)
            done(problem)

        if problem is not None:
            self._mailbox.call_soon(done, problem)
        else:
            self._writer.put(Entry([row], committed, messages=1, filed=number))
            self._writer.hand_over()  # before the count falls: `close` waits for it
        self._files_coming -= 1

    # Delivery.

    def due(self, now_wall: float, limit: int, skip_domains: Sequence[str] = ()) -> list[Due]:
        """Up to `limit` QUEUED recipients with due_wall <= now, earliest first, not of `skip_domains`. Blocks.

        Recipients that were handed out stay handed out (leased) in this process until `record` or `release`.
        Raises SpoolError when the database can't be read.
        """
        ended = self._leases.begin_look()
        try:
            most = limit + len(self._leases)  # those that are out are the earliest due, and still queued
            found = self._readers.read(store.due, microseconds(now_wall), most, tuple(skip_domains))
            result: list[Due] = []
            for message_id, index, address, domain, attempts, due_us, *more in found:
                if len(result) == limit:
                    break
                if self._leases.is_free((message_id, index), ended):
                    self._leases.take((message_id, index))
                    priority, binding, since_us, *rest = more
                    due_wall, since_wall = seconds(due_us), seconds(since_us)
                    result.append(
                        Due(
                            message_id, index, address, domain, attempts, due_wall, priority, binding, since_wall, *rest
                        )
                    )
            return result
        finally:
            self._leases.end_look(ended)

    def next_due_wall(self, skip_domains: Sequence[str] = ()) -> float | None:
        """When the earliest QUEUED recipient that is neither leased nor skipped becomes due, or None. Blocks."""
        ended = self._leases.begin_look()
        try:
            found = self._readers.read(store.due, store.EVER_US, 1 + len(self._leases), tuple(skip_domains))
            for message_id, index, _, _, _, due_us, *_ in found:
                if self._leases.is_free((message_id, index), ended):
                    return seconds(due_us)
            return None
        finally:
            self._leases.end_look(ended)

    def lease(self, message_id: str, index: int) -> bool:
        """Take one recipient out of `due`'s reach; False when it is handed out already."""
        if not self._leases.is_free((message_id, index), set()):
            return False
        self._leases.take((message_id, index))
        return True

    def release(self, message_id: str, index: int) -> None:
        """Give a lease back without a record."""
        self._leases.end((message_id, index))

    def mark(self, message_id: str, indexes: Sequence[int], when_wall: float, done: Committed) -> None:
        """Note with the next group that recipients are about to be handed over; see `base.Spool.mark`."""
        if self._health.closed:
            self._mailbox.call_soon(done, SpoolUnhealthy("the spool is closed"))
            return
        number = id_number(message_id)
        rows = [store.mark_row(number, index, when_wall) for index in indexes]
        for start in range(0, len(rows), store.MOST_ROWS):
            is_last = start + store.MOST_ROWS >= len(rows)
            self._writer.put(Entry(rows[start : start + store.MOST_ROWS], done if is_last else None, is_step=True))

    def change(self, changes: Sequence[Change], done: Committed | None = None) -> None:
        """Write what an operator wants with the next group; see `base.Spool.change`. Raises ValueError for a state
        that is none."""
        for change in changes:
            _check_state(change.message_id, change.state)
        parts = [changes[start : start + store.MOST_ROWS] for start in range(0, len(changes), store.MOST_ROWS)]
        for part in parts or [changes]:
            rows = [store.change_row(id_number(change.message_id), change) for change in part]
            self._put(part, rows, done if not parts or part is parts[-1] else None, is_outcome=False, messages=0)

    def envelope(self, message_id: str) -> Envelope | None:
        """The envelope, or None when the message is gone. Blocks. Raises SpoolError when it can't be read."""
        return self._readers.read(store.envelope, id_number(message_id))

    def envelopes(self, message_ids: Sequence[str]) -> list[Envelope]:
        """The envelopes of those messages that are there and can be read, in any order. Blocks. Raises SpoolError
        when the database can't be read."""
        return self._readers.read(store.envelopes, [id_number(message_id) for message_id in message_ids])

    def recent_body(self, message_id: str) -> StoredBody | None:
        """The body of a message that was just accepted, if it is at hand. No I/O."""
        recent = self._recent.get(id_number(message_id))
        return None if recent is None else StoredBody(len(recent), recent, "")

    def body(self, message_id: str) -> StoredBody:
        """The body. Blocks. Raises SpoolError when it can't be read."""
        number = id_number(message_id)
        found = self._readers.read(store.body, number)
        if found is None:
            raise SpoolUnhealthy(f"message {message_id} is not in the spool")
        size_bytes, data = found
        if data is not None:
            return StoredBody(size_bytes, data, "")
        self._readers.call(self._files.check, number, message_id, size_bytes)
        return StoredBody(size_bytes, None, self._files.path(number))

    def record(self, records: Sequence[Record], done: Committed | None = None, notices: Sequence[Notice] = ()) -> None:
        """Write outcomes, and messages that tell of them, with the next group; see `base.Spool.record`.

        The leases end when the outcomes are durable. While the disk is full or broken they are kept and tried again;
        `done` waits for that.

        Raises:
            ValueError: a state that is none of `State`.
        """
        for record in records:
            _check_state(record.message_id, record.state)
        told = [store.notice_row(notice) for notice in notices]
        most = store.MOST_ROWS - len(told)
        if most < 1:
            raise ValueError(f"{len(told)} notices with one outcome")
        parts = [records[start : start + most] for start in range(0, len(records), most)]
        for part in parts or [records]:
            rows = [store.record_row(id_number(record.message_id), record) for record in part]
            is_last = not parts or part is parts[-1]
            rows = told + rows if is_last else rows
            self._put(part, rows, done if is_last else None, is_outcome=True, messages=len(told) if is_last else 0)

    def _put(
        self,
        items: Sequence[Record] | Sequence[Change],
        rows: list[store.Row],
        done: Committed | None,
        *,
        is_outcome: bool,
        messages: int,
    ) -> None:
        """Write rows that end the leases of what they are about."""
        keys = [(item.message_id, item.index) for item in items]
        settled = tuple({id_number(item.message_id) for item in items if item.state in State.SETTLED})

        def recorded(problem: SpoolError | None) -> None:
            if problem is None or not is_outcome:  # an outcome that isn't noted: it must not be delivered again
                for key in keys:
                    self._leases.end(key)
            for number in settled:
                self._recent.drop(number)
            if done is not None:
                done(problem)

        if self._health.closed or not rows:
            self._mailbox.call_soon(recorded, SpoolUnhealthy("the spool is closed") if rows else None)
            return
        self._writer.put(Entry(rows, recorded, is_outcome=is_outcome, messages=messages, finished=settled))

    def select(
        self, selection: Selection, after: Place = START, limit: int = PAGE
    ) -> tuple[list[Selected], Place | None]:
        """The next recipients that are meant; see `selection.page`. Blocks. Raises SpoolError."""
        return self._readers.read(page, selection, time.time(), after, limit)

    def totals(self) -> list[DomainTotal]:
        """Counts, sizes and ages by domain. Blocks, a second or two for a million. Raises SpoolError."""
        return self._readers.read(totals)

    def waiting(self, *, with_bindings: bool) -> list[Waiting]:
        """How much is queued by domain, and by binding where asked for. Blocks, up to seconds for a million. Raises
        SpoolError."""
        return self._readers.read(domains.waiting, time.time(), with_bindings)

    def queued(self) -> tuple[int, int]:
        """How much is queued: due by now, and due later. Blocks, half a second for a million. Raises
        SpoolError."""
        return self._readers.read(domains.total, time.time())

    def close(self) -> None:
        """Write what waits and stop. Blocks, at most a few seconds."""
        if self._health.closed:
            return
        self._health.closed = True
        self._writer.hand_over()
        self._readers.call(self._close_blocking)
        self._readers.close()
        self._pool.close()
        self._mailbox.close()
        os.close(self._lock)

    def _close_blocking(self) -> None:
        give_up = time.monotonic() + CLOSE_WITHIN_S
        pause = native_lock()
        pause.acquire()
        while self._files_coming and time.monotonic() < give_up:
            pause.acquire(True, 0.01)  # time.sleep would be green here
        self._writer.close(max(give_up - time.monotonic(), 1.0))
        self._readers.close_connections()


def _check_state(message_id: str, state: str) -> None:
    if state not in State.ALL:
        raise ValueError(f"message {message_id}: {state!r} is no state of a recipient")
