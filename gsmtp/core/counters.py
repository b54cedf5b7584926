"""Counters with names: hooks and the console count by them; they begin at 0 with each start.

Source: reference/console-and-logs.md section 4.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gsmtp.core.clock import Clock, SystemClock

MOST: Final = 10_000
"""Counters at the most: one that makes names of what clients send must not fill the memory."""


@dataclass(slots=True)
class Counter:
    """One counter.

    Args:
        value: as it is now.
        reset_wall: when it was made, or set to 0.
    """

    value: int
    reset_wall: float


class Counters:
    """Counters by name.

    Args:
        clock: for the times of resets.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._counters: dict[str, Counter] = {}

    def add(self, name: str, delta: int = 1) -> int:
        """Add to a counter, which is made where there is none; its value then.

        Args:
            name: begins with a slash, e.g. ``/site/name``.
            delta: may be negative.

        Raises:
            ValueError: the name is none, or there are too many.
        """
        counter = self._counters.get(name)
        if counter is None:
            if not name.startswith("/") or name.endswith("/") or not name.isprintable() or " " in name:
                raise ValueError(f"'{name}' is no name of a counter, such as /site/name")
            if len(self._counters) >= MOST:
                raise ValueError(f"there are {MOST} counters already")
            counter = self._counters[name] = Counter(0, self._clock.wall())
        counter.value += delta
        return counter.value

    def reset(self, name: str) -> None:
        """Set a counter to 0. Raises KeyError."""
        counter = self._counters[name]
        counter.value, counter.reset_wall = 0, self._clock.wall()

    def unlink(self, name: str) -> None:
        """Forget a counter. Raises KeyError."""
        del self._counters[name]

    def all(self) -> list[tuple[str, Counter]]:
        """All of them by name."""
        return sorted(self._counters.items())


COUNTERS: Final = Counters(SystemClock())
"""Those of this process."""
