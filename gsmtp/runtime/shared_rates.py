"""Allowances that several processes use up together: so many in a time, whoever takes them.

An allowance is three numbers in memory that all processes have mapped: a tag of its name, how many are left, and at
what monotonic time that was true. A process that takes one locks the table by a record lock of the kernel for some
microseconds, and one that dies in between gives the lock back by dying.
"""

from __future__ import annotations

import fcntl
import hashlib
from typing import Final

ROWS: Final = 4096
"""Places for allowances, of which a server has as many as its configuration sets."""
_TRIES: Final = 16
_NUMBERS: Final = 3
SIZE_BYTES: Final = (ROWS + _TRIES) * _NUMBERS * 8
_ROUNDING: Final = 1e-6


class SharedRates:
    """All allowances, as one process sees them. Not for native threads.

    Args:
        memory: `SIZE_BYTES` that are mapped by all.
        descriptor: of the file behind it, to lock; kept open.
    """

    __slots__ = ("_descriptor", "_known", "_numbers", "_tags")

    def __init__(self, memory: memoryview, descriptor: int) -> None:
        self._tags = memory.cast("Q")
        self._numbers = memory.cast("d")
        self._descriptor = descriptor
        self._known: dict[str, tuple[int, int]] = {}

    def use(self, name: str, count: int, seconds: int, now_mono: float) -> tuple[bool, float]:
        """Take one, if there is one.

        Args:
            name: of the allowance.
            count: how many there are at first, and at the most.
            seconds: in which as many come back, evenly.
            now_mono: the monotonic time.

        Returns:
            Whether one was taken, and how many are left.
        """
        fcntl.lockf(self._descriptor, fcntl.LOCK_EX)
        try:
            at, left = self._refill(name, count, seconds, now_mono)
            if left < 1 - _ROUNDING:
                return False, left
            self._numbers[at + 1] = left - 1
            return True, left - 1
        finally:
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN)

    def add(self, name: str, more: float, count: int, seconds: int, now_mono: float) -> float:
        """Put some back, take some whatever is left (less than 0), or only look (0); how many are left."""
        fcntl.lockf(self._descriptor, fcntl.LOCK_EX)
        try:
            at, left = self._refill(name, count, seconds, now_mono)
            self._numbers[at + 1] = left + more
            return left + more
        finally:
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN)

    def _refill(self, name: str, count: int, seconds: int, now_mono: float) -> tuple[int, float]:
        """The place of an allowance, and what is left in it now."""
        tag, row = self._place(name)
        first = row * _NUMBERS
        oldest = first
        for at in range(first, first + _TRIES * _NUMBERS, _NUMBERS):
            if self._tags[at] == tag:
                numbers = self._numbers
                left = min(numbers[at + 1] + (now_mono - numbers[at + 2]) * count / seconds, float(count))
                numbers[at + 1], numbers[at + 2] = left, now_mono
                return at, left
            if self._tags[at] == 0 or (self._tags[oldest] and self._numbers[at + 2] < self._numbers[oldest + 2]):
                oldest = at
                if self._tags[at] == 0:
                    break
        self._tags[oldest] = tag
        self._numbers[oldest + 1], self._numbers[oldest + 2] = float(count), now_mono
        return oldest, float(count)

    def _place(self, name: str) -> tuple[int, int]:
        place = self._known.get(name)
        if place is None:
            digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16).digest()
            place = (int.from_bytes(digest[:8], "big") or 1, int.from_bytes(digest[8:], "big") % ROWS)
            self._known[name] = place
        return place
