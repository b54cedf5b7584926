"""What is delivered when: looks into the spool for what is due, and joins the parts that see to the rest.

Leases come from the spool, for what a look finds or for what was just accepted, which goes into its lane without a
look. So nothing is tried twice at a time, and a message that was in flight when the process ended is due again at the
next start.

Recipients of one message with one destination make a Batch; batches of one destination wait in its Lane
(`delivery.admission`), of which all together hold no more than the window (`delivery.window`); the Runner starts them.
So however many destinations are slow or dead, there is always room for one more.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence

import gevent
from gevent.event import Event

from gsmtp.core.clock import Clock, SystemClock
from gsmtp.core.envelope import Envelope
from gsmtp.core.errors import ConfigError, SpoolError
from gsmtp.delivery.admission import Admission
from gsmtp.delivery.deferrals import Deferrals
from gsmtp.delivery.domain_counts import DomainCounts
from gsmtp.delivery.failures import Failures, KeepAll
from gsmtp.delivery.gates import GateKeeper
from gsmtp.delivery.handover import Handover
from gsmtp.delivery.lanes import DeliveryStats, EnvelopeCache, Lane
from gsmtp.delivery.limit_options import (
    SERVER_MAX_OUTBOUND_CONNECTIONS,
    SERVER_RESERVE_OUTBOUND_CONNECTIONS,
)
from gsmtp.delivery.pool import ConnectionPool, HopHealth
from gsmtp.delivery.recorder import Recorder
from gsmtp.delivery.resolve import HopResolver
from gsmtp.delivery.router import TRANSPORT_NAMES, Domains, Route, Router
from gsmtp.delivery.runner import Runner
from gsmtp.delivery.sockets import green_connect
from gsmtp.delivery.transport import TRANSPORTS, Connect, Native, Tools
from gsmtp.delivery.window import Window
from gsmtp.delivery.worker import Batch, DeliveryLog, LoggingLog, Report, Worker
from gsmtp.runtime.dns import DnsCounts, Resolver, Settings
from gsmtp.runtime.later import Later
from gsmtp.runtime.shared_counts import SharedCounts
from gsmtp.smtp.options import HOSTNAME
from gsmtp.spool.base import Due, Notice, Record, Spool, State

WINDOW = 2_000
"""Recipients in memory at the most."""
_MOST_A_LOOK = 500
_MOST_AT_ONCE = 100
"""Recipients of a new message that go into their lanes on the hub, in one go."""
_LONGEST_WAIT_S = 60.0
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
        shared: counts that several processes keep together, None in a server of one process.

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
        shared: SharedCounts | None = None,
    ) -> None:
        missing = [name for name in TRANSPORT_NAMES if name not in TRANSPORTS]
        if missing:
            raise ConfigError(f"transports not loaded: {', '.join(missing)}")
        self._spool = spool
        self._clock = clock or SystemClock()
        self._log = log or LoggingLog()
        hostname = configuration.view[HOSTNAME] or socket.gethostname()
        mono = self._clock.mono
        self._names = Resolver(Settings.of(configuration.view), native_pool, mono)
        resolver = HopResolver(self._names, hostname)
        self._tools = Tools(native_pool, connect, ConnectionPool(mono), HopHealth(mono), hostname, resolver)
        self._failures = failures or KeepAll()
        self._announced = announced
        self._worker = Worker(spool, self._tools, self._clock, self._log, self._failures)
        self._envelopes = EnvelopeCache(4 * window)
        self._looker: gevent.Greenlet[[], None] | None = None
        self._sweeper: gevent.Greenlet[[], None] | None = None
        self._wake = Event()
        self._window = Window(spool, window, self._wake.set, mono)
        self._recorder = Recorder(spool, self._log, self._window.recorded, self._announce, self._give_up)
        self._runner = Runner(
            self._worker,
            self._recorder,
            self._envelopes,
            self._tools,
            self._clock,
            self._log,
            self._window.release,
            self._judge,
            self._window.ended,
        )
        self._deferrals = Deferrals(
            spool,
            self._worker,
            self._recorder,
            self._envelopes,
            self._tools,
            self._window,
            self._runner.put_off,
            self._log,
        )
        self._gates = GateKeeper(mono, Later, self._runner.offer_now, shared)
        self._rest_s = _LEAST_REST_S
        self._is_stopping = False
        self._configure(configuration)

    def _configure(self, configuration: Domains) -> None:
        self._router = Router(configuration)
        self._names.configure(Settings.of(configuration.view))
        self._tools.resolver.listen_at(listen.endpoint for listen in configuration.listens if listen.is_enabled)
        self._handover = Handover(self._router, self._worker.transport, self._clock, self._log, self._handed_over)
        self._worker.configure(configuration)
        self._failures.configure(configuration)
        self._gates.reconfigured()
        self._admission = Admission(
            self._router,
            self._window,
            self._gates,
            self._recorder,
            self._deferrals,
            self._runner.offer,
            self._clock,
            self._log,
        )
        most = min(configuration.view[SERVER_MAX_OUTBOUND_CONNECTIONS], self._window.most)
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
        recipients, window = envelope.recipients, self._window
        if window.skips_all(self._router.skip_key(one.domain, one.binding) for one in recipients):
            return  # suspended or crowded: a look would find nothing that may start
        self._envelopes.put(envelope)
        if len(recipients) > _MOST_AT_ONCE or window.room - len(recipients) < window.most // 8 or self._is_stopping:
            self._wake.set()
            return
        message_id, received_wall, priority = envelope.message_id, envelope.received_wall, envelope.priority
        found = [
            Due(message_id, index, one.address, one.domain, 0, received_wall, priority, one.binding)
            for index, one in enumerate(recipients)
            if self._spool.lease(message_id, index)
        ]
        window.held += len(found)
        self._admission.admit(found)
        self._runner.start()

    def _judge(self, lane: Lane, batch: Batch, report: Report) -> None:
        """An attempt of a lane has ended: did its destination answer?"""
        if any(record.state == State.DELIVERED or "[internal]" not in record.reply for record in report.records):
            self._window.moved(lane)
        else:
            self._window.failed(lane)
            self._deferrals.note(lane, batch.route)

    def _announce(self, notice: Notice) -> None:
        """A message of our own is in the spool."""
        if self._announced is not None:
            self._announced(notice.envelope)
        self.notify(notice.envelope)

    def _give_up(self, records: Sequence[Record]) -> None:
        """Recipients that weren't delivered, and whose outcomes can't be noted, are tried anew."""
        self._window.release(records)
        self._wake.set()

    def poke(self) -> None:
        """Look into the spool now, e.g. after an operator changed due times. Doesn't block."""
        self._wake.set()

    def give_back(self) -> None:
        """Return all that waits in memory to the spool, so that an operator's changes can reach it. Doesn't block."""
        self._window.give_back()
        self._window.forget_skipped()
        self._wake.set()

    def reconfigure(self, configuration: Domains) -> None:
        """Use a new configuration for what isn't at work yet. Doesn't block."""
        self._configure(configuration)
        self.give_back()

    @property
    def handover(self) -> Handover | None:
        """Who answers for mail in the spool's place; None when no stanza asks for that."""
        return self._handover if self._router.hands_over else None

    def _handed_over(self, domain: str) -> None:
        """A recipient's mail was taken in the spool's place."""
        self._recorder.delivered += 1
        self._worker.counts.count(domain, is_delivered=True)

    def stats(self) -> DeliveryStats:
        """What was done and what is going on."""
        return DeliveryStats(
            active=self._runner.active,
            waiting=self._window.waiting,
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
        return self._window.active_destinations

    def drain(self, timeout_s: float) -> bool:
        """Start nothing more, let what is at work end within the time, then cut it off. Blocks.

        Returns whether everything at work ended by itself and was recorded. What was cut off is due again at the
        next start.
        """
        end = time.monotonic() + timeout_s
        self._is_stopping = self._runner.is_stopping = True
        self._window.give_back()
        self._recorder.write_again(at_once=True)
        self._wake.set()
        ended = self._window.wait_until_empty(max(end - time.monotonic(), 0))
        self._runner.kill()
        self._deferrals.kill()
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
        window = self._window
        if window.room < 1:
            window.wants_room = True
            return _LONGEST_WAIT_S  # woken when there is
        limit = min(window.room, _MOST_A_LOOK)
        now = self._clock.wall()
        began = time.monotonic()
        found = self._spool.due(now, limit, window.skipped)
        # One look serves all messages of a moment, and looking never takes more than a tenth of the time, however
        # long the part of the queue is that must be passed over.
        self._rest_s = min(max(_LEAST_REST_S, 9 * (time.monotonic() - began)), _LONGEST_WAIT_S)
        window.held += len(found)
        if self._is_stopping:
            window.release(found)
            return 0.0
        self._admission.admit(found)
        self._runner.start()
        if len(found) >= limit or self._wake.is_set():
            return 0.0
        next_wall = self._spool.next_due_wall(window.skipped)
        if next_wall is None:
            return _LONGEST_WAIT_S
        wait_s = next_wall - self._clock.wall()
        return 0.05 if wait_s <= 0 else min(wait_s, _LONGEST_WAIT_S)

    def _sweep_loop(self) -> None:
        while True:  # while the queue drains, too: until it is ended
            gevent.sleep(_SWEEP_S)
            try:
                self.sweep()
            except Exception as error:  # noqa: BLE001 - the loop must outlive any bug below
                self._log.problem("sweeping the queue broke", error)

    def sweep(self) -> None:
        """What is done about once a second: close what is idle, write what couldn't be, make room."""
        self._tools.connections.close_idle()
        self._recorder.write_again()
        self._window.relieve()
