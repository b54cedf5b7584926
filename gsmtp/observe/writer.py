"""Lines to a file descriptor from a native thread: a slow reader of our standard output must not stop the hub.

Lines are handed to the thread in bundles, twenty times a second: waking it for each line would cost more than the
line, because the two threads would pass the interpreter to and fro.
"""

from __future__ import annotations

import os

from gsmtp.runtime.later import Later
from gsmtp.runtime.native import NativePool, NativeQueue

_BUNDLE_S = 0.05
_MOST_WAITING_BYTES = 16 << 20
_NAP_S = 0.02


class LineWriter:
    """Takes lines at once and writes them in order, many with one system call.

    When 16 MiB wait because nobody reads them, further lines are dropped and counted; the count is written as a line
    of its own once there is room. Nothing else of the server slows down.

    Args:
        descriptor: an open file descriptor, e.g. 1.
        pool: gives the one native thread; its results are not used.
    """

    def __init__(self, descriptor: int, pool: NativePool) -> None:
        self._descriptor = descriptor
        self._pool = pool
        self._lines: list[bytes] = []
        self._bundles: NativeQueue[bytes] = NativeQueue()
        self._never: NativeQueue[bytes] = NativeQueue()
        self._later = Later(_BUNDLE_S, self.flush)
        self._dropped = 0
        self._is_started = False
        self._handed_over = 0
        self._written = 0

    def write(self, line: bytes) -> None:
        """Have a line, with its line end, written soon. Never blocks."""
        self._lines.append(line)
        self._later.arm()

    def flush(self) -> None:
        """Hand over what came. Never blocks."""
        if not self._lines:
            return
        bundle = b"".join(self._lines)
        count = len(self._lines)
        self._lines.clear()
        if self._handed_over - self._written + len(bundle) > _MOST_WAITING_BYTES:
            self._dropped += count
            return
        if self._dropped:
            bundle = b"%d log lines dropped: nobody read them fast enough\n%s" % (self._dropped, bundle)
            self._dropped = 0
        if not self._is_started:
            self._is_started = True
            self._pool.submit(self._work)
        self._handed_over += len(bundle)
        self._bundles.put(bundle)

    @property
    def is_idle(self) -> bool:
        """Whether everything that was handed over is written."""
        return self._handed_over == self._written

    def _work(self) -> None:
        while True:
            for bundle in self._bundles.take():
                self._write_all(bundle)
                self._written += len(bundle)

    def _write_all(self, data: bytes) -> None:
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:
                # a non-blocking pipe that is full; `select` belongs to gevent here, so nap and try again
                self._never.take(timeout_s=_NAP_S)
            except OSError:
                return  # the reader is gone for good: there is nobody left to tell
