"""One Listen stanza: a gevent StreamServer over a raw socket that was bound and is listening already.

Its pool bounds the green threads at work (establishing connections, turns that may block), never the sessions, which
wait on the loop without one. `Concurrency` bounds this socket's share of the pool, `Events_Per_Iter` the accepts of
one wake-up, `Accept_Queue_Backlog` the accepted connections that wait for a slot: beyond that the kernel's queue takes
over. Source: reference/threadpools-eventloops.md; docs/decisions.md.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable
from typing import Any

from gevent.server import StreamServer

from gsmtp.config.scopes import ListenStanza
from gsmtp.runtime.options import LISTEN_BACKLOG
from gsmtp.runtime.pools import SessionCount, WorkPool
from gsmtp.runtime.sockets import RawSocket, close_listening, configure
from gsmtp.server.accepting import accept_waiting
from gsmtp.server.connection import Connection
from gsmtp.server.options import ACCEPT_QUEUE_BACKLOG, CONCURRENCY, EVENTS_PER_ITER
from gsmtp.server.service import Service

_OUT_OF_RESOURCES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_PAUSE_S = 0.2
_DEFAULT_MAX_ACCEPT = 100  # gevent's own


class Listener(StreamServer):
    """Accepts on one socket and makes a Connection of what comes.

    Args:
        service: what all listeners share.
        stanza: the Listen.
        raw: bound and listening, non-blocking.
        pool: the pool that the stanza names.

    Attributes:
        has_complained: whether it was told that accepting fails, since it last worked.
        is_inherited: whether the socket, and the file of a Unix one, are another process's to remove.
    """

    _watcher: Any
    _do_read: Callable[[], None]

    def __init__(self, service: Service, stanza: ListenStanza, raw: RawSocket, pool: WorkPool) -> None:
        self.service = service
        self.work_pool = pool
        self.sessions = 0
        self._at_work = 0
        self._waiting: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self.has_complained = False
        self._pause_timer: Any = None
        self.is_inherited = False
        self.use(stanza)
        super().__init__(raw, spawn=pool)  # type: ignore[call-overload]  # raw: see set_listener
        self._take_pool()

    def use(self, stanza: ListenStanza) -> None:
        """Take the settings of a stanza, the first time and after a reload."""
        view = stanza.view
        self.stanza = stanza
        self.concurrency = min(view[CONCURRENCY], self.work_pool.slots)
        self.accept_queue = view[ACCEPT_QUEUE_BACKLOG] or view[LISTEN_BACKLOG]
        self.max_accept = (
            max(1, view[EVENTS_PER_ITER]) if self._is_threaded(view[EVENTS_PER_ITER]) else (_DEFAULT_MAX_ACCEPT)
        )
        if self.service.shared is not None and stanza.endpoint.family == "unix":
            self.max_accept = 1  # other processes accept on it too

    def _is_threaded(self, events_per_iter: int) -> bool:
        return self.concurrency > 0 or events_per_iter > 0

    def change(self, stanza: ListenStanza, pool: WorkPool) -> None:
        """Take a changed stanza without closing the socket: sizes are set anew and ``listen`` is called again."""
        self.work_pool = pool
        self.set_spawn(pool)
        self._take_pool()
        self.use(stanza)
        configure(self.socket, stanza.view)
        self._accept_again()  # what it stopped for, e.g. Max_Sessions, may have changed

    def set_listener(self, listener: Any) -> None:
        """Take the raw socket as it is; the base class would look for a wrapped one."""
        self.family = listener.family
        self.address = listener.getsockname()
        self.socket = listener

    def init_socket(self) -> None:
        """Nothing to do: the socket is bound and listening."""

    def handle(self, *_args: Any) -> None:
        """Never called: `do_handle` makes connections. The base class wants one to exist."""

    def _take_pool(self) -> None:
        """The base class put the pool's `full` on the instance, which knows nothing of the accept queue."""
        self.__dict__.pop("full", None)

    def full(self) -> bool:
        """Whether the pool has no slot and a full queue: then the kernel's queue takes over."""
        return self.work_pool.is_crowded(self.accept_queue)

    def start_accepting(self) -> None:
        """Wait for clients."""
        if self._watcher is None:
            self._watcher = self.loop.io(self.socket.fileno(), 1)
            self._watcher.start(accept_waiting, self)

    def may_accept(self) -> bool:
        """Whether one more may come; if not, accepting has stopped until what is in the way has gone."""
        if self.full():
            self._do_read()  # the base class's part, which goes on when the pool has a slot
            return False
        pool = self.work_pool
        if pool.max_sessions and pool.sessions.now >= pool.max_sessions:
            self.stop_accepting()
            pool.sessions.when_less.append(self._accept_again)
            return False
        if len(self._waiting) >= self.accept_queue:
            self.stop_accepting()  # _work goes on when the queue is shorter
            return False
        return True

    def cannot_accept(self, error: OSError) -> None:
        """Out of descriptors or memory, most likely: leave clients in the kernel's queue for a moment, say so once."""
        if not self.has_complained:
            self.has_complained = True
            hint = "raise server_max_file_descriptors or set service_sessions"
            self.service.events.event(
                "critical",
                "net",
                f"can't accept on {self.stanza.name}: {error.strerror}",
                hint=hint if error.errno in _OUT_OF_RESOURCES else None,
            )
        self.stop_accepting()
        self._pause_timer = self.loop.timer(_PAUSE_S)
        self._pause_timer.start(self._accept_again)

    def _accept_again(self) -> None:
        if self.started:
            self.start_accepting()

    def do_handle(self, raw: RawSocket, address: Any) -> None:
        """Make a Connection; it waits on the loop by itself from then on."""
        Connection.establish(self, raw, address)

    def session_began(self) -> SessionCount:
        """A session of this socket counts from now, in the pool that the socket has now. Returns that pool's count."""
        self.sessions += 1
        count = self.work_pool.sessions
        count.now += 1
        return count

    def session_ended(self, count: SessionCount) -> None:
        """A session of this socket is over that was counted there."""
        self.sessions -= 1
        count.leave()

    def submit(self, function: Callable[..., object], *args: Any) -> None:
        """Run a turn in a green thread of the pool, within this socket's share of it. Never blocks."""
        if self.concurrency and self._at_work >= self.concurrency:
            self._waiting.append((function, args))
            return
        self._at_work += 1
        self.work_pool.submit(self._work, function, args)

    def _work(self, function: Callable[..., object], args: tuple[Any, ...]) -> None:
        try:
            function(*args)
        finally:
            self._at_work -= 1
            if self._waiting and (not self.concurrency or self._at_work < self.concurrency):
                following, its_args = self._waiting.popleft()
                self.submit(following, *its_args)
                self._accept_again()

    def close_socket(self) -> None:
        """Stop accepting and close the socket; running sessions are left alone. `stop()` would kill them."""
        if self.closed:
            return
        if self.is_inherited:
            self.close()
        else:
            close_listening(self.socket, self.close)
