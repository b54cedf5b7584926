"""kill -9 of the whole server under load, fifty times: what got its 250 is delivered, whole, and nothing twice but what
was in flight."""

from __future__ import annotations

import random
import threading
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest

from tests.support.messages import compose, dots, eight_bit, large, number_of, plain, without_trace
from tests.support.server import Server, serving
from tests.support.waiting import wait_until
from tests.support.wire import Wire

pytestmark = [pytest.mark.durability, pytest.mark.timeout(280)]

CONF = """
hostname = "mx.example.com"
spoolbase = "{folder}/spool"
relay_domains = ( "example.com" "*.example.com" )
ESMTP_Listener { Listen "127.0.0.1:{port}" { } }
maildir "m" { basedir = "{folder}/maildir"  domains = ( "example.com" ) }
Domain "next.example.com" {
  gateway = "127.0.0.1"  remote_smtp_port = NEXT_PORT  retry_interval = 1  max_retry_interval = 1
}
"""

NEXT_HOP = """
hostname = "next.example.com"
spoolbase = "{folder}/spool"
relay_domains = ( "next.example.com" )
ESMTP_Listener { Listen "127.0.0.1:{port}" { } }
maildir "m" { basedir = "{folder}/maildir"  domains = ( "next.example.com" ) }
"""

KILLS = 50
SENDERS = 6
ON_THE_WAY_S = 1.0  # what a killed server had written to a socket may still reach the next hop after the kill


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

    def has_more_than(self, count: int) -> bool:
        """Whether more messages than that got their 250."""
        return len(self.acknowledged) > count

    def run(self) -> None:
        """Send until told to stop; a broken connection is made anew."""
        while not self.over.is_set():
            try:
                with Wire(self._port, timeout_s=10) as wire:
                    wire.greet()
                    while not self.over.is_set():
                        number = self._next()
                        domain = b"next.example.com" if number % 2 else b"example.com"
                        reply = wire.message(b"user%d@%s" % (number % 5, domain), _content(number))
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


def _numbers(files: list[Path]) -> set[int]:
    return {number_of(file.read_bytes()[:4096]) for file in files}


def test_nothing_acknowledged_is_lost_over_fifty_kills(tmp_path: Path) -> None:
    for name in ("killed", "next"):
        (tmp_path / name).mkdir()
    with serving(tmp_path / "next", NEXT_HOP) as next_hop:
        server = Server(tmp_path / "killed", CONF.replace("NEXT_PORT", str(next_hop.port)))
        load = Load(server.port)
        try:
            kills = _kill_under_load(server, load)
            server.start()
            wait_until(
                lambda: load.acknowledged <= _numbers(server.delivered() + next_hop.delivered()),
                "everything acknowledged is delivered",
                60,
                every_s=0.5,
            )
            assert server.stop() == 0
        finally:
            server.kill()
        copies = _copies(server.delivered() + next_hop.delivered())
    assert len(load.acknowledged) >= KILLS * 5, "a load worth the name"
    assert load.acknowledged <= set(copies) <= load.tried
    for number, found in copies.items():
        assert {content for _, content in found} == {_content(number)}, f"message {number}"
        times = sorted(when for when, _ in found)
        for earlier, later in pairwise(times):
            between = any(earlier - ON_THE_WAY_S <= kill <= later for kill in kills)
            assert between, f"message {number} was delivered twice without a kill between"


def _kill_under_load(server: Server, load: Load) -> list[float]:
    """Start and kill the server, fifty times, at any moment of its work; when the kills were."""
    moments = random.Random(2)
    kills: list[float] = []
    with ThreadPoolExecutor(SENDERS) as pool:
        senders = [pool.submit(load.run) for _ in range(SENDERS)]
        try:
            for _ in range(KILLS):
                before = len(load.acknowledged)
                server.start()
                wait_until(partial(load.has_more_than, before), "mail accepted", every_s=0.005)
                time.sleep(moments.uniform(0.0, 0.5))
                server.kill()
                kills.append(time.time())
        finally:
            load.over.set()
            server.kill()
        for sender in senders:
            sender.result(30)
    return kills
