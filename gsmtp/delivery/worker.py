"""One attempt: a message and some of its recipients, handed to a transport; what came of it as a Report for the spool.

Runs in a green thread of the queue. Whatever goes wrong becomes an Outcome: an exception in a transport is logged once
and counts as a temporary failure. The log's shape is a Protocol, so that the application may write it as it likes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import gevent
from gevent.hub import Waiter

from gsmtp.config.view import View
from gsmtp.core.clock import Clock
from gsmtp.core.envelope import Envelope
from gsmtp.core.errors import DeliveryError, SpoolError
from gsmtp.core.records import Attempt
from gsmtp.core.stages import Stage
from gsmtp.delivery.backoff import GiveUp, RetryPolicy, after_failure
from gsmtp.delivery.bounce_options import NEVER_ATTEMPT_EXPIRED_MESSAGES
from gsmtp.delivery.domain_counts import DomainCounts
from gsmtp.delivery.failures import Failures
from gsmtp.delivery.router import Domains, Route
from gsmtp.delivery.transport import (
    TRANSPORTS,
    CutOff,
    Job,
    NoHopReachable,
    Outcome,
    Throttled,
    Tools,
    Transport,
    stanza_transports,
)
from gsmtp.spool.base import Due, Notice, Record, Spool, State, StoredBody, Wish

_SPOOL_WAIT_S = 300.0
_LONGEST_ASKED_S = 31_536_000.0
"""A year: a handler that asks for more, or for infinity, is bounded to what the spool can keep."""
BLACKHOLED = "554 5.7.0 [internal] Blackholed"
NOT_ATTEMPTED = "554 5.4.5 [internal] Delivery not attempted (message expired)"
BOUNCED_BY_OPERATOR = "554 5.7.0 [internal] bounced by the operator"


class DeliveryLog(Protocol):
    """Where deliveries are told."""

    def delivery(self, attempt: Attempt) -> None:
        """One recipient's attempt ended."""

    def problem(self, text: str, error: BaseException | None = None) -> None:
        """Something is wrong on our side; `error` carries the traceback."""


class LoggingLog:
    """One readable line an attempt to the logger ``gsmtp.delivery``."""

    def __init__(self) -> None:
        self._logger = logging.getLogger("gsmtp.delivery")

    def delivery(self, attempt: Attempt) -> None:
        """See `DeliveryLog.delivery`."""
        level = logging.INFO if attempt.kind == "delivered" else logging.WARNING
        if self._logger.isEnabledFor(level):
            what = "%s %s from=<%s> to=<%s> hop=%s attempt=%s age=%.1fs: %s"
            who = (attempt.message_id, attempt.sender, attempt.recipient, attempt.hop)
            self._logger.log(level, what, attempt.kind, *who, attempt.attempts, attempt.age_s, attempt.reply)

    def problem(self, text: str, error: BaseException | None = None) -> None:
        """See `DeliveryLog.problem`."""
        self._logger.error(text, exc_info=error)


def _nothing() -> None:
    """Nobody wants to know."""


@dataclass(slots=True)
class Batch:
    """Recipients of one message that share their route.

    Args:
        message_id: of the message.
        route: where to, None when there is no route.
        options: of their domain.
        policy: their domain's retry options.
        failure: why there is no route, or why it isn't to be tried now; "" when it is.
        dues: the recipients.
        priority: of the message (RFC 6710).
        connecting: as `Job.connecting`.
        connections: that were opened, or tried to be, in this attempt.
    """

    message_id: str
    route: Route | None
    options: View
    policy: RetryPolicy
    failure: str = ""
    dues: list[Due] = field(default_factory=list)
    priority: int = 0
    connecting: Callable[[], None] = _nothing
    connections: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """What an attempt comes to, to be written in one commit.

    Args:
        records: one a recipient.
        notices: bounces and notices of delay.
    """

    records: Sequence[Record]
    notices: Sequence[Notice] = ()


class Worker:
    """Makes attempts.

    Args:
        spool: gives envelopes and bodies.
        tools: for the transports, each of which is made once, when first needed.
        clock: wall time for records.
        log: tells of each recipient's attempt.
        failures: decides what becomes of recipients that failed for good.
    """

    def __init__(self, spool: Spool, tools: Tools, clock: Clock, log: DeliveryLog, failures: Failures) -> None:
        self._spool = spool
        self._tools = tools
        self._clock = clock
        self._log = log
        self._failures = failures
        self._transports: dict[str, Transport] = {}
        self.counts = DomainCounts()

    def configure(self, configuration: Domains) -> None:
        """Tell transports with stanzas of their own which there are from now on. Doesn't block."""
        for name, kind in stanza_transports():
            views = configuration.stanzas(kind.stanza)
            if views or name in self._transports:
                self.transport(name).configure(views)

    def close(self) -> None:
        """Close all transports."""
        for one in self._transports.values():
            one.close()

    def attempt(self, batch: Batch, envelope: Envelope | None) -> Report | None:
        """Try to hand a batch on; blocks the green thread. None when the message is gone from the spool.

        Args:
            batch: the recipients.
            envelope: the message's, None when it is to be read from the spool.
        """
        try:
            envelope = envelope or self._envelope(batch.message_id)
        except SpoolError as error:
            self._log.problem(f"the envelope of {batch.message_id} can't be read: {error}")
            return Report([_postpone(due, batch.policy, self._clock.wall()) for due in batch.dues])
        if envelope is None:
            return None
        try:
            outcomes = self._outcomes(batch, envelope)
        except CutOff as cut:
            return self._cut_off(batch, envelope, cut.outcomes)
        now = self._clock.wall()
        records: Sequence[Record] = [
            conclude(due, outcome, envelope.received_wall, now, batch.policy)
            for due, outcome in zip(batch.dues, outcomes, strict=True)
        ]
        for due, outcome, record in zip(batch.dues, outcomes, records, strict=True):
            self._try_to_tell(record, outcome, due, envelope, batch.route)
        try:
            return Report(*self._failures.settle(envelope, records, outcomes, batch))
        except gevent.GreenletExit:
            # The process ends. What was handed over is noted; who failed is tried again, and told, at the next start.
            if all(record.state == State.DEAD for record in records):
                raise
            return self._ended(batch, envelope, records, outcomes)
        except Exception as error:  # noqa: BLE001 - what is delivered must be noted whatever goes wrong with a notice
            self._log.problem(f"nobody can be told of {batch.message_id}: what failed stays as a dead letter", error)
            return Report(records)

    def _cut_off(self, batch: Batch, envelope: Envelope, outcomes: Sequence[Outcome]) -> Report:
        """The process ends in the middle of a job: who has the message is noted, the others are as they were."""
        now = self._clock.wall()
        known = [(due, outcome) for due, outcome in zip(batch.dues, outcomes, strict=True) if outcome.is_delivered]
        records = [conclude(due, outcome, envelope.received_wall, now, batch.policy) for due, outcome in known]
        for (due, outcome), record in zip(known, records, strict=True):
            self._try_to_tell(record, outcome, due, envelope, batch.route)
        reached = replace(batch, dues=[due for due, _ in known])
        return self._ended(reached, envelope, records, [outcome for _, outcome in known])

    def _ended(
        self, batch: Batch, envelope: Envelope, records: Sequence[Record], outcomes: Sequence[Outcome]
    ) -> Report:
        """What is noted when the process ends: all but failures, and notices of delivery, which nothing would write
        later."""
        kept = [record for record in records if record.state == State.QUEUED]
        every = zip(batch.dues, records, outcomes, strict=True)
        known = [(due, record, outcome) for due, record, outcome in every if record.state == State.DELIVERED]
        reached = [record for _, record, _ in known]
        dues, passed = [due for due, _, _ in known], [outcome for _, _, outcome in known]
        notices: Sequence[Notice] = ()
        try:
            _, notices = self._failures.settle(envelope, reached, passed, replace(batch, dues=dues), is_ending=True)
        except Exception as error:  # noqa: BLE001 - what is delivered must be noted whatever goes wrong with a notice
            self._log.problem(f"nobody can be told of {batch.message_id}", error)
        return Report(kept + reached, notices)

    def _envelope(self, message_id: str) -> Envelope | None:
        with gevent.Timeout(_SPOOL_WAIT_S, SpoolError(f"no answer within {_SPOOL_WAIT_S:g} s")):
            return self._spool.envelope(message_id)

    def _body(self, message_id: str) -> StoredBody:
        with gevent.Timeout(_SPOOL_WAIT_S, SpoolError(f"no answer within {_SPOOL_WAIT_S:g} s")):
            return self._spool.body(message_id)

    def _outcomes(self, batch: Batch, envelope: Envelope) -> list[Outcome]:
        """One Outcome for each of the batch's recipients, in order. Raises CutOff."""
        hop = batch.route.key if batch.route else "none"
        outcomes: dict[int, Outcome] = {}
        wanted: list[int] = []
        for due in batch.dues:
            recipient = envelope.recipients[due.index]
            if due.wish == Wish.BOUNCE:
                outcomes[due.index] = Outcome(554, BOUNCED_BY_OPERATOR, "operator")
            elif recipient.failure:
                outcomes[due.index] = _shared(recipient.failure, "policy", temporary=False)
            elif self._is_too_old(due, envelope, batch):
                outcomes[due.index] = Outcome(554, NOT_ATTEMPTED, "queue")
            elif recipient.drop:
                outcomes[due.index] = Outcome(250, BLACKHOLED, "blackhole")
            else:
                wanted.append(due.index)
        if wanted:
            cut: CutOff | None = None
            try:
                handed: Sequence[Outcome] = self._hand_on(batch, envelope, wanted, hop)
            except CutOff as error:
                cut, handed = error, error.outcomes
            outcomes.update(zip(wanted, handed, strict=True))
            if cut is not None:
                raise CutOff([outcomes[due.index] for due in batch.dues]) from cut
        return [outcomes[due.index] for due in batch.dues]

    def _is_too_old(self, due: Due, envelope: Envelope, batch: Batch) -> bool:
        """Whether a recipient has expired and Never_Attempt_Expired_Messages grants it no last try."""
        if not batch.options[NEVER_ATTEMPT_EXPIRED_MESSAGES]:
            return False
        expires_wall = (due.since_wall or envelope.received_wall) + batch.policy.expiration_s
        return self._clock.wall() >= expires_wall

    def _hand_on(self, batch: Batch, envelope: Envelope, indexes: list[int], hop: str) -> list[Outcome]:
        if batch.route is None or batch.failure:
            return [_shared(batch.failure, hop, temporary=True)] * len(indexes)
        recipients = [envelope.recipients[index] for index in indexes]
        try:
            body = self._spool.recent_body(batch.message_id) or self._body(batch.message_id)
            route = batch.route
            attempts = max(due.attempts for due in batch.dues if due.index in indexes)
            mark = self._marker(batch.message_id, indexes)
            job = Job(envelope, body, recipients, route.view, route.hops, attempts, mark, batch.connecting)
            outcomes = self.transport(route.transport).deliver(job)
            if len(outcomes) != len(recipients):
                raise ValueError(f"{len(outcomes)} outcomes for {len(recipients)} recipients")
        except (Throttled, gevent.GreenletExit):
            raise
        except CutOff as cut:
            if cut.__cause__ is None or isinstance(cut.__cause__, gevent.GreenletExit):
                raise
            self._log.problem(f"delivery of {batch.message_id} by {hop} broke", cut.__cause__)
            return list(cut.outcomes)  # those without an answer got one: a temporary failure
        except NoHopReachable as error:
            return [_shared(str(error), hop, temporary=True, stage=error.stage, remote=error.remote)] * len(indexes)
        except DeliveryError as error:
            return [_shared(str(error), hop, temporary=error.temporary)] * len(indexes)
        except SpoolError as error:
            self._log.problem(f"the body of {batch.message_id} can't be read: {error}")
            return [_shared(f"451 4.3.0 [internal] the message can't be read: {error}", hop, temporary=True)] * len(
                indexes
            )
        except BaseException as error:  # noqa: BLE001 - a transport's bug must not stop the queue, nor the process
            self._log.problem(f"delivery of {batch.message_id} by {hop} broke", error)
            what = f"451 4.3.0 [internal] {type(error).__name__} in the transport, see the log"
            return [_shared(what, hop, temporary=True)] * len(indexes)
        return outcomes

    def _marker(self, message_id: str, indexes: Sequence[int]) -> Callable[[], None]:
        """What notes that these recipients are about to be handed over (`Job.mark`)."""

        def mark() -> None:
            noted: Waiter[SpoolError | None] = Waiter()
            self._spool.mark(message_id, indexes, self._clock.wall(), noted.switch)
            problem = noted.get()  # no time limit: the spool answers in any case, and a timer for each costs
            if problem is not None:
                raise problem

        return mark

    def transport(self, name: str) -> Transport:
        """The transport of that name. Raises DeliveryError."""
        found = self._transports.get(name)
        if found is None:
            kind = TRANSPORTS.get(name)
            if kind is None:
                raise DeliveryError(f"451 4.3.5 [internal] there is no transport {name!r}")
            found = self._transports[name] = kind(self._tools)
        return found

    def _try_to_tell(self, record: Record, outcome: Outcome, due: Due, envelope: Envelope, route: Route | None) -> None:
        try:
            self._tell(record, outcome, due, envelope, route)
        except Exception as error:  # noqa: BLE001 - what is delivered must be noted, or it is delivered again
            self._log.problem(f"the outcome of {record.message_id} can't be told", error)

    def _tell(self, record: Record, outcome: Outcome, due: Due, envelope: Envelope, route: Route | None) -> None:
        kind = {State.DELIVERED: "delivered", State.QUEUED: "deferred"}.get(record.state, "failed")
        if outcome.reply is BLACKHOLED:
            kind = "failed"  # forgotten as asked for, and logged as a failure (reference/esmtp-listener.md section 6)
        if kind != "deferred":
            self.counts.count(due.domain, is_delivered=kind == "delivered")
        self._log.delivery(
            Attempt(
                kind=kind,
                message_id=record.message_id,
                connection_id=envelope.connection_id,
                sender=envelope.reverse_path,
                recipient=due.address,
                domain=(route.gateway if route is not None else "") or due.domain,
                hop=record.hop,
                reply=record.reply,
                attempts=record.attempts,
                age_s=max(record.when_wall - envelope.received_wall, 0.0),
                size_bytes=envelope.size_bytes,
                sent_bytes=outcome.sent_bytes,
                stage=outcome.stage,
                remote=outcome.remote,
                tls=outcome.tls,
                due_wall=record.due_wall,
                group=route.group if route is not None else "default",
                binding=route.binding if route is not None else "default",
            )
        )


def conclude(due: Due, outcome: Outcome, received_wall: float, now_wall: float, policy: RetryPolicy) -> Record:
    """The spool record of one recipient's attempt: delivered, queued or, when it failed for good, dead.

    Args:
        due: the recipient as the spool handed it out.
        outcome: what the transport says.
        received_wall: when the message was accepted.
        now_wall: when the attempt ended.
        policy: the domain's retry options.
    """
    attempts = due.attempts + 1
    state, due_wall, reply = State.DEAD, 0.0, outcome.reply
    if outcome.is_delivered:
        state = State.DELIVERED
    elif not outcome.is_permanent:
        step = after_failure(attempts, due.since_wall or received_wall, now_wall, policy)
        if isinstance(step, GiveUp):
            reply = f"{step.reply} (last: {outcome.reply})"
        else:
            asked_s = min(outcome.retry_after_s, _LONGEST_ASKED_S)
            state, due_wall = State.QUEUED, max(step.due_wall, now_wall + asked_s)
    return Record(due.message_id, due.index, state, due_wall, attempts, reply, outcome.hop, now_wall, due.warned)


def _postpone(due: Due, policy: RetryPolicy, now: float) -> Record:
    """Wait for a spool that can't be read; this is no attempt."""
    reply = "451 4.3.0 [internal] the envelope can't be read"
    due_wall = now + policy.retry_interval_s
    return Record(due.message_id, due.index, State.QUEUED, due_wall, due.attempts, reply, "spool", now, due.warned)


def _shared(text: str, hop: str, *, temporary: bool, stage: Stage = Stage.NOT_CONNECTED, remote: str = "") -> Outcome:
    """The Outcome for all recipients of a failed attempt; its code follows `temporary` whatever the text says."""
    code = int(text[:3]) if text[:3].isdecimal() else 0
    if temporary != (400 <= code < 500):
        code = 451 if temporary else 554
    return Outcome(code, text, hop, stage, remote)
