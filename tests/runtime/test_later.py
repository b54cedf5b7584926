"""Later: once for many, and never before its time, the second time as the first."""

from __future__ import annotations

import time

import gevent
import pytest

from gsmtp.runtime.later import Later


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
