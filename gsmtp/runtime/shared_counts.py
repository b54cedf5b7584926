"""Counts that several processes keep together, in memory that all of them have mapped: who uses how much of a limit.

Each process has a column in which it alone writes, so nobody ever waits for another. A key (a scope's path, a
destination) has a cell of 64 bits there: a tag of the key above, how many this process has below; which cell is a
matter of the key's digest, so processes agree without speaking. To take one, a process writes first and adds up after:
of two that come for the last place both may be sent away, but never both admitted.

A process that died leaves its column behind; the parent, which has none of its own, clears it.
"""

from __future__ import annotations

import hashlib
import mmap
import os
from collections.abc import Callable
from typing import Any, Final

import gevent.monkey

from gsmtp.runtime.shared_rates import SIZE_BYTES, SharedRates

ROWS: Final = 1 << 16
"""Cells of a column. A process has as many keys in use as it has destinations at work, some thousands at the most."""
_TRIES: Final = 8
"""A key's cell is one of so many; where all of them are others' there is no place for it."""
_CELL_BYTES: Final = 8
_COLUMN_BYTES: Final = (ROWS + _TRIES) * _CELL_BYTES
_COUNT_MASK: Final = 0xFFFFFFFF
_MOST_KNOWN: Final = 20_000

_allocate_lock: Callable[[], Any] = gevent.monkey.get_original("_thread", "allocate_lock")


def size_bytes(columns: int) -> int:
    """What a table takes, and the allowances behind it; untouched pages take nothing."""
    return columns * _COLUMN_BYTES + SIZE_BYTES


def make(columns: int) -> int:
    """Make an empty table; returns its descriptor, which is to be inherited or handed over."""
    descriptor = os.memfd_create("gsmtp-counts", os.MFD_CLOEXEC)
    os.ftruncate(descriptor, size_bytes(columns))
    return descriptor


class SharedCounts:
    """The table, as one process sees it. Not for native threads.

    Args:
        descriptor: of `make`; kept open.
        columns: as many as it was made with.
        own: the column of this process, from 0; -1 for one that only looks, and clears.

    Attributes:
        rates: allowances that the processes use up together.
    """

    __slots__ = ("_cells", "_fence", "_held", "_known", "_others", "_own", "columns", "rates")

    def __init__(self, descriptor: int, columns: int, own: int = -1) -> None:
        self.columns = columns
        self._own = own
        memory = memoryview(mmap.mmap(descriptor, size_bytes(columns)))
        self._cells = memory[: columns * _COLUMN_BYTES].cast("Q")
        self.rates = SharedRates(memory[columns * _COLUMN_BYTES :], descriptor)
        self._others = tuple(self._begin(column) for column in range(columns) if column != own)
        self._fence = _allocate_lock()
        self._known: dict[str, tuple[int, int]] = {}
        self._held: dict[str, int] = {}
        """Our cells that count something, by key."""

    @staticmethod
    def _begin(column: int) -> int:
        return column * (ROWS + _TRIES)

    def take(self, key: str, limit: int) -> bool:
        """Count one in, unless all processes together have `limit` already."""
        at = self._held.get(key, -1)
        if at < 0:
            at = self._cell(key)
            if at < 0:
                return False
        cells = self._cells
        cells[at] += 1
        self._settle()
        if (cells[at] & _COUNT_MASK) + self._of_others(key) <= limit:
            return True
        self.drop(key)
        return False

    def add(self, key: str) -> bool:
        """Count one in, whatever the others have. False where there is no cell for the key."""
        at = self._cell(key)
        if at >= 0:
            self._cells[at] += 1
        return at >= 0

    def drop(self, key: str) -> None:
        """Count one out that was counted in here. One that isn't there stays uncounted."""
        at = self._held.get(key)
        if at is not None:
            self._cells[at] -= 1
            if not self._cells[at] & _COUNT_MASK:
                self._cells[at] = 0
                del self._held[key]

    def own(self, key: str) -> int:
        """How many this process has."""
        at = self._held.get(key)
        return 0 if at is None else self._cells[at] & _COUNT_MASK

    def total(self, key: str) -> int:
        """How many all processes have."""
        return self.own(key) + self._of_others(key)

    def _of_others(self, key: str) -> int:
        tag, row = self._place(key)
        cells = self._cells
        count = 0
        for begin in self._others:
            cell = cells[begin + row]  # where it nearly always is
            count += cell & _COUNT_MASK if cell & ~_COUNT_MASK == tag else self._count(begin, tag, row)
        return count

    def of(self, column: int, key: str) -> int:
        """How many the process of a column has."""
        tag, row = self._place(key)
        return self._count(self._begin(column), tag, row)

    def clear(self, column: int) -> None:
        """Forget what a process had that is gone."""
        begin = self._begin(column)
        self._cells[begin : begin + ROWS + _TRIES] = memoryview(bytes((ROWS + _TRIES) * _CELL_BYTES)).cast("Q")

    def _place(self, key: str) -> tuple[int, int]:
        """The key's tag, in the upper half of a cell, and its first row."""
        place = self._known.get(key)
        if place is None:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest()
            tag = int.from_bytes(digest[:4], "big") or 1
            place = self._known[key] = (tag << 32, int.from_bytes(digest[4:], "big") % ROWS)
        return place

    def _count(self, begin: int, tag: int, row: int) -> int:
        cells = self._cells
        for at in range(begin + row, begin + row + _TRIES):
            cell = cells[at]
            if cell & ~_COUNT_MASK == tag:
                return cell & _COUNT_MASK
        return 0

    def _cell(self, key: str) -> int:
        """Where our count of a key is, from now on; -1 when there is no room."""
        at = self._held.get(key)
        if at is not None:
            return at
        tag, row = self._place(key)
        first = self._begin(self._own) + row
        cells = self._cells
        for at in range(first, first + _TRIES):
            if not cells[at]:
                cells[at] = tag
                self._held[key] = at
                return at
        return -1

    def _settle(self) -> None:
        """Have what was written seen by all processors before anything is read: two releases of a lock, each followed
        by its being taken, are a full barrier on x86 and on ARM. One processor may read before its write is out."""
        fence = self._fence
        for _ in range(2):
            fence.acquire()
            fence.release()
