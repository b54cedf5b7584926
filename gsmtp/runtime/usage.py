"""How much a pool has worked: jobs, how many at once, how long all slots were taken. A few additions a job.

Source: reference/threadpools-eventloops.md section 3.
"""

from __future__ import annotations

import time


class Usage:
    """Counts the jobs of one pool.

    Args:
        slots: jobs at a time at the most.

    Attributes:
        invocations: jobs that have ended.
        running: jobs under way.
    """

    __slots__ = ("_busy_s", "_changed_mono", "_full_s", "_since_mono", "_worked_s", "invocations", "running", "slots")

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.invocations = 0
        self.running = 0
        self._since_mono = self._changed_mono = time.monotonic()
        self._busy_s = self._full_s = self._worked_s = 0.0

    def began(self) -> None:
        """A job begins."""
        self._count()
        self.running += 1

    def ended(self) -> None:
        """A job has ended."""
        self._count()
        self.running -= 1
        self.invocations += 1

    def _count(self) -> None:
        now = time.monotonic()
        running = self.running
        if running:
            passed_s = now - self._changed_mono
            self._busy_s += passed_s
            self._worked_s += passed_s * running
            if running >= self.slots:
                self._full_s += passed_s
        self._changed_mono = now

    @property
    def concurrency(self) -> float:
        """Jobs at a time, on average, while there was any."""
        return self._worked_s / self._busy_s if self._busy_s else 0.0

    @property
    def saturation(self) -> float:
        """Share of the time since the pool was made in which all slots were taken, 0 to 1."""
        passed_s = time.monotonic() - self._since_mono
        return self._full_s / passed_s if passed_s > 0 else 0.0

    @property
    def average_s(self) -> float:
        """Seconds a job took on average."""
        return self._worked_s / self.invocations if self.invocations else 0.0
