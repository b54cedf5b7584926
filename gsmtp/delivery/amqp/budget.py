"""How many bytes of large messages are in memory at a time on their way to a broker."""

from __future__ import annotations

import gevent
from gevent.event import Event
from gevent.lock import Semaphore


class Budget:
    """Bytes that are taken and given back; who waits for them waits in order.

    Args:
        size_bytes: how many there are. A message that is larger takes all of them.
    """

    def __init__(self, size_bytes: int) -> None:
        self._size = self._free = size_bytes
        self._turnstile = Semaphore(1)
        self._given = Event()

    def take(self, size_bytes: int, timeout_s: float) -> bool:
        """Wait in the calling green thread until there are so many; False when the time was over."""
        wanted = min(size_bytes, self._size)
        limit = gevent.Timeout(timeout_s)
        try:
            with limit, self._turnstile:
                while self._free < wanted:
                    self._given.clear()
                    self._given.wait()
                self._free -= wanted
        except gevent.Timeout as late:
            if late is not limit:
                raise
            return False
        return True

    def give(self, size_bytes: int) -> None:
        """Give back what was taken for that size."""
        self._free += min(size_bytes, self._size)
        self._given.set()
