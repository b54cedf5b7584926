"""ThreadPool stanzas: named pools of green threads, and which native threads stand behind the same names.

A Listen's `StreamServer` spawns in the green pool that its `Pool_Name` names: there its connections are established
and its turns run when a turn may block. The pool bounds work, not sessions (docs/decisions.md). Native pools of the
same name do blocking file work. Source: reference/threadpools-eventloops.md.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from gevent.pool import Pool

from gsmtp.config.pools import predefined_pool
from gsmtp.config.scopes import Configuration
from gsmtp.config.view import View
from gsmtp.runtime.options import BACKLOG, CONCURRENCY, MAX_SESSIONS
from gsmtp.runtime.usage import Usage

log = logging.getLogger("gsmtp.threads")

FALLBACK = "IO"
Job = tuple[Callable[..., object], tuple[Any, ...]]


@dataclass(slots=True)
class SessionCount:
    """How many sessions the sockets of one pool have; outlives the pool when a reload changes its size.

    Args:
        now: sessions.
        when_less: called once each when a session ends: sockets that stopped accepting because of `max_sessions`.
    """

    now: int = 0
    when_less: list[Callable[[], object]] = field(default_factory=list)

    def leave(self) -> None:
        """A session is over: let those go on that wait for it."""
        self.now -= 1
        if self.when_less:
            waiting, self.when_less = self.when_less, []
            for go_on in waiting:
                go_on()


class WorkPool(Pool):
    """A gevent Pool with a queue: a job that finds no free slot waits its turn instead of blocking the hub.

    Args:
        name: of the ThreadPool stanza.
        size: green threads at the most; a ThreadPool's ``Concurrency = 0`` still gets one.
        backlog: how many jobs may wait before `is_crowded`, 0 for as many as there are slots.
        max_sessions: sessions at the most on the sockets that name the pool, 0 for any number.
        sessions: the count to go on with.

    Attributes:
        usage: how much it has worked.
    """

    def __init__(
        self, name: str, size: int, backlog: int = 0, max_sessions: int = 0, sessions: SessionCount | None = None
    ) -> None:
        super().__init__(max(size, 1))
        self.name = name
        self.slots = max(size, 1)
        self.backlog = backlog
        self.max_sessions = max_sessions
        self.sessions = sessions if sessions is not None else SessionCount()
        self.usage = Usage(self.slots)
        self._jobs: deque[Job] = deque()

    @property
    def waiting(self) -> int:
        """Jobs that wait for a slot."""
        return len(self._jobs)

    def submit(self, function: Callable[..., object], *args: Any) -> None:
        """Run a job in a green thread, now or when a slot is free. Never blocks."""
        if self.full():
            self._jobs.append((function, args))
        else:
            self.spawn(self._work, function, args)

    def is_crowded(self, most_waiting: int = 0) -> bool:
        """Whether no slot is free and `most_waiting` jobs (else the backlog, else a pool's worth) wait already."""
        return len(self._jobs) >= (most_waiting or self.backlog or self.slots) and self.full()

    def _work(self, function: Callable[..., object], args: tuple[Any, ...]) -> None:
        """Run a job and, in the same slot, those that came to wait meanwhile."""
        while True:
            self.usage.began()
            try:
                function(*args)
            except Exception:
                log.exception("a job in pool %s failed", self.name)
            finally:
                self.usage.ended()
            if not self._jobs:
                return
            function, args = self._jobs.popleft()


class Pools:
    """All green pools of the process by name, made when first asked for.

    A reload that changes a pool's size makes a new one: what runs or waits in the old one ends there.
    """

    def __init__(self) -> None:
        self._pools: dict[str, WorkPool] = {}
        self._configuration: Configuration | None = None

    def configure(self, configuration: Configuration) -> None:
        """Take the sizes of a new configuration. A pool's Backlog stays until the restart, as documented."""
        self._configuration = configuration
        for key, pool in self._pools.items():
            view = configuration.threadpool(pool.name)
            size = max(_size(pool.name, view), 1)
            most = view[MAX_SESSIONS] if view is not None else 0
            if size != pool.slots:
                self._pools[key] = WorkPool(pool.name, size, pool.backlog, most, pool.sessions)
            pool.max_sessions = most

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

    def size(self, name: str) -> int:
        """How many green threads a pool has, or would have."""
        return _size(name, self._configuration.threadpool(name) if self._configuration is not None else None)

    def __iter__(self) -> Iterator[WorkPool]:
        return iter(self._pools.values())


def _size(name: str, view: View | None) -> int:
    """Concurrency of the stanza, else of the predefined pool; ours for threads as for green threads."""
    predefined = predefined_pool(name)
    default = predefined.concurrency if predefined is not None else 0
    return default if view is None else view[CONCURRENCY] or default
