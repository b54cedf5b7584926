"""Mail for next hops that are known to be down: noted as not reached, many messages at once, without a try for each.

When all addresses of a destination are backed off from (`pool.HopHealth`), an attempt ends before it has begun. What
becomes of the mail is the same as after an attempt: its retries, its expiration, its history and its line in the log
are its own. But envelopes are read in one go, no text is, and no green thread is made for each; else a long queue for
one dead hop would take the time that all others' mail needs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial

import gevent

from gsmtp.core.envelope import Envelope
from gsmtp.delivery.connection import NO_VALID_HOSTS
from gsmtp.delivery.lanes import EnvelopeCache, Lane
from gsmtp.delivery.recorder import Recorder
from gsmtp.delivery.resolve import Address, Unresolved
from gsmtp.delivery.router import Route
from gsmtp.delivery.transport import Tools
from gsmtp.delivery.window import Window
from gsmtp.delivery.worker import Batch, DeliveryLog, Worker
from gsmtp.runtime.greens import GreenThreads
from gsmtp.spool.base import Record, Spool

_MOST_KNOWN = 10_000
_AT_ONCE = 16
"""Messages between two turns of the loop."""
_ONE_COMMIT = 128
"""Records that are written together."""
_REST = 5
"""Times as long as it took to defer some the destination's next ones wait: most of the time is for other mail."""
_LONGEST_REST_S = 1.0


@dataclass(frozen=True, slots=True)
class Down:
    """What was found of a destination.

    Args:
        addresses: all that its mail could go to.
        why: what its mail is told while none of them is to be tried, as the transport would say it.
    """

    addresses: tuple[Address, ...]
    why: str


class Deferrals:
    """Knows which destinations are down, and defers mail for them.

    Args:
        spool: gives envelopes.
        worker: concludes attempts.
        recorder: takes what came of them.
        envelopes: of messages that were just accepted.
        tools: know which addresses are down.
        window: in which the mail is held meanwhile.
        put_off: takes batches for which something broke.
        log: told of what broke.
    """

    def __init__(
        self,
        spool: Spool,
        worker: Worker,
        recorder: Recorder,
        envelopes: EnvelopeCache,
        tools: Tools,
        window: Window,
        put_off: Callable[[Batch], object],
        log: DeliveryLog,
    ) -> None:
        self._spool = spool
        self._worker = worker
        self._recorder = recorder
        self._envelopes = envelopes
        self._tools = tools
        self._window = window
        self._put_off = put_off
        self._log = log
        self._known: dict[Hashable, Down] = {}
        self._work = GreenThreads()

    def note(self, lane: Lane, route: Route | None) -> None:
        """An attempt for a lane failed: see whether all its hops are down. May wait in the green thread for names."""
        if route is None or not route.hops or not self._tools.health.down():
            return
        try:
            down = find_down(self._tools, route)
        except Exception as error:  # noqa: BLE001 - the next attempt tells its mail what is wrong
            self._log.problem(f"whether {route.key} is down can't be told", error)
            return
        if down is None:
            self._known.pop(lane.key, None)
            return
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known[lane.key] = down

    def reason(self, key: Hashable) -> str:
        """Why mail in the lane of that key would not be tried now, or ""."""
        down = self._known.get(key)
        if down is None:
            return ""
        if all(self._tools.health.reason(address) for address in down.addresses):
            return down.why
        del self._known[key]  # the next attempt finds out anew
        return ""

    def start(self, lane: Lane, batches: Sequence[Batch]) -> None:
        """Defer batches, which the lane counts as held and not as waiting, for the reason that is their `failure`."""
        lane.active += 1  # keeps it
        self._work.run(partial(self._run, lane, batches))

    def kill(self) -> None:
        """Cut off what is under way; its recipients are released."""
        self._work.kill(timeout_s=1.0)

    def _run(self, lane: Lane, batches: Sequence[Batch]) -> None:
        began_mono = time.monotonic()
        try:
            self._defer(batches)
            gevent.sleep(min(_REST * (time.monotonic() - began_mono), _LONGEST_REST_S))
        finally:
            lane.active -= 1
            lane.hold(-sum(len(batch.dues) for batch in batches))
            self._window.ended(lane)

    def _defer(self, batches: Sequence[Batch]) -> None:
        left = list(reversed(batches))
        records: list[Record] = []
        try:
            envelopes = self._read(batches)
            while left:
                records += self._conclude(left[-1], envelopes)
                left.pop()
                if len(left) % _AT_ONCE == 0:
                    gevent.sleep(0)
                if len(records) >= _ONE_COMMIT:
                    self._recorder.write(records)
                    records = []
        finally:
            if records:
                self._recorder.write(records)
            for batch in left:  # cut off at the end of the process: due again at the next start
                self._window.release(batch.dues)

    def _read(self, batches: Sequence[Batch]) -> dict[str, Envelope]:
        """The envelopes by message id; those that are gone or can't be read are missing."""
        found = {batch.message_id: self._envelopes.get(batch.message_id) for batch in batches}
        known = {message_id: envelope for message_id, envelope in found.items() if envelope is not None}
        missing = [message_id for message_id in found if message_id not in known]
        if missing:
            try:
                known |= {envelope.message_id: envelope for envelope in self._spool.envelopes(missing)}
            except Exception as error:  # noqa: BLE001 - each is asked for alone then, and told what is wrong with it
                self._log.problem("envelopes can't be read", error)
        return known

    def _conclude(self, batch: Batch, envelopes: dict[str, Envelope]) -> Sequence[Record]:
        """The records of a batch that are still to be written."""
        try:
            report = self._worker.attempt(batch, envelopes.get(batch.message_id))
        except Exception as error:  # noqa: BLE001 - the queue must outlive any bug below
            self._log.problem(f"deferring {batch.message_id} broke", error)
            self._put_off(batch)
            return ()
        self._envelopes.drop(batch.message_id)
        if report is None:
            self._window.release(batch.dues)
            return ()
        if report.notices:  # one commit, of its own
            self._recorder.write(report.records, report.notices)
            return ()
        return report.records


def find_down(tools: Tools, route: Route) -> Down | None:
    """All addresses of a route and why mail for it can't be tried, when each of them is backed off from; else None."""
    found: list[Address] = []
    reasons: set[str] = set()
    for hop in route.hops:
        try:
            addresses = tools.resolver.addresses(hop, route.view)
        except Unresolved:
            return None
        for address in addresses:
            reason = tools.health.reason(address)
            if not reason:
                return None
            reasons.add(reason)
            found.append(address)
    text = reasons.pop() if len(reasons) == 1 else NO_VALID_HOSTS
    told = "; ".join(f"{address} was not reached just now" for address in found)
    return Down(tuple(found), f"{text}: {told}") if found else None
