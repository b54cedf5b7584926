"""Where a recipient that is due goes: into the lane of its destination, in a batch with others of its message, or back
into the spool until there is room.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

from gsmtp.config.view import View
from gsmtp.core.clock import Clock
from gsmtp.core.errors import DeliveryError
from gsmtp.delivery.backoff import RetryPolicy
from gsmtp.delivery.deferrals import Deferrals
from gsmtp.delivery.gates import GateKeeper, Gates
from gsmtp.delivery.lanes import Lane
from gsmtp.delivery.limit_options import MAX_OUTBOUND_CONNECTIONS, MAX_RECIPIENTS_PER_BATCH
from gsmtp.delivery.options import SUSPEND_DELIVERY
from gsmtp.delivery.recorder import Recorder
from gsmtp.delivery.router import Route, Router
from gsmtp.delivery.window import Window
from gsmtp.delivery.worker import Batch, DeliveryLog
from gsmtp.smtp.options import MAX_RECIPIENTS_PER_CONNECTION
from gsmtp.spool.base import Due, Record, State, Wish

_PUT_OFF_S = 60.0


class Admission:
    """Places recipients.

    Args:
        router: knows the destinations.
        window: keeps the lanes.
        gates: of lanes.
        recorder: takes what is put off.
        deferrals: take mail for destinations that are down.
        offer: lets a lane start a batch when it may.
        clock: for records.
        log: told of what broke.
    """

    def __init__(
        self,
        router: Router,
        window: Window,
        gates: GateKeeper,
        recorder: Recorder,
        deferrals: Deferrals,
        offer: Callable[[Lane], object],
        clock: Clock,
        log: DeliveryLog,
    ) -> None:
        self._router = router
        self._window = window
        self._gates = gates
        self._recorder = recorder
        self._deferrals = deferrals
        self._offer = offer
        self._clock = clock
        self._log = log

    def admit(self, found: Sequence[Due]) -> None:
        """Place recipients that the spool has handed out and that the window counts as held."""
        open_batches: dict[tuple[str, Hashable, int], Batch] = {}
        hopeless: dict[Lane, list[Batch]] = {}
        for due in found:
            try:
                self._admit_one(due, open_batches, hopeless)
            except Exception as error:  # noqa: BLE001 - one recipient's trouble must not strand the others
                self._log.problem(f"{due.message_id} for {due.address} can't be queued", error)
                self._hold(due, None, f"{type(error).__name__} in the queue, see the log")

        for lane, batches in hopeless.items():
            self._deferrals.start(lane, batches)

    def _admit_one(
        self, due: Due, open_batches: dict[tuple[str, Hashable, int], Batch], hopeless: dict[Lane, list[Batch]]
    ) -> None:
        """Put a recipient into the lane of its destination, or with what can't be tried now."""
        options = self._router.options(due.domain, due.binding)
        is_wished = due.wish == Wish.BOUNCE  # goes nowhere, so nothing that holds its destination up matters
        if options[SUSPEND_DELIVERY] and not is_wished:
            self._hold(due, None, "delivery to the domain is suspended")
            return
        route: Route | None = None
        failure = ""
        try:
            if not is_wished:
                route = self._router.route(due.domain, due.binding)
                options = route.domain_view
        except DeliveryError as error:
            failure = str(error)
        lane = self._lane(route, options)
        down = "" if is_wished else self._deferrals.reason(lane.key)
        if down and RetryPolicy.of(options).tries_once:
            down = ""
        # Domains that share a hop may differ in their retries: a batch has one set of options.
        place = (due.message_id, lane.key, id(options))
        batch = open_batches.get(place)
        if batch is not None and len(batch.dues) >= _most_in_batch(options):
            batch = None
        most = self._window.quick_share() if down else self._window.share(lane, is_joining=batch is not None)
        if lane.held >= most and not is_wished:
            lane.is_crowded = True
            self._hold(due, lane, "many messages wait for the destination")
            return
        if batch is None:
            policy = RetryPolicy.of(options)
            batch = Batch(due.message_id, route, options, policy, failure or down, priority=due.priority)
            open_batches[place] = batch
            if down:
                hopeless.setdefault(lane, []).append(batch)
            else:
                lane.put(batch)
        batch.dues.append(due)
        lane.hold(1)
        if not down:
            lane.recipients += 1
            self._offer(lane)

    def _lane(self, route: Route | None, options: View) -> Lane:
        """The lane of a destination: domains that share next hops, binding and limits share it."""
        if route is None:  # goes nowhere: needs no connection, and no leave to make one
            return self._window.lane(("none",), Gates(), options[MAX_OUTBOUND_CONNECTIONS])
        gates = self._gates.of(options)
        limit = route.most_at_once or options[MAX_OUTBOUND_CONNECTIONS]
        key = (route.key, route.binding, gates, limit)
        name = f"{route.key} {route.binding}"
        return self._window.lane(key, self._gates.for_lane(gates, name, limit), limit)

    def _hold(self, due: Due, lane: Lane | None, why: str) -> None:
        """Leave a recipient in the spool for now: skip its domain, or put it off when many domains are skipped."""
        if self._window.skip(self._router.skip_key(due.domain, due.binding), lane):
            self._window.release((due,))
            return
        now, again = self._clock.wall(), self._clock.wall() + _PUT_OFF_S
        reply = f"451 4.3.2 [internal] {why}"
        record = Record(due.message_id, due.index, State.QUEUED, again, due.attempts, reply, "queue", now, due.warned)
        self._recorder.write((record,))


def _most_in_batch(options: View) -> int:
    """Recipients in one batch: no more than one connection takes. What a batch comes to is noted when all of it has
    ended, so one that goes over several connections would leave who has the message in doubt meanwhile."""
    most = options[MAX_RECIPIENTS_PER_BATCH]
    return min(most, options[MAX_RECIPIENTS_PER_CONNECTION] or most)
