"""Which messages are handed on in the spool's place."""

from __future__ import annotations

import sys
from typing import Any

import gevent
import pytest

from gsmtp.config.scopes import Configuration
from gsmtp.config.tree import Scope
from gsmtp.core.clock import SystemClock
from gsmtp.core.envelope import Envelope
from gsmtp.core.errors import ConfigError, DeliveryError, GsmtpError, SpoolError, SpoolFull
from gsmtp.core.records import Attempt
from gsmtp.delivery.handover import Handover
from gsmtp.delivery.router import Router
from gsmtp.delivery.transport import Job, Outcome, Transport
from gsmtp.delivery.transports.amqp import AmqpTransport
from gsmtp.spool.base import Settled, StoredBody
from gsmtp.spool.memory import MemorySpool
from tests.delivery import kit
from tests.delivery.test_queue import House, wait


class Answering:
    """A transport that gives the answers of a test, by stanza."""

    def __init__(self, **answers: str) -> None:
        self.answers = answers
        self.jobs: list[tuple[str, list[str]]] = []

    def hand_over(self, job: Job, done: Any) -> None:
        name = job.view.chain[0].spelled or ""
        self.jobs.append((name, [recipient.address for recipient in job.recipients]))
        reply = self.answers.get(name, "250 2.0.0 confirmed")
        done([Outcome(int(reply[:3]), reply, f"amqp {name}")] * len(job.recipients))

    def close(self) -> None:
        """Nothing to let go of."""


class Told:
    """Keeps what is told of deliveries."""

    def __init__(self) -> None:
        self.attempts: list[Attempt] = []
        self.problems: list[str] = []
        self.counted: list[str] = []

    def delivery(self, attempt: Attempt) -> None:
        self.attempts.append(attempt)

    def problem(self, text: str, error: BaseException | None = None) -> None:
        self.problems.append(text)


class Text:
    """A body that is in memory, or that could not be kept."""

    size_bytes = 5

    def __init__(self, error: SpoolError | None = None) -> None:
        self.error = error
        self.aborted = 0

    def settle(self, done: Settled) -> None:
        done(None if self.error else StoredBody(5, b"hello", ""), self.error)

    def abort(self) -> None:
        self.aborted += 1


def configuration() -> Configuration:
    """Stanzas for a.example and b.example in confirm mode, s.example in spool mode; h.example is suspended."""
    found = kit.configuration(domains={"h.example": {"Suspend_Delivery": True}, "g.example": {"Gateway": "10.0.0.1"}})
    root = found.tree.root
    for name, domains, mode in (
        ("one", ("a.example", "h.example"), "confirm"),
        ("two", ("b.example",), "confirm"),
        ("three", ("s.example",), "spool"),
    ):
        settings: dict[str, object] = {"Domain": domains, "URL": "amqp://h", "Routing_Key": "q", "Mode": mode}
        root.children["amqp", name] = kit._fill(Scope("amqp", name, name, root), settings)
    return Configuration(found.tree)


def handover(transport: Answering, told: Told) -> Handover:
    def find(name: str) -> Transport:
        assert name == "amqp"
        return transport  # type: ignore[return-value]

    return Handover(Router(configuration()), find, SystemClock(), told, told.counted.append)


def commit(message: Envelope, body: Text, transport: Answering, told: Told) -> list[GsmtpError | None]:
    """What the client's session is told."""
    answers: list[GsmtpError | None] = []
    handover(transport, told).commit(message, body, answers.append)  # type: ignore[arg-type]
    assert answers == []  # never before commit has returned
    gevent.sleep(0)
    gevent.sleep(0)
    return answers


@pytest.mark.parametrize(
    ("addresses", "takes"),
    [
        (("u@a.example",), True),
        (("u@a.example", "v@b.example"), True),
        (("u@a.example", "v@s.example"), False),
        (("u@a.example", "v@g.example"), False),
        (("u@h.example",), False),
        (("u@elsewhere.example",), False),
    ],
)
def test_all_recipients_have_to_go_to_who_answers(addresses: tuple[str, ...], takes: bool) -> None:
    assert handover(Answering(), Told()).takes(kit.envelope(*addresses)) is takes


@pytest.mark.parametrize("attribute", ["failure", "drop"])
def test_a_recipient_whom_policy_refused_makes_the_message_a_mixed_one(attribute: str) -> None:
    message = kit.envelope("u@a.example", "v@a.example")
    setattr(message.recipients[1], attribute, "550 5.7.1 no" if attribute == "failure" else True)
    assert not handover(Answering(), Told()).takes(message)


def test_without_pika_the_load_fails_and_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pika", None)
    [view, *_] = configuration().stanzas("amqp")
    with pytest.raises(ConfigError, match=r'amqp "one" needs pika: pip install gsmtp\[amqp\]$'):
        AmqpTransport.examine(view, kit.Inline())


def test_each_stanza_gets_its_recipients_and_the_client_one_answer() -> None:
    transport, told, body = Answering(), Told(), Text()
    message = kit.envelope("u@a.example", "v@b.example", "w@a.example")
    assert commit(message, body, transport, told) == [None]
    assert transport.jobs == [("one", ["u@a.example", "w@a.example"]), ("two", ["v@b.example"])]
    assert [(one.kind, one.recipient, one.hop) for one in told.attempts] == [
        ("delivered", "u@a.example", "amqp one"),
        ("delivered", "w@a.example", "amqp one"),
        ("delivered", "v@b.example", "amqp two"),
    ]
    assert told.counted == ["a.example", "a.example", "b.example"]
    assert body.aborted == 1


@pytest.mark.parametrize(
    ("answers", "says", "temporary"),
    [
        ({"two": "451 4.4.1 [internal] no broker"}, "451 4.4.1 [internal] no broker", True),
        ({"one": "552 5.3.4 too large", "two": "451 4.4.1 no broker"}, "451 4.4.1 no broker", True),
        ({"one": "552 5.3.4 too large"}, "552 5.3.4 too large", False),
    ],
)
def test_one_failure_fails_all_and_a_temporary_one_comes_first(
    answers: dict[str, str], says: str, temporary: bool
) -> None:
    told, body = Told(), Text()
    [error] = commit(kit.envelope("u@a.example", "v@b.example"), body, Answering(**answers), told)
    assert isinstance(error, DeliveryError)
    assert (str(error), error.temporary) == (says, temporary)
    assert (told.attempts, told.counted) == ([], [])
    assert body.aborted == 1


def test_a_body_that_could_not_be_kept_is_the_spools_error() -> None:
    transport, body = Answering(), Text(SpoolFull("no room"))
    [error] = commit(kit.envelope("u@a.example"), body, transport, Told())
    assert isinstance(error, SpoolFull)
    assert transport.jobs == []
    assert body.aborted == 1


def test_a_transport_that_breaks_costs_a_451_and_a_line_in_the_log() -> None:
    class Broken(Answering):
        def hand_over(self, job: Job, done: Any) -> None:
            raise RuntimeError("boom")

    told = Told()
    [error] = commit(kit.envelope("u@a.example"), Text(), Broken(), told)
    assert str(error) == "451 4.3.0 [internal] RuntimeError in the transport, see the log"
    assert told.problems == ["handing over 00/01-00042-00000001 broke"]


def test_the_queue_counts_what_was_handed_over() -> None:
    home = House(MemorySpool(), configuration())
    transports = home.delivery._worker._transports
    transports["amqp"].close()  # it looks for its brokers already, and would as long as the process lives
    transports["amqp"] = Answering()  # type: ignore[assignment]
    handed_over = home.delivery.handover
    assert handed_over is not None
    answers: list[GsmtpError | None] = []
    handed_over.commit(kit.envelope("u@a.example", "v@b.example"), home.spool.open(), answers.append)
    wait(lambda: answers and home.delivery.stats().delivered == 2, "the hand-over, counted")
    counts = home.delivery.domain_counts
    assert (counts.of("a.example"), counts.of("b.example")) == ((1, 0), (1, 0))
    home.delivery.stop()
    home.pool.close()
