"""Files of lines that are read anew when they have changed: what ``file://``, ``digest://`` and ``groups://`` share.

A change is told by modification time, inode, size or the inode's own change, looked at on every use; so no reload is
needed after a user was added. Several native threads may read at once: each puts down a whole new content.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")

MOST_BYTES = 64 * 1024 * 1024
"""A larger file is no password file: use a database."""


def entries(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Number and text of the lines that are neither empty nor comments; the line end (LF or CR LF) is taken off."""
    for number, line in enumerate(data.split(b"\n"), 1):
        text = line.removesuffix(b"\r")
        if text and not text.startswith(b"#"):
            yield number, text


class WatchedFile(Generic[T]):
    """A file as its lines say, kept until it changes.

    Args:
        path: of the file.
        read: makes the content of its bytes; must not raise for odd lines.
    """

    __slots__ = ("_kept", "_read", "path")

    def __init__(self, path: str, read: Callable[[bytes], T]) -> None:
        self.path = path
        self._read = read
        self._kept: tuple[tuple[int, int, int, int, int], T] | None = None

    def content(self) -> T:
        """What the file says now. Blocks. Raises OSError when it can't be read."""
        found = os.stat(self.path)
        mark = (found.st_mtime_ns, found.st_ctime_ns, found.st_dev, found.st_ino, found.st_size)
        kept = self._kept
        if kept is not None and kept[0] == mark:
            return kept[1]
        with open(self.path, "rb") as file:
            data = file.read(MOST_BYTES + 1)
        if len(data) > MOST_BYTES:
            raise OSError(f"more than {MOST_BYTES} bytes")
        content = self._read(data)
        self._kept = mark, content
        return content


def trouble(path: str, error: OSError) -> str:
    """What to say of a file that can't be read."""
    return f"{path}: {error.strerror or error}"
