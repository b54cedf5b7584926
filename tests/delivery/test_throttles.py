"""Outbound_Throttle_Messages and Outbound_Throttle_Connections: allowances that belong to the scope that sets them."""

from __future__ import annotations

from collections.abc import Callable

from gsmtp.core.clock import FixedClock
from gsmtp.delivery.gates import GateKeeper, Gates
from gsmtp.delivery.lanes import Lane
from gsmtp.delivery.rates import Throttle
from tests.config_meaning.loading import compiled
from tests.delivery.test_queue import house, wait
from tests.support.ports import free_port
from tests.support.sink import Sink


class Timers:
    """Makes timers that go off when the test says so."""

    def __init__(self) -> None:
        self.armed: list[tuple[float, Callable[[], object]]] = []

    def __call__(self, delay_s: float, function: Callable[[], object]) -> Timers:
        """A timer."""
        self._made = (delay_s, function)
        return self

    def arm(self) -> None:
        """It runs."""
        self.armed.append(self._made)

    def fire(self) -> None:
        """Let the one that is armed go off."""
        [(_, function)] = self.armed
        self.armed.clear()
        function()


def test_the_allowance_comes_back_evenly_and_lanes_take_turns() -> None:
    clock, timers = FixedClock(0.0), Timers()
    offered: list[Lane] = []
    throttle = Throttle((2, 10), clock.mono, timers, offered.append)
    one, two, three = (Lane(name, Gates()) for name in "abc")
    assert (throttle.take(one), throttle.take(one), throttle.take(one)) == (True, True, False)
    throttle.park(one)
    throttle.park(two)
    assert [delay_s for delay_s, _ in timers.armed] == [5.0], "one timer, for the next turn"
    clock.advance(5)
    assert not throttle.take(three), "those who wait come first"
    timers.fire()
    assert offered == [one]
    assert throttle.take(one)
    throttle.park(one)
    clock.advance(10)
    timers.fire()
    assert offered == [one, two, one]


def test_scopes_that_set_none_share_the_one_they_fall_back_to() -> None:
    conf = compiled(
        """
        outbound_throttle_messages = "5"
        Domain "/own$/" { outbound_throttle_messages = "7/60" }
        Domain "free.example" { outbound_throttle_messages = "" }
        Binding "b" { }
        """
    )
    keeper = GateKeeper(FixedClock(0.0).mono, Timers(), lambda lane: None)
    every = keeper.of(conf.delivery_view("a.example"))
    assert keeper.of(conf.delivery_view("other.example", "b")) is every
    own = keeper.of(conf.delivery_view("a.own"))
    assert own.messages is keeper.of(conf.delivery_view("b.own")).messages is not every.messages
    assert keeper.of(conf.delivery_view("free.example")).messages is None
    keeper.reconfigured()
    assert keeper.of(conf.delivery_view("a.example")).messages is every.messages, "a reload leaves the allowance alone"


def test_throttled_messages_wait_and_hold_up_nobody() -> None:
    with Sink() as sink:
        conf = compiled(
            f"""
            gateway = "{sink.gateway}"
            Domain "/^few/" {{ outbound_throttle_messages = "3/3600" }}
            """
        )
        with house(conf) as home:
            for number in range(8):
                home.accept(f"u@few{number % 2}.example")
                home.accept("u@many.example")
            wait(lambda: home.delivery.stats().delivered == 8 + 3, "all that may go")
            assert sorted(attempt.domain for attempt in home.told.deliveries)[:3] == ["127.0.0.1"] * 3
            recipients = [attempt.recipient for attempt in home.told.deliveries]
            assert sum(one.startswith("u@few") for one in recipients) == 3
            home.later(1200)  # one more is allowed, and the timer looks at the test's clock
            assert home.delivery.stats().waiting == 5


def test_a_throttle_of_messages_lets_all_through_in_the_end() -> None:
    with Sink() as sink, house(compiled(f'gateway = "{sink.gateway}"\noutbound_throttle_messages = "50"')) as home:
        for number in range(60):
            home.accept(f"u@d{number}.example")
        wait(lambda: home.delivery.stats().delivered == 50, "the allowance")
        home.clock.advance(1)
        wait(lambda: home.delivery.stats().delivered == 60, "the others, when it has come back")


def test_throttled_connections_are_used_for_more_messages() -> None:
    with Sink() as sink:
        conf = compiled(f'gateway = "{sink.gateway}"\noutbound_throttle_connections = "2/3600"\nidle_timeout = 600')
        with house(conf) as home:
            for _ in range(30):
                home.accept("u@a.example")
            wait(lambda: home.delivery.stats().delivered == 30, "all mail, over the connections that there are")
            assert sink.connections <= 2
            assert {attempt.attempts for attempt in home.told.deliveries} == {1}, "waiting is no attempt"


def test_without_a_connection_throttled_mail_waits_untried() -> None:
    with Sink() as sink:
        conf = compiled(f'gateway = "{sink.gateway}"\noutbound_throttle_connections = "2/3600"\nidle_timeout = 0')
        with house(conf) as home:
            for _ in range(5):
                home.accept("u@a.example")
            wait(lambda: home.delivery.stats().delivered == 2, "two connections' mail")
            wait(lambda: home.delivery.stats().waiting == 3, "what waits")
            assert (sink.connections, home.delivery.stats().deferrals) == (2, 0)


def test_a_host_that_is_down_does_not_use_up_what_the_next_one_needs() -> None:
    """With one connection an hour, each try would end at the dead host, and the other would never get the mail."""
    with Sink() as sink:
        routes = f'routes = ( "127.0.0.1:{free_port()}" "{sink.gateway}" )'
        with house(compiled(f'{routes}\noutbound_throttle_connections = "1/3600"')) as home:
            home.accept("u@a.example")
            wait(lambda: home.delivery.stats().delivered == 1, "delivery")
            home.accept("u@a.example")
            wait(lambda: home.delivery.stats().delivered == 2, "delivery over the connection that is open")
