"""Workers that die are replaced: no client is refused, no message is lost, and who dies again and again has to wait."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import threading
from pathlib import Path

import pytest

from tests.support.crew import CrewServer, crew
from tests.support.waiting import wait_until
from tests.support.wire import Wire

pytestmark = pytest.mark.durability

CONF = """
hostname = "mx.example.com"
spoolbase = "{folder}/spool"
relay_domains = ( "example.com" )
suspend_delivery = true
ESMTP_Listener { Listen "127.0.0.1:{port}" { } }
"""
LOGS = """
ec_logger "l" {
  mainlog = "{folder}/mainlog"  paniclog = "{folder}/paniclog"  rejectlog = "{folder}/rejectlog"
  acctlog = "{folder}/acctlog"
}
"""
KILLS = 4
SENDERS = 6
LARGE = b"x" * 70 + b"\r\n"


class Load:
    """Senders that go on over kills.

    Attributes:
        confirmed: the ids of messages that got their 250.
        cut: transactions whose final dot went out and that got no answer.
        refused: connections that could not be made.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._is_over = threading.Event()
        self.confirmed: list[str] = []
        self.cut = 0
        self.refused = 0
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._send, args=(number,)) for number in range(SENDERS)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join(60)

    def _send(self, number: int) -> None:
        while not self._is_over.is_set():
            try:
                with Wire(self._port) as wire:
                    self._session(wire, number)
            except ConnectionRefusedError:
                self.refused += 1
            except OSError:
                pass  # its worker was killed

    def _session(self, wire: Wire, number: int) -> None:
        wire.greet()
        for turn in range(50):
            if self._is_over.is_set():
                return
            wire.envelope(b"b@example.com")
            assert wire.say(b"DATA").startswith(b"354 ")
            size = 4000 if (turn + number) % 20 == 0 else 5
            wire.send(b"Subject: x\r\n\r\n" + LARGE * size + b".\r\n")
            try:
                line = wire.line()
            except OSError:
                with self._lock:
                    self.cut += 1
                raise
            assert line.startswith(b"250 "), line
            with self._lock:
                self.confirmed.append(line.decode().split()[-1])


def _kill(server: CrewServer, slot: int, times: int) -> int:
    """Kill the worker that has a slot now, and wait for the next one; returns its number."""
    pid = server.pids()[slot]
    os.kill(pid, signal.SIGKILL)
    server.wait_for("replaced worker=", times, 40)
    return pid


@pytest.mark.timeout(170)
def test_workers_killed_under_load_lose_nothing_and_no_client_is_refused(tmp_path: Path) -> None:
    with crew(tmp_path, CONF) as server, Load(server.port) as load:
        for turn in range(KILLS):
            before = len(load.confirmed)
            wait_until(lambda before=before: len(load.confirmed) > before + 100, "more mail", 40)  # type: ignore[misc]
            _kill(server, turn % 2 + 1, turn + 1)
        before = len(load.confirmed)
        wait_until(lambda: len(load.confirmed) > before + 100, "more mail", 40)
        load.__exit__()
        assert load.refused == 0
        assert server.stop() == 0
        kept = server.ids()
        assert len(set(kept)) == len(kept)
        assert set(load.confirmed) <= set(kept)
        assert len(set(kept) - set(load.confirmed)) <= load.cut
        assert len(load.confirmed) == len(set(load.confirmed))
    server.workers = 1
    try:
        server.start()
        server.wait_for("took over a worker's spool worker=2")
        assert server.ids() == kept
        assert not list(server.spool.glob("worker-*"))
    finally:
        server.stop()
    assert server.ids() == kept


def test_who_dies_again_waits_before_it_is_replaced_and_the_others_go_on(tmp_path: Path) -> None:
    with crew(tmp_path, CONF + LOGS) as server:
        first = _kill(server, 2, 1)
        second = _kill(server, 2, 2)
        with Wire(server.port) as wire:
            wire.greet()
        lines = (tmp_path / "paniclog").read_text().splitlines()
        died = [line for line in lines if "was killed by signal 9" in line]
        assert [re.findall(r"worker_pid=(\d+)", line) for line in died] == [[str(first)], [str(second)]]
        assert ["pause_s" in line for line in died] == [False, True]


def test_a_worker_told_to_end_drains_and_is_replaced(tmp_path: Path) -> None:
    with crew(tmp_path, CONF) as server, Wire(server.port) as one, Wire(server.port) as two:
        for wire in (one, two):
            wire.greet()
            wire.envelope(b"b@example.com")
            assert wire.say(b"DATA").startswith(b"354 ")
        os.kill(server.pids()[1], signal.SIGTERM)
        for wire in (one, two):
            wire.send(b"Subject: x\r\n\r\nx\r\n.\r\n")
            assert wire.line().startswith(b"250 ")
        server.wait_for("replaced worker=1")
        assert len(server.ids()) == 2


def test_lines_of_all_processes_are_whole_and_rotated_files_are_followed(tmp_path: Path) -> None:
    with crew(tmp_path, CONF + LOGS) as server:
        with Load(server.port) as load:
            wait_until(lambda: len(load.confirmed) > 300, "mail")
            (tmp_path / "mainlog").rename(tmp_path / "mainlog.1")
            server.signal(signal.SIGHUP)
            server.wait_for("reloaded")
            before = len(load.confirmed)
            wait_until(lambda: len(load.confirmed) > before + 300, "mail")
        assert server.stop() == 0
        received = re.compile(r"^\d+@[0-9A-F]{2}/[0-9A-F]{2}-\d{5}-[0-9A-F]{8}@")
        lines = [(tmp_path / name).read_text().splitlines() for name in ("mainlog.1", "mainlog")]
        assert all(lines)
        assert all(received.match(line) for part in lines for line in part)
        ids = [line.split("@")[1] for part in lines for line in part]
        assert set(load.confirmed) <= set(ids)
        stamp = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (info|warning|critical) ")
        assert all(stamp.match(line) for line in server.log().splitlines())
        told = re.findall(r" received id=(\S+)", server.log())
        assert sorted(told) == sorted(ids)


def test_while_a_worker_can_not_be_replaced_the_others_serve_its_clients(tmp_path: Path) -> None:
    """Somebody else has its spool: each try is told and comes later than the one before."""
    with crew(tmp_path, CONF + LOGS) as server:
        with (server.folder_of(2) / "lock").open() as lock:
            os.kill(server.pids()[2], signal.SIGKILL)
            wait_until(lambda: _locks(lock.fileno()), "the lock", every_s=0.001)
            server.wait_for("worker 2 can't be replaced", 2)
            for _ in range(20):
                with Wire(server.port) as wire:
                    wire.greet()
            assert "is in use by process" in (tmp_path / "paniclog").read_text()
        server.wait_for("replaced worker=2")


def _locks(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
