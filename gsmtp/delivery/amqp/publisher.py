"""Publishes to a broker, whichever of its nodes can be reached, and tells of each message what became of it.

A message ends in one of these ways: the broker confirms it (ack), refuses it (nack), finds no queue for it (return),
closes the channel over it, or doesn't confirm it in time. What was published and not confirmed when a connection is
lost is published again on the next one, with the same ``message_id``: at least once. Many messages are on their way at
a time on one channel; confirms find them by delivery tag.

A channel that was opened right after the leader of a quorum queue died may refuse everything for ever (RabbitMQ 3.10:
it keeps asking the dead leader). So a link on which nothing was confirmed yet is replaced when it refuses after a loss,
and one that has only refused for some seconds is too.

While no node can be reached, for more than a second, messages of impatient clients fail at once and the others wait for
their deadline. All but the connecting, which has a green thread, happens in callbacks on the hub.
"""

from __future__ import annotations

import logging
import random
import time
from collections import deque
from typing import Any

import gevent
from gevent.event import Event

from gsmtp.delivery.amqp.link import Link, LinkError, UnfitMessage, describe
from gsmtp.delivery.amqp.message import BrokerMessage
from gsmtp.delivery.amqp.pending import Done, Pending, tags_up_to
from gsmtp.delivery.amqp.settings import Settings
from gsmtp.delivery.transport import Native
from gsmtp.runtime.later import Later

log = logging.getLogger("gsmtp.amqp")

_SWEEP_S = 0.25
_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 5.0
_LONGEST_REST_S = 1.0  # between links that confirm nothing
_MOST_ON_THE_WAY = 4_096
_MOST_EXPIRED = 1_000
_MOST_EXPIRED_BYTES = 64 << 20
_GRACE_S = 10.0  # after a loss: time for a new leader
_ONLY_REFUSED_S = 5.0
_HOPE_S = 1.0  # after a loss or the start: failed rounds are not told yet
_TOO_LARGE = 406  # PRECONDITION_FAILED
STOPPED = "451 4.3.2 [internal] the publisher was closed"


class Publisher:
    """The publications of one stanza.

    Args:
        settings: of the stanza.
        native: for the files of TLS.
    """

    def __init__(self, settings: Settings, native: Native) -> None:
        self.settings = settings
        self._native = native
        self._waiting: deque[Pending] = deque()
        self._on_the_way: dict[int, Pending] = {}  # by delivery tag, in its order
        self._by_id: dict[str, Pending] = {}
        self._expired = self._expired_bytes = 0  # answered without a confirm, and still in the link's hands
        self._link: Link | None = None
        self._blocked = ""
        self._blocked_since = 0.0
        self._hope_until = time.monotonic() + _HOPE_S
        self._grace_until = 0.0
        self._good_at = 0.0  # when this link was opened, or confirmed something
        self._has_confirmed = False
        self._rest_s = 0.0  # before the next link
        self._down = ""  # the reply while no node can be reached
        self._is_closed = False
        self._is_retired = False
        self._change = Event()
        self._turn = random.randrange(len(settings.brokers))  # noqa: S311 - spreads load, guards nothing
        self._sweeper = Later(_SWEEP_S, self._sweep)
        self._connector: Any = None

    def start(self) -> None:
        """Begin to connect."""
        self._connector = gevent.spawn(self._keep_connected)

    @property
    def is_open(self) -> bool:
        """Whether there is a connection."""
        return self._link is not None

    @property
    def is_closed(self) -> bool:
        """Whether it has ended."""
        return self._is_closed

    @property
    def down(self) -> str:
        """The reply that impatient messages get, "" while there is hope."""
        return self._down

    @property
    def remote(self) -> str:
        """The node that is connected to, "" without one."""
        return self._link.broker.host if self._link is not None else ""

    @property
    def pending(self) -> int:
        """Messages without an answer."""
        return len(self._waiting) + len(self._on_the_way)

    # --- messages

    def publish(self, message: BrokerMessage, done: Done, *, is_patient: bool) -> None:
        """Publish; `done` gets the reply for it, once, on the hub: ``250 …`` when it is confirmed, else why not.

        Args:
            message: what to publish.
            done: must not block; may be called right away.
            is_patient: whether it waits for a broker that can't be reached just now, until its deadline.
        """
        now = time.monotonic()
        limit_s = self.settings.confirm_s
        pending = Pending(message, done, now + limit_s, is_patient)
        if self._is_closed:
            self._answer(pending, STOPPED)
        elif self._down and not is_patient:
            self._answer(pending, self._down)
        elif self._blocked and not is_patient and now - self._blocked_since > limit_s:
            self._answer(pending, self._blocked_reply())
        else:
            self._waiting.append(pending)
            self._sweeper.arm()
            self._pump()

    def _pump(self) -> None:
        """Publish what waits, as far as the broker takes it."""
        waiting, on_the_way = self._waiting, self._on_the_way
        while waiting and self._link is not None and not self._blocked and len(on_the_way) < _MOST_ON_THE_WAY:
            pending = waiting.popleft()
            link = self._link
            try:
                tag = link.publish(pending.message)
            except LinkError as error:
                waiting.appendleft(pending)
                link.close()
                self.lost(link, str(error), 0)
                return
            except UnfitMessage as error:
                log.error("%s: %s: %s", self.settings.hop, pending.message.message_id, error)
                self._answer(pending, f"451 4.3.5 [internal] AMQP can't carry it: {error}")
                continue
            on_the_way[tag] = pending
            self._by_id[pending.message.message_id] = pending

    def _answer(self, pending: Pending, reply: str) -> None:
        done, pending.done = pending.done, None
        if done is None:
            return
        try:
            done(reply)
        except Exception:  # one message's bug must not keep others from their answers
            log.exception("the answer for %s broke", pending.message.message_id)

    def _sweep(self) -> None:
        """Give up what has waited long enough, and look again as long as anything waits."""
        try:
            self._give_up_late(time.monotonic())
        except Exception:  # nobody else would ever answer them
            log.exception("%s: giving up what is late broke", self.settings.hop)
        if self._waiting or any(one.done is not None for one in self._on_the_way.values()):
            self._sweeper.arm()
        self._end_when_idle()

    def _give_up_late(self, now: float) -> None:
        for pending in [one for one in self._waiting if one.deadline <= now]:
            self._waiting.remove(pending)
            self._answer(pending, self._reply_of_waiting())
        late = [one for one in self._on_the_way.values() if one.deadline <= now and one.done is not None]
        for pending in late:  # their tags stay: confirms still come
            self._answer(pending, self._reply_of_unconfirmed())
        self._expired += len(late)
        self._expired_bytes += sum(len(one.message.body) for one in late)
        is_too_much = self._expired > _MOST_EXPIRED or self._expired_bytes > _MOST_EXPIRED_BYTES
        if is_too_much and self._link is not None:
            log.warning("amqp %s: %d messages without a confirm, connecting anew", self.settings.name, self._expired)
            self._link.close()
            self._let_go(self._link, "too many messages without a confirm", 0)

    def _reply_of_waiting(self) -> str:
        if self._blocked:
            return self._blocked_reply()
        return self._down or f"451 4.4.1 [internal] no broker reached within {self.settings.confirm_s:g} s"

    def _reply_of_unconfirmed(self) -> str:
        if self._blocked:
            return self._blocked_reply()
        where = f" from {self._link.broker}" if self._link is not None else ""
        return f"451 4.4.2 [internal] no confirm{where} within {self.settings.confirm_s:g} s"

    def _blocked_reply(self) -> str:
        return f"451 4.3.1 [internal] the broker takes no messages now: {self._blocked}"

    # --- what happens on the link

    def confirmed(self, tag: int, multiple: bool, is_ack: bool) -> None:
        """See `LinkUser.confirmed`."""
        on_the_way = self._on_the_way
        tags = tags_up_to(tag, on_the_way) if multiple else [tag]
        now = time.monotonic()
        if is_ack:
            self._good_at = now
            self._has_confirmed = True
            self._rest_s = 0.0
        elif not self._has_confirmed and now < self._grace_until:
            self._replace()
            return
        for one in tags:
            pending = on_the_way.pop(one, None)
            if pending is not None:
                self._settle(pending, is_ack)
        if not is_ack and now - self._good_at > _ONLY_REFUSED_S:
            self._replace()
        self._pump()
        if self._is_retired:
            self._end_when_idle()

    def _replace(self) -> None:
        """Get another link; what is on the way is published again."""
        link = self._link
        if link is not None:
            link.close()
            self._has_confirmed = False
            self._let_go(link, "the broker refuses everything on this channel", 0)

    def _settle(self, pending: Pending, is_ack: bool) -> None:
        message_id = pending.message.message_id
        if self._by_id.get(message_id) is pending:
            del self._by_id[message_id]
        if pending.done is None:
            self._expired -= 1
            self._expired_bytes -= len(pending.message.body)
        elif pending.returned:
            self._answer(pending, f"451 4.3.5 [internal] no queue takes it: {pending.returned}")
        elif is_ack:
            where = self._link.broker if self._link is not None else "the broker"
            self._answer(pending, f"250 2.0.0 confirmed by {where}")
        else:
            self._answer(pending, "451 4.3.0 [internal] the broker refused it (nack); is the queue full?")

    def returned(self, message_id: str, reason: str) -> None:
        """See `LinkUser.returned`."""
        pending = self._by_id.get(message_id)
        if pending is not None:
            pending.returned = reason

    def blocked(self, link: Link, reason: str) -> None:
        """See `LinkUser.blocked`."""
        if link is not self._link:
            return
        if reason:
            log.warning("%s: the broker takes no messages now: %s", self.settings.hop, reason)
            self._blocked_since = time.monotonic()
        elif self._blocked:
            log.info("%s: the broker takes messages again", self.settings.hop)
        self._blocked = reason
        self._pump()

    def lost(self, link: Link, text: str, code: int) -> None:
        """See `LinkUser.lost`."""
        if link is self._link:
            now = time.monotonic()
            self._grace_until, self._hope_until = now + _GRACE_S, now + _HOPE_S
            self._let_go(link, text, code)

    def _let_go(self, link: Link, text: str, code: int) -> None:
        """Publish again, by the next link, what is on the way."""
        self._link = None
        self._blocked = ""
        pending = [one for one in self._on_the_way.values() if one.done is not None]
        self._on_the_way.clear()
        self._by_id.clear()
        self._expired = self._expired_bytes = 0
        failed: list[Pending] = []
        if code == _TOO_LARGE and pending:  # the others have done nothing wrong
            failed = [max(pending, key=lambda one: len(one.message.body))]
        elif code:
            failed = pending
        for one in pending:
            one.returned = ""
        self._waiting.extendleft(one for one in reversed(pending) if one not in failed)
        if not self._has_confirmed:  # it was of no use, and the next may be of none
            self._rest_s = min(2 * self._rest_s, _LONGEST_REST_S) or _FIRST_PAUSE_S
        self._change.set()
        log.warning("%s: lost %s: %s (%d unconfirmed)", self.settings.hop, link.broker, text, len(pending))
        for one in failed:
            self._answer(one, f"451 4.3.5 [internal] the broker closed the channel: {text}")

    # --- connecting

    def _keep_connected(self) -> None:
        """The connector's green thread."""
        pause_s = 0.0
        while not self._is_closed:
            self._change.clear()
            if self._rest_s:
                gevent.sleep(self._rest_s)
            if self._link is not None or self._try():
                pause_s = 0.0
                self._change.wait()
            else:
                pause_s = min(max(2 * pause_s, _FIRST_PAUSE_S), _LONGEST_PAUSE_S)
                self._change.wait(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - spreads load

    def _try(self) -> bool:
        try:
            return not self._is_closed and self._connect()
        except Exception:  # the connector must outlive any bug below
            log.exception("%s: connecting broke", self.settings.hop)
            return False

    def _connect(self) -> bool:
        """Try each node once."""
        brokers = self.settings.brokers
        problems: list[str] = []
        refusals = 0
        for _ in brokers:
            broker = brokers[self._turn % len(brokers)]
            self._turn += 1
            try:
                link = Link(broker, self.settings, self, self._tls_context() if broker.uses_tls else None)
                link.open()
            except Exception as error:  # noqa: BLE001 - one node's trouble is no reason to leave the others out
                refusals += isinstance(error, LinkError) and error.is_refusal
                problems.append(f"{broker}: {error if isinstance(error, LinkError) else describe(error)}")
                continue
            if self._is_closed:
                link.close()
                return False
            if link.is_over:  # before we were told that it is open
                problems.append(f"{broker}: lost at once")
                continue
            self._link = link
            self._good_at = time.monotonic()
            self._has_confirmed = False
            self._down = ""
            log.info("%s: connected to %s", self.settings.hop, broker)
            self.blocked(link, link.block)
            return True
        if refusals < len(brokers) and time.monotonic() < self._hope_until:
            return False
        enhanced = "4.3.5 [internal] the broker refuses" if refusals == len(brokers) else "4.4.1 [internal] no broker"
        self._go_down(f"451 {enhanced}: {'; '.join(problems)}")
        return False

    def _tls_context(self) -> Any:
        import ssl

        return self._native.call(lambda: ssl.create_default_context(cafile=self.settings.tls_ca or None))

    def _go_down(self, reply: str) -> None:
        if reply != self._down:
            log.error("%s: %s", self.settings.hop, reply)
        self._down = reply
        impatient = [one for one in self._waiting if not one.is_patient]
        self._waiting = deque(one for one in self._waiting if one.is_patient)
        for one in impatient:
            self._answer(one, reply)

    # --- the end

    def retire(self) -> None:
        """End when all that is under way has its answer."""
        self._is_retired = True
        self._end_when_idle()

    def _end_when_idle(self) -> None:
        if self._is_retired and not self._waiting and all(one.done is None for one in self._on_the_way.values()):
            self.close()

    def close(self) -> None:
        """End now; what has no answer fails."""
        if self._is_closed:
            return
        self._is_closed = True
        link, self._link = self._link, None
        if link is not None:
            link.close()
        left = [*self._on_the_way.values(), *self._waiting]
        self._on_the_way.clear()
        self._waiting.clear()
        self._by_id.clear()
        self._sweeper.disarm()
        self._change.set()
        for one in left:
            self._answer(one, STOPPED)
