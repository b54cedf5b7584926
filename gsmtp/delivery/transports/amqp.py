"""Publishes to RabbitMQ: after the commit to the spool, or in its place (docs/transports.md, "RabbitMQ").

In ``mode = "spool"`` this is a transport like any other. In ``mode = "confirm"`` messages come here while their clients
wait (`hand_over`); what came by the spool all the same, since it has other recipients too, is delivered as in the
other mode. A publication that is repeated has the ``message_id`` of the first, by which consumers know it: no mark is
needed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from gsmtp.config.view import View
from gsmtp.core.errors import ConfigError, DeliveryError, SpoolError
from gsmtp.core.stages import Stage
from gsmtp.delivery.amqp.message import CLAIM, RFC822, BrokerMessage, Part, parts
from gsmtp.delivery.amqp.options import (
    CLAIM_CHECK_PATH,
    CLAIM_CHECK_SIZE,
    CONCURRENCY,
    CONFIRM_TIMEOUT,
    CONNECT_TIMEOUT,
    DOMAIN,
    ENABLED,
    EXCHANGE,
    HEARTBEAT,
    MODE,
    ROUTING_KEY,
    TLS_CA,
    URL,
)
from gsmtp.delivery.amqp.settings import BROKER_LIMIT_BYTES, Settings, parse_url
from gsmtp.delivery.stanza_threads import StanzaThreads
from gsmtp.delivery.transport import Job, Native, Outcome, Tools, Transport, transport

if TYPE_CHECKING:
    from gsmtp.delivery.amqp.budget import Budget
    from gsmtp.delivery.amqp.publisher import Publisher

THREADS = 4
"""Of a stanza: they read large bodies and write to Claim_Check_Path, which may be a network file system that hangs."""
LARGE_BYTES = 64 << 20
"""Of messages that were read from files, in memory at a time."""
REQUIRETLS_NEEDED = "550 5.7.30 [internal] REQUIRETLS support required, and the broker is reached in clear text"
TOO_LARGE = "552 5.3.4 [internal] larger than the broker takes, and there is no Claim_Check_Path"
Finished = Callable[[list[Outcome]], object]


@transport("amqp")
class AmqpTransport(Transport):
    """Publishes for all amqp stanzas.

    Args:
        tools: of the process.
    """

    stanza = "amqp"
    keeps_refused = True

    def __init__(self, tools: Tools) -> None:
        super().__init__(tools)
        self._publishers: dict[str, Publisher] = {}
        self._retired: list[Publisher] = []
        self._settings: dict[View, Settings] = {}
        self._budget: Budget | None = None
        self._threads = StanzaThreads(lambda _name: THREADS)

    @classmethod
    def takes(cls, view: View, domain: str) -> bool:
        """Domain says."""
        return bool(view[ENABLED] and view[DOMAIN].matches(domain))

    @classmethod
    def most_at_once(cls, view: View) -> int:
        """Concurrency says."""
        return view[CONCURRENCY]

    @classmethod
    def hands_over(cls, view: View) -> bool:
        """Mode says."""
        return view[MODE] == "confirm"

    @classmethod
    def examine(cls, view: View, native: Native) -> None:
        """Look for pika."""
        try:
            import pika  # noqa: F401
        except ImportError as error:
            raise ConfigError(f"{view.chain[0].span}: {view.chain[0]} needs pika: pip install gsmtp[amqp]") from error

    def configure(self, views: Sequence[View]) -> None:
        """Keep what hasn't changed, connect what is new, let go of the rest."""
        self._settings = {view: settings_of(view) for view in views if view[ENABLED]}
        self._retired = [publisher for publisher in self._retired if not publisher.is_closed]
        wanted = {settings.name: settings for settings in self._settings.values()}
        for name, publisher in list(self._publishers.items()):
            if wanted.get(name) != publisher.settings:
                self._retired.append(self._publishers.pop(name))
                self._retired[-1].retire()
        for name, settings in wanted.items():
            if name not in self._publishers:
                self._publishers[name] = self._start(settings)

    def _start(self, settings: Settings) -> Publisher:
        from gsmtp.delivery.amqp.publisher import Publisher

        publisher = Publisher(settings, self.tools.native)
        publisher.start()
        return publisher

    def close(self) -> None:
        """End all connections."""
        for publisher in [*self._publishers.values(), *self._retired]:
            publisher.close()
        self._publishers.clear()
        self._retired.clear()
        self._threads.close()

    def _publisher(self, view: View) -> Publisher:
        publisher = self._publishers.get(view.chain[0].spelled or "")
        if publisher is None:
            raise DeliveryError(f"451 4.3.2 [internal] {view.chain[0]} is there no more")
        return publisher

    # --- messages of the spool

    def deliver(self, job: Job) -> list[Outcome]:
        """See `Transport.deliver`; waits for a broker that can't be reached, as long as Confirm_Timeout says."""
        publisher = self._publisher(job.view)
        if job.envelope.requires_tls and not publisher.settings.is_private:
            raise DeliveryError(REQUIRETLS_NEEDED, temporary=False)
        return self._deliver(publisher, job, is_patient=True)

    def _deliver(self, publisher: Publisher, job: Job, *, is_patient: bool) -> list[Outcome]:
        from gevent.event import AsyncResult

        size = job.body.size_bytes
        is_read = job.body.data is None and size <= _limit(publisher.settings)
        if is_read and not self._large().take(size, publisher.settings.confirm_s):
            raise DeliveryError("451 4.3.2 [internal] too many large messages are on their way")
        try:
            finished: AsyncResult[list[Outcome]] = AsyncResult()
            found = parts(job.envelope, job.recipients)
            messages = self._messages(publisher.settings, job, found)
            _Answers(publisher, job, finished.set).publish(found, messages, is_patient=is_patient)
            outcomes: list[Outcome] | None = finished.get()
            assert outcomes is not None
            return outcomes
        finally:
            if is_read:
                self._large().give(size)

    def _messages(self, settings: Settings, job: Job, found: Sequence[Part]) -> list[BrokerMessage]:
        """The broker messages of a job's parts. Raises DeliveryError."""
        from gsmtp.runtime.calls import DeadlinePassed

        if job.body.data is not None and job.body.size_bytes <= _limit(settings):
            return [_message(job, part, job.body.data, RFC822) for part in found]
        try:
            return self._threads.calls.in_thread(settings.name, settings.confirm_s, _with_bodies, settings, job, found)
        except DeadlinePassed as late:
            text = f"451 4.3.0 [internal] no answer from the file system within {settings.confirm_s:g} s"
            raise DeliveryError(text) from late

    def _large(self) -> Budget:
        from gsmtp.delivery.amqp.budget import Budget

        if self._budget is None:
            self._budget = Budget(LARGE_BYTES)
        return self._budget

    # --- messages whose clients wait

    def hand_over(self, job: Job, done: Finished) -> None:
        """See `Transport.hand_over`; fails at once while no node of the broker can be reached."""
        import gevent

        try:
            publisher = self._publisher(job.view)
        except DeliveryError as error:
            done(_all(job, str(error), job.view.chain[0].spelled or ""))
            return
        settings = publisher.settings
        if job.envelope.requires_tls and not settings.is_private:
            done(_all(job, REQUIRETLS_NEEDED, settings.hop))
        elif publisher.down:
            done(_all(job, publisher.down, settings.hop))
        elif job.body.data is not None and job.body.size_bytes <= _limit(settings):
            found = parts(job.envelope, job.recipients)
            _Answers(publisher, job, done).publish(found, self._messages(settings, job, found), is_patient=False)
        else:
            gevent.spawn(self._hand_over_large, publisher, job, done)

    def _hand_over_large(self, publisher: Publisher, job: Job, done: Finished) -> None:
        outcomes = _all(job, "451 4.3.0 [internal] the transport broke", publisher.settings.hop)
        try:
            outcomes = self._deliver(publisher, job, is_patient=False)
        except DeliveryError as error:
            outcomes = _all(job, str(error), publisher.settings.hop)
        finally:
            done(outcomes)


class _Answers:
    """Gathers the answers for the parts of a job.

    Args:
        publisher: who gives them.
        job: one recipient, one outcome.
        done: gets all outcomes, once.
    """

    def __init__(self, publisher: Publisher, job: Job, done: Finished) -> None:
        self._publisher = publisher
        self._job = job
        self._done = done
        self._outcomes: dict[int, Outcome] = {}

    def publish(self, found: Sequence[Part], messages: Sequence[BrokerMessage], *, is_patient: bool) -> None:
        """Publish a message for each part."""
        for part, message in zip(found, messages, strict=True):
            self._publisher.publish(message, partial(self._got, part), is_patient=is_patient)

    def _got(self, part: Part, reply: str) -> None:
        publisher = self._publisher
        outcome = outcome_of(reply, publisher.settings.hop, publisher.remote, self._job.body.size_bytes)
        for index in part.recipients:
            self._outcomes[index] = outcome
        if len(self._outcomes) == len(self._job.recipients):
            self._done([self._outcomes[index] for index in range(len(self._outcomes))])


def settings_of(view: View) -> Settings:
    """What a stanza says."""
    return Settings(
        name=view.chain[0].spelled or "",
        brokers=tuple(parse_url(text) for text in view[URL]),
        exchange=view[EXCHANGE],
        routing_key=view[ROUTING_KEY],
        confirm_s=view[CONFIRM_TIMEOUT],
        connect_s=view[CONNECT_TIMEOUT],
        heartbeat_s=view[HEARTBEAT],
        claim_path=view[CLAIM_CHECK_PATH],
        claim_bytes=view[CLAIM_CHECK_SIZE],
        tls_ca=view[TLS_CA],
    )


def outcome_of(reply: str, hop: str, remote: str = "", size_bytes: int = 0) -> Outcome:
    """A publisher's answer as an Outcome."""
    code = int(reply[:3])
    if code < 300:
        return Outcome(code, reply, hop, Stage.IDLE, remote, size_bytes)
    stage = Stage.NOT_CONNECTED if reply[4:9] == "4.4.1" else Stage.READING_CONFIRMATION
    return Outcome(code, reply, hop, stage, remote)


def _all(job: Job, reply: str, hop: str) -> list[Outcome]:
    return [outcome_of(reply, hop)] * len(job.recipients)


def _limit(settings: Settings) -> int:
    """The largest message that is published whole."""
    return settings.claim_bytes if settings.claim_path else BROKER_LIMIT_BYTES


def _message(job: Job, part: Part, body: bytes, content_type: str) -> BrokerMessage:
    return BrokerMessage(part.message_id, part.headers, content_type, body, job.envelope.received_wall)


def _with_bodies(settings: Settings, job: Job, found: Sequence[Part]) -> list[BrokerMessage]:
    """The broker messages of a job's parts. Runs in a native thread. Raises DeliveryError."""
    from gsmtp.delivery.amqp import claim

    try:
        if job.body.size_bytes <= _limit(settings):
            body = claim.read(job.body)
            return [_message(job, part, body, RFC822) for part in found]
        if not settings.claim_path:
            raise DeliveryError(TOO_LARGE, temporary=False)
        return [
            _message(job, part, claim.store(settings.claim_path, part.message_id, job.body), CLAIM) for part in found
        ]
    except SpoolError as error:
        raise DeliveryError(f"451 4.3.0 [internal] the message can't be read: {error}") from error
    except OSError as error:
        raise DeliveryError(f"451 4.3.0 [internal] the message can't be stored in Claim_Check_Path: {error}") from error
