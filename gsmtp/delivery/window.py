"""Which recipients are in memory, in the lanes of their destinations, and whose mail is left in the spool for now.

The window is what all lanes together may hold. A lane holds at most a quarter of what the others leave free of it;
beyond that its domains are left out of the look-ups until it has drained.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence

from gevent.event import Event

from gsmtp.delivery.gates import Gates
from gsmtp.delivery.lanes import Lane
from gsmtp.spool.base import Due, Spool

_MOST_SKIPPED = 10_000


class Window:
    """Counts what is held and by whom.

    Args:
        spool: takes leases back.
        most: recipients in memory at the most.
        wake: called when a look into the spool is worth while.

    Attributes:
        held: recipients that were handed out by the spool and have no record yet.
        unplaced: of those, the ones that are not in a lane yet.
        wants_room: whether a look waits for there to be room.
    """

    def __init__(self, spool: Spool, most: int, wake: Callable[[], object]) -> None:
        self.most = most
        self.held = 0
        self.unplaced = 0
        self.wants_room = False
        self._spool = spool
        self._wake = wake
        self._lanes: dict[Hashable, Lane] = {}
        self._skipped: dict[str, Lane | None] = {}
        self._settled = Event()

    @property
    def room(self) -> int:
        """Recipients that may still come."""
        return self.most - self.held

    @property
    def waiting(self) -> int:
        """Recipients in lanes that aren't at work."""
        return sum(lane.recipients for lane in self._lanes.values())

    @property
    def active_destinations(self) -> int:
        """Lanes in which something is at work or waits."""
        return sum(bool(lane.active or lane.waiting) for lane in self._lanes.values())

    def lane(self, key: Hashable, gates: Gates, limit: int) -> Lane:
        """The lane of that key, made if need be."""
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = Lane(key, gates, limit)
        return lane

    def share(self) -> int:
        """Recipients that one lane may hold: a quarter of what is free now, but never none."""
        return max((self.most - self.held + self.unplaced) // 4, 1)

    # What is left in the spool.

    @property
    def skipped(self) -> tuple[str, ...]:
        """What a look is to leave out, as `Spool.due` takes it."""
        return tuple(self._skipped)

    def skips_all(self, keys: Iterable[str]) -> bool:
        """Whether all of these are left out of the look-ups."""
        return bool(self._skipped) and all(key in self._skipped for key in keys)

    def skip(self, key: str, lane: Lane | None) -> bool:
        """Leave mail by that key out of the look-ups, until the lane has drained if there is one. False when so much is
        left out that no more can be."""
        if key not in self._skipped and len(self._skipped) >= _MOST_SKIPPED:
            return False
        self._skipped[key] = lane
        return True

    def _unskip(self, lane: Lane) -> None:
        lane.is_crowded = False
        keys = [key for key, of_lane in self._skipped.items() if of_lane is lane]
        for key in keys:
            del self._skipped[key]
        if keys:
            self._wake()

    # What goes.

    def release(self, dues: Sequence[Due]) -> None:
        """Give recipients back to the spool, untried."""
        for due in dues:
            self._spool.release(due.message_id, due.index)
        self._let_go(len(dues))

    def recorded(self, count: int, is_later: bool) -> None:
        """So many recipients' records are durable; `is_later`: one of them is to be tried again."""
        self._let_go(count)
        if is_later:
            self._wake()

    def ended(self, lane: Lane) -> None:
        """A batch of a lane has ended."""
        if lane.is_crowded and lane.held <= self.share() // 2:
            self._unskip(lane)
        if not lane.waiting and not lane.active:
            self._lanes.pop(lane.key, None)

    def give_back(self) -> None:
        """Return all that waits in lanes to the spool."""
        for lane in list(self._lanes.values()):
            while lane.waiting:
                batch = lane.waiting.popleft()
                lane.recipients -= len(batch.dues)
                lane.held -= len(batch.dues)
                self.release(batch.dues)
            if not lane.active:
                self._lanes.pop(lane.key, None)

    def forget_skipped(self) -> None:
        """Leave nothing out any more."""
        self._skipped.clear()

    def wait_until_empty(self, timeout_s: float) -> bool:
        """Block until nothing is held, or the time is over; whether nothing is."""
        if self.held:
            self._settled.clear()
            self._settled.wait(timeout_s)
        return not self.held

    def _let_go(self, count: int) -> None:
        """So many recipients are no longer held."""
        self.held -= count
        if not self.held:
            self._settled.set()
        if self.wants_room and self.held < self.most:
            self.wants_room = False
            self._wake()
