"""Later: once for many, and never before its time, the second time as the first. WhenIdle: after all else."""

from __future__ import annotations

import time

import gevent
import pytest
from gevent.event import Event

from gsmtp.runtime.later import Later, WhenIdle


@pytest.mark.parametrize("delay_s", [0.0, 0.05])
def test_it_runs_once_for_many_and_not_early_each_time(delay_s: float) -> None:
    ran: list[float] = []
    later = Later(delay_s, lambda: ran.append(time.monotonic()))
    for times in range(1, 4):
        gevent.sleep(0)  # the loop's clock is what the timer goes by
        armed = time.monotonic()
        for _ in range(5):
            later.arm()
        assert len(ran) == times - 1, "it ran inside arm"
        with gevent.Timeout(5, AssertionError("it did not run")):
            while len(ran) < times:
                gevent.sleep(0.001)
        assert ran[-1] - armed >= delay_s * 0.9
    gevent.sleep(2 * delay_s)
    assert len(ran) == 3


@pytest.mark.parametrize("delay_s", [0, 0.01])
def test_what_is_disarmed_does_not_run_and_can_be_armed_again(delay_s: float) -> None:
    runs: list[int] = []
    later = Later(delay_s, lambda: runs.append(1))
    later.arm()
    later.disarm()
    gevent.sleep(0.05)
    assert runs == []
    later.disarm()
    later.arm()
    later.disarm()
    later.arm()
    with gevent.Timeout(10):
        while not runs:
            gevent.sleep(0.01)
    gevent.sleep(0.05)
    assert runs == [1]


def test_what_can_wait_runs_once_when_nothing_else_is_to_be_done() -> None:
    """Each turn of the loop leads to another one, ten times; what can wait comes behind them all, each time."""
    loop = gevent.get_hub().loop
    for _ in range(3):
        order: list[str] = []
        over = Event()

        def run(order: list[str] = order, over: Event = over) -> None:
            order.append("idle")
            over.set()

        idle = WhenIdle(60.0, run)

        def turn(left: int, order: list[str] = order, idle: WhenIdle = idle) -> None:
            order.append("turn")
            idle.arm()
            if left:
                loop.run_callback(turn, left - 1)

        turn(9)
        assert over.wait(10), "it did not run"
        gevent.sleep(0.01)
        assert order == ["turn"] * 10 + ["idle"]


def test_what_can_wait_is_not_put_off_for_ever() -> None:
    """With a loop that is never done, as with a thousand busy clients."""
    runs: list[float] = []
    idle = WhenIdle(0.01, lambda: runs.append(time.monotonic()))
    loop = gevent.get_hub().loop
    is_over = False

    def busy() -> None:
        if not is_over:
            loop.run_callback(busy)

    busy()
    for times in range(1, 4):
        armed = time.monotonic()
        idle.arm()
        with gevent.Timeout(10, AssertionError("it did not run")):
            while len(runs) < times:
                gevent.sleep(0)
        assert runs[-1] >= armed
    is_over = True
    idle.arm()
    idle.disarm()
    gevent.sleep(0.03)
    assert len(runs) == 3
