"""Green threads that are used again: one that has ended its work waits for the next.

A new one costs more than most of what a delivery does in it: CPython gives each a stack of its own, which it maps and
unmaps, and the processor's other cores are told.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import gevent
from gevent.hub import Waiter
from gevent.pool import Group

Work = Callable[[], object]


class GreenThreads:
    """Runs functions, each in a green thread.

    Args:
        most_idle: that are kept for what comes.
    """

    def __init__(self, most_idle: int = 64) -> None:
        self._most_idle = most_idle
        self._threads = Group()
        self._first: deque[Work] = deque()
        """What those that were just made begin with; no argument, which each would keep for life."""
        self._idle: list[Any] = []
        self._is_closed = False
        self._loop: Any = gevent.get_hub().loop

    def run(self, work: Work) -> None:
        """Have a function run in the loop's next round. An error that it raises is printed as any green thread's."""
        if self._idle:
            self._loop.run_callback(self._idle.pop().switch, work)
        else:
            self._first.append(work)
            self._threads.spawn(self._live)

    def _live(self) -> None:
        work: Work | None = self._first.popleft()
        while work is not None:
            work()
            work = None
            if not self._is_closed and len(self._idle) < self._most_idle:
                waiter: Any = Waiter()
                self._idle.append(waiter)
                work = waiter.get()

    def kill(self, timeout_s: float) -> None:
        """Cut off what is at work, by GreenletExit, and wait so long for its end. What is run after that still runs."""
        self._is_closed = True
        self._idle.clear()
        self._first.clear()
        self._threads.kill(block=True, timeout=timeout_s)
