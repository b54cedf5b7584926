"""Native threads beside the hub: pure functions out, results back as callbacks on the hub.

gevent's own thread pool makes a green thread wait for each job; the spool commits for many sessions at once and has
no green thread to wake, so results come back through one async watcher that drains a deque. Jobs must not touch
gevent, logging or sockets of the hub (docs/architecture.md, "Running under gevent").

The locks are the unpatched ones, and the queue is the C one of `_queue`, which monkey patching leaves alone: a patched
lock held in a native thread would look for a hub there. Its `put` is one C call that never gives the GIL away, so the
hub is not held up by a native thread that was put to sleep inside a critical section.
"""

from __future__ import annotations

from _queue import Empty, SimpleQueue
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

import gevent
import gevent.event
import gevent.monkey
from gevent.hub import Hub

from gsmtp.runtime.usage import Usage

T = TypeVar("T")
Call = tuple[Callable[..., object], tuple[Any, ...]]

_allocate_lock: Callable[[], Any] = gevent.monkey.get_original("_thread", "allocate_lock")
_start_new_thread: Callable[..., int] = gevent.monkey.get_original("_thread", "start_new_thread")


class HubMailbox:
    """Lets native threads run callables on the hub. Make it on the hub's own thread.

    `post` is safe from any thread; the callables run in the order they were posted, in no green thread: they must not
    block. An exception in one is reported like any error on the hub and does not stop the others. What is posted after
    `close` is dropped.
    """

    def __init__(self) -> None:
        self._hub: Hub = gevent.get_hub()
        self._waiting: deque[Call] = deque()
        self._closed = False
        self._watcher: Any = self._hub.loop.async_()
        self._watcher.start(self._run)

    def post(self, function: Callable[..., object], *args: Any) -> None:
        """Have `function(*args)` called on the hub soon."""
        self.post_all(((function, args),))

    def post_all(self, calls: Iterable[Call]) -> None:
        """Have several callables called on the hub, in order, with one wake-up for all of them."""
        if not self._closed:
            self._waiting.extend(calls)
            self._watcher.send()

    def call_soon(self, function: Callable[..., object], *args: Any) -> None:
        """As `post`, from the hub's own thread and without a wake-up; works after `close` too."""
        self._hub.loop.run_callback(function, *args)

    def _run(self) -> None:
        waiting = self._waiting
        for _ in range(len(waiting)):  # those posted meanwhile come next round, so that sockets get their turn
            function, args = waiting.popleft()
            try:
                function(*args)
            except Exception as error:  # noqa: BLE001 - one callback's bug must not lose the others' wake-ups
                self._hub.handle_error(function, type(error), error, error.__traceback__)
        if waiting and not self._closed:
            self._watcher.send()

    def close(self) -> None:
        """Stop listening to native threads. The watcher is only stopped: a native thread may be in `send` just now."""
        self._closed = True
        self._watcher.stop()


class NativeQueue(Generic[T]):
    """A queue to native threads: putting never blocks, taking blocks the native thread."""

    def __init__(self) -> None:
        self._items: SimpleQueue[T] = SimpleQueue()

    def __len__(self) -> int:
        return self._items.qsize()

    def put(self, item: T) -> None:
        """Add an item and wake one sleeping thread."""
        self._items.put(item)

    def take(self, most: int = 1, timeout_s: float | None = None) -> list[T]:
        """Wait for items and take up to `most`; [] only when `timeout_s` passed. Native threads only."""
        taken: list[T] = []
        try:
            taken.append(self._items.get(True, timeout_s))
            while len(taken) < most:
                taken.append(self._items.get_nowait())
        except Empty:
            pass
        return taken


class NativeThread:
    """One native thread that runs `function` until it returns; `join` waits for it from another native thread."""

    def __init__(self, function: Callable[[], object]) -> None:
        self._over = _allocate_lock()
        self._over.acquire()
        self._function = function
        _start_new_thread(self._run, ())

    def _run(self) -> None:
        try:
            self._function()
        finally:
            self._over.release()

    def join(self, timeout_s: float) -> bool:
        """Block until the thread ended; False when `timeout_s` passed first. Not on the hub."""
        if not self._over.acquire(True, timeout_s):
            return False
        self._over.release()
        return True


class NativePool:
    """A fixed number of native threads, started when first needed.

    Args:
        name: of the ThreadPool stanza, for messages.
        size: threads at the most; 0 runs jobs in the caller (Momentum's ``Concurrency = 0``).
        mailbox: where results go.

    Attributes:
        usage: how much it has worked, as the hub sees it.
    """

    def __init__(self, name: str, size: int, mailbox: HubMailbox) -> None:
        self.name = name
        self.size = size
        self._mailbox = mailbox
        self._jobs: NativeQueue[tuple[Callable[..., Any], tuple[Any, ...], Callable[..., object] | None] | None]
        self._jobs = NativeQueue()
        self._started = 0
        self._busy = 0
        self.usage = Usage(max(size, 1))

    def submit(
        self,
        function: Callable[..., Any],
        *args: Any,
        done: Callable[[Any, BaseException | None], object] | None = None,
    ) -> None:
        """Run ``function(*args)`` in a native thread; ``done(result, error)`` then runs on the hub."""
        if self.size == 0:
            self._finish(*_attempt(function, args), done)
            return
        self._busy += 1
        if self._busy <= self.size:
            self.usage.began()
        if self._started < min(self.size, self._busy):
            self._started += 1
            _start_new_thread(self._work, ())
        self._jobs.put((function, args, done))

    def call(self, function: Callable[..., T], *args: Any) -> T:
        """Run a function in a native thread and wait for it in the calling green thread; its exception is raised."""
        if self.size == 0:
            return function(*args)
        result: gevent.event.AsyncResult[tuple[T, BaseException | None]] = gevent.event.AsyncResult()

        def done(value: T, error: BaseException | None) -> None:
            result.set((value, error))

        self.submit(function, *args, done=done)
        answer = result.get()
        assert answer is not None
        value, error = answer
        if error is not None:
            raise error
        return value

    def _finish(self, value: Any, error: BaseException | None, done: Callable[..., object] | None) -> None:
        if done is not None:
            done(value, error)

    def _returned(self, value: Any, error: BaseException | None, done: Callable[..., object] | None) -> None:
        self._busy -= 1
        self.usage.ended()
        if self._busy >= self.size:
            self.usage.began()  # the next one that waited
        self._finish(value, error, done)

    def _work(self) -> None:
        while True:
            for job in self._jobs.take():
                if job is None:
                    return
                function, args, done = job
                self._mailbox.post(self._returned, *_attempt(function, args), done)

    @property
    def waiting(self) -> int:
        """Jobs that wait for a thread."""
        return max(self._busy - self.size, 0)

    @property
    def threads(self) -> int:
        """Threads that were started."""
        return self._started

    def close(self) -> None:
        """Let the threads end after the jobs that wait."""
        for _ in range(self._started):
            self._jobs.put(None)


def _attempt(function: Callable[..., Any], args: tuple[Any, ...]) -> tuple[Any, BaseException | None]:
    try:
        return function(*args), None
    except BaseException as error:  # noqa: BLE001 - carried to the hub, where the caller raises it
        return None, error


def native_lock() -> Any:
    """A lock of the operating system, unpatched, for use between native threads: ``acquire(blocking, timeout)``."""
    return _allocate_lock()
