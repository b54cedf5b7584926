"""What a lane must pass before it starts a batch: quotas of connections and rates of messages and connections.

Quotas and throttles belong to the scope that sets the option, so all lanes whose options fall back to it share them
(reference/scopes-and-fallback.md section 1). They are kept by the scope's path and outlive a reload. A lane that may
not pass is parked at the gate, costs nothing there, and comes back when there is room, in the order of arrival: nobody
polls, and nobody behind it waits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

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
from gsmtp.delivery.quotas import MakeTimer, Offer, Quota, SharedQuota
from gsmtp.delivery.rates import Throttle
from gsmtp.delivery.transport import Throttled
from gsmtp.runtime.shared_counts import SharedCounts

Path = tuple[tuple[str, str], ...]


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
            rates = None if self._beside is None else self._beside.rates
            throttle = self._throttles[key] = Throttle(
                origin.value, self._mono, self._make_timer, self._offer, rates, f"{key!r}"
            )
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
