"""Outcomes on their way to the disk: kept until they are durable, written again when they couldn't be, and counted."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gsmtp.core.errors import SpoolError
from gsmtp.delivery.worker import DeliveryLog
from gsmtp.spool.base import Notice, Record, Spool, State


class Recorder:
    """Has records written; the recipients stay held until they are on disk.

    Args:
        spool: where they are written.
        log: told once when writing starts to fail.
        settled: called on the hub with the number of recipients whose records are durable, and whether one of them is
            to be tried again.
        announce: called on the hub with each notice that is durable.
    """

    def __init__(
        self,
        spool: Spool,
        log: DeliveryLog,
        settled: Callable[[int, bool], None],
        announce: Callable[[Notice], None],
    ) -> None:
        self.delivered = 0
        self.failed = 0
        self.deferrals = 0
        self.delayed = 0
        """Recipients that were tried and wait for the next try, of those tried since the start."""
        self._spool = spool
        self._log = log
        self._settled = settled
        self._announce = announce
        self._unwritten: list[tuple[Sequence[Record], Sequence[Notice]]] = []
        self._is_told = False

    def write(self, records: Sequence[Record], notices: Sequence[Notice] = ()) -> None:
        """Have records written, and notices with them. Doesn't block; call on the hub."""
        self._spool.record(records, lambda error: self._written(records, notices, error), notices)

    def write_again(self) -> None:
        """Try once more what couldn't be written."""
        unwritten, self._unwritten = self._unwritten, []
        for records, notices in unwritten:
            self.write(records, notices)

    def _written(self, records: Sequence[Record], notices: Sequence[Notice], error: SpoolError | None) -> None:
        """On the hub: the records are durable, or weren't written and are kept for the next time."""
        if error is not None:
            # Giving the recipients back would deliver again what was delivered.
            if not self._is_told:
                self._is_told = True
                self._log.problem(f"outcomes of {records[0].message_id} can't be written, trying again: {error}")
            self._unwritten.append((records, notices))
            return
        self._is_told = False
        for record in records:
            self._count(record)
        self._settled(len(records), any(record.state == State.QUEUED for record in records))
        for notice in notices:
            self._announce(notice)

    def _count(self, record: Record) -> None:
        if record.state == State.QUEUED:
            self.deferrals += 1
            self.delayed += record.attempts == 1
            return
        self.delayed -= record.attempts > 1
        if record.state == State.DELIVERED:
            self.delivered += 1
        else:
            self.failed += 1
