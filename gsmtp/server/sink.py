"""The body writer for messages that nobody wants kept (`Blackhole = "internal"`)."""

from __future__ import annotations

from collections.abc import Callable


class DropWriter:
    """Takes a body and keeps its size only."""

    __slots__ = ("size_bytes",)

    def __init__(self) -> None:
        self.size_bytes = 0

    def write(self, data: bytes) -> bool:
        """Count a piece; there is always room."""
        self.size_bytes += len(data)
        return True

    def on_drain(self, callback: Callable[[], None]) -> None:
        """Never needed: there is always room."""
        callback()

    def abort(self) -> None:
        """Nothing to remove."""
