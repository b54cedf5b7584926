"""What connections cost that do nothing, and what is left of those that are gone."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from gsmtp.server.connection import Connection
from tests.support.inprocess import Running, running

CONF = 'ESMTP_Listener { Listen "127.0.0.1:0" { } }'
MOST_BYTES = 2048
HELD = 200


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Running]:
    with running(tmp_path, CONF) as server:
        yield server


def test_a_connection_that_is_gone_leaves_nothing_to_the_garbage_collector(server: Running) -> None:
    gc.collect()
    gc.disable()
    try:
        with_quit, without, with_mail = (server.client().greet() for _ in range(3))
        with_mail.transaction(b"Subject: x\r\n\r\nx\r\n")
        with_quit.say(b"QUIT")
        for client in (with_quit, without, with_mail):
            client.close()
        server.wait_for(lambda: server.sessions == 0)
        server.wait_for(lambda: not _connections(server))
    finally:
        gc.enable()


def _connections(server: Running) -> list[Connection]:
    """Those of this server that are in memory, open or not."""
    every = [thing for thing in gc.get_objects() if isinstance(thing, Connection)]
    return [connection for connection in every if connection.listener in server.listeners]


@pytest.mark.pure  # what compiled code allocates has no place in a source
def test_a_connection_held_after_ehlo_takes_two_kib_at_most(server: Running) -> None:
    server.client().greet()
    tracemalloc.start()
    try:
        before = tracemalloc.take_snapshot()
        clients = [server.client().greet() for _ in range(HELD)]
        after = tracemalloc.take_snapshot()
    finally:
        tracemalloc.stop()
    ours = [tracemalloc.Filter(True, "*/gsmtp/*"), tracemalloc.Filter(True, "<string>")]
    differences = after.filter_traces(ours).compare_to(before.filter_traces(ours), "filename")
    assert len(clients) == HELD
    assert 0 < sum(one.size_diff for one in differences) / HELD <= MOST_BYTES
