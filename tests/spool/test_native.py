"""Native threads and the hub: order, errors, one wake-up, queues, pools; also under monkey patching (test_crash)."""

from __future__ import annotations

import sys
from collections.abc import Callable

import gevent
import pytest
from gevent.event import Event
from gevent.hub import Hub

from gsmtp.runtime.native import HubMailbox, NativePool, NativeQueue, NativeThread, native_lock

WAIT_S = 10.0


def _until(question: Callable[[], object]) -> None:
    with gevent.Timeout(WAIT_S):
        while not question():
            gevent.sleep(0.005)


def test_posts_run_on_the_hub_in_order() -> None:
    mailbox, seen = HubMailbox(), list[int]()
    greenlets = set[object]()

    def see(number: int) -> None:
        greenlets.add(gevent.getcurrent())
        seen.append(number)

    def post() -> None:
        for number in range(0, 1000, 2):
            mailbox.post(see, number)
            mailbox.post_all([(see, (number + 1,))])

    NativeThread(post)
    _until(lambda: len(seen) == 1000)
    assert seen == list(range(1000))
    assert greenlets == {gevent.get_hub()}
    mailbox.close()


def test_an_error_in_one_callback_spares_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    mailbox, seen, told = HubMailbox(), list[int](), list[object]()
    monkeypatch.setattr(Hub, "handle_error", lambda self, context, type, value, tb: told.append(value))
    error = ValueError("a bug")

    def bad() -> None:
        raise error

    mailbox.post_all([(seen.append, (1,)), (bad, ()), (seen.append, (2,))])
    _until(lambda: len(seen) == 2)
    assert told == [error]
    mailbox.close()


def test_a_callback_that_posts_again_does_not_keep_the_hub() -> None:
    mailbox, ticks = HubMailbox(), list[int]()
    stop = Event()

    def again() -> None:
        ticks.append(1)
        if not stop.is_set():
            mailbox.post(again)

    mailbox.post(again)
    gevent.sleep(0.05)
    stop.set()
    assert len(ticks) > 1
    mailbox.close()
    mailbox.post(ticks.clear)
    gevent.sleep(0.01)
    assert ticks, "what is posted after close is dropped"


def test_a_queue_gives_all_that_waits_and_knows_a_timeout() -> None:
    queue, taken, over = NativeQueue[int](), list[list[int]](), native_lock()
    over.acquire()

    def work() -> None:
        taken.append(queue.take(100, 5.0))
        taken.append(queue.take(2, 5.0))
        taken.append(queue.take(100, 0.01))
        over.release()

    queue.put(1)
    thread = NativeThread(work)
    _until(lambda: len(taken) == 1)
    assert taken == [[1]]
    queue.put(2)
    _until(lambda: over.acquire(False))
    assert taken == [[1], [2], []]
    assert len(queue) == 0
    assert NativePool("join", 1, HubMailbox()).call(thread.join, 5.0)


@pytest.mark.parametrize("size", [0, 1, 3])
def test_a_pool_returns_results_and_raises_errors(size: int) -> None:
    mailbox = HubMailbox()
    pool = NativePool("IO", size, mailbox)
    assert pool.call(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        pool.call(divmod, 1, 0)
    done = list[tuple[int, object]]()
    for number in range(20):
        pool.submit(abs, -number, done=lambda value, error: done.append((value, error)))
    _until(lambda: len(done) == 20)
    assert sorted(value for value, _ in done) == list(range(20))
    assert {error for _, error in done} == {None}
    pool.close()
    mailbox.close()


def test_a_pool_works_beside_the_hub() -> None:
    mailbox, lock = HubMailbox(), native_lock()
    lock.acquire()
    pool = NativePool("IO", 2, mailbox)
    waiting = gevent.spawn(pool.call, lock.acquire, True, WAIT_S)
    assert pool.call(sys.getswitchinterval) > 0, "one job blocks, the hub and the other thread go on"
    assert not waiting.ready()
    lock.release()
    waiting.join(WAIT_S)
    assert waiting.value is True
    pool.close()
    mailbox.close()
