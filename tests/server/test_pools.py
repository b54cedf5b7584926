"""The pool bounds green threads at work; a turn that may block takes one and holds nobody else up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import gevent
import gevent.event
import pytest

from gsmtp.core.reply import reply
from gsmtp.policy.chain import HOOKS, Chain, Hook
from gsmtp.policy.context import Context
from gsmtp.policy.decision import Decision, Phase
from gsmtp.runtime.pools import WorkPool
from gsmtp.smtp.events import Mail
from tests.support.inprocess import running


class Gate:
    """A hook that waits until the test opens it, and counts who is inside."""

    def __init__(self) -> None:
        self.inside = 0
        self.most = 0
        self.opened = gevent.event.Event()

    def __call__(self, _context: Context, event: Mail) -> Decision | None:
        if not event.reverse_path.startswith("slow"):
            return None
        self.inside += 1
        self.most = max(self.most, self.inside)
        assert self.opened.wait(10)
        self.inside -= 1
        if event.reverse_path.startswith("slow-refused"):
            return Decision(reply(550, "5.7.1 not you"))
        return None

    def chain(self) -> Chain:
        """The product's hooks and this one."""
        return Chain([*HOOKS, Hook("gate", Phase.MAIL, 500, self, may_block=True)])


@pytest.fixture
def gate() -> Iterator[Gate]:
    one = Gate()
    yield one
    one.opened.set()


CONF = """ESMTP_Listener { Listen "127.0.0.1:0" { concurrency = 2  pool_name = "small" }
                           Listen "127.0.0.2:0" { } }
ThreadPool "small" { concurrency = 4 }"""


def test_blocking_turns_take_green_threads_within_the_sockets_share(tmp_path: Path, gate: Gate) -> None:
    with running(tmp_path, CONF) as server:
        server.supervisor._service.chain = gate.chain()
        assert server.listeners[0].pool is server.listeners[0].work_pool
        assert server.listeners[0].work_pool.size == 4
        clients = [server.client().greet() for _ in range(5)]
        for number, client in enumerate(clients):
            client.send(b"MAIL FROM:<slow-%s%d@example.net>\r\n" % (b"refused-" if number % 2 else b"", number))
        server.wait_for(lambda: gate.inside == 2)
        gevent.sleep(0.05)
        assert gate.inside == 2, "Concurrency = 2 is this socket's share of the pool"
        other = server.client(1).greet()
        assert other.transaction().startswith(b"250 "), "the other socket has another pool"
        gate.opened.set()
        got = [client.reply()[:3] for client in clients]
        assert got == [b"250", b"550", b"250", b"550", b"250"]
        assert gate.most == 2
        for client in [*clients, other]:
            client.close()


def test_a_client_that_leaves_during_its_turn_costs_nothing(tmp_path: Path, gate: Gate) -> None:
    with running(tmp_path, CONF) as server:
        server.supervisor._service.chain = gate.chain()
        client = server.client().greet()
        client.send(b"MAIL FROM:<slow@example.net>\r\n")
        server.wait_for(lambda: gate.inside == 1)
        client.reset()
        gate.opened.set()
        server.wait_for(lambda: server.sessions == 0)
        assert server.client().greet().transaction().startswith(b"250 ")


def test_a_hook_that_raises_costs_one_451(tmp_path: Path) -> None:
    def broken(_context: Context, _event: Mail) -> None:
        raise ZeroDivisionError("a bug in a hook")

    with running(tmp_path, CONF) as server:
        server.supervisor._service.chain = Chain([*HOOKS, Hook("broken", Phase.MAIL, 500, broken)])
        client = server.client().greet()
        assert client.say(b"MAIL FROM:<a@example.net>") == b"451 4.3.0 transaction failed\r\n"
        assert client.code(b"NOOP") == 250
        client.close()


def test_a_missing_pool_falls_back_to_io_with_a_critical_line(tmp_path: Path) -> None:
    conf = """ESMTP_Listener {
      Listen "127.0.0.1:0" { concurrency = 3  pool_name = "nope" }
      Listen "127.0.0.2:0" { concurrency = 3 }
      Listen "127.0.0.3:0" { pool_name = "IO" }
    }"""
    with running(tmp_path, conf) as server:
        assert [one.work_pool.name for one in server.listeners] == ["IO", "IO", "IO"]
        assert server.listeners[0].work_pool.size == 50
        critical = [line for line in str(server.log).splitlines() if " critical " in line]
        assert len(critical) == 2
        assert "nope" in critical[0]
        assert 'listen "127.0.0.2:0"' in critical[1].lower()


def test_events_per_iter_bounds_the_accepts_of_a_wake_up(tmp_path: Path) -> None:
    conf = """ESMTP_Listener {
      Listen "127.0.0.1:0" { events_per_iter = 20  concurrency = 1  pool_name = "CPU" }
      Listen "127.0.0.2:0" { concurrency = 1  pool_name = "CPU" }
      Listen "127.0.0.3:0" { }
    }"""
    with running(tmp_path, conf) as server:
        assert [one.max_accept for one in server.listeners] == [20, 1, 100]


def test_the_accept_queue_fills_and_then_the_kernel_waits(tmp_path: Path, gate: Gate) -> None:
    conf = """ESMTP_Listener { Listen "127.0.0.1:0" { concurrency = 1  pool_name = "one"  accept_queue_backlog = 2 } }
    ThreadPool "one" { concurrency = 1 }"""
    with running(tmp_path, conf) as server:
        server.supervisor._service.chain = gate.chain()
        (listener,) = server.listeners
        clients = [server.client().greet() for _ in range(4)]
        for client in clients:
            client.send(b"MAIL FROM:<slow@example.net>\r\n")
        server.wait_for(lambda: len(listener._waiting) == 3)
        late = server.client()
        gevent.sleep(0.05)
        assert server.sessions == 4
        gate.opened.set()
        assert [client.reply()[:3] for client in clients] == [b"250"] * 4
        late.greet()
        for client in [*clients, late]:
            client.close()


def test_a_pool_runs_what_waits_in_order_and_no_more_than_its_size() -> None:
    pool = WorkPool("p", 2)
    order: list[int] = []
    at_once: list[int] = []

    def job(number: int) -> None:
        at_once.append(len(pool))
        order.append(number)
        gevent.sleep(0)

    for number in range(9):
        pool.submit(job, number)
    assert pool.waiting == 7
    assert pool.is_crowded(7)
    assert not pool.is_crowded(8)
    assert pool.join(10)
    assert order == list(range(9))
    assert max(at_once) == 2
