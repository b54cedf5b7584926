"""REQUIRETLS is obeyed: nothing goes out in clear; MT-PRIORITY decides who goes first, and is passed on."""

from __future__ import annotations

import socket

import pytest

from gsmtp.core.errors import DeliveryError
from gsmtp.delivery.backoff import RetryPolicy
from gsmtp.delivery.gates import Gates
from gsmtp.delivery.lanes import Lane
from gsmtp.delivery.router import Router
from gsmtp.delivery.transport import Job
from gsmtp.delivery.transports.lmtp import LmtpTransport
from gsmtp.delivery.transports.smtp import SmtpTransport
from gsmtp.delivery.worker import Batch
from gsmtp.spool.base import State
from tests.delivery.kit import configuration, envelope, stored, tools
from tests.delivery.test_queue import house, left, wait
from tests.support.sink import Sink

REPLY = "550 5.7.30 [internal] REQUIRETLS support required: "


@pytest.mark.parametrize("method", ["ESMTP", "SMTP"])
def test_a_message_that_requires_tls_is_not_sent_in_clear(method: str) -> None:
    with Sink(extensions=("REQUIRETLS",)) as sink:
        route = Router(configuration({"example.org": {"Gateway": sink.gateway, "Delivery_Method": method}})).route(
            "example.org"
        )
        message = envelope("a@example.org", requires_tls=True)
        with pytest.raises(DeliveryError, match=r"5\.7\.30") as caught:
            SmtpTransport(tools()).deliver(Job(message, stored(b"x"), message.recipients, route.view, route.hops))
        assert not caught.value.temporary
        assert sink.messages == []
        assert not any(line.startswith(b"MAIL") for line in sink.lines[0])


def test_a_mail_store_on_this_host_gets_it_by_lmtp() -> None:
    with Sink(lmtp=True) as sink:
        conf = configuration({"example.org": {"Gateway": sink.gateway, "Delivery_Method": "LMTP"}})
        route = Router(conf).route("example.org")
        message = envelope("a@example.org", requires_tls=True)
        (outcome,) = LmtpTransport(tools()).deliver(
            Job(message, stored(b"x"), message.recipients, route.view, route.hops)
        )
        assert outcome.is_delivered


def test_a_mail_store_elsewhere_does_not() -> None:
    with Sink(lmtp=True) as sink:

        def connect(host: str, port: int, timeout_s: float, /, source: str = "") -> socket.socket:
            assert host == "192.0.2.1"
            return socket.create_connection((sink.host, sink.port), timeout_s)

        conf = configuration({"example.org": {"Gateway": "192.0.2.1", "Delivery_Method": "LMTP"}})
        route = Router(conf).route("example.org")
        message = envelope("a@example.org", requires_tls=True)
        with pytest.raises(DeliveryError, match=r"5\.7\.30"):
            LmtpTransport(tools(connect)).deliver(
                Job(message, stored(b"x"), message.recipients, route.view, route.hops)
            )
        assert sink.messages == []


def test_it_fails_at_once_and_stays_where_it_can_be_seen() -> None:
    with Sink() as sink, house(configuration(everywhere={"Gateway": sink.gateway})) as home:
        home.accept("u@a.example", requires_tls=True)
        wait(lambda: home.delivery.stats().failed == 1, "the failure")
        (recipient,) = left(home.spool)
        assert (recipient.state, recipient.reply) == (State.DEAD, f"{REPLY}{sink.gateway}")
        assert sink.messages == []


def test_the_more_urgent_waits_in_front() -> None:
    conf = configuration({"a.example": {"Gateway": "127.0.0.1:1"}})
    view = conf.domain_view("a.example")
    lane = Lane("x", Gates())
    for name, priority in (("a", 0), ("b", 4), ("c", -4), ("d", 9), ("e", 0), ("f", 4), ("g", -9)):
        lane.put(Batch(name, Router(conf).route("a.example"), view, RetryPolicy(1, 1), priority=priority))
    assert "".join(batch.message_id for batch in lane.waiting) == "dbfaecg"


def test_of_what_waits_for_a_hop_the_more_urgent_is_delivered_first() -> None:
    priorities = (0, 3, -5, 9, 0, 3, -9)
    with Sink(extensions=("MT-PRIORITY",)) as sink:
        conf = configuration(
            everywhere={"Gateway": sink.gateway, "Max_Outbound_Connections": 1, "Suspend_Delivery": True}
        )
        with house(conf, window=2000) as home:
            for number, priority in enumerate(priorities):
                home.accept(f"u{number}@a.example", priority=priority)
            home.delivery.reconfigure(
                configuration(everywhere={"Gateway": sink.gateway, "Max_Outbound_Connections": 1})
            )
            wait(lambda: home.delivery.stats().delivered == len(priorities), "delivery")
        assert [message.rcpts[0][-13:-11] for message in sink.messages] == [
            b"u3",
            b"u1",
            b"u5",
            b"u0",
            b"u4",
            b"u2",
            b"u6",
        ]
        words = [message.mail.rpartition(b" ")[2] for message in sink.messages]
        assert words[:2] == [b"MT-PRIORITY=9", b"MT-PRIORITY=3"]
        assert words[-1] == b"MT-PRIORITY=-9"
        assert b"MT-PRIORITY" not in sink.messages[3].mail, "0 is what it is without"


def test_a_hop_that_knows_no_priorities_is_told_none() -> None:
    with Sink() as sink, house(configuration(everywhere={"Gateway": sink.gateway})) as home:
        home.accept("u@a.example", priority=9)
        wait(lambda: home.delivery.stats().delivered == 1, "delivery")
        assert b"MT-PRIORITY" not in sink.messages[0].mail
