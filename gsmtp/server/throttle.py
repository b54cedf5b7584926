"""Inbound_Throttle_Messages: how many messages are taken in a time, by making the 250 to MAIL FROM wait its turn.

One allowance belongs to each scope instance that sets the option; all sessions for which its value holds share it. It
is kept by the scope's path, so it goes on over a reload. Those who wait are served in the order in which they came, by
one timer an allowance; a wait costs no green thread. Source: reference/esmtp-listener.md section 3.3.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from gsmtp.config.kinds import Rate
from gsmtp.config.view import View
from gsmtp.core.clock import Clock
from gsmtp.runtime.later import Later
from gsmtp.runtime.shared_rates import SharedRates
from gsmtp.server.limits import Path, path_of
from gsmtp.server.options import INBOUND_THROTTLE_MESSAGES

_ROUNDING: Final = 1e-6

Grant = Callable[[], bool]
"""Called when it is one's turn, on the hub; says whether the message is begun, so that the turn counts."""


class Timer(Protocol):
    """Runs a function once, some time after `arm`."""

    def arm(self) -> None:
        """Have it run."""

    def disarm(self) -> None:
        """Not any more."""


MakeTimer = Callable[[float, Callable[[], object]], Timer]


@dataclass(frozen=True, slots=True)
class ThrottleState:
    """One allowance, for the console.

    Args:
        path: of the scope that sets it, () for the global scope.
        messages: that may be taken …
        seconds: … in this time.
        left: messages that may begin at once.
        waiting: sessions that wait.
    """

    path: Path
    messages: int
    seconds: int
    left: int
    waiting: int


class Throttle:
    """One allowance: `rate` messages are there at first, and they come back evenly over its seconds.

    Args:
        path: of the scope that sets it.
        rate: messages and seconds.
        clock: only its monotonic time is used.
        make_timer: makes what wakes the first of those who wait.
        shared: where other processes use up the same allowance, None where there are none.

    Attributes:
        path: of the scope that sets it.
        generation: of the configuration that the rate is from.
    """

    __slots__ = (
        "_at_mono",
        "_clock",
        "_left",
        "_make_timer",
        "_name",
        "_rate",
        "_shared",
        "_timer",
        "_waiting",
        "generation",
        "path",
    )

    def __init__(
        self,
        path: Path,
        rate: Rate,
        clock: Clock,
        make_timer: MakeTimer = Later,
        shared: SharedRates | None = None,
    ) -> None:
        self.path = path
        self._name = f"inbound {path!r}"
        self._shared = shared
        self.generation = 0
        self._rate = rate
        self._clock = clock
        self._make_timer = make_timer
        self._left = float(rate[0])
        self._at_mono = clock.mono()
        self._waiting: OrderedDict[Grant, None] = OrderedDict()
        self._timer: Timer | None = None

    def take(self, grant: Grant) -> bool:
        """Begin a message now, if that is allowed; else `grant` is called when it is."""
        if not self._waiting and self._use_one():
            return True
        self._waiting[grant] = None
        self._wake_first()
        return False

    def leave(self, grant: Grant) -> None:
        """Wait no more. Harmless for who doesn't."""
        self._waiting.pop(grant, None)
        if not self._waiting:
            self._stop_timer()

    def change(self, rate: Rate) -> None:
        """Use another rate from now on; who waits keeps its place."""
        if rate == self._rate:
            return
        self._refill()
        self._rate = rate
        self._left = min(self._left, float(rate[0]))
        self._serve()

    def release_all(self) -> None:
        """Call all who wait, whatever the rate: the server stops."""
        waiting, self._waiting = self._waiting, OrderedDict()
        self._stop_timer()
        for grant in waiting:
            grant()

    @property
    def is_idle(self) -> bool:
        """Whether a new one would be the same: nobody waits and nothing was taken lately."""
        self._refill()
        return not self._waiting and self._left >= self._rate[0]

    def state(self) -> ThrottleState:
        """What the console shows."""
        self._refill()
        return ThrottleState(self.path, *self._rate, max(int(self._left + _ROUNDING), 0), len(self._waiting))

    def _use_one(self) -> bool:
        if self._shared is not None:
            is_taken, self._left = self._shared.use(self._name, *self._rate, self._clock.mono())
            return is_taken
        self._refill()
        if self._left < 1 - _ROUNDING:
            return False
        self._left -= 1
        return True

    def _give_back(self) -> None:
        if self._shared is not None:
            self._left = self._shared.add(self._name, 1.0, *self._rate, self._clock.mono())
        else:
            self._left += 1

    def _refill(self) -> None:
        now_mono = self._clock.mono()
        messages, seconds = self._rate
        if self._shared is not None:
            self._left = self._shared.add(self._name, 0.0, messages, seconds, now_mono)
            return
        self._left = min(self._left + (now_mono - self._at_mono) * messages / seconds, float(messages))
        self._at_mono = now_mono

    def _serve(self) -> None:
        """Let as many go as may."""
        self._stop_timer()
        while self._waiting and self._use_one():
            grant, _ = self._waiting.popitem(last=False)
            if not grant():
                self._give_back()
        self._wake_first()

    def _wake_first(self) -> None:
        if self._timer is not None or not self._waiting:
            return
        messages, seconds = self._rate
        self._timer = self._make_timer(max((1 - self._left) * seconds / messages, 0.001), self._serve)
        self._timer.arm()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.disarm()
            self._timer = None


class Throttles:
    """All allowances, by the path of the scope that sets them.

    Args:
        clock: see `Throttle`.
        make_timer: see `Throttle`.
        shared: see `Throttle`.
    """

    __slots__ = ("_by_path", "_by_view", "_clock", "_make_timer", "_shared")

    def __init__(self, clock: Clock, make_timer: MakeTimer = Later, shared: SharedRates | None = None) -> None:
        self._clock = clock
        self._shared = shared
        self._make_timer = make_timer
        self._by_path: dict[Path, Throttle] = {}
        self._by_view: dict[View, Throttle] = {}

    def of(self, view: View) -> Throttle | None:
        """The allowance that holds for a view, None when there is no limit."""
        if view[INBOUND_THROTTLE_MESSAGES] is None:
            return None
        return self._by_view.get(view) or self._find(view)

    def _find(self, view: View) -> Throttle:
        origin = view.origin(INBOUND_THROTTLE_MESSAGES)
        assert origin.scope is not None
        path = path_of(origin.scope)
        throttle = self._by_path.get(path)
        if throttle is None:
            throttle = self._by_path[path] = Throttle(path, origin.value, self._clock, self._make_timer, self._shared)
        if view.generation >= throttle.generation:  # sessions of an older configuration don't turn it back
            throttle.generation = view.generation
            throttle.change(origin.value)
        self._by_view[view] = throttle
        return throttle

    def reconfigured(self) -> None:
        """A new configuration took effect: forget its forerunner's views, and what it leaves behind unused."""
        self._by_view = {}
        self._by_path = {path: throttle for path, throttle in self._by_path.items() if not throttle.is_idle}

    def release_all(self) -> None:
        """Call all who wait: the server stops."""
        for throttle in self._by_path.values():
            throttle.release_all()

    def states(self) -> list[ThrottleState]:
        """All of them, the global one first, for the console."""
        states = [throttle.state() for throttle in self._by_path.values()]
        return sorted(states, key=lambda state: [(kind, name or "") for kind, name in state.path])
