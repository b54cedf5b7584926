"""Time as an argument: machines take a Clock, so tests can say what time it is."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Wall and monotonic time, both in seconds."""

    def wall(self) -> float:
        """Seconds since the epoch."""

    def mono(self) -> float:
        """Seconds on a clock that never goes back; its zero means nothing."""


class SystemClock:
    """The machine's clocks."""

    wall = staticmethod(time.time)
    mono = staticmethod(time.monotonic)


class FixedClock:
    """A clock for tests that stands still until it is told to advance."""

    def __init__(self, wall_s: float = 1_735_689_600.0, mono_s: float = 1000.0) -> None:
        self._wall_s = wall_s
        self._mono_s = mono_s

    def wall(self) -> float:
        """The wall time it was given plus what it was advanced."""
        return self._wall_s

    def mono(self) -> float:
        """The monotonic time it was given plus what it was advanced."""
        return self._mono_s

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass on both clocks."""
        self._wall_s += seconds
        self._mono_s += seconds
