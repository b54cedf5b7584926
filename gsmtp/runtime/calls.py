"""Calls of code that isn't ours under a deadline: in the calling green thread, or in a native thread of a pool."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

import gevent
import gevent.event
import gevent.monkey

from gsmtp.runtime.native import HubMailbox, NativePool

T = TypeVar("T")

_get_ident: Callable[[], int] = gevent.monkey.get_original("_thread", "get_ident")


class DeadlinePassed(Exception):
    """A call took too long. What it gives later, if ever, is dropped."""


class NativePools:
    """Native threads by the name of a ThreadPool, made when first needed.

    Args:
        mailbox: brings results to the hub.
        size: the size of a pool by name; raises ValueError for a name that nobody defined.
    """

    def __init__(self, mailbox: HubMailbox, size: Callable[[str], int]) -> None:
        self._mailbox = mailbox
        self._size = size
        self._pools: dict[str, NativePool] = {}
        self._hub_thread = _get_ident()

    def __getitem__(self, name: str) -> NativePool:
        """The pool. Raises ValueError when there is no ThreadPool of that name."""
        key = name.lower()
        pool = self._pools.get(key)
        if pool is None:
            pool = self._pools[key] = NativePool(name, max(self._size(name), 1), self._mailbox)
        return pool

    @property
    def by_name(self) -> dict[str, NativePool]:
        """Those that were made, by their names."""
        return {pool.name: pool for pool in self._pools.values()}

    def resize(self, size: Callable[[str], int]) -> None:
        """Take the sizes of a new configuration; what runs or waits in a pool whose size changes ends there."""
        self._size = size
        for key, pool in list(self._pools.items()):
            try:
                wanted = max(size(pool.name), 1)
            except ValueError:
                wanted = 0
            if wanted != pool.size:
                del self._pools[key]
                pool.close()

    def run(self, pool: str, function: Callable[..., T], *args: Any) -> T:
        """Run a function in a pool and wait for it in the calling green thread; in a native thread, just run it."""
        if _get_ident() != self._hub_thread:
            return function(*args)
        return self[pool].call(function, *args)

    def close(self) -> None:
        """Let all threads end after the jobs that wait."""
        for pool in self._pools.values():
            pool.close()
        self._pools.clear()


class Calls:
    """Makes calls with deadlines.

    Args:
        pools: the native threads.
    """

    def __init__(self, pools: NativePools) -> None:
        self.pools = pools

    def here(self, deadline_s: float, function: Callable[..., T], *args: Any) -> T:
        """Call in this green thread; 0 is no deadline.

        A function that waits is broken off at the deadline. One that computes can't be: it is late when it returns.

        Raises:
            DeadlinePassed: the deadline passed.
        """
        if not deadline_s:
            return function(*args)
        began = time.monotonic()
        timeout = gevent.Timeout(deadline_s)
        timeout.start()
        try:
            result = function(*args)
        except gevent.Timeout as fired:
            if fired is not timeout:
                raise
            raise DeadlinePassed(f"not done within {deadline_s:g} s") from fired
        finally:
            timeout.close()
        if time.monotonic() - began > deadline_s:
            raise DeadlinePassed(f"took {time.monotonic() - began:.1f} s of {deadline_s:g} s without ever waiting")
        return result

    def in_thread(self, pool: str, deadline_s: float, function: Callable[..., T], *args: Any) -> T:
        """Call in a native thread and wait for it here; 0 is no deadline. Its exception is raised here.

        A call that is late goes on in its thread, which stays busy: nothing can end it.

        Raises:
            DeadlinePassed: the deadline passed, before a thread was free or while it worked.
            ValueError: there is no pool of that name.
        """
        result: gevent.event.AsyncResult[tuple[T, BaseException | None]] = gevent.event.AsyncResult()
        is_given_up = [False]

        def work() -> Any:
            return None if is_given_up[0] else function(*args)

        self.pools[pool].submit(work, done=lambda value, error: result.set((value, error)))
        try:
            answer = result.get(timeout=deadline_s or None)
        except gevent.Timeout as fired:
            if not deadline_s or fired.seconds != deadline_s:
                raise
            is_given_up[0] = True
            raise DeadlinePassed(f"not done within {deadline_s:g} s in a thread of pool {pool}") from None
        assert answer is not None
        value, error = answer
        if error is not None:
            raise error
        return value
