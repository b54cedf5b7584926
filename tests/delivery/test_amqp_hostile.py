"""What a broker can do to the publisher over a real connection: no 250 is ever given for what isn't confirmed."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import gevent
import pytest
from pika import spec

from gsmtp.delivery.amqp import claim, link, publisher
from gsmtp.delivery.amqp.message import RFC822, BrokerMessage
from gsmtp.delivery.amqp.publisher import Publisher
from gsmtp.delivery.amqp.settings import Broker, Settings
from gsmtp.delivery.transport import Job
from gsmtp.delivery.transports.amqp import THREADS, AmqpTransport
from tests.delivery.kit import Inline, configuration, envelope, stored, tools
from tests.delivery.kit import Settings as Stanza
from tests.support.stub_broker import Session, StubBroker

Make = Callable[..., Publisher]


@pytest.fixture
def broker() -> Iterator[StubBroker]:
    made = StubBroker()
    yield made
    made.close()


@pytest.fixture
def make(broker: StubBroker, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Makes publishers to the broker."""
    monkeypatch.setattr(publisher, "_FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(publisher, "_SWEEP_S", 0.01)
    monkeypatch.setattr(publisher, "_HOPE_S", 0.0)
    monkeypatch.setattr(link, "_CLOSE_S", 0.05)
    made: list[Publisher] = []

    def start(**settings: float) -> Publisher:
        one = Publisher(Settings("mail", (Broker("127.0.0.1", broker.port),), "x", **settings), Inline())  # type: ignore[arg-type]
        one.start()
        made.append(one)
        return one

    yield start
    for one in made:
        one.close()


def message(name: str, body: bytes = b"x", **headers: object) -> BrokerMessage:
    return BrokerMessage(name, headers, RFC822, body, 1_735_689_600.0)


def send(to: Publisher, *names: str, body: bytes = b"x") -> dict[str, str]:
    replies: dict[str, str] = {}
    for name in names:
        to.publish(message(name, body), partial(replies.__setitem__, name), is_patient=True)
    return replies


def wait(question: Callable[[], object]) -> None:
    with gevent.Timeout(10, AssertionError("not within 10 s")):
        while not question():
            gevent.sleep(0.001)


def published(broker: StubBroker, number: int, *names: str) -> Session:
    """The n-th connection, as soon as these messages have come over it."""
    wait(lambda: len(broker.sessions) > number and broker.sessions[number].published == list(names))
    return broker.sessions[number]


def settled(session: Session, to: Publisher) -> None:
    """Have the client read all that was sent to it so far."""
    seen: list[str] = []
    to.publish(message("last"), seen.append, is_patient=True)
    wait(lambda: session.published[-1:] == ["last"])
    session.ack(len(session.published))
    wait(lambda: seen)


def test_confirms_of_many_come_out_of_order(broker: StubBroker, make: Make) -> None:
    replies = send(make(), "1", "2", "3", "4", "5")
    one = published(broker, 0, "1", "2", "3", "4", "5")
    one.ack(4)
    one.nack(2, multiple=True)
    one.ack(9)
    one.ack(1)
    one.ack(0, multiple=True)
    wait(lambda: len(replies) == 5)
    codes = {name: reply[:9] for name, reply in replies.items()}
    assert codes == {"1": "451 4.3.0", "2": "451 4.3.0", "3": "250 2.0.0", "4": "250 2.0.0", "5": "250 2.0.0"}


def test_what_a_link_that_was_given_up_still_says_counts_for_nothing(broker: StubBroker, make: Make) -> None:
    del broker.answers["Channel.Close"]  # so it stays open
    mail = make()
    replies = send(mail, "1")
    old = published(broker, 0, "1")
    mail._replace()
    new = published(broker, 1, "1")
    old.ack(1)
    old.send(0, spec.Connection.Blocked("memory"))
    wait(lambda: old.is_over)  # broken off, after all of this was read
    assert replies == {}
    settled(new, mail)
    new.nack(1)
    wait(lambda: replies)
    assert replies["1"].startswith("451 4.3.0 ")


def test_a_connection_that_never_gets_ready_is_broken_off_however_alive_the_broker_is(
    broker: StubBroker, make: Make
) -> None:
    opened = broker.answers.pop("Channel.Open")

    def blocked(one: Session) -> None:
        one.send(0, spec.Connection.OpenOk())
        one.send(0, spec.Connection.Blocked("memory"))

    broker.answers["Connection.Open"] = blocked
    mail = make(connect_s=0.1)
    replies = send(mail, "1")
    wait(lambda: mail.down)
    assert mail.down == f"451 4.4.1 [internal] no broker: 127.0.0.1:{broker.port}: no answer within 0.1 s"
    broker.answers["Channel.Open"] = opened
    broker.answers["Connection.Open"] = lambda one: one.send(0, spec.Connection.OpenOk())
    wait(lambda: broker.sessions[-1].published)
    wait(lambda: all(one.is_over for one in broker.sessions[:-1]))
    broker.sessions[-1].ack(1)
    wait(lambda: replies)
    assert replies["1"].startswith("250 ")


def test_a_broker_that_takes_nothing_from_the_start_is_waited_for(broker: StubBroker, make: Make) -> None:
    def declared(one: Session) -> None:
        one.send(1, spec.Exchange.DeclareOk())
        one.send(0, spec.Connection.Blocked("low on disk"))

    broker.answers["Exchange.Declare"] = declared
    mail = make(confirm_s=0.05)
    wait(lambda: mail.is_open and mail._blocked)
    replies = send(mail, "1")
    wait(lambda: replies)
    assert replies["1"] == "451 4.3.1 [internal] the broker takes no messages now: low on disk"
    broker.sessions[0].send(0, spec.Connection.Unblocked())
    wait(lambda: not mail._blocked)
    more = send(mail, "2")
    published(broker, 0, "2").ack(1)
    wait(lambda: more)
    assert more["2"].startswith("250 ")


@pytest.mark.parametrize("at", ["header", "Connection.StartOk", "Connection.Open"])
def test_a_broker_that_says_nothing_is_told_as_such(broker: StubBroker, make: Make, at: str) -> None:
    broker.silent_from = at
    mail = make(connect_s=0.1)
    wait(lambda: mail.down)
    assert mail.down.endswith(f"127.0.0.1:{broker.port}: connected, but no answer in time")
    wait(lambda: broker.sessions[0].is_over)


def test_a_broker_that_says_nothing_about_tls_is_told_as_such() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:  # the system accepts
        port = listener.getsockname()[1]
        one = Publisher(Settings("mail", (Broker("127.0.0.1", port, uses_tls=True),), "x", connect_s=0.1), Inline())
        one.start()
        wait(lambda: one.down)
        one.close()
    assert one.down == f"451 4.4.1 [internal] no broker: 127.0.0.1:{port}: connected, but no answer in time"


def test_a_message_that_amqp_cannot_carry_costs_no_other_anything(broker: StubBroker, make: Make) -> None:
    mail = make()
    replies: dict[str, str] = {}
    for name, header in (("1", object()), ("2", "\udcff"), ("3", 2**70)):
        mail.publish(message(name, header=header), partial(replies.__setitem__, name), is_patient=True)
    good = send(mail, "4")
    published(broker, 0, "4").ack(1)
    wait(lambda: good)
    assert good["4"].startswith("250 ")
    assert [replies[name][:49] for name in "123"] == [
        "451 4.3.5 [internal] AMQP can't carry it: Unsuppo",
        "451 4.3.5 [internal] AMQP can't carry it: Unicode",
        "451 4.3.5 [internal] AMQP can't carry it: error: ",
    ]
    replies["2"].encode()  # as the queue keeps it
    assert len(broker.sessions) == 1


def test_a_broker_that_hangs_up_over_each_message_is_not_connected_to_without_pause(
    broker: StubBroker, make: Make
) -> None:
    broker.answers["Basic.Publish"] = Session.close
    replies = send(make(confirm_s=0.5), "1")
    wait(lambda: replies)
    assert replies["1"].startswith("451 4.4.")
    assert len(broker.sessions) < 10


def test_an_unroutable_message_is_told_as_such_whatever_its_confirm_says(broker: StubBroker, make: Make) -> None:
    replies = send(make(), "1", "2")
    one = published(broker, 0, "1", "2")
    one.give_back("1")
    one.ack(2, multiple=True)
    wait(lambda: len(replies) == 2)
    assert replies["1"] == "451 4.3.5 [internal] no queue takes it: 312 NO_ROUTE"
    assert replies["2"].startswith("250 ")


@pytest.mark.parametrize(("code", "text"), [(404, "NOT_FOUND - no exchange"), (403, "ACCESS_REFUSED - access refused")])
def test_a_channel_that_is_closed_over_messages_is_opened_again(
    broker: StubBroker, make: Make, code: int, text: str
) -> None:
    mail = make()
    replies = send(mail, "1")
    published(broker, 0, "1").send(1, spec.Channel.Close(code, text, 60, 40))
    wait(lambda: replies)
    assert replies["1"] == f"451 4.3.5 [internal] the broker closed the channel: {code} {text}"
    more = send(mail, "2")
    published(broker, 1, "2").ack(1)
    wait(lambda: more)
    assert more["2"].startswith("250 ")


def test_bytes_that_are_no_amqp_end_the_connection_and_no_message(broker: StubBroker, make: Make) -> None:
    replies = send(make(), "1")
    published(broker, 0, "1").send_bytes(b"\x01\x00\x01\x00\x00\x00\x04\xff\xff\xff\xff\xce")
    published(broker, 1, "1").ack(1)
    wait(lambda: replies)
    assert replies["1"].startswith("250 ")


def test_a_broker_that_stops_reading_costs_bounded_memory(
    broker: StubBroker, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher, "_MOST_EXPIRED_BYTES", 3 << 20)
    broker.stops_reading, broker.silent_from = True, "Basic.Publish"
    mail = make(confirm_s=0.1)
    first = send(mail, "1", "2", body=b"x" * (1 << 20))
    wait(lambda: len(first) == 2)
    assert {reply[:9] for reply in first.values()} == {"451 4.4.2"}
    assert len(broker.sessions) == 1
    second = send(mail, "3", "4", body=b"x" * (1 << 20))
    wait(lambda: len(second) == 2 and len(broker.sessions) == 2)
    assert mail.pending == 0
    broker.silent_from = ""
    third = send(mail, "5")
    published(broker, 1, "5").ack(1)
    wait(lambda: third)
    assert third["5"].startswith("250 ")


def test_a_broker_without_confirms_gets_no_mail(broker: StubBroker, make: Make) -> None:
    broker.answers["header"] = lambda one: one.send(0, spec.Connection.Start(0, 9, {}, "PLAIN", "en_US"))
    mail = make()
    wait(lambda: mail.down)
    assert "Confirm.Select not Supported by Server" in mail.down


def test_a_shared_directory_that_hangs_holds_up_what_is_claimed_there_alone(
    broker: StubBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_over = threading.Event()
    monkeypatch.setattr(claim, "sync_directory", lambda _path: is_over.wait(30))
    settings: Stanza = {
        "Domain": ("a.example",),
        "URL": (f"amqp://127.0.0.1:{broker.port}",),
        "Exchange": "x",
        "Claim_Check_Path": str(tmp_path),
        "Claim_Check_Size": 100,
        "Confirm_Timeout": 1,
    }
    [view] = configuration(stanzas={"amqp": {"mail": settings}}).stanzas("amqp")
    transport = AmqpTransport(tools())
    transport.configure([view])
    mail = envelope("u@a.example")
    try:
        large = Job(mail, stored(b"x" * 101), mail.recipients, view)
        late = [gevent.spawn(transport.deliver, large) for _ in range(THREADS + 1)]
        gevent.joinall(late, timeout=20)
        assert {str(one.exception) for one in late} == {
            "451 4.3.0 [internal] no answer from the file system within 1 s"
        }
        sending = gevent.spawn(transport.deliver, Job(mail, stored(b"x"), mail.recipients, view))
        wait(lambda: broker.sessions and broker.sessions[0].published)
        broker.sessions[0].ack(1)
        [outcome] = sending.get(timeout=10)
        assert outcome.code == 250
    finally:
        is_over.set()
        transport.close()
