"""What the publisher does with answers that a broker gives only at the worst of times: a link here is a script.

With a real RabbitMQ: tests/broker and tests/cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import gevent
import pytest

from gsmtp.delivery.amqp import publisher as module
from gsmtp.delivery.amqp.link import LinkError, LinkUser
from gsmtp.delivery.amqp.message import RFC822, BrokerMessage
from gsmtp.delivery.amqp.publisher import STOPPED, Publisher
from gsmtp.delivery.amqp.settings import Broker, Settings
from tests.delivery.kit import Inline


class ScriptedLink:
    """A link that does nothing by itself."""

    made: list[ScriptedLink]
    refuses: str = ""

    def __init__(self, broker: Broker, settings: Settings, user: LinkUser, context: object = None) -> None:
        self.broker = broker
        self.user = user
        self.is_over = False
        self.block = ""
        self.published: list[str] = []
        self.made.append(self)

    def open(self) -> None:
        if self.refuses:
            raise LinkError(self.refuses)

    def publish(self, message: BrokerMessage) -> int:
        if self.is_over:
            raise LinkError("closed")
        self.published.append(message.message_id)
        return len(self.published)

    def close(self) -> None:
        self.is_over = True

    def ack(self, tag: int, *, multiple: bool = False) -> None:
        self.user.confirmed(tag, multiple, True)

    def nack(self, tag: int) -> None:
        self.user.confirmed(tag, False, False)

    def blocks(self, reason: str) -> None:
        self.user.blocked(self, reason)  # type: ignore[arg-type]

    def lose(self, text: str = "reset", code: int = 0) -> None:
        self.is_over = True
        self.user.lost(self, text, code)  # type: ignore[arg-type]


Make = Callable[..., Publisher]


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Makes publishers with scripted links to two brokers."""
    monkeypatch.setattr(module, "Link", ScriptedLink)
    monkeypatch.setattr(module, "_FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(module, "_SWEEP_S", 0.01)
    monkeypatch.setattr(module, "_HOPE_S", 0.0)
    monkeypatch.setattr(ScriptedLink, "made", [], raising=False)
    made: list[Publisher] = []

    def start(confirm_s: float = 30.0) -> Publisher:
        brokers = (Broker("a.example", 5672), Broker("b.example", 5672))
        publisher = Publisher(Settings("mail", brokers, "x", confirm_s=confirm_s), Inline())
        publisher.start()
        made.append(publisher)
        return publisher

    yield start
    for publisher in made:
        publisher.close()


def message(name: str, size: int = 1) -> BrokerMessage:
    return BrokerMessage(name, {}, RFC822, b"x" * size, 1_735_689_600.0)


def send(publisher: Publisher, *names: str, is_patient: bool = False) -> dict[str, str]:
    """Publish messages; their replies by name, as they come. A name such as ``"big:100"`` says how large it is."""
    replies: dict[str, str] = {}
    for name in names:
        size = int(name.partition(":")[2] or 1)
        publisher.publish(message(name, size), partial(replies.__setitem__, name), is_patient=is_patient)
    return replies


def wait(question: Callable[[], object]) -> None:
    with gevent.Timeout(10, AssertionError("not within 10 s")):
        while not question():
            gevent.sleep(0.001)


def link(number: int) -> ScriptedLink:
    """The n-th link, as soon as it is in use."""
    wait(lambda: len(ScriptedLink.made) > number)
    gevent.sleep(0)
    return ScriptedLink.made[number]


def test_an_ack_of_many_answers_all_before_it_and_none_behind(make: Make) -> None:
    publisher = make()
    first = link(0)
    replies = send(publisher, "1", "2", "3", "4")
    first.ack(3, multiple=True)
    assert sorted(replies) == ["1", "2", "3"]
    first.ack(4)
    assert len(replies) == 4
    assert all(reply.startswith("250 2.0.0 confirmed by ") for reply in replies.values())


def test_what_comes_before_there_is_a_connection_is_published_then(make: Make) -> None:
    publisher = make()
    replies = send(publisher, "1")
    wait(lambda: link(0).published)
    link(0).ack(1)
    assert replies["1"].startswith("250 ")


def test_a_refusal_is_an_answer(make: Make) -> None:
    publisher = make()
    first = link(0)
    replies = send(publisher, "1", "2")
    first.nack(1)
    assert replies == {"1": "451 4.3.0 [internal] the broker refused it (nack); is the queue full?"}
    assert not first.is_over


def test_a_link_that_refuses_first_thing_after_a_loss_is_replaced(make: Make) -> None:
    publisher = make()
    link(0)
    replies = send(publisher, "1", "2")
    link(0).lose()
    second = link(1)
    assert second.broker != link(0).broker
    wait(lambda: second.published == ["1", "2"])
    second.nack(1)
    assert second.is_over
    third = link(2)
    wait(lambda: third.published == ["1", "2"])
    assert replies == {}
    third.ack(2, multiple=True)
    assert len(replies) == 2
    third_more = send(publisher, "3")
    third.nack(3)
    assert third_more["3"].startswith("451 4.3.0 ")
    assert not third.is_over


def test_a_link_that_only_refuses_for_long_is_replaced(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ONLY_REFUSED_S", 0.0)
    publisher = make()
    first = link(0)
    replies = send(publisher, "1")
    first.nack(1)
    assert replies["1"].startswith("451 4.3.0 ")
    assert first.is_over
    link(1)


def test_an_answer_that_comes_too_late_is_dropped(make: Make) -> None:
    publisher = make(confirm_s=0.02)
    first = link(0)
    replies = send(publisher, "1")
    wait(lambda: replies)
    assert replies["1"].startswith("451 4.4.2 [internal] no confirm from ")
    first.ack(1)
    assert len(replies) == 1
    assert publisher.pending == 0


def test_blocked_by_the_broker_messages_wait_for_their_deadline(make: Make) -> None:
    publisher = make(confirm_s=0.02)
    first = link(0)
    first.blocks("low on disk")
    replies = send(publisher, "1")
    wait(lambda: replies)
    assert replies["1"] == "451 4.3.1 [internal] the broker takes no messages now: low on disk"
    wait(lambda: send(publisher, "2").get("2"))  # for long: no waiting any more
    assert first.published == []
    first.blocks("")
    send(publisher, "3")
    assert first.published == ["3"]


def test_a_channel_closed_over_a_message_that_is_too_large_fails_that_one_alone(make: Make) -> None:
    publisher = make()
    first = link(0)
    replies = send(publisher, "1", "large:1000", "3")
    first.lose("406 PRECONDITION_FAILED - message size 1000 larger than configured max size 500", 406)
    assert list(replies) == ["large:1000"]
    assert replies["large:1000"].startswith("451 4.3.5 [internal] the broker closed the channel: 406 ")
    wait(lambda: link(1).published == ["1", "3"])


def test_a_channel_closed_over_the_exchange_fails_all_that_was_on_the_way(make: Make) -> None:
    publisher = make()
    first = link(0)
    replies = send(publisher, "1", "2")
    first.lose("404 NOT_FOUND - no exchange 'x' in vhost '/'", 404)
    assert set(replies.values()) == {
        "451 4.3.5 [internal] the broker closed the channel: 404 NOT_FOUND - no exchange 'x' in vhost '/'"
    }


def test_without_any_node_the_impatient_hear_at_once_and_the_patient_wait(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ScriptedLink, "refuses", "Connection refused")
    publisher = make()
    early = send(publisher, "1")
    patient = send(publisher, "2", is_patient=True)
    wait(lambda: early)
    assert early["1"].startswith("451 4.4.1 [internal] no broker: ")
    assert early["1"].count("Connection refused") == 2
    assert send(publisher, "3")["3"] == early["1"]
    assert patient == {}
    monkeypatch.setattr(ScriptedLink, "refuses", "")
    wait(lambda: publisher.is_open)
    assert ScriptedLink.made[-1].published == ["2"]


def test_nobody_hears_of_a_node_that_is_away_for_a_moment(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_HOPE_S", 30.0)
    publisher = make()
    link(0)
    replies = send(publisher, "1")
    monkeypatch.setattr(ScriptedLink, "refuses", "Connection refused")
    link(0).lose()
    wait(lambda: len(ScriptedLink.made) > 5)
    assert replies == {}
    monkeypatch.setattr(ScriptedLink, "refuses", "")
    wait(lambda: publisher.is_open)
    assert ScriptedLink.made[-1].published == ["1"]


def test_the_end_answers_all(make: Make) -> None:
    publisher = make()
    link(0)
    replies = send(publisher, "1")
    publisher.close()
    assert replies == {"1": STOPPED}
    assert send(publisher, "2") == {"2": STOPPED}


def test_a_retired_publisher_ends_with_its_last_answer(make: Make) -> None:
    publisher = make()
    first = link(0)
    replies = send(publisher, "1")
    publisher.retire()
    assert not first.is_over
    first.ack(1)
    assert replies["1"].startswith("250 ")
    assert first.is_over


def test_one_answer_that_breaks_keeps_no_other_from_its_own(make: Make) -> None:
    publisher = make()
    first = link(0)

    def broken(reply: str) -> None:
        raise RuntimeError("boom")

    publisher.publish(message("1"), broken, is_patient=False)
    replies = send(publisher, "2")
    first.ack(2, multiple=True)
    assert replies["2"].startswith("250 ")


def test_a_publisher_that_ends_while_it_rests_looks_for_no_more_brokers(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_FIRST_PAUSE_S", 0.02)
    publisher = make()
    link(0).lose()
    gevent.sleep(0)
    publisher.close()
    wait(lambda: publisher._connector.dead)
    assert len(ScriptedLink.made) == 1
