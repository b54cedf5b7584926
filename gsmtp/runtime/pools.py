"""ThreadPool stanzas: named pools of green threads, and which native threads stand behind the same names.

A Listen's `StreamServer` spawns in the green pool that its `Pool_Name` names: there its connections are established
and its turns run when a turn may block. The pool bounds work, not sessions (docs/decisions.md). Native pools of the
same name do blocking file work. Source: reference/threadpools-eventloops.md.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from gevent.pool import Group, Pool

from gsmtp.config.scopes import Configuration, predefined_pool
from gsmtp.config.view import View
from gsmtp.runtime.options import BACKLOG, CONCURRENCY, MAX_SESSIONS

FALLBACK = "IO"
Job = tuple[Callable[..., object], tuple[Any, ...]]


class WorkPool(Pool):
    """A gevent Pool with a queue: a job that finds no free slot waits its turn instead of blocking the hub.

    Args:
        name: of the ThreadPool stanza.
        size: green threads at the most; a ThreadPool's ``Concurrency = 0`` still gets one slot.
        backlog: how many jobs may wait before `is_crowded`, 0 for as many as there are slots.
        max_sessions: sessions at the most on the sockets that name the pool, 0 for any number.
    """

    def __init__(self, name: str, size: int, backlog: int = 0, max_sessions: int = 0) -> None:
        super().__init__(max(size, 1))
        self.name = name
        self.backlog = backlog
        self.max_sessions = max_sessions
        self.sessions = 0
        self._jobs: deque[Job] = deque()
        self._surplus = 0

    @property
    def waiting(self) -> int:
        """Jobs that wait for a slot."""
        return len(self._jobs)

    def submit(self, function: Callable[..., object], *args: Any) -> None:
        """Run a job in a green thread, now or when a slot is free. Never blocks."""
        if self.full():
            self._jobs.append((function, args))
        else:
            self.spawn(function, *args)

    def is_crowded(self, most_waiting: int = 0) -> bool:
        """Whether no slot is free and `most_waiting` jobs (else the backlog, else a pool's worth) wait already."""
        return self.full() and len(self._jobs) >= (most_waiting or self.backlog or self.size or 1)

    def _discard(self, greenlet: Any) -> None:
        if self._surplus:
            self._surplus -= 1  # the pool shrank while this one ran: its slot goes, not back
            Group._discard(self, greenlet)
        else:
            super()._discard(greenlet)
        while self._jobs and not self.full():
            function, args = self._jobs.popleft()
            self.spawn(function, *args)

    def resize(self, size: int) -> None:
        """Change the number of slots: grows at once, shrinks as slots are freed."""
        size = max(size, 1)
        for _ in range(size - (self.size or 0)):
            if self._surplus:
                self._surplus -= 1
            else:
                self._semaphore.release()
        for _ in range((self.size or 0) - size):
            if not self._semaphore.acquire(blocking=False):
                self._surplus += 1
        self.size = size
        while self._jobs and not self.full():
            function, args = self._jobs.popleft()
            self.spawn(function, *args)


class Pools:
    """All green pools of the process by name, made when first asked for and kept over reloads."""

    def __init__(self) -> None:
        self._pools: dict[str, WorkPool] = {}
        self._configuration: Configuration | None = None

    def configure(self, configuration: Configuration) -> None:
        """Take the sizes of a new configuration; existing pools are resized. Backlog needs a restart."""
        self._configuration = configuration
        for pool in self._pools.values():
            view = configuration.threadpool(pool.name)
            pool.resize(_size(pool.name, view))
            pool.max_sessions = view[MAX_SESSIONS] if view is not None else 0

    def get(self, name: str) -> WorkPool:
        """The pool of that name; names are matched without case."""
        key = name.lower()
        pool = self._pools.get(key)
        if pool is None:
            view = self._configuration.threadpool(name) if self._configuration is not None else None
            backlog = view[BACKLOG] if view is not None else 0
            most = view[MAX_SESSIONS] if view is not None else 0
            pool = self._pools[key] = WorkPool(name, _size(name, view), backlog, most)
        return pool

    def __iter__(self) -> Iterator[WorkPool]:
        return iter(self._pools.values())


def _size(name: str, view: View | None) -> int:
    """Concurrency of the stanza, else of the predefined pool; ours for threads as for green threads."""
    predefined = predefined_pool(name)
    default = predefined.concurrency if predefined is not None else 0
    return default if view is None else view[CONCURRENCY] or default
