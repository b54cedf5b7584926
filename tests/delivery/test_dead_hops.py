"""One dead next hop among a hundred, and a hundred silent ones: mail to the others doesn't wait for theirs.

Dead is a hop that refuses connections; silent one that takes them and says nothing.
"""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from gsmtp.core.clock import FixedClock
from gsmtp.core.envelope import Envelope
from gsmtp.core.errors import SpoolError
from gsmtp.delivery.backoff import RetryPolicy
from gsmtp.delivery.gates import Gates
from gsmtp.delivery.lanes import Lane
from gsmtp.delivery.sockets import green_connect
from gsmtp.delivery.transport import HopSocket
from gsmtp.delivery.window import Window
from gsmtp.delivery.worker import Batch
from gsmtp.spool.base import Due, QueuedRecipient, State
from gsmtp.spool.inspect import Inspector
from gsmtp.spool.memory import MemorySpool
from gsmtp.spool.sqlite import SqliteSpool
from tests.config_meaning.loading import compiled
from tests.delivery.kit import configuration, envelope
from tests.delivery.test_bounces import office
from tests.delivery.test_queue import T0, House, house, left, wait
from tests.support.ports import free_port
from tests.support.sink import Sink

NOT_REACHED = "451 4.4.1 [internal] No valid hosts (unable to make any connections): 127.0.0.1:"


class Dialled:
    """Connects as the queue does, and counts."""

    def __init__(self) -> None:
        self.ports: Counter[int] = Counter()

    def __call__(self, host: str, port: int, timeout_s: float, /, source: str = "") -> HopSocket:
        self.ports[port] += 1
        return green_connect(host, port, timeout_s, source=source)


@contextmanager
def silence() -> Iterator[str]:
    """A place that takes connections and never says a word."""
    with closing(socket.create_server(("127.0.0.1", 0), backlog=1024)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def fill(home: House, *domains: str) -> None:
    """A message for each of the domains, of which the queue isn't told: as after a restart."""
    written: list[SpoolError | None] = []
    for domain in domains:
        body = home.spool.open()
        body.write(b"hello\r\n")
        home.spool.commit(_message(home, domain), body, written.append)
    wait(lambda: len(written) == len(domains), "the messages' commits", 60.0)
    assert set(written) == {None}


def _message(home: House, domain: str) -> Envelope:
    return envelope(
        f"u@{domain}", message_id=home._ids.next(), received_wall=home.clock.wall(), size_bytes=len(b"hello\r\n")
    )


def ways(prefix: str, count: int, gateway: str) -> str:
    """So many domains, each a destination of its own, behind one place."""
    return "\n".join(
        f'Domain "{prefix}{number}.example" {{ routes = ( "{gateway}" "127.0.1.{number}:1" ) }}'
        for number in range(count)
    )


def of(home: House, domain: str) -> list[QueuedRecipient]:
    """What the spool has for a domain."""
    return [recipient for recipient in left(home.spool) if recipient.domain == domain]


def test_one_dead_hop_among_a_hundred_with_a_long_queue() -> None:
    """The dead one's mail was there first: it is put off without a dial for each, and the others' is delivered."""
    queued = 2000
    dialled = Dialled()
    with Sink() as sink:
        dead = free_port()
        conf = compiled(f'{ways("alive", 99, sink.gateway)}\nDomain "dead.example" {{ gateway = "127.0.0.1:{dead}" }}')
        home = House(MemorySpool(), conf, window=2000, connect=dialled)
        fill(home, *["dead.example"] * queued)
        fill(
            home,
            *(f"alive{number}.example" for number in range(99)),
            *(f"alive{number}.example" for number in range(99)),
        )
        home.delivery.start()
        try:
            wait(lambda: home.delivery.stats().delivered == 198, "all mail to those that are alive")
            wait(lambda: home.delivery.stats().deferrals == queued, "the dead one's mail, deferred", 60.0)
        finally:
            home.delivery.stop()
            home.pool.close()
        waiting = of(home, "dead.example")
        assert {(one.state, one.attempts, one.due_wall) for one in waiting} == {(State.QUEUED, 1, T0 + 1200)}
        assert len(waiting) == queued
        assert all(one.reply.startswith(f"{NOT_REACHED}{dead} ") for one in waiting)
        told = [attempt.kind for attempt in home.told.deliveries]
        assert Counter(told) == {"delivered": 198, "deferred": queued}
        assert dialled.ports[dead] < 100, "nobody dials for each message"
        assert home.told.problems == []


def test_one_silent_hop_among_a_hundred_with_a_long_queue() -> None:
    with Sink() as sink, silence() as silent:
        conf = compiled(f'{ways("alive", 99, sink.gateway)}\nDomain "silent.example" {{ gateway = "{silent}" }}')
        home = House(MemorySpool(), conf, window=2000)
        fill(home, *["silent.example"] * 3000)
        fill(home, *(f"alive{number}.example" for number in range(99)))
        home.delivery.start()
        try:
            wait(lambda: home.delivery.stats().delivered == 99, "all mail to those that are alive")
            for number in range(99):
                home.accept(f"u@alive{number}.example")
            wait(lambda: home.delivery.stats().delivered == 198, "what came since")
            assert home.delivery.stats().deferrals == 0
        finally:
            home.delivery.stop()
            home.pool.close()
        assert {(one.state, one.attempts, one.due_wall) for one in of(home, "silent.example")} == {
            (State.QUEUED, 0, T0)
        }


def test_a_hundred_silent_hops_leave_room_for_those_that_are_alive() -> None:
    """Together they have five times as much mail as the window holds, and each may have 32 connections."""
    with Sink() as sink, silence() as silent:
        conf = compiled(f"{ways('silent', 100, silent)}\n{ways('alive', 50, sink.gateway)}")
        home = House(MemorySpool(), conf, window=300)
        fill(home, *(f"silent{number // 15}.example" for number in range(1500)))
        home.delivery.start()
        try:
            wait(lambda: home.delivery.active_destinations == 100, "something for each of the silent ones at work")
            fill(home, *(f"alive{number % 50}.example" for number in range(200)))
            home.delivery.poke()
            wait(lambda: home.delivery.stats().delivered == 200, "all mail to those that are alive")
            for number in range(50):
                home.accept(f"u@alive{number}.example")
            wait(lambda: home.delivery.stats().delivered == 250, "what came since")
            assert home.delivery.stats().deferrals == 0
        finally:
            home.delivery.stop()
            home.pool.close()


def test_each_message_keeps_its_own_retries_while_the_hop_is_down_and_goes_when_it_is_back() -> None:
    dead = free_port()
    dialled = Dialled()
    conf = compiled(
        f'gateway = "127.0.0.1:{dead}"\nretry_interval = 1200\n'
        'Domain "often.example" { retry_interval = 300 }\nDomain "late.example" { message_expiration = 1000 }'
    )
    with house(conf, window=2000, connect=dialled) as home:
        home.accept("u@first.example")
        wait(lambda: home.delivery.stats().deferrals == 1, "the one that finds out")
        for domain in ("first", "often", "late"):
            home.accept(f"u@{domain}.example")
        wait(lambda: home.delivery.stats().deferrals == 4, "the others")
        assert dialled.ports[dead] == 1
        assert {one.domain: one.due_wall - T0 for one in left(home.spool)} == {
            "first.example": 1200,
            "often.example": 300,
            "late.example": 1000,
        }
        assert {attempt.reply for attempt in home.told.deliveries[1:]} == {
            f"{NOT_REACHED}{dead} was not reached just now"
        }
        home.later(1200)
        wait(lambda: home.delivery.stats().failed == 1 and home.delivery.stats().deferrals == 7, "the second tries")
        [expired] = [one for one in left(home.spool) if one.state == State.DEAD]
        assert expired.domain == "late.example"
        assert expired.reply.startswith("554 5.4.7 [internal] exceeded max time without delivery (last: 451 4.4.1")
        assert {one.domain: (one.attempts, one.due_wall - T0) for one in left(home.spool) if one is not expired} == {
            "first.example": (2, 3600),
            "often.example": (2, 1800),
        }
        with Sink(port=dead) as sink:
            home.later(2400)
            wait(lambda: home.delivery.stats().delivered == 3, "what waited")
            assert len(sink.messages) == 3


def test_who_is_tried_only_once_is_tried() -> None:
    """Never_Retry: another message's failure is no reason to give this one up."""
    dead = free_port()
    dialled = Dialled()
    conf = compiled(f'gateway = "127.0.0.1:{dead}"\nDomain "once.example" {{ never_retry = true }}')
    with house(conf, connect=dialled) as home:
        home.accept("u@other.example")
        wait(lambda: home.delivery.stats().deferrals == 1, "the one that finds out")
        home.accept("u@once.example")
        wait(lambda: home.delivery.stats().failed == 1, "the try")
        assert dialled.ports[dead] == 2


def test_on_disk_the_history_of_what_was_not_tried_is_true(tmp_path: Path) -> None:
    dead = free_port()
    spool = SqliteSpool.open_at(str(tmp_path / "spool"))
    try:
        with house(compiled(f'gateway = "127.0.0.1:{dead}"'), spool, window=2000) as home:
            home.accept("u@a.example")
            wait(lambda: home.delivery.stats().deferrals == 1, "the one that finds out")
            ids = [home.accept(f"u{number}@a.example", "v@b.example") for number in range(20)]
            wait(lambda: home.delivery.stats().deferrals == 41, "the others")
        found = [one.message_id for one in spool.envelopes([*ids, "00/01-00042-7FFFFFFF"])]
        assert sorted(found) == sorted(ids)
    finally:
        spool.close()
    with closing(Inspector(str(tmp_path / "spool"))) as inspector:
        seen = [
            one for message in inspector.messages() for one in message.recipients if message.envelope.message_id in ids
        ]
    assert len(seen) == 40
    for one in seen:
        assert (one.state, one.attempts, one.due_wall, one.doubt_wall) == (State.QUEUED, 1, T0 + 1200, 0)
        [past] = one.history
        assert (past.when_wall, past.state, past.attempts, past.hop) == (T0, State.QUEUED, 1, f"esmtp 127.0.0.1:{dead}")
        assert past.reply == one.reply == f"{NOT_REACHED}{dead} was not reached just now"


def test_what_expires_while_the_hop_is_down_is_bounced() -> None:
    with office({"Gateway": f"127.0.0.1:{free_port()}", "Message_Expiration": 1000}) as home:
        home.accept("u@a.example")
        wait(lambda: home.delivery.stats().deferrals == 1, "the one that finds out")
        home.clock._wall_s += 1000  # the hop's rest is not over: that goes by the other clock
        home.delivery.poke()
        bounce = home.bounce()
        assert b"554 5.4.7 [internal] exceeded max time without delivery (last: 451 4.4.1" in bounce.body
        wait(lambda: not home.left(), "the message and its notice, gone")
        assert [attempt.kind for attempt in home.told.deliveries] == ["deferred", "failed", "delivered"]


def test_what_is_cut_off_while_it_is_deferred_is_deferred_after_the_next_start() -> None:
    conf = compiled(f'gateway = "127.0.0.1:{free_port()}"')
    home = House(MemorySpool(), conf, window=2000)
    fill(home, *["a.example"] * 1200)
    home.delivery.start()
    wait(lambda: home.delivery.stats().deferrals > 60, "some")
    home.delivery.stop()
    assert home.delivery.stats().deferrals < 1200
    home.pool.close()
    with house(conf, home.spool, window=2000) as again:
        wait(lambda: all(one.attempts for one in left(again.spool)), "the others")
        assert {(one.attempts, one.due_wall) for one in left(again.spool)} == {(1, T0 + 1200)}
        assert len(left(again.spool)) == 1200


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock(T0)


@pytest.fixture
def window(clock: FixedClock) -> Window:
    return Window(MemorySpool(), 2000, lambda: None, clock.mono)


def _lane(window: Window, number: int) -> Lane:
    return window.lane(number, Gates(), 32)


def _fill(window: Window, lane: Lane) -> None:
    while lane.held < window.share(lane):
        lane.hold(1)
        window.held += 1


def test_lanes_that_take_nothing_hold_little_and_less_the_more_there_are(window: Window) -> None:
    lanes = [_lane(window, number) for number in range(300)]
    for lane in lanes:
        _fill(window, lane)
    held = [lane.held for lane in lanes]
    assert (held[0], held[50], held[299]) == (45, 10, 1)
    mover = _lane(window, 1000)
    window.moved(mover)
    assert window.share(mover) >= 75, "a quarter of what is reserved"


def test_lanes_that_take_mail_leave_room_for_those_nobody_has_heard_of(window: Window) -> None:
    for number in range(100):
        lane = _lane(window, number)
        window.moved(lane)
        _fill(window, lane)
    assert window.held < 1600
    assert window.share(_lane(window, 1000)) >= 4


def test_a_lane_that_stalls_gives_back_what_waits_when_room_is_short(window: Window, clock: FixedClock) -> None:
    view = configuration({}).domain_view("a.example")
    lane, other = _lane(window, 1), _lane(window, 2)
    window.moved(lane)
    window.moved(other)
    for number in range(300):
        batch = Batch(f"00/01-00042-{number:08X}", None, view, RetryPolicy(1200, 1200))
        batch.dues.append(Due(batch.message_id, 0, "u@a.example", "a.example", 0, T0))
        lane.put(batch)
        lane.recipients += 1
        lane.hold(1)
    lane.active = 1
    window.held = 1900
    window.relieve()
    assert len(lane.waiting) == 300
    clock.advance(11)
    window.relieve()
    assert len(lane.waiting) == window.share(lane) < 50
    assert window.held == 1900 - 300 + len(lane.waiting)
    window.moved(lane)
    assert window.share(lane) > 100, "it came to life"


def test_a_lane_that_gives_all_back_while_it_waits_at_a_gate_is_not_left_out_for_good(window: Window) -> None:
    """One message for many, at a throttle, with more mail left in the spool: nothing is at work that would end."""
    lane = _lane(window, 1)
    view = configuration({}).domain_view("a.example")
    batch = Batch("00/01-00042-00000001", None, view, RetryPolicy(1200, 1200))
    batch.dues += [Due(batch.message_id, index, "u@a.example", "a.example", 0, T0) for index in range(100)]
    lane.put(batch)
    lane.recipients = 100
    lane.hold(100)
    lane.is_parked = lane.is_crowded = True
    window.skip("a.example", lane)
    window.held = 1900
    window.relieve()
    assert (lane.held, window.held, window.skipped) == (0, 1800, ())
    assert _lane(window, 1) is not lane
