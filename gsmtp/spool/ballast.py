"""Room that is the spool's own: a file that is given up when the disk is full, so that outcomes can be written.

On a full disk SQLite can't even note that a message was delivered: that takes a page in the WAL, and the WAL can begin
anew only when its pages were copied into the database, which may have to grow for it. The free space that is asked for
before mail is taken (the reserve) doesn't help when somebody else fills the disk; this file does.
"""

from __future__ import annotations

import os

MOST_BYTES = 8 << 20  # more than twice what a WAL holds uncopied, see keeper.SOFT_PAGES
SHARE = 8  # of a small file system


class Ballast:
    """The file. Blocking calls: for native threads.

    Args:
        path: of the file.
        mode: of the file.
    """

    def __init__(self, path: str, mode: int) -> None:
        self.path = path
        self._mode = mode
        facts = os.statvfs(os.path.dirname(path))
        self.size_bytes = min(MOST_BYTES, facts.f_blocks * facts.f_frsize // SHARE)
        try:
            self.is_held = os.stat(path).st_size >= self.size_bytes
        except OSError:
            self.is_held = False

    @property
    def missing_bytes(self) -> int:
        """What has to be free beyond the reserve before mail is taken: the room of the file, when it isn't there."""
        return 0 if self.is_held else self.size_bytes

    def hold(self) -> None:
        """Take the room, if there is that much."""
        if self.is_held:
            return
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, self._mode)
            try:
                os.fchmod(descriptor, self._mode)
                os.posix_fallocate(descriptor, 0, self.size_bytes)
                self.is_held = True
            except OSError:  # not this time
                os.ftruncate(descriptor, 0)
            finally:
                os.close(descriptor)
        except OSError:
            pass

    def release(self) -> None:
        """Give the room to whoever writes next."""
        try:
            os.truncate(self.path, 0)
        except OSError:  # it isn't there
            pass
        self.is_held = False
