"""The body writer for messages that nobody wants kept (`Blackhole = "internal"`)."""

from __future__ import annotations

from collections.abc import Callable

from gsmtp.spool.base import Settled, StoredBody


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

    def settle(self, done: Settled) -> None:
        """Show that nothing was kept."""
        done(StoredBody(0, b"", ""), None)

    def replace_head(self, size_bytes: int, head: bytes) -> None:
        """Count the difference."""
        self.size_bytes += len(head) - size_bytes
