"""Hands messages on while their clients wait for the 250: for transports that answer for them (`Transport.hands_over`).

Only a message all of whose recipients go to such transports comes here; routes are those of the queue. Where several
stanzas share one message all of them have to take it: when one fails the client is told so, and comes again, with those
that succeeded too.

It is made for each configuration; `gsmtp.server.handover` says what acceptance asks of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import gevent

from gsmtp.core.clock import Clock
from gsmtp.core.envelope import Envelope, Recipient
from gsmtp.core.errors import DeliveryError, GsmtpError, SpoolError
from gsmtp.core.records import Attempt
from gsmtp.delivery.options import SUSPEND_DELIVERY
from gsmtp.delivery.router import Route, Router
from gsmtp.delivery.transport import TRANSPORTS, Job, Outcome, Transport
from gsmtp.delivery.worker import DeliveryLog
from gsmtp.spool.base import BodyWriter, StoredBody

HandedOver = Callable[[GsmtpError | None], None]


class Handover:
    """Takes responsibility for messages.

    Args:
        router: of the configuration.
        transport: gives the transport of a name.
        clock: for the log.
        log: told of each recipient that was delivered.
        count: called with the domain of each recipient that was delivered.
    """

    def __init__(
        self,
        router: Router,
        transport: Callable[[str], Transport],
        clock: Clock,
        log: DeliveryLog,
        count: Callable[[str], object],
    ) -> None:
        self._count = count
        self._router = router
        self._transport = transport
        self._clock = clock
        self._log = log

    def takes(self, envelope: Envelope) -> bool:
        """See `gsmtp.server.handover.Handover.takes`."""
        return all(self._takes(recipient) for recipient in envelope.recipients)

    def _takes(self, recipient: Recipient) -> bool:
        if recipient.failure or recipient.drop:
            return False
        if self._router.options(recipient.domain, recipient.binding)[SUSPEND_DELIVERY]:
            return False
        try:
            route = self._router.route(recipient.domain, recipient.binding)
        except DeliveryError:
            return False
        kind = TRANSPORTS.get(route.transport)
        return kind is not None and kind.hands_over(route.view)

    def commit(self, envelope: Envelope, body: BodyWriter, done: HandedOver) -> None:
        """See `gsmtp.server.handover.Handover.commit`."""
        body.settle(lambda stored, error: self._hand_over(envelope, body, stored, error, done))

    def _hand_over(
        self,
        envelope: Envelope,
        body: BodyWriter,
        stored: StoredBody | None,
        error: SpoolError | None,
        done: HandedOver,
    ) -> None:
        answered = _Once(body, done)
        if stored is None:
            answered(error)
            return
        try:
            groups: dict[str, tuple[Route, list[Recipient]]] = {}
            for recipient in envelope.recipients:
                route = self._router.route(recipient.domain, recipient.binding)
                groups.setdefault(route.key, (route, []))[1].append(recipient)
            gathering = _Gathering(len(groups), lambda found: self._finished(envelope, found, answered))
            for route, recipients in groups.values():
                job = Job(envelope, stored, recipients, route.view, route.hops)
                self._transport(route.transport).hand_over(job, gathering.taker(route, recipients))
        except Exception as problem:  # noqa: BLE001 - a transport's bug is no reason to keep the client waiting
            self._log.problem(f"handing over {envelope.message_id} broke", problem)
            answered(DeliveryError(f"451 4.3.0 [internal] {type(problem).__name__} in the transport, see the log"))

    def _finished(self, envelope: Envelope, found: Sequence[_Answer], answered: _Once) -> None:
        failed = [outcome for _, _, outcome in found if not outcome.is_delivered]
        if failed:
            worst = min(failed, key=lambda outcome: outcome.code)  # a temporary one: the client is to come again
            answered(DeliveryError(worst.reply, temporary=not worst.is_permanent))
            return
        answered(None, lambda: self._tell(envelope, found))

    def _tell(self, envelope: Envelope, found: Sequence[_Answer]) -> None:
        now = self._clock.wall()
        for route, recipient, outcome in found:
            self._count(recipient.domain)
            self._log.delivery(
                Attempt(
                    kind="delivered",
                    message_id=envelope.message_id,
                    connection_id=envelope.connection_id,
                    sender=envelope.reverse_path,
                    recipient=recipient.address,
                    domain=route.gateway or recipient.domain,
                    hop=outcome.hop,
                    reply=outcome.reply,
                    attempts=1,
                    age_s=max(now - envelope.received_wall, 0.0),
                    size_bytes=envelope.size_bytes,
                    sent_bytes=outcome.sent_bytes,
                    stage=outcome.stage,
                    remote=outcome.remote,
                    group=route.group,
                    binding=route.binding,
                )
            )


_Answer = tuple[Route, Recipient, Outcome]


class _Gathering:
    """Waits for the outcomes of all jobs of a message."""

    def __init__(self, jobs: int, done: Callable[[Sequence[_Answer]], None]) -> None:
        self._left = jobs
        self._done = done
        self._found: list[_Answer] = []

    def taker(self, route: Route, recipients: Sequence[Recipient]) -> Callable[[list[Outcome]], None]:
        """What a job's outcomes are given to."""

        def take(outcomes: list[Outcome]) -> None:
            self._found += [(route, *pair) for pair in zip(recipients, outcomes, strict=True)]
            self._left -= 1
            if not self._left:
                self._done(self._found)

        return take


class _Once:
    """Lets go of the body and answers the client, once, and never before `commit` has returned."""

    def __init__(self, body: BodyWriter, done: HandedOver) -> None:
        self._body = body
        self._done: HandedOver | None = done

    def __call__(self, error: GsmtpError | None, afterwards: Callable[[], None] | None = None) -> None:
        done, self._done = self._done, None
        if done is not None:
            self._body.abort()
            gevent.get_hub().loop.run_callback(self._answer, done, error, afterwards)

    @staticmethod
    def _answer(done: HandedOver, error: GsmtpError | None, afterwards: Callable[[], None] | None) -> None:
        done(error)
        if afterwards is not None:
            afterwards()
