"""Quotas of connections: so many at a time, in this process or in all of them together."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from gsmtp.delivery.lanes import Lane
from gsmtp.runtime.shared_counts import SharedCounts

_LOOK_AGAIN_S = 0.02
"""How soon a lane that waits for other processes to end theirs is looked at again: nobody tells us."""

Offer = Callable[[Lane], object]


class Timer(Protocol):
    """Runs a function once, some time after `arm`."""

    def arm(self) -> None:
        """Have it run."""


MakeTimer = Callable[[float, Callable[[], object]], Timer]


class Quota:
    """So many connections at a time.

    Args:
        limit: of them.
        offer: takes a lane that may be looked at again.
    """

    __slots__ = ("_offer", "_parked", "active", "limit")

    def __init__(self, limit: int, offer: Offer) -> None:
        self.limit = limit
        self.active = 0
        self._offer = offer
        self._parked: deque[Lane] = deque()

    @property
    def is_full(self) -> bool:
        """Whether nothing more may start."""
        return self.active >= self.limit

    def take(self) -> bool:
        """Count one in, unless nothing more may start."""
        if self.active >= self.limit:
            return False
        self.active += 1
        return True

    def untake(self) -> None:
        """Count one out that was not used."""
        self.active -= 1

    def park(self, lane: Lane) -> None:
        """Have a lane offered again when there is room."""
        lane.is_parked = True
        self._parked.append(lane)

    def give_back(self) -> None:
        """One has ended."""
        self.active -= 1
        self.let_on(self.limit - self.active)

    def let_on(self, count: int) -> None:
        """Offer so many parked lanes. One whose mail went back to the spool meanwhile uses nobody's turn up."""
        while count > 0 and self._parked:
            lane = self._parked.popleft()
            lane.is_parked = False
            if lane.waiting:
                self._offer(lane)
                count -= 1


class SharedQuota(Quota):
    """So many connections at a time, of all processes together.

    Args:
        limit: of them.
        offer: takes a lane that may be looked at again.
        shared: where they are counted.
        name: by which.
        make_timer: makes what looks again whether others have ended theirs.
    """

    __slots__ = ("_make_timer", "_name", "_shared", "_timer")

    def __init__(self, limit: int, offer: Offer, shared: SharedCounts, name: str, make_timer: MakeTimer) -> None:
        super().__init__(limit, offer)
        self._shared = shared
        self._name = name
        self._make_timer = make_timer
        self._timer: Timer | None = None

    @property
    def is_full(self) -> bool:
        """Whether nothing more may start."""
        return self._shared.total(self._name) >= self.limit

    def take(self) -> bool:
        """Count one in, unless nothing more may start."""
        if not self._shared.take(self._name, self.limit):
            return False
        self.active += 1
        return True

    def untake(self) -> None:
        """Count one out that was not used."""
        self.active -= 1
        self._shared.drop(self._name)

    def park(self, lane: Lane) -> None:
        """Have a lane offered again when there is room."""
        super().park(lane)
        self._look_later()

    def give_back(self) -> None:
        """One has ended."""
        self.untake()
        self.let_on(self.limit - self._shared.total(self._name))

    def _look_later(self) -> None:
        if self._timer is None and self._parked:
            self._timer = self._make_timer(_LOOK_AGAIN_S, self._look)
            self._timer.arm()

    def _look(self) -> None:
        self._timer = None
        self.let_on(self.limit - self._shared.total(self._name))
        self._look_later()
