"""The wheel: who is due expires once, who was busy meanwhile does not."""

from __future__ import annotations

import time
from socket import socketpair

import gevent
import pytest

from gsmtp.runtime.deadline import Bucket, DeadlineWheel


class Waiter:
    """Expires `idle_s` after it was touched."""

    def __init__(self, idle_s: float) -> None:
        self.idle_s = idle_s
        self.touched = time.monotonic()
        self.ends: list[float] = []
        self.bucket: Bucket | None = None

    def due_mono(self) -> float:
        return self.touched + self.idle_s

    def expired(self) -> None:
        self.ends.append(time.monotonic())


def _until(condition: object) -> None:
    assert callable(condition)
    with gevent.Timeout(10, AssertionError("not within 10 s")):
        while not condition():
            gevent.sleep(0.01)


def test_a_waiter_expires_once_and_never_early() -> None:
    wheel = DeadlineWheel(0.02)
    waiters = [Waiter(0.05 * number) for number in range(5)]
    for waiter in waiters:
        wheel.add(waiter)
    _until(lambda: all(waiter.ends for waiter in waiters))
    gevent.sleep(0.1)
    assert [len(waiter.ends) for waiter in waiters] == [1] * 5
    assert all(waiter.ends[0] >= waiter.due_mono() for waiter in waiters)
    wheel.close()


def test_a_touched_waiter_moves_and_a_discarded_one_is_forgotten() -> None:
    wheel = DeadlineWheel(0.02)
    busy, gone, idle = Waiter(0.1), Waiter(0.05), Waiter(0.3)
    for waiter in (busy, gone, idle):
        wheel.add(waiter)
    wheel.discard(gone)
    wheel.discard(gone)

    def touch() -> bool:
        busy.touched = time.monotonic()
        return bool(idle.ends)

    _until(touch)
    assert busy.ends == []
    assert gone.ends == []
    _until(lambda: busy.ends)
    wheel.close()


def test_others_have_their_turn_while_thousands_expire() -> None:
    wheel = DeadlineWheel(0.02)
    ours, theirs = socketpair()
    watcher = gevent.get_hub().loop.io(ours.fileno(), 1)
    ends: list[int] = []
    turns: list[int] = []

    class Slow(Waiter):
        def expired(self) -> None:
            super().expired()
            ends.append(1)
            until = time.monotonic() + 0.0002
            while time.monotonic() < until:
                pass
            if len(ends) == 1:
                theirs.send(b"x")

    def other() -> None:
        ours.recv(1)
        turns.append(len(ends))
        wheel.discard(next(waiter for waiter in waiters if not waiter.ends))

    watcher.start(other)
    waiters = [Slow(0) for _ in range(500)]
    for waiter in waiters:
        wheel.add(waiter)
    _until(lambda: len(ends) == 499)
    assert turns[0] < 20, "a socket waits for some of them, not for all"
    assert all(waiter.bucket is None for waiter in waiters)
    wheel.close()
    watcher.close()
    for one in (ours, theirs):
        one.close()


def test_a_waiter_may_discard_another_while_expiring() -> None:
    wheel = DeadlineWheel(0.02)

    class Killer(Waiter):
        def expired(self) -> None:
            super().expired()
            for other in pair:
                wheel.discard(other)

    pair = [Killer(0.03), Killer(0.03)]
    for waiter in pair:
        waiter.touched = 0
        wheel.add(waiter)
    _until(lambda: any(waiter.ends for waiter in pair))
    gevent.sleep(0.06)
    assert sum(len(waiter.ends) for waiter in pair) == 1
    wheel.close()


def test_a_waiter_that_fails_costs_no_other_its_deadline(caplog: pytest.LogCaptureFixture) -> None:
    wheel = DeadlineWheel(0.02)

    class Faulty(Waiter):
        def expired(self) -> None:
            super().expired()
            raise ValueError("a bug")

    waiters = [*(Faulty(0) for _ in range(3)), *(Waiter(0) for _ in range(20))]
    for waiter in waiters:
        waiter.touched = 0
        wheel.add(waiter)
    _until(lambda: all(waiter.ends for waiter in waiters))
    assert "ValueError: a bug" in caplog.text
    wheel.close()
