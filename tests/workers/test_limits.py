"""Limits hold over all workers together, exactly, and are free again when a worker dies."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing import get_context
from pathlib import Path

import pytest

from gsmtp.runtime.shared_counts import SharedCounts, make
from gsmtp.server.limits import Limits, SessionCounts
from tests.support.crew import CrewServer, crew
from tests.support.sink import SILENT, Sink
from tests.support.waiting import wait_until
from tests.support.wire import Wire

pytestmark = pytest.mark.durability

CONF = """
hostname = "mx.example.com"
spoolbase = "{folder}/spool"
relay_domains = ( "example.com" "example.org" )
ESMTP_Listener {
  smtp_extensions = ( "ENHANCEDSTATUSCODES" )
  LISTENER
  Listen "127.0.0.1:{port}" { }
}
"""


def _is_taken(wire: Wire) -> bool:
    return wire.line().startswith(b"220 ")


@contextmanager
def _full(server: CrewServer, limit: int) -> Iterator[list[Wire]]:
    """As many sessions as may be, after which three more were turned away."""
    with ExitStack() as stack:
        wires = [stack.enter_context(Wire(server.port)) for _ in range(limit)]
        assert all(_is_taken(wire) for wire in wires)
        for _ in range(3):
            with Wire(server.port) as more:
                assert more.line().startswith(b"421 ")
        yield wires


@pytest.mark.parametrize(
    "option",
    ["listener_sessions = 5", "service_sessions = 5", 'Peer "127.0.0.0/8" { listener_sessions = 5 }'],
    ids=["listener", "service", "peer"],
)
def test_sessions_are_counted_over_all_workers(tmp_path: Path, option: str) -> None:
    with crew(tmp_path, CONF.replace("LISTENER", option)) as server, _full(server, 5) as wires:
        for wire in wires[:2]:
            assert wire.say(b"QUIT").startswith(b"221 ")
            wire.socket.close()
        server.wait_for("disconnected", 2)
        with _full(server, 2):
            pass


def test_never_more_sessions_than_allowed_whoever_comes_at_once(tmp_path: Path) -> None:
    """Thirty clients at a time, many times: those with a banner are counted at this end, too."""
    most = now = admitted = 0
    lock = threading.Lock()
    with crew(tmp_path, CONF.replace("LISTENER", "listener_sessions = 4")) as server:

        def come() -> None:
            nonlocal most, now, admitted
            for _ in range(20):
                with Wire(server.port) as wire:
                    if not _is_taken(wire):
                        continue
                    with lock:
                        now += 1
                        admitted += 1
                        most = max(most, now)
                    with lock:
                        now -= 1
                    wire.say(b"QUIT")

        clients = [threading.Thread(target=come) for _ in range(30)]
        for client in clients:
            client.start()
        for client in clients:
            client.join(60)
        assert 1 <= most <= 4
        wait_until(lambda: server.log().count("disconnected") == admitted, "the end of all sessions")
        with _full(server, 4):
            pass


def test_a_killed_workers_sessions_count_no_more(tmp_path: Path) -> None:
    """However the kernel has distributed them."""
    conf = CONF.replace("LISTENER", "listener_sessions = 6")
    with crew(tmp_path, conf) as server, _full(server, 6):
        _kill(server.pids()[2])
        server.wait_for("replaced worker=2")
        left = _count_open(server.port)
        with _full(server, 6 - left):
            pass
        server.wait_for("disconnected", 6 - left)
        _kill(server.pids()[1])
        server.wait_for("replaced worker=1")
        assert _count_open(server.port) == 0
        with _full(server, 6):
            pass


def test_outbound_connections_are_counted_over_all_workers(tmp_path: Path) -> None:
    with Sink(script={"BANNER": [SILENT] * 200}) as slow:
        conf = CONF.replace("LISTENER", "") + (
            f'Domain "example.com" {{ gateway = "{slow.gateway}"  max_outbound_connections = 3 }}\n'
            f'Domain "example.org" {{ gateway = "127.0.0.1:{slow.port}"  max_outbound_connections = 3 }}\n'
        )
        with crew(tmp_path, conf) as server:
            _queue(server, 8)
            wait_until(lambda: _count_to(slow.port) == 3, "three connections")
            _queue(server, 4)
            assert _count_to(slow.port) == 3
            _kill(server.pids()[1])
            server.wait_for("replaced worker=1")
            wait_until(lambda: _count_to(slow.port) == 3, "three connections, of those that live")
            assert slow.connections <= 6


def test_a_scopes_connections_are_counted_over_all_workers(tmp_path: Path) -> None:
    with Sink(script={"BANNER": [SILENT] * 200}) as slow, Sink(script={"BANNER": [SILENT] * 200}) as other:
        conf = CONF.replace("LISTENER", "") + (
            "scope_max_outbound_connections = 3\nmax_outbound_connections = 2\n"
            f'Domain "example.com" {{ gateway = "{slow.gateway}" }}\n'
            f'Domain "example.org" {{ gateway = "{other.gateway}" }}\n'
        )
        with crew(tmp_path, conf) as server:
            _queue(server, 6, domains=(b"example.com", b"example.org"))
            wait_until(lambda: _count_to(slow.port) + _count_to(other.port) == 3, "three connections")
            _queue(server, 2, domains=(b"example.com", b"example.org"))
            assert _count_to(slow.port) + _count_to(other.port) == 3
            assert slow.connections + other.connections == 3


def _queue(server: CrewServer, count: int, domains: tuple[bytes, ...] = (b"example.com",)) -> None:
    """So many messages for each domain, at the least, with each of two workers, whichever takes a connection."""
    left = dict.fromkeys({pid % 100000 for pid in server.pids().values()}, count)
    for _ in range(50):
        with Wire(server.port) as wire:
            wire.greet()
            while any(left.values()):
                ids = [_send(wire, domain) for domain in domains]
                worker = int(ids[0].split("-")[1])
                if not left.get(worker):
                    break  # this one has enough
                left[worker] -= 1
            else:
                return
    raise AssertionError(f"one worker got nothing: {left}\n{server.log()}")


def _send(wire: Wire, domain: bytes) -> str:
    wire.envelope(b"b@" + domain)
    assert wire.say(b"DATA").startswith(b"354 ")
    wire.send(b"Subject: x\r\n\r\nx\r\n.\r\n")
    return wire.line().decode().split()[-1]


def _kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def _established() -> list[tuple[int, int]]:
    """Local and remote port of each established connection on the loopback."""
    found = []
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "01":
            found.append((int(fields[1].split(":")[1], 16), int(fields[2].split(":")[1], 16)))
    return found


def _count_open(port: int) -> int:
    return sum(local == port for local, _ in _established())


def _count_to(port: int) -> int:
    return sum(remote == port for _, remote in _established())


# --- the table itself

TURNS = 20_000


def _hammer(descriptor: int, own: int, columns: int, pipe: socket.socket) -> None:
    counts = SharedCounts(descriptor, columns, own)
    most = taken = 0
    pipe.recv(1)
    for _ in range(TURNS):
        if counts.take("a key", 2):
            taken += 1
            most = max(most, counts.total("a key"))
            counts.drop("a key")
    pipe.sendall(b"%d %d\n" % (most, taken))


def test_processes_that_come_for_the_same_place_never_have_more_than_there_are() -> None:
    """What a holder sees while it holds may include another's try that is about to be undone: at most one a process."""
    columns = 3
    descriptor = make(columns)
    context = get_context("fork")
    pairs = [socket.socketpair() for _ in range(columns)]
    children = [
        context.Process(target=_hammer, args=(descriptor, own, columns, pairs[own][1])) for own in range(columns)
    ]
    for child in children:
        child.start()
    for ours, _ in pairs:
        ours.sendall(b"x")
    for ours, _ in pairs:
        ours.settimeout(60)
        most, taken = map(int, ours.recv(100).split())
        assert most <= 3
        assert taken
    for child in children:
        child.join(20)
    assert SharedCounts(descriptor, columns).total("a key") == 0


def test_counts_of_one_process_are_seen_by_the_other_and_cleared_by_the_parent() -> None:
    descriptor = make(2)
    one, two, parent = (SharedCounts(descriptor, 2, own) for own in (0, 1, -1))
    assert [one.take("k", 3), two.take("k", 3), one.take("k", 3), two.take("k", 3)] == [True, True, True, False]
    assert (one.own("k"), two.own("k"), parent.total("k")) == (2, 1, 3)
    parent.clear(0)
    assert two.total("k") == 1
    assert [two.take("k", 3), two.take("k", 3), two.take("k", 3)] == [True, True, False]
    for _ in range(3):
        two.drop("k")
    two.drop("k")
    assert parent.total("k") == 0


def test_many_keys_keep_their_counts_apart() -> None:
    descriptor = make(2)
    one, two = SharedCounts(descriptor, 2, 0), SharedCounts(descriptor, 2, 1)
    names = [f"lane smtp 10.0.{number // 250}.{number % 250}:25" for number in range(3000)]
    assert all(one.take(name, 2) for name in names)
    assert all(two.take(name, 2) for name in names)
    assert not any(two.take(name, 2) for name in names)
    for name in names:
        one.drop(name)
        two.drop(name)
    assert not any(two.total(name) for name in names)


# --- so many in a time


def test_a_rate_of_mail_is_kept_by_all_workers_together(tmp_path: Path) -> None:
    """Five an hour: whoever asks whichever worker, the sixth waits."""
    conf = CONF.replace("LISTENER", "") + "suspend_delivery = true\ninbound_throttle_messages = 5/3600\n"
    with crew(tmp_path, conf) as server, Wire(server.port) as first, Wire(server.port) as second:
        wires = [first.greet(), second.greet()]
        for number in range(5):  # by one worker or by both
            wire = wires[number % 2]
            wire.envelope(b"b@example.com")
            assert wire.say(b"RSET").startswith(b"250 ")
        for wire in wires:
            wire.socket.settimeout(0.5)
            wire.send(b"MAIL FROM:<a@example.net>\r\n")
            with pytest.raises(TimeoutError):
                wire.line()


def test_a_rate_of_connections_to_others_is_kept_by_all_workers_together(tmp_path: Path) -> None:
    with Sink(script={"BANNER": [SILENT] * 200}) as hop, Sink(script={"BANNER": [SILENT] * 200}) as other:
        conf = CONF.replace("LISTENER", "") + (
            f'Domain "example.com" {{ gateway = "{hop.gateway}"  outbound_throttle_connections = 3/3600 }}\n'
            f'Domain "example.org" {{ gateway = "{other.gateway}"  outbound_throttle_messages = 2/3600 }}\n'
        )
        with crew(tmp_path, conf) as server:
            _queue(server, 4, (b"example.com", b"example.org"))
            wait_until(lambda: (hop.connections, other.connections) == (3, 2), "what the rates allow")
            _queue(server, 2, (b"example.com", b"example.org"))
            assert (hop.connections, other.connections) == (3, 2)


def test_a_session_that_moves_to_another_scope_keeps_its_place_until_it_has_the_new_one() -> None:
    """As one behind a proxy does, once it is known for whom the proxy speaks."""
    descriptor = make(2)
    one, two = (SessionCounts(SharedCounts(descriptor, 2, own)) for own in (0, 1))
    listener = Limits(2, (("listen", ":25"),), 3)
    peer = Limits(1, (("listen", ":25"), ("peer", "10.0.0.0/8")), 3)
    assert one.admit(listener)
    assert two.admit(listener)
    assert not one.admit(listener)
    assert one.move(listener, peer)
    assert not two.move(listener, peer), "there is one place for the peer"
    assert one.admit(listener), "the place that was left"
    assert not two.admit(peer)
    assert not two.admit(Limits(0, (), 3)), "three in all"
    one.leave(peer)
    assert two.move(listener, peer)
    assert two.admit(Limits(0, (), 3))
    assert (one.service, two.service) == (1, 2)
