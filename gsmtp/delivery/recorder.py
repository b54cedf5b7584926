"""Outcomes on their way to the disk: kept until they are durable, written again when they couldn't be, and counted.

While the disk is in trouble the spool keeps them itself. What it gives back has something in it that can't be stored:
that is tried ever less often, as it is, with plain words for its texts, each recipient by itself and without notices;
so whatever can't be stored, what became of all others is, and nobody is delivered to twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from gsmtp.core.errors import SpoolError
from gsmtp.delivery.worker import DeliveryLog
from gsmtp.spool.base import Notice, Record, Spool, State

_PLAIN_AT = 3
"""With so many failures behind them the texts of records are replaced by plain ones."""
_ALONE_AT = 4
"""Likewise recipients go by themselves, without notices; and after that with plain texts."""
_GIVE_UP_AT = 12
"""Likewise a recipient that was not delivered is given back: ten minutes after its attempt."""
_MOST_SWEEPS = 64
_ANSWERS = {"2": "250 2.0.0", "5": "554 5.3.0"}


@dataclass(slots=True)
class _Unwritten:
    """Records, with notices, that couldn't be written: how often, and how many sweeps from now they are tried again."""

    records: Sequence[Record]
    notices: Sequence[Notice]
    failures: int
    sweeps: int


class Recorder:
    """Has records written; the recipients stay held until they are on disk.

    Args:
        spool: where they are written.
        log: told once when writing starts to fail.
        settled: called on the hub with the number of recipients whose records are durable, and whether one of them is
            to be tried again.
        announce: called on the hub with each notice that is durable.
        give_up: called on the hub with records of recipients that were not delivered, when they can't be written at
            all.
    """

    def __init__(
        self,
        spool: Spool,
        log: DeliveryLog,
        settled: Callable[[int, bool], None],
        announce: Callable[[Notice], None],
        give_up: Callable[[Sequence[Record]], None],
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
        self._give_up = give_up
        self._unwritten: list[_Unwritten] = []
        self._is_told = False

    def write(self, records: Sequence[Record], notices: Sequence[Notice] = ()) -> None:
        """Have records written, and notices with them. Neither blocks nor raises; call on the hub."""
        self._write(records, notices, 0)

    def write_again(self, *, at_once: bool = False) -> None:
        """Try once more what couldn't be written and whose time has come; to be called about once a second.

        Args:
            at_once: try all of it.
        """
        unwritten, self._unwritten = self._unwritten, []
        for one in unwritten:
            one.sweeps -= 1
            if one.sweeps > 0 and not at_once:
                self._unwritten.append(one)
            else:
                self._write(one.records, one.notices, one.failures)

    def _write(self, records: Sequence[Record], notices: Sequence[Notice], failures: int) -> None:
        is_plain = failures == _PLAIN_AT or failures > _ALONE_AT
        written = [_plain(record) for record in records] if is_plain else records
        try:
            self._spool.record(written, lambda error: self._written(records, notices, failures, error), notices)
        except Exception as error:  # noqa: BLE001 - a value that the spool can't even take
            self._keep(records, notices, failures, f"{error!r}")

    def _written(
        self, records: Sequence[Record], notices: Sequence[Notice], failures: int, error: SpoolError | None
    ) -> None:
        """On the hub: the records are durable, or weren't written and are kept for the next time."""
        if error is not None:
            self._keep(records, notices, failures, str(error))
            return
        self._is_told = False
        for record in records:
            self._count(record)
        self._settled(len(records), any(record.state == State.QUEUED for record in records))
        for notice in notices:
            self._announce(notice)

    def _keep(self, records: Sequence[Record], notices: Sequence[Notice], failures: int, why: str) -> None:
        """Keep what couldn't be written. Giving the recipients back would deliver again what was delivered."""
        message_id = records[0].message_id
        if not self._is_told:
            self._is_told = True
            self._log.problem(f"outcomes of {message_id} can't be written, trying again: {why}")
        if self._spool.unhealthy_reason() is not None:  # nothing can be written: it says nothing about these
            self._unwritten.append(_Unwritten(records, notices, failures, 1))
            return
        failures += 1
        sweeps = min(1 << (failures - 1), _MOST_SWEEPS)
        if failures == _ALONE_AT:
            if notices:
                self._log.problem(f"nobody can be told of {message_id}: what failed stays as a dead letter")
            for record in records:
                self._unwritten.append(_Unwritten([_kept(record)], (), failures, sweeps))
            return
        elif failures >= _GIVE_UP_AT and all(record.state != State.DELIVERED for record in records):
            self._log.problem(f"outcomes of {message_id} can't be written, it is tried anew: {why}")
            self._give_up(records)
            return
        self._unwritten.append(_Unwritten(records, notices, failures, sweeps))

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


def _plain(record: Record) -> Record:
    """The record without texts that came from elsewhere."""
    answer = _ANSWERS.get(str(record.reply)[:1], "451 4.3.0")
    return replace(record, reply=f"{answer} [internal] the answer can't be kept, see the log", hop="")


def _kept(record: Record) -> Record:
    """The record when nobody is told of it."""
    return replace(record, state=State.DEAD) if record.state == State.BOUNCED else record
