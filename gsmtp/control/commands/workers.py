"""``show workers``: the processes that serve, and how much each has to do."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from gsmtp.control.command import CommandError, Output, gathered
from gsmtp.control.parts import Parts, Row
from gsmtp.control.queue_counts import queued

if TYPE_CHECKING:
    from gsmtp.control.console import Console

_ROW: Final = "{:>6} {:>8} {:>10} {:>9} {:>7} {:>8} {:>9} {:>9} {:>9} {:>9}"
_KEYS: Final = ("inbound", "outbound", "received", "delivered", "active", "delayed")


def _load(console: Console, words: Sequence[str]) -> Row:
    if words:
        raise CommandError("show workers takes no words")
    operations = console.operations
    stats = operations.delivery.stats()
    active, delayed = queued(console)
    return {
        "pid": os.getpid(),
        "inbound": len(operations.service.connections),
        "outbound": stats.active,
        "received": operations.service.totals.recipients,
        "delivered": stats.delivered,
        "active": active,
        "delayed": delayed,
    }


@gathered(
    "show workers",
    _load,
    help="One line a process that serves: how often it was replaced, since when it runs, sessions for mail, deliveries "
    "under way, recipients received and delivered since then, and those that are due and delayed.",
)
def show_workers(console: Console, words: Sequence[str], parts: Parts) -> Output:
    """A server of one process is worker 1."""
    loads = {part.slot or 1: part.data for part in parts.found}
    workers = console.operations.workers
    began_wall = console.operations.started_wall
    places = (
        [(1, os.getpid(), 1, began_wall)]
        if workers is None
        else [(one.slot, one.pid, one.starts, one.since_wall) for one in workers.members]
    )
    lines = [_ROW.format("WORKER", "PID", "SECONDS", "REPLACED", *(key.upper() for key in _KEYS))]
    data = []
    for slot, pid, starts, since_wall in places:
        load = loads.get(slot)
        row: Row = {"worker": slot, "pid": pid, "since": since_wall, "replaced": starts - 1}
        row |= {key: None if load is None else load[key] for key in _KEYS}
        data.append(row)
        numbers = ("-" if row[key] is None else row[key] for key in _KEYS)
        lines.append(_ROW.format(slot, pid or "-", int(max(time.time() - since_wall, 0)), row["replaced"], *numbers))
    return Output(tuple(lines), data)
