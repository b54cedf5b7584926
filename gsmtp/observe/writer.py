"""Lines to a file descriptor from a native thread: a slow reader of our standard output must not stop the hub.

Lines are handed to the thread in bundles, twenty times a second: waking it for each line would cost more than the
line, because the two threads would pass the interpreter to and fro.
"""

from __future__ import annotations

import fcntl
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gsmtp.runtime.later import Later
from gsmtp.runtime.native import NativePool, NativeQueue

_BUNDLE_S = 0.05
_MOST_WAITING_BYTES = 16 << 20
_NAP_S = 0.02

Job = Callable[[], object]


class BundleWriter(ABC):
    """Takes lines at once and has them written in order, many with one system call.

    When 16 MiB wait because they can't be written, further lines are dropped and counted. Nothing else of the server
    slows down.

    Args:
        pool: gives the one native thread; its results are not used.
    """

    def __init__(self, pool: NativePool) -> None:
        self._pool = pool
        self._lines: list[bytes] = []
        self._work_to_do: NativeQueue[bytes | Job | None] = NativeQueue()
        self._never: NativeQueue[bytes] = NativeQueue()
        self._later = Later(_BUNDLE_S, self.flush)
        self._dropped = 0
        self._is_started = False
        self._handed_over = 0
        self._written = 0
        self._given = 0
        self._done = 0

    def write(self, line: bytes) -> None:
        """Have a line, with its line end, written soon; several lines in one piece count as one. Never blocks."""
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
            if not self._dropped:
                self._begins_to_drop()
            self._dropped += count
            return
        if self._dropped:
            bundle = self._after_a_gap(self._dropped) + bundle
            self._dropped = 0
        self._handed_over += len(bundle)
        self._hand_over(bundle)

    def _hand_over(self, item: bytes | Job | None) -> None:
        if not self._is_started:
            self._is_started = True
            self._pool.submit(self._work)
        self._given += 1
        self._work_to_do.put(item)

    @property
    def is_idle(self) -> bool:
        """Whether everything that was handed over is written and done."""
        return self._given == self._done

    def _work(self) -> None:
        while True:
            for item in self._work_to_do.take():
                if isinstance(item, bytes):
                    self._write_all(item)
                    self._written += len(item)
                elif item is not None:
                    item()
                self._done += 1
                if item is None:
                    return

    def _begins_to_drop(self) -> None:  # noqa: B027 - an answer to nothing is fine
        """Called when too much waits, before the first line is dropped."""

    @abstractmethod
    def _after_a_gap(self, dropped: int) -> bytes:
        """What to write in the place of so many lost lines."""

    @abstractmethod
    def _write_all(self, data: bytes) -> None:
        """Write a bundle, in the native thread."""


@contextmanager
def locked(descriptor: int) -> Iterator[None]:
    """Keep other processes from writing meanwhile: a bundle may be more than a pipe or a full disk takes in one go.
    Blocks. Where there are no such locks lines may be mixed, and are written all the same."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError:
        yield
        return
    try:
        yield
    finally:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        except OSError:
            pass  # closed meanwhile, which ended the lock


class LineWriter(BundleWriter):
    """Writes to an open descriptor; how many lines were dropped is written as a line of its own.

    Args:
        descriptor: an open file descriptor, e.g. 1.
        pool: gives the one native thread; its results are not used.
        turns: a descriptor to lock while a bundle is written, where other processes write to the same output.
    """

    def __init__(self, descriptor: int, pool: NativePool, turns: int = -1) -> None:
        super().__init__(pool)
        self._descriptor = descriptor
        self._turns = turns

    def _after_a_gap(self, dropped: int) -> bytes:
        return b"%d log lines dropped: nobody read them fast enough\n" % dropped

    def _write_all(self, data: bytes) -> None:
        if self._turns < 0:
            self._write(data)
            return
        with locked(self._turns):
            self._write(data)

    def _write(self, data: bytes) -> None:
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:
                # a non-blocking pipe that is full; `select` belongs to gevent here, so nap and try again
                self._never.take(timeout_s=_NAP_S)
            except OSError:
                return  # the reader is gone for good: there is nobody left to tell
