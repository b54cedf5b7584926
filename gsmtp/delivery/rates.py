"""Throttles of what goes out: so many in a time, of this process or of all of them together."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from gsmtp.config.kinds import Rate
from gsmtp.delivery.lanes import Lane
from gsmtp.delivery.quotas import MakeTimer, Offer, Timer
from gsmtp.runtime.shared_rates import SharedRates

_ROUNDING = 1e-6
_LEAST_WAIT_S = 0.001


class Throttle:
    """So many in a time: an allowance that comes back evenly.

    Args:
        rate: how many, and in how many seconds.
        mono: a monotonic clock.
        make_timer: makes what wakes the lanes that wait.
        offer: takes a lane that may be looked at again.
        shared: where other processes use up the same allowance, None where there are none.
        name: of the allowance there.
    """

    __slots__ = (
        "_at_mono",
        "_called",
        "_left",
        "_make_timer",
        "_mono",
        "_name",
        "_offer",
        "_parked",
        "_rate",
        "_shared",
        "_timer",
    )

    def __init__(
        self,
        rate: Rate,
        mono: Callable[[], float],
        make_timer: MakeTimer,
        offer: Offer,
        shared: SharedRates | None = None,
        name: str = "",
    ) -> None:
        self._shared = shared
        self._name = name
        self._rate = rate
        self._mono = mono
        self._make_timer = make_timer
        self._offer = offer
        self._left = float(rate[0])
        self._at_mono = mono()
        self._parked: deque[Lane] = deque()
        self._called: set[Lane] = set()
        self._timer: Timer | None = None

    def take(self, lane: Lane) -> bool:
        """Use one up; False when there is none, or when others came first."""
        if self._parked and lane not in self._called:
            return False
        self._called.discard(lane)
        if self._shared is not None:
            is_taken, self._left = self._shared.use(self._name, *self._rate, self._mono())
            return is_taken
        self._refill()
        if self._left < 1 - _ROUNDING:
            return False
        self._left -= 1
        return True

    def charge(self) -> None:
        """Use one up, be there one or not: those who wait do so for longer."""
        self._add(-1.0)

    def give_back(self) -> None:
        """One that was taken was not used."""
        self._add(1.0)

    def park(self, lane: Lane) -> None:
        """Have a lane offered again when one can be taken."""
        lane.is_parked = True
        self._parked.append(lane)
        self._wait()

    def leave(self, lane: Lane) -> None:
        """A lane waits no more. Harmless for one that doesn't."""
        if lane.is_parked and lane in self._parked:
            self._parked.remove(lane)
            lane.is_parked = False

    def change(self, rate: Rate) -> None:
        """Use another rate from now on."""
        if rate != self._rate:
            self._refill()
            self._rate = rate
            self._left = min(self._left, float(rate[0]))

    def _add(self, more: float) -> None:
        if self._shared is not None:
            self._left = self._shared.add(self._name, more, *self._rate, self._mono())
            return
        self._refill()
        self._left += more

    def _refill(self) -> None:
        now_mono = self._mono()
        count, seconds = self._rate
        if self._shared is not None:
            self._left = self._shared.add(self._name, 0.0, count, seconds, now_mono)
            return
        self._left = min(self._left + (now_mono - self._at_mono) * count / seconds, float(count))
        self._at_mono = now_mono

    def _wait(self) -> None:
        if self._timer is None and self._parked:
            count, seconds = self._rate
            self._timer = self._make_timer(max((1 - self._left) * seconds / count, _LEAST_WAIT_S), self._serve)
            self._timer.arm()

    def _serve(self) -> None:
        """Offer as many lanes as there are turns; who uses its turn and wants more parks again."""
        self._timer = None
        self._refill()
        self._called.clear()
        for _ in range(min(int(self._left + _ROUNDING), len(self._parked))):
            lane = self._parked.popleft()
            lane.is_parked = False
            self._called.add(lane)
            self._offer(lane)
        self._wait()
