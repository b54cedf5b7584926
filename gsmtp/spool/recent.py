"""Bodies of messages that were just accepted, so that handing them on at once reads nothing from the disk.

Bounded by their bytes; the oldest go first. Lives on the hub. What is in it is in the database, too.
"""

from __future__ import annotations

from collections import OrderedDict

MOST_BYTES = 16 << 20


class RecentBodies:
    """Small bodies by their messages' numbers.

    Args:
        most_bytes: kept at the most.
    """

    __slots__ = ("_bodies", "_most_bytes", "size_bytes")

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._bodies: OrderedDict[int, bytes] = OrderedDict()
        self.size_bytes = 0

    def put(self, number: int, body: bytes) -> None:
        """Keep a body."""
        self.drop(number)
        self._bodies[number] = body
        self.size_bytes += len(body)
        while self.size_bytes > self._most_bytes:
            _, oldest = self._bodies.popitem(last=False)
            self.size_bytes -= len(oldest)

    def get(self, number: int) -> bytes | None:
        """The body, if it is still here."""
        return self._bodies.get(number)

    def drop(self, number: int) -> None:
        """Forget it. Harmless when it isn't here."""
        body = self._bodies.pop(number, None)
        if body is not None:
            self.size_bytes -= len(body)
