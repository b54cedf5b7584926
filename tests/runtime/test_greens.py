"""GreenThreads: all that is run runs, in threads that are used again, and ends when it is killed."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

import gevent
import pytest
from gevent.event import Event

from gsmtp.runtime.greens import GreenThreads


def _until(question: Callable[[], bool]) -> None:
    with gevent.Timeout(5, AssertionError("it did not come to that")):
        while not question():
            gevent.sleep(0.001)


def test_what_comes_later_runs_in_the_thread_that_has_ended_its_work() -> None:
    threads = GreenThreads()
    seen: list[Any] = []
    for count in range(1, 4):
        threads.run(lambda: seen.append(gevent.getcurrent()))
        _until(lambda: len(seen) >= count)  # noqa: B023 - it is asked at once
    assert len(seen) == 3
    assert len(set(seen)) == 1


def test_work_that_waits_holds_up_none_and_no_more_threads_are_kept_than_asked_for() -> None:
    threads, go = GreenThreads(most_idle=2), Event()
    seen: list[tuple[int, Any]] = []

    def work(number: int) -> None:
        go.wait()
        seen.append((number, gevent.getcurrent()))

    for number in range(5):
        threads.run(partial(work, number))
    gevent.sleep(0)
    go.set()
    _until(lambda: len(seen) == 5)
    assert sorted(number for number, _ in seen) == [0, 1, 2, 3, 4]
    _until(lambda: sum(not thread.dead for _, thread in seen) == 2)


def test_nothing_runs_before_the_loop_turns() -> None:
    threads = GreenThreads()
    seen: list[int] = []
    for number in (1, 2):
        threads.run(partial(seen.append, number))
        assert len(seen) == number - 1
        gevent.sleep(0.01)
    assert seen == [1, 2]


def test_an_error_costs_its_thread_only(capfd: pytest.CaptureFixture[str]) -> None:
    threads = GreenThreads()
    seen: list[int] = []
    threads.run(lambda: seen.append(1 // 0))
    gevent.sleep(0.01)
    threads.run(lambda: seen.append(2))
    gevent.sleep(0.01)
    assert seen == [2]
    assert "ZeroDivisionError" in capfd.readouterr().err


def test_a_thread_that_waits_keeps_nothing_of_its_last_work() -> None:
    class Thing:
        pass

    threads = GreenThreads()
    for _ in range(2):
        thing = Thing()
        gone = weakref.ref(thing)
        threads.run(partial(id, thing))
        del thing
        gevent.sleep(0.01)
        gc.collect()
        assert gone() is None


def test_kill_ends_what_is_at_work_and_what_waits_and_later_work_still_runs() -> None:
    threads = GreenThreads()
    seen: list[str] = []

    def work() -> None:
        try:
            gevent.sleep(30)
        except gevent.GreenletExit:
            seen.append("cut off")
            raise

    threads.run(lambda: seen.append("done"))
    gevent.sleep(0.01)
    threads.run(work)
    threads.run(work)
    gevent.sleep(0.01)
    threads.kill(timeout_s=5)
    assert seen == ["done", "cut off", "cut off"]
    threads.run(lambda: seen.append("late"))
    gevent.sleep(0.01)
    assert seen[3:] == ["late"]
