"""The queue: what is delivered when, by how many, what is recorded, and what a restart does. On a real hub."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import gevent
import gevent.event
import pytest

from gsmtp.config.scopes import Configuration
from gsmtp.core.clock import FixedClock
from gsmtp.core.envelope import Envelope, Recipient
from gsmtp.core.errors import SpoolError, SpoolFull
from gsmtp.core.ids import IdMaker
from gsmtp.core.records import Attempt
from gsmtp.delivery.backoff import RetryPolicy
from gsmtp.delivery.lanes import EnvelopeCache
from gsmtp.delivery.queue import Delivery
from gsmtp.delivery.sockets import green_connect
from gsmtp.delivery.transport import Connect, HopSocket, Outcome
from gsmtp.delivery.worker import DeliveryLog, conclude
from gsmtp.runtime.native import HubMailbox, NativePool
from gsmtp.spool.base import Committed, Due, Notice, QueuedRecipient, Record, Spool, State
from gsmtp.spool.memory import MemorySpool
from gsmtp.spool.sqlite import SqliteSpool
from tests.delivery.kit import configuration, envelope
from tests.support.ports import free_port
from tests.support.sink import SILENT, Answer, Sink

T0 = 1_735_689_600.0


def wait(question: Callable[[], object], what: str, deadline_s: float = 20.0) -> None:
    """Let the hub run until the answer is true."""
    end = time.monotonic() + deadline_s
    while not question():
        assert time.monotonic() < end, f"{what}: not within {deadline_s} s"
        gevent.sleep(0.005)


class Told:
    """A log that keeps what it is told."""

    def __init__(self) -> None:
        self.deliveries: list[Attempt] = []
        self.problems: list[str] = []

    def delivery(self, attempt: Attempt) -> None:
        """Keep it."""
        self.deliveries.append(attempt)

    def problem(self, text: str, error: BaseException | None = None) -> None:
        """Keep it."""
        self.problems.append(text if error is None else f"{text}: {error!r}")


class House:
    """A spool with its delivery, on the test's hub."""

    def __init__(
        self,
        spool: Spool,
        conf: Configuration,
        *,
        window: int = 200,
        connect: Connect = green_connect,
        log: DeliveryLog | None = None,
    ) -> None:
        self.spool = spool
        self.clock = FixedClock(T0)
        self.told = Told()
        self.pool = NativePool("IO", 2, HubMailbox())
        self.delivery = Delivery(spool, conf, self.pool, self.clock, log or self.told, connect=connect, window=window)
        self._ids = IdMaker(spool.generation + 1, 42)

    def accept(self, *addresses: str, body: bytes = b"hello\r\n", tell: bool = True, **more: object) -> str:
        """Commit a message as the server does."""
        wall = self.clock.wall()
        more = {"size_bytes": len(body), **more}
        message = envelope(*addresses, message_id=self._ids.next(), received_wall=wall, **more)
        writer = self.spool.open()
        writer.write(body)
        results: list[SpoolError | None] = []

        def done(error: SpoolError | None) -> None:
            results.append(error)
            if tell and error is None:
                self.delivery.notify(message)

        self.spool.commit(message, writer, done)
        wait(lambda: results, "commit")
        assert results == [None]
        return message.message_id

    def accept_by(self, binding: str, *addresses: str) -> str:
        """As `accept`, when policy chose a binding."""
        chosen = [Recipient(one, one.rpartition("@")[2], binding=binding) for one in addresses]
        return self.accept(*addresses, recipients=chosen)

    def later(self, seconds: float) -> None:
        """Let time pass and have the queue look."""
        self.clock.advance(seconds)
        self.delivery.poke()


@contextmanager
def house(conf: Configuration, spool: Spool | None = None, **more: object) -> Iterator[House]:
    """A House whose delivery runs."""
    home = House(spool or MemorySpool(), conf, **more)  # type: ignore[arg-type]
    home.delivery.start()
    try:
        yield home
    finally:
        home.delivery.stop()
        home.pool.close()


def left(spool: Spool) -> list[QueuedRecipient]:
    assert isinstance(spool, MemorySpool)
    return [recipient for message in spool.messages() for recipient in message.recipients]


def test_a_message_goes_into_the_maildir_and_leaves_the_spool(tmp_path: Path) -> None:
    with house(configuration(maildirs={"local": {"Basedir": str(tmp_path), "Domains": ("example.org",)}})) as home:
        message_id = home.accept("ann@example.org")
        wait(lambda: home.delivery.stats().delivered == 1, "delivery")
        [file] = (tmp_path / "example.org" / "ann" / "new").iterdir()
        assert file.read_bytes() == b"Return-Path: <from@example.net>\r\nhello\r\n"
        assert left(home.spool) == []
        assert home.told.deliveries == [
            Attempt(
                kind="delivered",
                message_id=message_id,
                connection_id="00/01-00042-00000000",
                sender="from@example.net",
                recipient="ann@example.org",
                domain="example.org",
                hop="maildir local",
                reply="250 2.0.0 stored",
                attempts=1,
                age_s=0.0,
                size_bytes=7,
                remote="127.0.0.1",
            )
        ]


@pytest.mark.parametrize(("option", "told"), [("Gateway", "127.0.0.1"), ("Routes", "a.example")])
def test_a_gateway_is_the_domain_that_is_told(option: str, told: str) -> None:
    """It takes the routing domain's place; Routes doesn't (reference/policy-and-context.md section 5)."""
    with Sink() as sink:
        value = sink.gateway if option == "Gateway" else (sink.gateway,)
        with house(configuration({"a.example": {option: value}})) as home:
            home.accept("u@a.example")
            wait(lambda: home.delivery.stats().delivered == 1, "delivery")
            assert [attempt.domain for attempt in home.told.deliveries] == [told]


def test_mail_that_was_there_at_the_start_is_delivered(tmp_path: Path) -> None:
    conf = configuration(maildirs={"local": {"Basedir": str(tmp_path), "All_Domains": True}})
    home = House(MemorySpool(), conf)
    home.accept("ann@example.org", tell=False)
    home.delivery.start()
    wait(lambda: home.delivery.stats().delivered == 1, "delivery")
    home.delivery.stop()
    assert len(list(tmp_path.glob("**/ann/new/*"))) == 1


def test_recipients_with_one_next_hop_share_a_transaction() -> None:
    with Sink(lmtp=True) as sink, Sink() as other:
        conf = configuration(
            {
                "a.example": {"Gateway": sink.gateway, "Delivery_Method": "LMTP"},
                "b.example": {"Gateway": other.gateway},
            }
        )
        with house(conf) as home:
            home.accept("1@a.example", "x@b.example", "2@a.example", "3@a.example")
            wait(lambda: home.delivery.stats().delivered == 4, "delivery")
            assert [message.rcpts for message in sink.messages] == [
                [b"RCPT TO:<1@a.example>", b"RCPT TO:<2@a.example>", b"RCPT TO:<3@a.example>"]
            ]
            assert [message.rcpts for message in other.messages] == [[b"RCPT TO:<x@b.example>"]]


def test_at_most_100_recipients_go_in_one_transaction() -> None:
    with Sink() as sink, house(configuration(everywhere={"Gateway": sink.gateway}), window=2000) as home:
        home.accept(*(f"u{number}@a.example" for number in range(250)))
        wait(lambda: home.delivery.stats().delivered == 250, "delivery")
        assert sorted(len(message.rcpts) for message in sink.messages) == [50, 100, 100]


def test_a_transient_failure_is_tried_again_when_it_is_due() -> None:
    with Sink(script={"RCPT": [b"450 4.2.1 later\r\n"] * 2}) as sink:
        conf = configuration({"a.example": {"Gateway": sink.gateway, "Retry_Interval": 300}})
        with house(conf) as home:
            message_id = home.accept("u@a.example")
            wait(lambda: home.delivery.stats().deferrals == 1, "first try")
            assert left(home.spool) == [
                QueuedRecipient(
                    0, "u@a.example", "a.example", State.QUEUED, T0 + 300, 1, "450 4.2.1 later", sink.gateway, T0
                )
            ]
            assert home.told.deliveries[0].kind == "deferred"
            assert home.told.deliveries[0].due_wall == T0 + 300
            assert home.delivery.stats().delayed == 1
            home.later(300)
            wait(lambda: home.delivery.stats().deferrals == 2, "second try")
            [recipient] = left(home.spool)
            assert (recipient.due_wall, recipient.attempts) == (T0 + 300 + 600, 2)
            home.later(600)
            wait(lambda: home.delivery.stats().delivered == 1, "third try")
            assert left(home.spool) == []
            assert home.told.deliveries[-1].message_id == message_id
            assert home.told.deliveries[-1].attempts == 3
            assert home.told.deliveries[-1].age_s == 900
            assert home.delivery.stats().delayed == 0


def test_mixed_answers_leave_only_what_is_to_be_tried_again_or_seen() -> None:
    final: dict[bytes, Answer] = {b"full@a.example": b"452 4.2.2 full\r\n", b"no@a.example": b"550 5.1.1 no\r\n"}
    with Sink(lmtp=True, final=final) as sink:
        conf = configuration({"a.example": {"Gateway": sink.gateway, "Delivery_Method": "LMTP"}})
        with house(conf) as home:
            home.accept("ok@a.example", "full@a.example", "no@a.example")
            wait(lambda: len(home.told.deliveries) == 3, "first try")
            wait(lambda: home.delivery.stats().delivered + home.delivery.stats().failed == 2, "records")
            assert [(r.state, r.reply) for r in left(home.spool)] == [
                (State.DELIVERED, "250 2.1.5 ok@a.example stored"),
                (State.QUEUED, "452 4.2.2 full"),
                (State.DEAD, "550 5.1.1 no"),
            ]
            home.later(1200)
            wait(lambda: len(home.told.deliveries) == 4, "second try")
            assert [address for address in sink.messages[0].rcpts] != []
            assert len(sink.messages) == 1, "who has the message doesn't get it again"


def test_what_was_answered_before_the_end_of_the_process_is_noted() -> None:
    """One recipient's reply is there, the other's doesn't come: only the other is tried again at the next start."""
    final: dict[bytes, Answer] = {b"slow@a.example": SILENT}
    with Sink(lmtp=True, final=final) as sink:
        conf = configuration({"a.example": {"Gateway": sink.gateway, "Delivery_Method": "LMTP"}})
        with house(conf) as home:
            home.accept("quick@a.example", "slow@a.example")
            wait(lambda: len(sink.messages) == 1, "the message at the hop")
            assert not home.delivery.drain(0.5)
            assert [(one.state, one.attempts) for one in left(home.spool)] == [(State.DELIVERED, 1), (State.QUEUED, 0)]
            assert [attempt.recipient for attempt in home.told.deliveries] == ["quick@a.example"]


def test_a_message_expires() -> None:
    conf = configuration({"a.example": {"Gateway": f"127.0.0.1:{free_port()}", "Message_Expiration": 1000}})
    with house(conf) as home:
        home.accept("u@a.example")
        wait(lambda: home.delivery.stats().deferrals == 1, "first try")
        home.later(1000)
        wait(lambda: home.delivery.stats().failed == 1, "last try")
        [recipient] = left(home.spool)
        assert (recipient.state, recipient.attempts) == (State.DEAD, 2)
        assert recipient.reply.startswith("554 5.4.7 [internal] exceeded max time without delivery (last: 451 4.4.1 ")


def test_never_retry_fails_at_once() -> None:
    conf = configuration({"a.example": {"Gateway": f"127.0.0.1:{free_port()}", "Never_Retry": True}})
    with house(conf) as home:
        home.accept("u@a.example")
        wait(lambda: home.delivery.stats().failed == 1, "the only try")
        assert left(home.spool)[0].reply.startswith(
            "554 5.4.7 [internal] exceeded max retries without delivery (last: "
        )


def test_without_a_name_server_mail_waits_and_says_why() -> None:
    with house(configuration()) as home:
        home.accept("u@a.example")
        wait(lambda: home.delivery.stats().deferrals == 1, "first try")
        [recipient] = left(home.spool)
        assert (recipient.state, recipient.due_wall) == (State.QUEUED, T0 + 1200)
        assert recipient.reply == (
            "454 4.4.4 [internal] no MX or A for domain: MX of a.example: 127.0.0.1:1: Connection refused"
        )


def test_a_blackholed_recipient_is_accepted_and_forgotten() -> None:
    with Sink() as sink, house(configuration(everywhere={"Gateway": sink.gateway})) as home:
        message = envelope("drop@a.example", "keep@a.example")
        message.recipients[0].drop = True
        writer = home.spool.open()
        writer.write(b"x\r\n")
        home.spool.commit(message, writer, lambda error: home.delivery.notify(message))
        wait(lambda: home.delivery.stats().delivered == 2, "delivery")
        assert [message.rcpts for message in sink.messages] == [[b"RCPT TO:<keep@a.example>"]]
        assert home.told.deliveries[0].reply == "554 5.7.0 [internal] Blackholed"
        assert left(home.spool) == []


def test_more_mail_than_the_window_holds_is_all_delivered() -> None:
    with Sink() as sink, house(configuration(everywhere={"Gateway": sink.gateway}), window=16) as home:
        for number in range(150):
            home.accept(f"u@d{number % 7}.example", body=b"%d\r\n" % number)
            stats = home.delivery.stats()
            assert stats.active + stats.waiting <= 16
        wait(lambda: home.delivery.stats().delivered == 150, "delivery")
        assert sorted(int(message.body) for message in sink.messages) == list(range(150))


def test_a_hop_that_hangs_does_not_hold_up_mail_to_others() -> None:
    with Sink(script={"BANNER": [SILENT] * 50}) as dead, Sink() as alive:
        conf = configuration(
            {
                "dead.example": {"Gateway": dead.gateway, "Max_Outbound_Connections": 3},
                "alive.example": {"Gateway": alive.gateway},
            }
        )
        with house(conf, window=40) as home:
            for _ in range(60):
                home.accept("u@dead.example")
            for _ in range(20):
                home.accept("u@alive.example")
            wait(lambda: home.delivery.stats().delivered == 20, "delivery to the one that is alive")
            assert dead.connections == 3
            assert home.delivery.stats().active == 3


def test_many_domains_behind_a_hanging_hop_do_not_hold_up_others_either() -> None:
    with Sink(script={"BANNER": [SILENT] * 50}) as dead, Sink() as alive:
        conf = configuration(
            {"alive.example": {"Gateway": alive.gateway}},
            everywhere={"Gateway": dead.gateway, "Max_Outbound_Connections": 2},
        )
        with house(conf, window=40) as home:
            for number in range(700):
                home.accept(f"u@d{number}.example", tell=False)
            home.delivery.poke()
            home.accept("u@alive.example")
            wait(lambda: home.delivery.stats().delivered == 1, "delivery to the one that is alive")
            wait(lambda: dead.connections == 2, "as many connections as are allowed")


def test_a_hop_that_comes_back_gets_what_waited() -> None:
    port = free_port()
    conf = configuration({"a.example": {"Gateway": f"127.0.0.1:{port}", "Retry_Interval": 60}})
    with house(conf) as home:
        for _ in range(10):
            home.accept("u@a.example")
        wait(lambda: home.delivery.stats().deferrals == 10, "first tries")
        assert home.delivery.stats().hops_down == 1
        with Sink(port=port) as sink:
            home.later(60)
            wait(lambda: home.delivery.stats().delivered == 10, "second tries")
            assert len(sink.messages) == 10


def test_the_limit_for_the_whole_server_is_kept() -> None:
    with Sink(script={"BANNER": [SILENT] * 50}) as sink:
        conf = configuration(
            {f"d{number}.example": {"Routes": (sink.gateway, f"127.0.0.1:{number + 1}")} for number in range(9)},
            everywhere={"Server_Max_Outbound_Connections": 4},
        )
        with house(conf) as home:
            for number in range(9):
                home.accept(f"u@d{number}.example")
            wait(lambda: home.delivery.stats().active == 4, "four at work")
            wait(lambda: home.delivery.stats().waiting == 5, "five that wait")
            wait(lambda: sink.connections == 4, "four connections")
            assert home.delivery.stats().active == 4, "the fifth began although four are at work"


def test_suspended_mail_stays_until_a_reload_lets_it_go() -> None:
    with Sink() as sink:
        held = configuration(
            {"a.example": {"Gateway": sink.gateway, "Suspend_Delivery": True}}, everywhere={"Gateway": sink.gateway}
        )
        with house(held) as home:
            home.accept("u@a.example")
            home.accept("u@b.example")
            wait(lambda: home.delivery.stats().delivered == 1, "the other domain's mail")
            assert [(r.state, r.attempts) for r in left(home.spool)] == [(State.QUEUED, 0)]
            home.delivery.reconfigure(configuration(everywhere={"Gateway": sink.gateway}))
            wait(lambda: home.delivery.stats().delivered == 2, "the rest")
            assert len(sink.messages) == 2


def test_a_reload_changes_the_way_of_what_waits() -> None:
    with Sink(script={"BANNER": [SILENT] * 5}) as old, Sink() as new:
        before = configuration(everywhere={"Gateway": old.gateway, "Max_Outbound_Connections": 1})
        with house(before) as home:
            for _ in range(4):
                home.accept("u@a.example")
            wait(lambda: home.delivery.stats().waiting == 3, "one at work, three that wait")
            home.delivery.reconfigure(configuration(everywhere={"Gateway": new.gateway}))
            wait(lambda: home.delivery.stats().delivered == 3, "delivery by the new way")
            assert old.connections == 1


def test_a_bug_in_a_transport_is_logged_once_and_temporary() -> None:
    def connect(host: str, port: int, timeout_s: float, /, source: str = "") -> HopSocket:
        raise ZeroDivisionError("a bug")

    with house(configuration(everywhere={"Gateway": "127.0.0.1"}), connect=connect) as home:
        message_id = home.accept("u@a.example", "v@a.example")
        wait(lambda: home.delivery.stats().deferrals == 2, "first try")
        assert [r.reply for r in left(home.spool)] == [
            "451 4.3.0 [internal] ZeroDivisionError in the transport, see the log"
        ] * 2
        assert home.told.problems == [
            f"delivery of {message_id} by esmtp 127.0.0.1:25 broke: ZeroDivisionError('a bug')"
        ]


def test_connecting_has_a_time_limit() -> None:
    """A listener whose queue is full answers no handshake."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=0)
    fillers = [socket.socket() for _ in range(4)]
    try:
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        with pytest.raises(TimeoutError):
            green_connect("127.0.0.1", listener.getsockname()[1], 0.3)
    finally:
        for sock in (*fillers, listener):
            sock.close()


def test_idle_connections_are_closed_in_time() -> None:
    with Sink() as sink, house(configuration(everywhere={"Gateway": sink.gateway, "Idle_Timeout": 5})) as home:
        home.accept("u@a.example")
        wait(lambda: home.delivery.stats().delivered == 1, "delivery")
        assert home.delivery.stats().connections_idle == 1
        home.clock.advance(6)
        wait(lambda: home.delivery.stats().connections_idle == 0, "the sweep")
        wait(lambda: sink.lines[0][-1] == b"QUIT", "the farewell")


def test_drain_lets_what_is_at_work_end_and_starts_nothing_more() -> None:
    gate = gevent.event.Event()

    def connect(host: str, port: int, timeout_s: float, /, source: str = "") -> HopSocket:
        gate.wait(10)
        return green_connect(host, port, timeout_s)

    with Sink() as sink:
        conf = configuration(everywhere={"Gateway": sink.gateway, "Max_Outbound_Connections": 1})
        home = House(MemorySpool(), conf, connect=connect)
        home.delivery.start()
        home.accept("first@a.example")
        home.accept("second@a.example")
        wait(lambda: home.delivery.stats().active == 1 and home.delivery.stats().waiting == 1, "one at work")
        gevent.spawn_later(0.05, gate.set)
        assert home.delivery.drain(10)
        assert [message.rcpts for message in sink.messages] == [[b"RCPT TO:<first@a.example>"]]
        assert [recipient.address for recipient in left(home.spool)] == ["second@a.example"]
        assert home.delivery.stats().connections_idle == 0


def test_what_was_cut_off_is_delivered_after_a_restart_and_nothing_else_again() -> None:
    spool = MemorySpool()
    with Sink(script={"BODY": [b"250 2.0.0 taken\r\n", SILENT]}) as sink:
        conf = configuration(everywhere={"Gateway": sink.gateway})
        first = House(spool, conf)
        first.delivery.start()
        first.accept("done@a.example", body=b"done\r\n")
        wait(lambda: first.delivery.stats().delivered == 1, "the first message")
        first.accept("cut@a.example", body=b"cut\r\n")
        wait(lambda: b"RCPT TO:<cut@a.example>" in sink.lines[0], "the second on its way")
        assert not first.delivery.drain(0.2)
        second = House(spool, conf)
        second.delivery.start()
        wait(lambda: second.delivery.stats().delivered == 1, "the second message")
        second.delivery.stop()
        assert [message.body for message in sink.messages] == [b"done\r\n", b"cut\r\n"]


class Forgetful(MemorySpool):
    """A spool whose disk is full for the first records."""

    def __init__(self, failures: int) -> None:
        super().__init__()
        self.failures = failures

    def record(self, records: Sequence[Record], done: Committed | None = None, notices: Sequence[Notice] = ()) -> None:
        """Fail, or keep."""
        if self.failures:
            self.failures -= 1
            assert done is not None
            done(SpoolFull("no room"))
        else:
            super().record(records, done, notices)


def test_outcomes_that_cannot_be_written_are_kept_and_nothing_is_delivered_twice() -> None:
    with Sink() as sink, house(configuration(everywhere={"Gateway": sink.gateway}), Forgetful(2)) as home:
        home.accept("u@a.example")
        wait(lambda: home.told.problems, "the problem")
        home.later(10_000)
        wait(lambda: home.delivery.stats().delivered == 1, "the record")
        assert len(sink.messages) == 1
        assert len(home.told.problems) == 1


def test_the_default_log_is_one_readable_line(caplog: pytest.LogCaptureFixture) -> None:
    from gsmtp.delivery.worker import LoggingLog

    with (
        caplog.at_level(logging.INFO, "gsmtp.delivery"),
        Sink(rcpt={b"v@a.example": b"550 5.1.1 no\r\n"}) as sink,
        house(configuration(everywhere={"Gateway": sink.gateway}), log=LoggingLog()) as home,
    ):
        message_id = home.accept("u@a.example", "v@a.example")
        wait(lambda: home.delivery.stats().failed == 1, "delivery")
        tail = f"hop={sink.gateway} attempt=1 age=0.0s"
        assert [record.getMessage() for record in caplog.records] == [
            f"delivered {message_id} from=<from@example.net> to=<u@a.example> {tail}: 250 2.0.0 taken",
            f"failed {message_id} from=<from@example.net> to=<v@a.example> {tail}: 550 5.1.1 no",
        ]


def test_on_disk_large_bodies_too_and_over_a_restart(tmp_path: Path) -> None:
    data = os.urandom(1 << 20).replace(b"\r", b"\r\n.") + b"\r\n"
    with Sink(lmtp=True, final={b"later@a.example": b"451 4.3.0 later\r\n"}) as sink:
        conf = configuration({"a.example": {"Gateway": sink.gateway, "Delivery_Method": "LMTP"}})
        spool = SqliteSpool.open_at(str(tmp_path))
        with house(conf, spool) as home:
            home.accept("now@a.example", "later@a.example", body=data)
            home.accept("now@a.example", body=b"small\r\n")
            wait(lambda: home.delivery.stats().delivered == 2, "first tries")
            wait(lambda: home.delivery.stats().deferrals == 1, "the deferral")
        spool.close()
        sink.final.clear()
        again = SqliteSpool.open_at(str(tmp_path))
        with house(conf, again) as home:
            home.later(1200)
            wait(lambda: home.delivery.stats().delivered == 1, "the second try")
            assert again.next_due_wall() is None
        again.close()
        assert sorted((message.body, len(message.rcpts)) for message in sink.messages) == sorted(
            [(data, 2), (b"small\r\n", 1), (data, 1)]
        )


def test_the_envelope_cache_is_bounded_by_recipients() -> None:
    cache = EnvelopeCache(10)

    def keep(name: str, recipients: int) -> Envelope:
        one = envelope(*(f"{number}@a.example" for number in range(recipients)), message_id=name)
        cache.put(one)
        return one

    keep("a", 4)
    keep("b", 4)
    last = keep("c", 4)
    assert cache.get("a") is None
    assert cache.get("c") is last
    keep("huge", 11)
    assert cache.get("huge") is None
    assert cache.get("c") is last
    cache.drop("c")
    keep("d", 6)
    assert cache.get("b") is not None


@pytest.mark.parametrize("asked_s", [float("inf"), float("nan"), 1e300, -1e300])
def test_whatever_wait_a_handler_asks_for_the_spool_can_keep_it(asked_s: float) -> None:
    due = Due("00/01-00042-00000001", 0, "u@a.example", "a.example", 0, T0)
    outcome = Outcome(451, "451 4.3.0 later", "python x", retry_after_s=asked_s)
    record = conclude(due, outcome, T0, T0, RetryPolicy())
    assert T0 + 1200 <= record.due_wall <= T0 + 366 * 86_400
