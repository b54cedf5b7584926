"""Inbound_Throttle_Messages: counted on a clock of the test's own, then seen on the wire."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gsmtp.config.scopes import compile_tree
from gsmtp.core.clock import FixedClock
from gsmtp.server.throttle import Throttle, Throttles, ThrottleState
from tests.config_meaning.loading import compiled
from tests.support.inprocess import Running

Serve = Callable[[str], Running]


class Timers:
    """Timers that fire when the clock of the test passes them."""

    def __init__(self, clock: FixedClock) -> None:
        self.clock = clock
        self.armed: dict[int, tuple[float, Callable[[], object]]] = {}

    def __call__(self, delay_s: float, function: Callable[[], object]) -> Timer:
        return Timer(self, delay_s, function)

    def advance(self, seconds: float) -> None:
        """Let time pass, and let each timer fire at its moment."""
        end = self.clock.mono() + seconds
        while due := [(when, key) for key, (when, _) in self.armed.items() if when <= end]:
            when, key = min(due)
            self.clock.advance(max(when - self.clock.mono(), 0))
            self.armed.pop(key)[1]()
        self.clock.advance(end - self.clock.mono())


class Timer:
    def __init__(self, timers: Timers, delay_s: float, function: Callable[[], object]) -> None:
        assert delay_s > 0
        self.timers, self.delay_s, self.function = timers, delay_s, function

    def arm(self) -> None:
        self.timers.armed[id(self)] = (self.timers.clock.mono() + self.delay_s, self.function)

    def disarm(self) -> None:
        self.timers.armed.pop(id(self), None)


class Bench:
    """An allowance, and who was let through when."""

    def __init__(self, messages: int, seconds: int) -> None:
        self.clock = FixedClock(mono_s=0.0)
        self.timers = Timers(self.clock)
        self.throttle = Throttle((), (messages, seconds), self.clock, self.timers)
        self.granted: list[tuple[str, float]] = []
        self.gone: set[str] = set()

    def come(self, *names: str) -> None:
        for name in names:
            if self.throttle.take(lambda name=name: self._grant(name)):  # type: ignore[misc]
                self._grant(name)

    def _grant(self, name: str) -> bool:
        self.granted.append((name, round(self.clock.mono(), 3)))
        return name not in self.gone


def test_a_burst_goes_at_once_and_the_rest_evenly() -> None:
    bench = Bench(3, 60)
    bench.come("a", "b", "c", "d", "e", "f", "g")
    assert bench.granted == [("a", 0), ("b", 0), ("c", 0)]
    bench.timers.advance(60)
    assert bench.granted[3:] == [("d", 20), ("e", 40), ("f", 60)]
    assert len(bench.timers.armed) == 1, "one timer, whatever waits"
    bench.timers.advance(1000)
    assert bench.granted[6:] == [("g", 80)]
    assert not bench.timers.armed


def test_nobody_overtakes() -> None:
    bench = Bench(1, 10)
    bench.come("a", "b")
    bench.timers.advance(9.9)
    bench.come("c")
    bench.timers.advance(0.2)
    bench.come("d")
    bench.timers.advance(100)
    assert [name for name, _ in bench.granted] == ["a", "b", "c", "d"]


def test_over_a_long_time_the_rate_is_exact() -> None:
    bench = Bench(7, 3)
    bench.come(*(str(number) for number in range(707)))
    bench.timers.advance(300)
    assert len(bench.granted) == 707
    assert bench.granted[-1][1] == pytest.approx(300, abs=0.01)


def test_an_idle_time_saves_no_more_than_one_burst() -> None:
    bench = Bench(2, 1)
    bench.timers.advance(1000)
    bench.come("a", "b", "c")
    assert bench.granted == [("a", 1000), ("b", 1000)]


def test_who_is_gone_costs_the_others_nothing() -> None:
    bench = Bench(1, 10)
    bench.come("a", "b", "c", "d")
    bench.gone = {"b", "c"}
    bench.timers.advance(10)
    assert bench.granted == [("a", 0), ("b", 10), ("c", 10), ("d", 10)]


def test_another_rate_holds_at_once() -> None:
    bench = Bench(1, 1000)
    bench.come("a", "b", "c", "d", "e")
    bench.throttle.change((2, 1))
    bench.timers.advance(10)
    assert [when for _, when in bench.granted] == [0, 0.5, 1.0, 1.5, 2.0]


def test_a_lower_rate_takes_what_was_saved() -> None:
    bench = Bench(100, 1)
    bench.throttle.change((1, 10))
    bench.come("a", "b")
    assert bench.granted == [("a", 0)]


def test_the_state_is_told() -> None:
    bench = Bench(3, 60)
    assert bench.throttle.state() == ThrottleState((), 3, 60, 3, 0)
    assert bench.throttle.is_idle
    bench.come("a", "b", "c", "d", "e")
    assert bench.throttle.state() == ThrottleState((), 3, 60, 0, 2)
    bench.timers.advance(45)
    assert bench.throttle.state() == ThrottleState((), 3, 60, 0, 0)
    bench.timers.advance(100)
    assert bench.throttle.is_idle


def test_all_are_called_when_the_server_stops() -> None:
    bench = Bench(1, 1000)
    bench.come("a", "b", "c")
    bench.throttle.release_all()
    assert [name for name, _ in bench.granted] == ["a", "b", "c"]
    assert not bench.timers.armed


# --- who shares what

CONF = """
inbound_throttle_messages = "2/3600"
Pathway_Group "g" {
  inbound_throttle_messages = "3/3600"
  Pathway "one" { }
  Pathway "two" { }
  Pathway "own" { inbound_throttle_messages = "1/3600" }
}
Pathway "none" { inbound_throttle_messages = "" }
ESMTP_Listener {
  Listen "127.0.0.1:0" {
    Peer "127.0.1.0/24" { pathway = "one" }
    Peer "127.0.2.0/24" { pathway = "two" }
    Peer "127.0.3.0/24" { pathway = "own" }
    Peer "127.0.4.0/24" { pathway = "none" }
  }
}
"""


def test_sessions_share_the_allowance_of_the_scope_that_sets_it() -> None:
    configuration = compiled(CONF)
    throttles = Throttles(FixedClock())
    (listen,) = configuration.listens
    found = {
        ip: throttles.of(configuration.view_for(listen, ip))
        for ip in ("127.0.0.1", "127.0.0.2", "127.0.1.1", "127.0.2.1", "127.0.3.1", "127.0.4.1")
    }
    assert found["127.0.0.1"] is found["127.0.0.2"] is not None
    assert found["127.0.1.1"] is found["127.0.2.1"] is not found["127.0.0.1"]
    assert found["127.0.3.1"] not in (None, found["127.0.0.1"], found["127.0.1.1"])
    assert found["127.0.4.1"] is None
    assert [(state.path, state.messages) for state in throttles.states()] == [
        ((), 2),
        ((("pathway_group", "g"),), 3),
        ((("pathway_group", "g"), ("pathway", "own")), 1),
    ]


def test_an_allowance_survives_a_reload_and_takes_its_new_rate() -> None:
    clock = FixedClock()
    throttles = Throttles(clock, Timers(clock))
    old = compiled(CONF)
    before = throttles.of(old.view_for(old.listens[0], "127.0.0.1"))
    assert before is not None
    assert before.take(lambda: True)
    new = compile_tree(compiled(CONF.replace('"2/3600"', '"5/3600"')).tree, 8)
    throttles.reconfigured()
    after = throttles.of(new.view_for(new.listens[0], "127.0.0.1"))
    assert after is before
    assert after.state() == ThrottleState((), 5, 3600, 1, 0)
    throttles.of(old.view_for(old.listens[0], "127.0.0.9"))
    assert after.state().messages == 5, "a session of the old configuration doesn't turn it back"


def test_an_allowance_that_nothing_sets_any_more_is_forgotten() -> None:
    clock = FixedClock()
    throttles = Throttles(clock, Timers(clock))
    old = compiled(CONF)
    throttles.of(old.view_for(old.listens[0], "127.0.0.1"))
    throttles.reconfigured()
    assert throttles.states() == []


# --- on the wire

MAIL = b"MAIL FROM:<a@example.net>"


def test_the_250_to_mail_waits_and_the_client_is_not_idle(serve: Serve) -> None:
    """Idle_Time is one second and the wait is two: a client that is made to wait is no idle one."""
    server = serve(
        """
        inbound_throttle_messages = "1/2"
        esmtp_listener { idle_time = 1 listen "127.0.0.1:0" { } }
        """
    )
    first, second = server.client().greet(), server.client(source="127.0.0.2").greet()
    assert first.transaction().startswith(b"250 ")
    second.send(MAIL + b"\r\n")
    server.wait_for(lambda: [state.waiting for state in server.supervisor.service.throttles.states()] == [1])
    assert first.code(b"NOOP") == 250, "others are served meanwhile"
    assert second.reply() == b"250 MAIL FROM accepted\r\n"
    assert second.code(b"RSET") == 250


def test_a_refused_mail_takes_nothing(serve: Serve) -> None:
    server = serve('inbound_throttle_messages = "1/3600"\nesmtp_listener { listen "127.0.0.1:0" { } }')
    client = server.client().greet()
    assert client.code(b"MAIL FROM:<") == 501
    assert client.code(MAIL) == 250
    (state,) = server.supervisor.service.throttles.states()
    assert state.left == 0


def test_waiting_clients_are_told_when_the_server_stops(serve: Serve) -> None:
    server = serve('inbound_throttle_messages = "1/3600"\nesmtp_listener { listen "127.0.0.1:0" { } }')
    server.client().greet().code(MAIL)
    client = server.client().greet()
    client.send(MAIL + b"\r\n")
    server.wait_for(lambda: [state.waiting for state in server.supervisor.service.throttles.states()] == [1])
    server.supervisor.stop()
    assert client.reply() == b"421 4.4.5 Service unavailable\r\n"
    assert client.is_closed()


def test_clients_that_leave_while_they_wait_take_nobodys_turn(serve: Serve) -> None:
    server = serve('inbound_throttle_messages = "1/1"\nesmtp_listener { listen "127.0.0.1:0" { } }')
    server.client().greet().code(MAIL)
    for _ in range(20):
        gone = server.client().greet()
        gone.send(MAIL + b"\r\n")
        gone.close()
    assert server.client().greet().code(MAIL) == 250, "twenty seconds would be too long for the client"


def test_a_pathway_of_ones_own_is_an_allowance_of_ones_own(serve: Serve) -> None:
    server = serve(CONF)
    assert [server.client(source="127.0.0.1").greet().code(MAIL) for _ in range(2)] == [250, 250]
    assert server.client(source="127.0.3.1").greet().code(MAIL) == 250
    assert [server.client(source="127.0.4.1").greet().code(MAIL) for _ in range(5)] == [250] * 5
    patient = [server.client(source=source).greet() for source in ("127.0.0.9", "127.0.3.9")]
    for client in patient:
        client.send(MAIL + b"\r\n")
    server.wait_for(lambda: sum(state.waiting for state in server.supervisor.service.throttles.states()) == 2)
    assert [server.client(source=f"127.0.{net}.1").greet().code(MAIL) for net in (1, 2, 2)] == [250] * 3
