"""Pools that several sockets share, and hooks that end in ways that nobody would write on purpose."""

from __future__ import annotations

from pathlib import Path

import gevent
import pytest

from gsmtp.core.errors import SpoolUnhealthy
from gsmtp.policy.chain import HOOKS, Chain, Hook
from gsmtp.policy.decision import Phase
from gsmtp.server.listener import Listener
from tests.support.inprocess import BASE, running

SHARED = """
esmtp_listener { listen "127.0.0.1:0" { pool_name = "small" } listen "127.0.0.2:0" { pool_name = "small" } }
threadpool "small" { concurrency = 4 %s }
"""


def is_accepting(listener: Listener) -> bool:
    """Whether gevent watches the socket for new connections."""
    return vars(listener).get("_watcher") is not None


def test_a_session_that_ends_makes_room_on_every_socket_of_its_pool(tmp_path: Path) -> None:
    with running(tmp_path, SHARED % "max_sessions = 1") as server:
        first = server.client(0).greet()
        waiting = server.client(1)
        second = server.listeners[1]
        server.wait_for(lambda: not is_accepting(second), "the full pool stops its other socket")
        first.close()
        assert waiting.reply().startswith(b"220 ")
        waiting.close()


@pytest.mark.parametrize("limit", ["max_sessions = 2", ""])
def test_a_reload_that_raises_max_sessions_lets_those_in_who_wait(tmp_path: Path, limit: str) -> None:
    with running(tmp_path, SHARED % "max_sessions = 1") as server:
        first = server.client(0).greet()
        waiting = server.client(0)
        server.wait_for(lambda: not is_accepting(server.listeners[0]))
        server.reconfigure(BASE.format(spool=tmp_path / "spool") + SHARED % limit)
        assert waiting.reply().startswith(b"220 ")
        waiting.close()
        first.close()


def test_a_session_is_counted_out_of_the_pool_that_it_was_counted_into(tmp_path: Path) -> None:
    two = SHARED % "max_sessions = 1" + 'threadpool "other" { concurrency = 4 max_sessions = 1 }'
    with running(tmp_path, two) as server:
        first = server.client(0).greet()
        moved = two.replace('"127.0.0.1:0" { pool_name = "small"', '"127.0.0.1:0" { pool_name = "other"')
        server.reconfigure(BASE.format(spool=tmp_path / "spool") + moved)
        first.close()
        server.wait_for(lambda: server.sessions == 0)
        assert [pool.sessions.now for pool in server.supervisor._pools] == [0, 0]


@pytest.mark.parametrize("error", [gevent.Timeout, gevent.GreenletExit, SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize("may_block", [True, False])
def test_whatever_a_hook_raises_costs_one_451(tmp_path: Path, error: type[BaseException], may_block: bool) -> None:
    def broken(_context: object, _event: object) -> None:
        raise error

    with running(tmp_path, SHARED % "") as server:
        service = server.supervisor._service
        chain, service.chain = service.chain, Chain([*HOOKS, Hook("broken", Phase.MAIL, 500, broken, may_block)])
        client = server.client().greet()
        assert client.code(b"MAIL FROM:<a@example.net>") == 451
        service.chain = chain
        assert client.transaction().startswith(b"250 ")
        client.close()
        server.wait_for(lambda: server.sessions == 0)


def test_a_spool_that_fails_behind_a_blocking_hook_ends_the_session_and_leaks_none(tmp_path: Path) -> None:
    with running(tmp_path, SHARED % "") as server:
        service = server.supervisor._service

        def takes_the_body(_context: object, _event: object) -> None:
            (connection,) = service.connections
            connection.reception.drop_body()  # as a bug of ours would: there is nothing to commit

        service.chain = Chain([*HOOKS, Hook("gate", Phase.DATA, 500, takes_the_body, may_block=True)])
        client = server.client().greet()
        assert client.transaction() == b""
        server.wait_for(lambda: server.sessions == 0)
        assert (service.counts.service, server.listeners[0].sessions) == (0, 0)
        client.close()


def test_a_spool_closed_under_a_hook_is_a_451(tmp_path: Path) -> None:
    with running(tmp_path, SHARED % "") as server:
        service = server.supervisor._service

        def close(_context: object, _event: object) -> None:
            service.spool.close()

        service.chain = Chain([*HOOKS, Hook("gate", Phase.DATA, 500, close, may_block=True)])
        client = server.client().greet()
        assert client.transaction().startswith(b"451 ")
        assert isinstance(service.spool.unhealthy_reason(), SpoolUnhealthy)
        assert client.code(b"MAIL FROM:<a@example.net>") == 451
        client.close()
