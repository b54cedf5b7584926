"""What a lane must pass before it starts a batch: quotas of connections and rates of messages and connections.

Quotas and throttles belong to the scope that sets the option, so all lanes whose options fall back to it share them
(reference/scopes-and-fallback.md section 1). They are kept by the scope's path and outlive a reload. A lane that may
not pass is parked at the gate, costs nothing there, and comes back when there is room, in the order of arrival: nobody
polls, and nobody behind it waits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

from gsmtp.config.kinds import Rate
from gsmtp.config.option import Option
from gsmtp.config.tree import Scope
from gsmtp.config.view import View
from gsmtp.delivery.lanes import Lane
from gsmtp.delivery.limit_options import (
    OUTBOUND_THROTTLE_CONNECTIONS,
    OUTBOUND_THROTTLE_MESSAGES,
    SCOPE_MAX_OUTBOUND_CONNECTIONS,
    SERVER_MAX_OUTBOUND_CONNECTIONS,
)
from gsmtp.delivery.transport import Throttled
from gsmtp.runtime.shared_counts import SharedCounts

_ROUNDING = 1e-6
_LEAST_WAIT_S = 0.001
_LOOK_AGAIN_S = 0.02
"""How soon a lane that waits for other processes to end theirs is looked at again: nobody tells us."""

Path = tuple[tuple[str, str], ...]
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


class Throttle:
    """So many in a time: an allowance that comes back evenly.

    Args:
        rate: how many, and in how many seconds.
        mono: a monotonic clock.
        make_timer: makes what wakes the lanes that wait.
        offer: takes a lane that may be looked at again.
    """

    __slots__ = ("_at_mono", "_called", "_left", "_make_timer", "_mono", "_offer", "_parked", "_rate", "_timer")

    def __init__(self, rate: Rate, mono: Callable[[], float], make_timer: MakeTimer, offer: Offer) -> None:
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
        self._refill()
        if self._left < 1 - _ROUNDING:
            return False
        self._left -= 1
        return True

    def charge(self) -> None:
        """Use one up, be there one or not: those who wait do so for longer."""
        self._refill()
        self._left -= 1

    def give_back(self) -> None:
        """One that was taken was not used."""
        self._left += 1

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

    def _refill(self) -> None:
        now_mono = self._mono()
        count, seconds = self._rate
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


@dataclass(frozen=True, slots=True)
class Gates:
    """What the lanes of one view must pass.

    Args:
        quotas: all of them count a batch.
        messages: the allowance of transactions.
        connections: the allowance of new connections.
        name: tells them from others, in all processes alike.
    """

    quotas: tuple[Quota, ...] = ()
    messages: Throttle | None = None
    connections: Throttle | None = None
    name: str = ""

    def enter(self, lane: Lane) -> bool:
        """Let the lane start one batch; else it is parked."""
        gate: Quota | Throttle | None = None
        taken: list[Quota] = []
        for quota in self.quotas:
            if not quota.take():
                gate = quota
                break
            taken.append(quota)
        if gate is None and self.messages is not None and not self.messages.take(lane):
            gate = self.messages
        if gate is None:
            return True
        for quota in taken:
            quota.untake()
        gate.park(lane)
        for quota in self.quotas:  # another lane may use the room that this one can't
            if not quota.is_full:
                quota.let_on(1)
        return False

    def leave(self, lane: Lane) -> None:
        """A batch has ended. Its connection may be there for the next one, whatever the rate of new ones."""
        for quota in self.quotas:
            quota.give_back()
        if self.connections is not None:
            self.connections.leave(lane)

    def connecting(self, lane: Lane, *, is_next: bool) -> None:
        """A connection is about to be opened for the lane. Raises Throttled.

        Args:
            lane: for which.
            is_next: whether the same attempt opened one before, whose host failed. It is let through and charged for:
                sent back, the attempt would begin with that host again each time, and never come to the next one.
        """
        if self.connections is None:
            return
        if is_next:
            self.connections.charge()
        elif not self.connections.take(lane):
            raise Throttled("451 4.3.2 [internal] connections are throttled")

    def sent_back(self, lane: Lane) -> None:
        """A batch of the lane was Throttled: undo its `enter`, and wait for the next connection."""
        if self.messages is not None:
            self.messages.give_back()
        for quota in self.quotas:
            quota.give_back()
        if self.connections is not None and not lane.is_parked:
            self.connections.park(lane)


class GateKeeper:
    """All quotas and throttles, by the paths of the scopes that set them.

    Args:
        mono: a monotonic clock.
        make_timer: see `Throttle`.
        offer: see `Throttle`.
        shared: counts that several processes keep together, None in a server of one process.
    """

    def __init__(
        self, mono: Callable[[], float], make_timer: MakeTimer, offer: Offer, shared: SharedCounts | None = None
    ) -> None:
        self._mono = mono
        self._make_timer = make_timer
        self._offer = offer
        self._beside = shared
        self._quotas: dict[tuple[str, Path], Quota] = {}
        self._throttles: dict[tuple[str, Path], Throttle] = {}
        self._of_lanes: dict[str, Gates] = {}
        self._by_view: dict[View, Gates] = {}
        self._shared: dict[tuple[object, ...], Gates] = {}

    def reconfigured(self) -> None:
        """Views of another configuration come from now on."""
        self._by_view.clear()
        self._shared.clear()
        self._of_lanes.clear()

    def of(self, view: View) -> Gates:
        """The gates for mail with these options; the same object for views that share all of them."""
        gates = self._by_view.get(view)
        if gates is None:
            if len(self._by_view) >= 10_000:
                self._by_view.clear()
            gates = self._by_view[view] = self._find(view)
        return gates

    def _find(self, view: View) -> Gates:
        limits = (SCOPE_MAX_OUTBOUND_CONNECTIONS, SERVER_MAX_OUTBOUND_CONNECTIONS)
        rates = (OUTBOUND_THROTTLE_MESSAGES, OUTBOUND_THROTTLE_CONNECTIONS)
        quotas = tuple(self._quota(view, option) for option in limits)
        messages = self._throttle(view, OUTBOUND_THROTTLE_MESSAGES)
        connections = self._throttle(view, OUTBOUND_THROTTLE_CONNECTIONS)
        key = (*quotas, messages, connections)
        found = self._shared.get(key)
        if found is None:
            kept = tuple(quota for quota in quotas if quota is not None)
            name = repr([_place(view, option) for option in (*limits, *rates)])
            found = self._shared[key] = Gates(kept, messages, connections, name)
        return found

    def for_lane(self, gates: Gates, name: str, limit: int) -> Gates:
        """The gates of one destination: where several processes hand mail on, they keep its limit together.

        Args:
            gates: of its view.
            name: of the destination, in all processes alike.
            limit: of batches at a time.
        """
        if self._beside is None:
            return gates
        key = f"lane {name} {limit} {gates.name}"
        found = self._of_lanes.get(key)
        if found is None:
            if len(self._of_lanes) >= 10_000:
                self._of_lanes.clear()
            quota = SharedQuota(limit, self._offer, self._beside, key, self._make_timer)
            found = self._of_lanes[key] = replace(gates, quotas=(*gates.quotas, quota))
        return found

    def _quota(self, view: View, option: Option[int] | Option[int | None]) -> Quota | None:
        origin = view.origin(option)
        if origin.value is None or origin.scope is None:
            return None  # no limit, or the built-in one of the whole server, which the queue keeps
        path = path_of(origin.scope)
        if not path and option is SERVER_MAX_OUTBOUND_CONNECTIONS and self._beside is None:
            return None
        quota = self._quotas.get((option.key, path))
        if quota is None:
            quota = self._quotas[option.key, path] = self._make_quota(origin.value, f"{option.key} {path!r}")
        quota.limit = origin.value
        return quota

    def _make_quota(self, limit: int, name: str) -> Quota:
        if self._beside is None:
            return Quota(limit, self._offer)
        return SharedQuota(limit, self._offer, self._beside, name, self._make_timer)

    def _throttle(self, view: View, option: Option[Rate | None]) -> Throttle | None:
        origin = view.origin(option)
        if origin.value is None or origin.scope is None:
            return None
        key = (option.key, path_of(origin.scope))
        throttle = self._throttles.get(key)
        if throttle is None:
            throttle = self._throttles[key] = Throttle(origin.value, self._mono, self._make_timer, self._offer)
        throttle.change(origin.value)
        return throttle


def _place(view: View, option: Option[Any]) -> Path | None:
    """The path of the scope that sets an option."""
    scope = view.origin(option).scope
    return None if scope is None else path_of(scope)


def path_of(scope: Scope) -> Path:
    """The words and names from the global scope, (), to a scope."""
    found: list[tuple[str, str]] = []
    at: Scope | None = scope
    while at is not None and at.parent is not None:
        found.append((at.kind, at.instance or ""))
        at = at.parent
    return tuple(reversed(found))
