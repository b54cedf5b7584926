"""Changing what waits in the queue of the running server: every recipient that is meant, but those under way just now.

In pages: what waits in memory goes back to the spool, a page's recipients are leased so that nobody else touches them,
the change is written with the next group commit, and the leases end with it. No turn of the loop lies between the first
and the second, so nothing can be delivered and changed at once. What was delivered before that, but after the page was
read, is found by reading the page once more when it is leased: it is not counted as changed, nor logged as removed.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import gevent
import gevent.event

from gsmtp.control.command import CommandError
from gsmtp.core.errors import SpoolError
from gsmtp.core.ids import number as id_number
from gsmtp.core.records import Attempt
from gsmtp.spool.actions import Action, Changed
from gsmtp.spool.base import Change
from gsmtp.spool.selection import START, Place, Selected, Selection

if TYPE_CHECKING:
    from gsmtp.control.console import Console
    from gsmtp.spool.sqlite import SqliteSpool

_WRITE_S = 60.0


def change(console: Console, selection: Selection, action: Action) -> Changed:
    """Do something to all recipients that are meant. Blocks the green thread. Raises CommandError."""
    operations = console.operations
    spool, delivery = operations.spool, operations.delivery
    who = console.user or "the operator"
    result = Changed()
    last = ""
    after: Place | None = START
    try:
        while after is not None:
            before = after
            found, after = spool.select(selection, before)
            fitting = [one for one in found if one.state in action.states]
            result.passed_over += len(found) - len(fitting)
            if not fitting:
                continue
            delivery.give_back()
            leased = [one for one in fitting if spool.lease(one.message_id, one.index)]
            result.busy += len(fitting) - len(leased)
            mine = _still_meant(spool, selection, before, leased, action, result)
            now = time.time()
            _write(console, [action.make(one, who, now) for one in mine])
            result.changed += len(mine)
            if action.name == "delete":
                _log_removed(console, mine, who, now)
            for one in mine:
                result.messages += one.message_id != last
                last = one.message_id
    except SpoolError as error:
        raise CommandError(f"after {result.changed} recipients: {error}") from error
    finally:
        delivery.poke()
    return result


def _still_meant(
    spool: SqliteSpool, selection: Selection, before: Place, leased: list[Selected], action: Action, result: Changed
) -> list[Selected]:
    """Those of a page's leased recipients to which it can be done now; the others are released.

    Args:
        spool: where they are.
        selection: which recipients are meant.
        before: where the page begins.
        leased: as they were when it was read.
        action: what is to be done.
        result: counts those that are in another state now.
    """
    wanted = {(one.message_id, one.index) for one in leased}
    current: list[Selected] = []
    try:
        after: Place | None = before
        last = (id_number(leased[-1].message_id), leased[-1].index) if leased else before
        while after is not None and after < last:
            found, after = spool.select(selection, after)
            current += [one for one in found if (one.message_id, one.index) in wanted]
    except BaseException:
        for message_id, index in wanted:
            spool.release(message_id, index)
        raise
    mine = [one for one in current if one.state in action.states]
    result.passed_over += len(current) - len(mine)
    for message_id, index in wanted - {(one.message_id, one.index) for one in mine}:
        spool.release(message_id, index)
    return mine


def _write(console: Console, changes: list[Change]) -> None:
    if not changes:
        return
    written: gevent.event.AsyncResult[SpoolError | None] = gevent.event.AsyncResult()
    console.operations.spool.change(changes, written.set)
    try:
        error = written.get(timeout=_WRITE_S)
    except gevent.Timeout:
        raise CommandError(f"the spool did not answer within {_WRITE_S:g} s; what was asked may still happen") from None
    if error is not None:
        raise error


def _log_removed(console: Console, removed: list[Selected], who: str, now: float) -> None:
    """Their history goes with them: a line each is all that is left to say where accepted mail went."""
    for one in removed:
        console.operations.service.journal.record(
            Attempt(
                kind="failed",
                message_id=one.message_id,
                connection_id="",
                sender=one.sender,
                recipient=one.address,
                domain=one.domain,
                hop="operator",
                reply=f"554 5.7.0 [internal] removed by {who}",
                attempts=one.attempts,
                age_s=max(now - one.received_wall, 0.0),
                size_bytes=one.size_bytes,
                binding=one.binding or "default",
            )
        )
