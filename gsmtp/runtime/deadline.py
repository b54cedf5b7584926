"""Deadlines for many: connections wait in one-second buckets, so that watching 10,000 idle ones costs nothing a read.

A waiter says when it is due from an attribute that each read moves; nothing else happens on a read. When the bucket
of its deadline comes up and the waiter was busy since, it moves to a later bucket; else it has expired.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from typing import Any, Protocol

import gevent

log = logging.getLogger("gsmtp.threads")

_TURN_S = 0.0005
"""After that long sockets get their turn: thousands of clients that came together fall silent together."""

Bucket = dict["Waiter", None]


class Waiter(Protocol):
    """Something with a deadline."""

    bucket: Bucket | None
    """Where the wheel has it, None before and after; the wheel's own."""

    def due_mono(self) -> float:
        """When it expires, in seconds of `time.monotonic`."""

    def expired(self) -> None:
        """Its deadline passed. Runs on the hub: must not block."""


class DeadlineWheel:
    """Calls `expired` on waiters whose deadline passed, at most `tick_s` late, or as long as the others that are due
    take. Make it on the hub's thread.

    Args:
        tick_s: seconds between two looks.
    """

    def __init__(self, tick_s: float = 1.0) -> None:
        self._tick_s = tick_s
        self._buckets: dict[int, Bucket] = {}  # dicts for sets: half the memory
        self._next = int(time.monotonic() / tick_s)
        self._due: deque[Bucket] = deque()
        self._pause: Any = None
        self._loop: Any = gevent.get_hub().loop
        self._timer: Any = self._loop.timer(tick_s, tick_s)
        self._timer.start(self._tick)

    def add(self, waiter: Waiter) -> None:
        """Watch a waiter from now on, until it expires or is discarded."""
        slot = max(int(waiter.due_mono() / self._tick_s) + 1, self._next)
        bucket = self._buckets.get(slot)
        if bucket is None:
            bucket = self._buckets[slot] = {}
        bucket[waiter] = None
        waiter.bucket = bucket

    def discard(self, waiter: Waiter) -> None:
        """Watch it no more. Harmless when it is not watched."""
        bucket = waiter.bucket
        if bucket is not None:
            waiter.bucket = None
            bucket.pop(waiter, None)

    def _tick(self) -> None:
        last = int(time.monotonic() / self._tick_s)
        while self._next <= last:
            bucket = self._buckets.pop(self._next, None)
            self._next += 1
            if bucket:
                self._due.append(bucket)
        if self._pause is None:
            self._work()

    def _work(self) -> None:
        """Look at those whose bucket came up, some at a time."""
        if self._pause is not None:
            self._pause.close()
            self._pause = None
        now = time.monotonic()
        turn_ends = now + _TURN_S
        while self._due:
            due = self._due[0]
            while due:
                if now >= turn_ends:
                    self._pause = self._loop.timer(0.0)  # callbacks would run fifty times before sockets do
                    self._pause.start(self._work)
                    return
                waiter, _ = due.popitem()  # those that an earlier one's end discards are gone from it
                waiter.bucket = None
                try:
                    if waiter.due_mono() <= now:
                        waiter.expired()
                    else:
                        self.add(waiter)
                except Exception:
                    # or the others of this bucket would never be looked at again
                    log.exception("a deadline could not be kept")
                now = time.monotonic()
            self._due.popleft()

    def close(self) -> None:
        """Stop looking."""
        self._due.clear()
        if self._pause is not None:
            self._pause.close()
        self._timer.stop()
        self._timer.close()
