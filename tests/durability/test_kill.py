"""kill -9 of the whole server under load, fifty times: what got its 250 is delivered, whole, and nothing twice but what
was in flight."""

from __future__ import annotations

import random
import threading
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest

from tests.support.messages import compose, dots, eight_bit, large, number_of, plain, without_trace
from tests.support.server import Server
from tests.support.waiting import wait_until
from tests.support.wire import Wire

pytestmark = [pytest.mark.durability, pytest.mark.timeout(280)]

CONF = """
hostname = "mx.example.com"
spoolbase = "{folder}/spool"
relay_domains = ( "example.com" )
ESMTP_Listener { Listen "127.0.0.1:{port}" { } }
maildir "m" { basedir = "{folder}/maildir"  domains = ( "example.com" ) }
"""

KILLS = 50
SENDERS = 6


def _content(number: int) -> bytes:
    """The message of that number: small ones of all sorts, now and then one that the spool streams to a file."""
    if number % 40 == 0:
        return compose(number, large(number, 300_000))
    return compose(number, (plain, eight_bit, dots)[number % 3](number))


class Load:
    """Senders that go on over restarts, and remember which messages got their 250."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._numbers = iter(range(10_000_000))
        self._lock = threading.Lock()
        self.acknowledged: set[int] = set()
        self.tried: set[int] = set()
        self.over = threading.Event()

    def _next(self) -> int:
        with self._lock:
            number = next(self._numbers)
            self.tried.add(number)
            return number

    def run(self) -> None:
        """Send until told to stop; a broken connection is made anew."""
        while not self.over.is_set():
            try:
                with Wire(self._port, timeout_s=10) as wire:
                    wire.greet()
                    while not self.over.is_set():
                        number = self._next()
                        reply = wire.message(b"user%d@example.com" % (number % 5), _content(number))
                        assert reply.startswith(b"250 "), reply
                        self.acknowledged.add(number)
            except OSError:
                self.over.wait(0.02)


def _copies(files: list[Path]) -> dict[int, list[tuple[float, bytes]]]:
    """For each number its copies: when each was written, and what it says without the trace fields."""
    copies: dict[int, list[tuple[float, bytes]]] = defaultdict(list)
    for file in files:
        data = file.read_bytes()
        copies[number_of(data)].append((file.stat().st_mtime, without_trace(data)))
    return copies


def test_nothing_acknowledged_is_lost_over_fifty_kills(tmp_path: Path) -> None:
    server = Server(tmp_path, CONF)
    load = Load(server.port)
    moments = random.Random(2)
    kills: list[float] = []
    with ThreadPoolExecutor(SENDERS) as pool:
        senders = [pool.submit(load.run) for _ in range(SENDERS)]
        try:
            for _ in range(KILLS):
                before = len(load.acknowledged)
                server.start()
                wait_until(lambda before=before: len(load.acknowledged) > before, "mail accepted", every_s=0.005)  # type: ignore[misc]
                time.sleep(moments.uniform(0.0, 0.5))  # a kill at any moment
                server.kill()
                kills.append(time.time())
        finally:
            load.over.set()
            server.kill()
        for sender in senders:
            sender.result(30)
    server.start()
    try:
        wait_until(
            lambda: load.acknowledged <= {number_of(file.read_bytes()[:4096]) for file in server.delivered()},
            "everything acknowledged is delivered",
            60,
            every_s=0.5,
        )
        assert server.stop() == 0
    finally:
        server.kill()

    copies = _copies(server.delivered())
    assert len(load.acknowledged) >= KILLS * 5, "a load worth the name"
    assert load.acknowledged <= set(copies) <= load.tried
    for number, found in copies.items():
        assert {content for _, content in found} == {_content(number)}, f"message {number}"
        times = sorted(when for when, _ in found)
        for earlier, later in pairwise(times):
            assert any(earlier <= kill <= later for kill in kills), f"message {number} twice without a kill between"
