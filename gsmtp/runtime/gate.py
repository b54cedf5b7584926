"""A door to native threads with a deadline: so many jobs at once, so many waiting, and nobody waits for ever.

A job can't be killed. When its deadline passes the caller goes on with a `DeadlineFault`, and the slot stays taken
until the job really ends: what hangs can use up its own gate, never the pool of others. Jobs that talk to something
must know the deadline too (`gsmtp.runtime.descriptors`), so that slots come back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import gevent
import gevent.event
import gevent.lock

from gsmtp.core.errors import GsmtpError
from gsmtp.runtime.native import NativePool

T = TypeVar("T")


class DeadlineFault(GsmtpError):
    """A job was not done in time, or too many wait already."""


class Gate:
    """Lets at most `at_once` jobs into a pool.

    Args:
        pool: whose threads run the jobs.
        at_once: jobs at one time; at least 1.
        waiting: callers that may wait for a slot; the next one is turned away at once.
    """

    def __init__(self, pool: NativePool, at_once: int, waiting: int = 1000) -> None:
        self._pool = pool
        self._slots = gevent.lock.Semaphore(max(1, at_once))
        self._most_waiting = waiting
        self._waiting = 0

    def call(self, function: Callable[..., T], *args: Any, timeout_s: float, before: Callable[[], T | None]) -> T:
        """Run a function in a native thread and wait for it in the calling green thread.

        Args:
            function: pure; see `gsmtp.runtime.native`.
            args: for it.
            timeout_s: for waiting and running together.
            before: asked once the slot is there; what it returns, unless None, is the answer and nothing runs.

        Raises:
            DeadlineFault: not in time, or `waiting` callers wait already.
            BaseException: what the function raised.
        """
        if self._waiting >= self._most_waiting:
            raise DeadlineFault(f"{self._waiting} callers wait already")
        with gevent.Timeout(timeout_s, DeadlineFault(f"no answer within {timeout_s:g} s")):
            self._waiting += 1
            try:
                self._slots.acquire()
            finally:
                self._waiting -= 1
            try:
                known = before()
                if known is not None:
                    self._slots.release()
                    return known
                result: gevent.event.AsyncResult[tuple[Any, BaseException | None]] = gevent.event.AsyncResult()
                self._pool.submit(function, *args, done=lambda *outcome: self._done(result, outcome))
            except BaseException:
                self._slots.release()
                raise
            outcome = result.get()
            assert outcome is not None
            value, error = outcome
        if error is not None:
            raise error
        return value  # type: ignore[no-any-return]

    def _done(self, result: Any, outcome: tuple[Any, BaseException | None]) -> None:
        self._slots.release()
        result.set(outcome)
