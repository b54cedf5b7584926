"""Native threads beside the hub: pure functions out, results back as callbacks on the hub.

gevent's own thread pool makes a green thread wait for each job; the spool commits for many sessions at once and has
no green thread to wake, so results come back through one async watcher that drains a deque. Jobs must not touch
gevent, logging or sockets of the hub (docs/architecture.md, "Running under gevent").

The locks are the unpatched ones: a patched lock held in a native thread would look for a hub there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import gevent
import gevent.event
import gevent.monkey
from gevent.hub import Hub

T = TypeVar("T")

_allocate_lock: Callable[[], Any] = gevent.monkey.get_original("_thread", "allocate_lock")
_start_new_thread: Callable[..., int] = gevent.monkey.get_original("_thread", "start_new_thread")


class HubMailbox:
    """Lets native threads run callables on the hub. Make it on the hub's own thread.

    `post` is safe from any thread; the callables run in the order they were posted, in no green thread: they must not
    block. An exception in one is reported like any error on the hub and does not stop the others.
    """

    def __init__(self) -> None:
        self._hub: Hub = gevent.get_hub()
        self._waiting: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._watcher: Any = self._hub.loop.async_()
        self._watcher.start(self._run)

    def post(self, function: Callable[..., object], *args: Any) -> None:
        """Have `function(*args)` called on the hub soon."""
        self._waiting.append((function, args))
        self._watcher.send()

    def _run(self) -> None:
        waiting = self._waiting
        while waiting:
            function, args = waiting.popleft()
            try:
                function(*args)
            except Exception as error:  # noqa: BLE001 - one callback's bug must not lose the others' wake-ups
                self._hub.handle_error(function, type(error), error, error.__traceback__)

    def close(self) -> None:
        """Stop listening to native threads."""
        self._watcher.stop()
        self._watcher.close()


class NativeQueue(Generic[T]):
    """A queue from the hub to native threads: putting never blocks, taking blocks the native thread."""

    def __init__(self) -> None:
        self._items: deque[T] = deque()
        self._lock = _allocate_lock()
        self._sleepers: deque[Any] = deque()

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: T) -> None:
        """Add an item and wake one sleeping thread."""
        with self._lock:
            self._items.append(item)
            if self._sleepers:
                self._sleepers.popleft().release()

    def take(self, most: int = 1, timeout_s: float | None = None) -> list[T]:
        """Wait for items and take up to `most`; [] only when `timeout_s` passed. Native threads only."""
        while True:
            with self._lock:
                if self._items:
                    count = min(most, len(self._items))
                    return [self._items.popleft() for _ in range(count)]
                sleeper = _allocate_lock()
                sleeper.acquire()
                self._sleepers.append(sleeper)
            if not sleeper.acquire(True, -1 if timeout_s is None else timeout_s):
                with self._lock:
                    if sleeper in self._sleepers:
                        self._sleepers.remove(sleeper)
                        return []


class NativePool:
    """A fixed number of native threads, started when first needed.

    Args:
        name: of the ThreadPool stanza, for messages.
        size: threads at the most; 0 runs jobs in the caller (Momentum's ``Concurrency = 0``).
        mailbox: where results go.
    """

    def __init__(self, name: str, size: int, mailbox: HubMailbox) -> None:
        self.name = name
        self.size = size
        self._mailbox = mailbox
        self._jobs: NativeQueue[tuple[Callable[..., Any], tuple[Any, ...], Callable[..., object] | None] | None]
        self._jobs = NativeQueue()
        self._started = 0
        self._busy = 0

    def submit(self, function: Callable[..., Any], *args: Any,
               done: Callable[[Any, BaseException | None], object] | None = None) -> None:
        """Run ``function(*args)`` in a native thread; ``done(result, error)`` then runs on the hub."""
        if self.size == 0:
            self._finish(*_attempt(function, args), done)
            return
        self._busy += 1
        if self._started < min(self.size, self._busy):
            self._started += 1
            _start_new_thread(self._work, ())
        self._jobs.put((function, args, done))

    def call(self, function: Callable[..., T], *args: Any) -> T:
        """Run a function in a native thread and wait for it in the calling green thread; its exception is raised."""
        if self.size == 0:
            return function(*args)
        result: gevent.event.AsyncResult[T] = gevent.event.AsyncResult()

        def done(value: T, error: BaseException | None) -> None:
            if error is None:
                result.set(value)
            else:
                result.set_exception(error)  # type: ignore[arg-type]

        self.submit(function, *args, done=done)
        return result.get()

    def _finish(self, value: Any, error: BaseException | None, done: Callable[..., object] | None) -> None:
        if done is not None:
            done(value, error)

    def _returned(self, value: Any, error: BaseException | None, done: Callable[..., object] | None) -> None:
        self._busy -= 1
        self._finish(value, error, done)

    def _work(self) -> None:
        while True:
            for job in self._jobs.take():
                if job is None:
                    return
                function, args, done = job
                self._mailbox.post(self._returned, *_attempt(function, args), done)

    def close(self) -> None:
        """Let the threads end after the jobs that wait."""
        for _ in range(self._started):
            self._jobs.put(None)


def _attempt(function: Callable[..., Any], args: tuple[Any, ...]) -> tuple[Any, BaseException | None]:
    try:
        return function(*args), None
    except BaseException as error:  # noqa: BLE001 - carried to the hub, where the caller raises it
        return None, error
