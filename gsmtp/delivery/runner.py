"""Which batch starts next, and the green threads in which batches run.

Lanes that may start a batch stand in one line and take turns. One that must wait (its own limit, a quota, a rate)
leaves the line and is offered again by what it waits for. A green thread that has ended a batch goes on with the next
one of its lane, unless others wait for its place.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

import gevent

from gsmtp.core.clock import Clock
from gsmtp.delivery.lanes import EnvelopeCache, Lane
from gsmtp.delivery.recorder import Recorder
from gsmtp.delivery.transport import Throttled, Tools
from gsmtp.delivery.worker import Batch, DeliveryLog, Report, Worker
from gsmtp.runtime.greens import GreenThreads
from gsmtp.spool.base import Due, Record, State


class Runner:
    """Starts batches and sees them through.

    Args:
        worker: makes the attempts.
        recorder: takes what came of them.
        envelopes: of messages that were just accepted.
        tools: whose idle connections count, too.
        clock: for records.
        log: told of what broke.
        release: gives recipients back to the spool, untried.
        judge: told what came of each attempt of a lane; may wait in the green thread.
        ended: told of each lane one of whose batches has ended.

    Attributes:
        most: batches at work, and connections, at the most.
        reserve: how many of those only lanes may use that have nothing at work.
        active: recipients at work.
    """

    def __init__(
        self,
        worker: Worker,
        recorder: Recorder,
        envelopes: EnvelopeCache,
        tools: Tools,
        clock: Clock,
        log: DeliveryLog,
        release: Callable[[Sequence[Due]], None],
        judge: Callable[[Lane, Batch, Report], None],
        ended: Callable[[Lane], None],
    ) -> None:
        self.most = 1
        self.reserve = 0
        self.active = 0
        self._worker = worker
        self._recorder = recorder
        self._envelopes = envelopes
        self._tools = tools
        self._clock = clock
        self._log = log
        self._release = release
        self._judge = judge
        self._ended = ended
        self._offered: deque[Lane] = deque()
        self._frugal: deque[Lane] = deque()
        """Lanes that have a batch at work and leave the reserve to those that have none."""
        self._batches = 0
        self._work = GreenThreads()
        self._is_starting = False
        self.is_stopping = False

    def offer(self, lane: Lane) -> None:
        """Let a lane stand in line, if it has anything to start."""
        if lane.waiting and lane.active < lane.limit and not lane.is_offered and not lane.is_parked:
            lane.is_offered = True
            self._offered.append(lane)

    def offer_now(self, lane: Lane) -> None:
        """As `offer`, by a gate: and start what may start."""
        self.offer(lane)
        self.start()

    def start(self) -> None:
        """Start batches, one lane after the other, as far as the limits allow."""
        if self._is_starting:  # a gate offered a lane while the line is being served: it is in it now
            return
        self._is_starting = True
        try:
            while self._offered and self._batches < self.most and not self.is_stopping:
                lane = self._offered.popleft()
                lane.is_offered = False
                batch = self._take(lane)
                if batch is not None:
                    self._work.run(partial(self._run, lane, batch))
                    self.offer(lane)
        finally:
            self._is_starting = False

    def kill(self) -> None:
        """Cut off what is at work; its recipients are released."""
        self._work.kill(timeout_s=1.0)

    def _take(self, lane: Lane) -> Batch | None:
        """The lane's next batch, counted as at work; None when it has none or must wait."""
        if not lane.waiting or lane.active >= lane.limit or lane.is_parked or self.is_stopping:
            return None
        if lane.active and self._batches >= self.most - self.reserve:
            lane.is_parked = True
            self._frugal.append(lane)
            return None
        if not lane.gates.enter(lane):
            return None
        batch = lane.waiting.popleft()
        lane.recipients -= len(batch.dues)
        lane.active += 1
        self._batches += 1
        self.active += len(batch.dues)
        return batch

    def _run(self, lane: Lane, batch: Batch | None) -> None:
        """One green thread's life: batches of one lane."""
        while batch is not None:
            self._attempt(lane, batch)
            self._serve_frugal()
            batch = None
            if self._batches < self.most and not self._offered:
                batch = self._take(lane)
        self.offer(lane)
        self.start()

    def _attempt(self, lane: Lane, batch: Batch) -> None:
        """See a batch through. Raises GreenletExit when it is cut off at the end of the process."""
        sent_back = False
        batch.connections = 0
        batch.connecting = lambda: self._connecting(lane, batch)
        try:
            report = self._worker.attempt(batch, self._envelopes.get(batch.message_id))
        except Throttled:
            sent_back = True
        except BaseException as error:
            if isinstance(error, gevent.GreenletExit) and self.is_stopping:
                self._release(batch.dues)  # cut off at the end of the process: due again at the next start
                raise
            self._log.problem(f"the attempt for {batch.message_id} broke", error)  # the queue must outlive any bug
            self.put_off(batch)
        else:
            if report is not None:
                self._conclude(lane, batch, report)
            else:
                self._release(batch.dues)
        finally:
            lane.active -= 1
            self._batches -= 1
            self.active -= len(batch.dues)
            if sent_back:
                self._send_back(lane, batch)
            else:
                self._envelopes.drop(batch.message_id)
                lane.hold(-len(batch.dues))
                lane.gates.leave(lane)
                self._ended(lane)

    def _conclude(self, lane: Lane, batch: Batch, report: Report) -> None:
        """Have noted what came of a batch, and judge its lane by it."""
        self._recorder.write(report.records, report.notices)
        if len(report.records) < len(batch.dues):  # cut off: those that have no outcome are due again
            noted = {record.index for record in report.records}
            left = [due for due in batch.dues if due.index not in noted]
            if self.is_stopping:
                self._release(left)
            else:
                self.put_off(batch, left)
        try:
            self._judge(lane, batch, report)
        except Exception as error:  # noqa: BLE001 - the lane's next batches must start
            self._log.problem(f"how {lane.key} fares can't be told", error)

    def _connecting(self, lane: Lane, batch: Batch) -> None:
        """A batch of the lane is about to open a connection. Raises Throttled."""
        lane.gates.connecting(lane, is_next=batch.connections > 0)
        batch.connections += 1
        self._tools.connections.make_room(self.most - self._batches)

    def _send_back(self, lane: Lane, batch: Batch) -> None:
        """No connection may be opened for a batch: it waits at the head of its lane."""
        if self.is_stopping:
            lane.hold(-len(batch.dues))
            self._release(batch.dues)
        else:
            lane.waiting.appendleft(batch)
            lane.recipients += len(batch.dues)
        lane.gates.sent_back(lane)

    def _serve_frugal(self) -> None:
        while self._frugal and self._batches < self.most - self.reserve:
            lane = self._frugal.popleft()
            lane.is_parked = False
            if lane.waiting:
                self.offer(lane)
                return

    def put_off(self, batch: Batch, dues: Sequence[Due] | None = None) -> None:
        """An attempt broke: try again later, all of it or these recipients."""
        now = self._clock.wall()
        reply = "451 4.3.0 [internal] the attempt broke, see the log"
        again = now + batch.policy.retry_interval_s
        self._recorder.write(
            [
                Record(d.message_id, d.index, State.QUEUED, again, d.attempts + 1, reply, "queue", now, d.warned)
                for d in (batch.dues if dues is None else dues)
            ]
        )
