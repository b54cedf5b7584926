"""Lines to a file descriptor from a native thread: a slow reader of our standard output must not stop the hub."""

from __future__ import annotations

import os

from gsmtp.runtime.native import NativePool, NativeQueue

_MOST_WAITING = 65_536
_MOST_A_WRITE = 512
_NAP_S = 0.02


class LineWriter:
    """Takes lines at once and writes them in order, many with one system call.

    When more than 65,536 lines wait, because nobody reads them, further lines are dropped and counted; the count is
    written as a line of its own once there is room. Nothing else of the server slows down.

    Args:
        descriptor: an open file descriptor, e.g. 1.
        pool: gives the one native thread; its results are not used.
    """

    def __init__(self, descriptor: int, pool: NativePool) -> None:
        self._descriptor = descriptor
        self._pool = pool
        self._lines: NativeQueue[bytes] = NativeQueue()
        self._never: NativeQueue[bytes] = NativeQueue()
        self._dropped = 0
        self._taken = 0
        self._written = 0

    def write(self, line: bytes) -> None:
        """Have a line, with its line end, written soon. Never blocks."""
        if len(self._lines) >= _MOST_WAITING:
            self._dropped += 1
            return
        if self._dropped:
            count, self._dropped = self._dropped, 0
            self._put(b"%d log lines dropped: nobody reads them fast enough\n" % count)
        self._put(line)

    def _put(self, line: bytes) -> None:
        if self._taken == 0:
            self._pool.submit(self._work)
        self._taken += 1
        self._lines.put(line)

    @property
    def is_idle(self) -> bool:
        """Whether everything that was taken is written."""
        return self._taken == self._written

    def _work(self) -> None:
        while True:
            lines = self._lines.take(_MOST_A_WRITE)
            self._write_all(b"".join(lines))
            self._written += len(lines)

    def _write_all(self, data: bytes) -> None:
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:
                # a non-blocking pipe that is full; `select` belongs to gevent here, so nap and try again
                self._never.take(timeout_s=_NAP_S)
            except OSError:
                return  # the reader is gone for good: there is nobody left to tell
