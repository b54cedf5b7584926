"""What is delivered when: a bounded window of due recipients in memory, everything else stays in the spool.

Leases come from `Spool.due` alone; `notify` says only that a look is worth while and keeps the envelope at hand. So
nothing is tried twice at a time, and a message that was in flight when the process ended is due again at the next
start.

Recipients of one message with one destination make a Batch; batches of one destination wait in its Lane, from where the
Runner starts them. A lane holds at most a quarter of what the others leave free of the window; beyond that its domains
are left out of the look-ups until it has drained. So however many destinations are slow or dead, there is always room
for one more. What was just accepted goes into its lane at once, without a look into the spool.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Hashable, Sequence

import gevent
from gevent.event import Event

from gsmtp.config.view import View
from gsmtp.core.clock import Clock, SystemClock
from gsmtp.core.envelope import Envelope
from gsmtp.core.errors import ConfigError, DeliveryError, SpoolError
from gsmtp.delivery.backoff import RetryPolicy
from gsmtp.delivery.domain_counts import DomainCounts
from gsmtp.delivery.failures import Failures, KeepAll
from gsmtp.delivery.gates import GateKeeper
from gsmtp.delivery.handover import Handover
from gsmtp.delivery.lanes import DeliveryStats, EnvelopeCache, Lane
from gsmtp.delivery.limit_options import (
    MAX_OUTBOUND_CONNECTIONS,
    MAX_RECIPIENTS_PER_BATCH,
    SERVER_MAX_OUTBOUND_CONNECTIONS,
    SERVER_RESERVE_OUTBOUND_CONNECTIONS,
)
from gsmtp.delivery.options import SUSPEND_DELIVERY
from gsmtp.delivery.pool import ConnectionPool, HopHealth
from gsmtp.delivery.recorder import Recorder
from gsmtp.delivery.resolve import HopResolver
from gsmtp.delivery.router import TRANSPORT_NAMES, Domains, Route, Router
from gsmtp.delivery.runner import Runner
from gsmtp.delivery.transport import TRANSPORTS, Connect, Native, Tools
from gsmtp.delivery.worker import Batch, DeliveryLog, LoggingLog, Worker, green_connect
from gsmtp.runtime.dns import DnsCounts, Resolver, Settings
from gsmtp.runtime.later import Later
from gsmtp.smtp.options import HOSTNAME
from gsmtp.spool.base import Due, Notice, Record, Spool, State, Wish

WINDOW = 2_000
"""Recipients in memory at the most."""
_MOST_SKIPPED = 10_000
_MOST_A_LOOK = 500
_MOST_AT_ONCE = 100
"""Recipients of a new message that go into their lanes on the hub, in one go."""
_LONGEST_WAIT_S = 60.0
_PUT_OFF_S = 60.0
_SWEEP_S = 1.0
_LEAST_REST_S = 0.01


class Delivery:
    """Hands the spool's mail on.

    Args:
        spool: where mail is kept.
        configuration: routes and options.
        native_pool: for file work.
        clock: for due times.
        log: tells of each attempt; by default the logger ``gsmtp.delivery``.
        failures: what becomes of recipients that failed for good; by default they are kept.
        announced: called on the hub with each message of our own that is in the spool now.
        connect: makes sockets; by default gevent's.
        window: recipients in memory at the most.

    Raises:
        ConfigError: the transports' folder wasn't loaded.
    """

    def __init__(
        self,
        spool: Spool,
        configuration: Domains,
        native_pool: Native,
        clock: Clock | None = None,
        log: DeliveryLog | None = None,
        *,
        failures: Failures | None = None,
        announced: Callable[[Envelope], object] | None = None,
        connect: Connect = green_connect,
        window: int = WINDOW,
    ) -> None:
        missing = [name for name in TRANSPORT_NAMES if name not in TRANSPORTS]
        if missing:
            raise ConfigError(f"transports not loaded: {', '.join(missing)}")
        self._spool = spool
        self._clock = clock or SystemClock()
        self._log = log or LoggingLog()
        self._window = window
        hostname = configuration.view[HOSTNAME] or socket.gethostname()
        mono = self._clock.mono
        self._names = Resolver(Settings.of(configuration.view), native_pool, mono)
        resolver = HopResolver(self._names, hostname)
        self._tools = Tools(native_pool, connect, ConnectionPool(mono), HopHealth(mono), hostname, resolver)
        self._failures = failures or KeepAll()
        self._announced = announced
        self._worker = Worker(spool, self._tools, self._clock, self._log, self._failures)
        self._envelopes = EnvelopeCache(4 * window)
        self._lanes: dict[Hashable, Lane] = {}
        self._skipped: dict[str, Lane | None] = {}
        self._looker: gevent.Greenlet[[], None] | None = None
        self._sweeper: gevent.Greenlet[[], None] | None = None
        self._wake = Event()
        self._settled = Event()
        self._recorder = Recorder(spool, self._log, self._recorded, self._announce)
        self._runner = Runner(
            self._worker,
            self._recorder,
            self._envelopes,
            self._tools,
            self._clock,
            self._log,
            self._release,
            self._ended,
        )
        self._gates = GateKeeper(mono, Later, self._runner.offer_now)
        self._rest_s = _LEAST_REST_S
        self._held = 0
        self._unplaced = 0
        """Recipients of those held that are not in a lane yet."""
        self._wants_room = False
        self._is_stopping = False
        self._configure(configuration)

    def _configure(self, configuration: Domains) -> None:
        self._router = Router(configuration)
        self._names.configure(Settings.of(configuration.view))
        self._tools.resolver.listen_at(listen.endpoint for listen in configuration.listens if listen.is_enabled)
        self._handover = Handover(self._router, self._worker.transport, self._clock, self._log)
        self._worker.configure(configuration)
        self._failures.configure(configuration)
        self._gates.reconfigured()
        most = min(configuration.view[SERVER_MAX_OUTBOUND_CONNECTIONS], self._window)
        self._runner.most = most
        self._runner.reserve = min(configuration.view[SERVER_RESERVE_OUTBOUND_CONNECTIONS], most // 10)

    # What the application calls.

    def start(self) -> None:
        """Begin to deliver; mail left from before is due at once. Call on the hub's thread."""
        self._looker = gevent.spawn(self._look_loop)
        self._sweeper = gevent.spawn(self._sweep_loop)

    def notify(self, envelope: Envelope) -> None:
        """A message was committed, and is due. Doesn't block.

        To be called in the commit's own callback: later, it may have been found in the spool and tried.
        """
        recipients = envelope.recipients
        skipped = self._skipped
        if skipped and all(self._router.skip_key(one.domain, one.binding) in skipped for one in recipients):
            return  # suspended or crowded: a look would find nothing that may start
        self._envelopes.put(envelope)
        if len(recipients) > _MOST_AT_ONCE or self._held + len(recipients) > self._window // 2 or self._is_stopping:
            self._wake.set()
            return
        message_id, received_wall, priority = envelope.message_id, envelope.received_wall, envelope.priority
        found = [
            Due(message_id, index, one.address, one.domain, 0, received_wall, priority, one.binding)
            for index, one in enumerate(recipients)
            if self._spool.lease(message_id, index)
        ]
        self._held += len(found)
        self._admit(found)
        self._runner.start()

    def _announce(self, notice: Notice) -> None:
        """A message of our own is in the spool."""
        if self._announced is not None:
            self._announced(notice.envelope)
        self.notify(notice.envelope)

    def poke(self) -> None:
        """Look into the spool now, e.g. after an operator changed due times. Doesn't block."""
        self._wake.set()

    def give_back(self) -> None:
        """Return all that waits in memory to the spool, so that an operator's changes can reach it. Doesn't block."""
        for lane in list(self._lanes.values()):
            self._give_back(lane)
        self._skipped.clear()
        self._wake.set()

    def reconfigure(self, configuration: Domains) -> None:
        """Use a new configuration for what isn't at work yet. Doesn't block."""
        self._configure(configuration)
        self.give_back()

    @property
    def handover(self) -> Handover | None:
        """Who answers for mail in the spool's place; None when no stanza asks for that."""
        return self._handover if self._router.hands_over else None

    def stats(self) -> DeliveryStats:
        """What was done and what is going on."""
        return DeliveryStats(
            active=self._runner.active,
            waiting=sum(lane.recipients for lane in self._lanes.values()),
            delayed=max(self._recorder.delayed, 0),
            delivered=self._recorder.delivered,
            failed=self._recorder.failed,
            deferrals=self._recorder.deferrals,
            connections_idle=len(self._tools.connections),
            hops_down=len(self._tools.health.down()),
        )

    def route(self, domain: str, binding: str = "") -> Route:
        """How mail for a domain is handed on. Raises DeliveryError when there is no way."""
        return self._router.route(domain, binding)

    @property
    def domain_counts(self) -> DomainCounts:
        """What was delivered and what failed by domain."""
        return self._worker.counts

    @property
    def dns(self) -> DnsCounts:
        """What was looked up."""
        return self._names.counts

    @property
    def active_destinations(self) -> int:
        """Destinations for which mail is at work or waits in memory."""
        return sum(bool(lane.active or lane.waiting) for lane in self._lanes.values())

    def drain(self, timeout_s: float) -> bool:
        """Start nothing more, let what is at work end within the time, then cut it off. Blocks.

        Returns whether everything at work ended by itself and was recorded. What was cut off is due again at the
        next start.
        """
        end = time.monotonic() + timeout_s
        self._is_stopping = self._runner.is_stopping = True
        for lane in list(self._lanes.values()):
            self._give_back(lane)
        self._wake.set()
        if self._held:
            self._settled.clear()
            self._settled.wait(max(end - time.monotonic(), 0))
        ended = not self._held
        self._runner.kill()
        if self._sweeper is not None and self._looker is not None:
            self._sweeper.kill(block=True, timeout=1.0)
            self._looker.join(timeout=1.0)
            self._looker.kill(block=True, timeout=1.0)
        self._tools.connections.close_all()
        self._worker.close()
        self._names.close()
        return ended

    def stop(self) -> None:
        """Stop at once; see `drain`."""
        self.drain(0.0)

    # Looking into the spool.

    def _look_loop(self) -> None:
        while not self._is_stopping:
            self._wake.clear()
            try:
                # No time limit: an answer that nobody waits for would keep its recipients leased for ever.
                pause_s = self._look()
            except SpoolError as error:
                self._log.problem(f"the queue can't be read: {error}")
                pause_s = 5.0
            except Exception as error:  # noqa: BLE001 - the loop must outlive any bug below
                self._log.problem("looking for due mail broke", error)
                pause_s = 5.0
            if pause_s > 0:
                self._wake.wait(pause_s)
            gevent.sleep(self._rest_s)

    def _look(self) -> float:
        """Fetch what is due and start what may start; returns the seconds until the next look."""
        room = self._window - self._held
        if room < 1:
            self._wants_room = True
            return _LONGEST_WAIT_S  # woken when there is
        limit = min(room, _MOST_A_LOOK)
        now = self._clock.wall()
        began = time.monotonic()
        found = self._spool.due(now, limit, tuple(self._skipped))
        # One look serves all messages of a moment, and looking never takes more than a tenth of the time, however
        # long the part of the queue is that must be passed over.
        self._rest_s = min(max(_LEAST_REST_S, 9 * (time.monotonic() - began)), _LONGEST_WAIT_S)
        self._held += len(found)
        if self._is_stopping:
            self._release(found)
            return 0.0
        self._admit(found)
        self._runner.start()
        if len(found) >= limit or self._wake.is_set():
            return 0.0
        next_wall = self._spool.next_due_wall(tuple(self._skipped))
        if next_wall is None:
            return _LONGEST_WAIT_S
        wait_s = next_wall - self._clock.wall()
        return 0.05 if wait_s <= 0 else min(wait_s, _LONGEST_WAIT_S)

    def _admit(self, found: Sequence[Due]) -> None:
        open_batches: dict[tuple[str, Hashable, int], Batch] = {}
        self._unplaced = len(found)
        for due in found:
            self._unplaced -= 1
            try:
                self._admit_one(due, open_batches)
            except Exception as error:  # noqa: BLE001 - one recipient's trouble must not strand the others
                self._log.problem(f"{due.message_id} for {due.address} can't be queued", error)
                self._hold(due, None, f"{type(error).__name__} in the queue, see the log")

    def _admit_one(self, due: Due, open_batches: dict[tuple[str, Hashable, int], Batch]) -> None:
        """Put a recipient into the lane of its destination."""
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
        if lane.held >= self._share() and not is_wished:
            lane.is_crowded = True
            self._hold(due, lane, "many messages wait for the destination")
            return
        # Domains that share a hop may differ in their retries: a batch has one set of options.
        place = (due.message_id, lane.key, id(options))
        batch = open_batches.get(place)
        if batch is None or len(batch.dues) >= options[MAX_RECIPIENTS_PER_BATCH]:
            batch = Batch(due.message_id, route, options, RetryPolicy.of(options), failure, priority=due.priority)
            open_batches[place] = batch
            lane.put(batch)
        batch.dues.append(due)
        lane.recipients += 1
        lane.held += 1
        self._runner.offer(lane)

    def _lane(self, route: Route | None, options: View) -> Lane:
        """The lane of a destination: domains that share next hops, binding and limits share it."""
        gates = self._gates.of(options)
        limit = (route.most_at_once if route else 0) or options[MAX_OUTBOUND_CONNECTIONS]
        key = (route.key, route.binding, gates, limit) if route else ("none", "", gates, limit)
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = Lane(key, gates, limit)
        return lane

    def _share(self) -> int:
        """Recipients that one lane may hold: a quarter of what is free now, but never none."""
        return max((self._window - self._held + self._unplaced) // 4, 1)

    def _hold(self, due: Due, lane: Lane | None, why: str) -> None:
        """Leave a recipient in the spool for now: skip its domain, or put it off when many domains are skipped."""
        key = self._router.skip_key(due.domain, due.binding)
        if key in self._skipped or len(self._skipped) < _MOST_SKIPPED:
            self._skipped[key] = lane
            self._release((due,))
            return
        now = self._clock.wall()
        reply = f"451 4.3.2 [internal] {why}"
        self._recorder.write(
            (
                Record(
                    due.message_id,
                    due.index,
                    State.QUEUED,
                    now + _PUT_OFF_S,
                    due.attempts,
                    reply,
                    "queue",
                    now,
                    due.warned,
                ),
            )
        )

    def _release(self, dues: Sequence[Due]) -> None:
        for due in dues:
            self._spool.release(due.message_id, due.index)
        self._let_go(len(dues))

    def _recorded(self, count: int, is_later: bool) -> None:
        """So many recipients' records are durable; `is_later`: one of them is to be tried again."""
        self._let_go(count)
        if is_later:
            self._wake.set()

    def _let_go(self, count: int) -> None:
        """So many recipients are no longer held."""
        self._held -= count
        if not self._held:
            self._settled.set()
        if self._wants_room and self._held < self._window:
            self._wants_room = False
            self._wake.set()

    def _give_back(self, lane: Lane) -> None:
        """Return a lane's waiting batches to the spool."""
        while lane.waiting:
            batch = lane.waiting.popleft()
            lane.recipients -= len(batch.dues)
            lane.held -= len(batch.dues)
            self._release(batch.dues)
        if not lane.active:
            self._lanes.pop(lane.key, None)

    def _ended(self, lane: Lane) -> None:
        """A batch of a lane has ended."""
        if lane.is_crowded and lane.held <= self._share() // 2:
            self._unskip(lane)
        if not lane.waiting and not lane.active:
            self._lanes.pop(lane.key, None)

    def _unskip(self, lane: Lane) -> None:
        lane.is_crowded = False
        domains = [domain for domain, of_lane in self._skipped.items() if of_lane is lane]
        for domain in domains:
            del self._skipped[domain]
        if domains:
            self._wake.set()

    def _sweep_loop(self) -> None:
        while not self._is_stopping:
            gevent.sleep(_SWEEP_S)
            self._tools.connections.close_idle()
            self._recorder.write_again()
