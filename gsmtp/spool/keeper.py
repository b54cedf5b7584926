"""A native thread that looks at the disk every second and does the heavy part of checkpoints.

Checkpoints copy pages from the WAL into the database. SQLite's own autocheckpoint does that inside some commit (4 to
25 ms there, measured with 4 to 16 MiB); and a checkpoint beside a busy writer never catches up, so that the WAL would
grow without end. Hence both: when the WAL passes SOFT_PAGES this thread copies with its own connection, in passes, each
over what the writer added during the one before; when little is left it tells the writer, which copies the rest between
two commits (some 0.6 to 2 ms), after which SQLite starts the WAL file anew. Past HARD_PAGES the writer waits for it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from gsmtp.runtime.native import NativeQueue, NativeThread, native_lock
from gsmtp.spool import schema
from gsmtp.spool.health import Health

SOFT_PAGES = 768  # 3 MiB: less than half of the ballast, which must be room enough to copy them
IDLE_PAGES = 64
HARD_PAGES = 8192  # 32 MiB
_ENOUGH_PAGES = 64
_MOST_PASSES = 4
_TICK_S = 1.0


def checkpoint(connection: sqlite3.Connection) -> tuple[int, int]:
    """Copy what can be copied without waiting for anybody. Returns pages in the WAL and pages of it copied so far."""
    _, in_log, copied = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    return in_log, copied


class Keeper:
    """The thread.

    Args:
        path: the database.
        health: what it measures goes there.
        copied: called in this thread when a checkpoint's heavy part is done.
    """

    def __init__(self, path: str, health: Health, copied: Callable[[], None]) -> None:
        self._path = path
        self._health = health
        self._copied = copied
        self._requests: NativeQueue[bool] = NativeQueue()
        self._at_work = native_lock()
        self._connection: sqlite3.Connection | None = None
        self._thread = NativeThread(self._run)

    def request_checkpoint(self) -> None:
        """Begin a checkpoint soon. Any thread; ask once, until `copied` was called."""
        self._requests.put(True)

    def wait(self, timeout_s: float) -> None:
        """Wait until no checkpoint is under way. Native threads only."""
        if self._at_work.acquire(True, timeout_s):
            self._at_work.release()

    def close(self, timeout_s: float) -> bool:
        """Stop the thread. Native threads only."""
        self._requests.put(False)
        return self._thread.join(timeout_s)

    def _run(self) -> None:
        while True:
            requests = self._requests.take(timeout_s=_TICK_S)
            if requests and not requests[0]:
                if self._connection is not None:
                    self._connection.close()
                return
            self._health.measure()
            self._health.hold_ballast()
            if requests:
                with self._at_work:
                    self._checkpoint()
                self._copied()

    def _checkpoint(self) -> None:
        try:
            if self._connection is None:
                self._connection = schema.connect(self._path)
                self._connection.execute("PRAGMA wal_autocheckpoint=0").fetchall()
            for _ in range(_MOST_PASSES):
                in_log, copied = checkpoint(self._connection)
                if in_log - copied < _ENOUGH_PAGES:
                    return
        except sqlite3.Error:  # the writer meets the same trouble and tells about it; begin anew next time
            if self._connection is not None:
                self._connection.close()
                self._connection = None
