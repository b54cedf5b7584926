"""Whether the spool can take mail now: facts that native threads note and the hub reads, without I/O.

Every attribute holds one immutable value that is replaced whole, so reading needs no lock; the byte counts are
estimates between two looks at the file system.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

from gsmtp.core.errors import SpoolError, SpoolFull, SpoolUnhealthy
from gsmtp.spool.ballast import Ballast

LEAST_RESERVE_BYTES = 4 << 20  # what several sessions may write between two looks must not be the last there is
NEAR_BYTES = 64 << 20  # nearer than this to the reserve, the file system is asked more often
STUCK_AFTER_S = 30.0  # a disk that takes longer for one commit is broken as far as new mail is concerned


@dataclass(slots=True)
class Counters:
    """What the writer did since the spool was opened."""

    transactions: int = 0
    messages: int = 0
    records: int = 0
    largest_batch: int = 0
    checkpoints: int = 0
    failures: int = 0


class Health:
    """The state that `unhealthy_reason` and `has_room` answer from.

    Args:
        base: the spool's directory.
        reserve_bytes: free space under which no new mail is taken, so that outcomes can still be written. At least
            LEAST_RESERVE_BYTES are kept, on a small file system a quarter of it.
        ballast: room of our own that is given up when the disk is full.
        files: paths that must stay the files they are, e.g. the database; somebody may have moved them away.
    """

    def __init__(self, base: str, reserve_bytes: int, ballast: Ballast, files: tuple[str, ...] = ()) -> None:
        self.reserve_bytes = self._wanted = reserve_bytes
        self.ballast = ballast
        self.counters = Counters()
        self.broken: SpoolError | None = None  # the writer: what the last write failed with
        self.short: SpoolError | None = None  # who measured last: what the file system looks like
        self.busy_since = 0.0  # the writer: when the commit under way began, 0 for none
        self.closed = False  # the hub
        self.free_bytes = 0  # at the last look
        self.taken_bytes = 0  # the hub: given to bodies since the last look
        self._base = base
        self._files = {path: os.stat(path).st_ino for path in files}
        self.measure()

    def reason(self) -> SpoolError | None:
        """Why no mail can be kept now, or None. No I/O."""
        if self.closed:
            return SpoolUnhealthy("the spool is closed")
        if self.broken is not None or self.short is not None:
            return self.broken or self.short
        since = self.busy_since
        if since and time.monotonic() - since > STUCK_AFTER_S:
            return SpoolUnhealthy(f"a commit has been under way for {time.monotonic() - since:.0f} s")
        return None

    def has_room(self, size_bytes: int) -> bool:
        """Whether that much can be kept beside the reserve. No I/O."""
        return self.free_bytes - self.taken_bytes - self.reserve_bytes >= size_bytes

    @property
    def is_near(self) -> bool:
        """Whether so little room is left that the next look should not wait for the next second. No I/O."""
        return not self.has_room(NEAR_BYTES)

    def hold_ballast(self) -> None:
        """Take the ballast's room again when there is plenty. Blocks: for native threads."""
        if not self.ballast.is_held and self.broken is None and self.has_room(self.ballast.size_bytes):
            self.ballast.hold()
            self.measure()

    def measure(self) -> None:
        """Look at the file system. Blocks: for native threads."""
        try:
            facts = os.statvfs(self._base)
            moved = [path for path, inode in self._files.items() if os.stat(path).st_ino != inode]
        except OSError as error:
            self.short = SpoolUnhealthy(f"can't look at {self._base}: {error}")
            return
        self.free_bytes = facts.f_bavail * facts.f_frsize
        self.taken_bytes = 0
        least = min(LEAST_RESERVE_BYTES, facts.f_blocks * facts.f_frsize // 4)
        self.reserve_bytes = max(self._wanted, least) + self.ballast.missing_bytes
        if facts.f_flag & os.ST_RDONLY:
            self.short = SpoolUnhealthy(f"{self._base} is on a read-only file system")
        elif moved:
            self.short = SpoolUnhealthy(f"{moved[0]} was replaced while in use: restart gsmtp")
        elif self.free_bytes < self.reserve_bytes:
            self.short = SpoolFull(
                f"{self.free_bytes >> 10} KiB are free at {self._base}, the reserve is {self.reserve_bytes >> 10} KiB"
            )
        else:
            self.short = None
