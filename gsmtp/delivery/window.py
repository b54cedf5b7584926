"""Which recipients are in memory, in the lanes of their destinations, and whose mail is left in the spool for now.

The window is what all lanes together may hold. A lane whose destination takes mail holds at most a quarter of what its
like leave free. One that hasn't shown yet that it does, or doesn't any more, may be dead or silent, and each of its
connections may hang for minutes: it holds a few, and fewer the more of that kind there are. Each of the two kinds has a
quarter of the window for itself. So hundreds of silent hops together can't keep mail from those that are alive, nor
from those that nobody has heard of yet; and no lane is refused its first recipient while there is room at all.

What a lane may not hold stays in the spool: its domain is left out of the look-ups until the lane has drained.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence

from gevent.event import Event

from gsmtp.delivery.gates import Gates
from gsmtp.delivery.lanes import Lane, Pool
from gsmtp.spool.base import Due, Record, Spool

_MOST_SKIPPED = 10_000
_MOST_PROVEN = 10_000
_FEW = 4
"""Recipients that a lane which is not proven may hold, also where there are many of them."""
_STALLED_S = 10.0
"""A proven lane at work from which nothing was heard for so long is proven no more."""
_MOST_FAILURES = 5
"""In a row, likewise."""


class Window:
    """Counts what is held and by whom.

    Args:
        spool: takes leases back.
        most: recipients in memory at the most.
        wake: called when a look into the spool is worth while.
        mono: a monotonic clock in seconds.

    Attributes:
        held: recipients that were handed out by the spool and have no record yet.
        wants_room: whether a look waits for there to be room.
    """

    def __init__(self, spool: Spool, most: int, wake: Callable[[], object], mono: Callable[[], float]) -> None:
        self.most = most
        self.held = 0
        self.wants_room = False
        self._spool = spool
        self._wake = wake
        self._mono = mono
        self._lanes: dict[Hashable, Lane] = {}
        self._proven: dict[Hashable, None] = {}
        """Keys of lanes whose destination took mail, the newest last."""
        self._movers = Pool()
        self._others = Pool()
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
            pool = self._movers if key in self._proven else self._others
            lane = self._lanes[key] = Lane(key, gates, pool, limit, moved_mono=self._mono())
        return lane

    def share(self, lane: Lane, *, is_joining: bool = False) -> int:
        """Recipients that a lane may hold, at least one; `is_joining`: when they go in one transaction with others."""
        reserved = self.most // 4
        if lane.pool is self._movers:
            return max((self.most - max(self._others.held, reserved) - self._movers.held) // 4, 1)
        free = self.most - max(self._movers.held, reserved) - self._others.held
        return max(free // 4 if is_joining else free // 32, min(_FEW, free), 1)

    def quick_share(self) -> int:
        """Recipients that a lane may hold which is rid of them in a moment."""
        return max(self.room // 4, 1)

    # Who takes mail.

    def moved(self, lane: Lane) -> None:
        """A lane's destination has answered."""
        lane.failures = 0
        lane.moved_mono = self._mono()
        if lane.pool is self._others:
            if len(self._proven) >= _MOST_PROVEN:
                del self._proven[next(iter(self._proven))]
            self._proven[lane.key] = None
            lane.change_pool(self._movers)

    def failed(self, lane: Lane) -> None:
        """A lane's destination wasn't reached, or broke off."""
        lane.failures += 1
        if lane.failures >= _MOST_FAILURES:
            self._doubt(lane)

    def relieve(self) -> None:
        """Doubt lanes from which nothing was heard for long; when room is short, have those that are not proven give
        back what waits beyond their share. To be called now and then."""
        now_mono = self._mono()
        for lane in list(self._lanes.values()):
            if lane.pool is self._movers and lane.active and now_mono - lane.moved_mono > _STALLED_S:
                self._doubt(lane)
            if lane.pool is self._others and self.room < self.most // 4:
                while lane.waiting and lane.held > self.share(lane):
                    self._return(lane)
                if not lane.waiting and not lane.active:
                    self.ended(lane)  # no batch's end will say so, and its domains would be left out for good

    def _doubt(self, lane: Lane) -> None:
        if lane.pool is self._movers:
            self._proven.pop(lane.key, None)
            lane.change_pool(self._others)

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

    def release(self, dues: Sequence[Due] | Sequence[Record]) -> None:
        """Give recipients back to the spool, untried, or with an outcome that can't be noted."""
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
        if lane.is_crowded and lane.held <= self.share(lane) // 2:
            self._unskip(lane)
        if not lane.waiting and not lane.active:
            self._lanes.pop(lane.key, None)

    def give_back(self) -> None:
        """Return all that waits in lanes to the spool."""
        for lane in list(self._lanes.values()):
            while lane.waiting:
                self._return(lane)
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

    def _return(self, lane: Lane) -> None:
        """Return the last of a lane's waiting batches to the spool."""
        batch = lane.waiting.pop()
        lane.recipients -= len(batch.dues)
        lane.hold(-len(batch.dues))
        self.release(batch.dues)

    def _let_go(self, count: int) -> None:
        """So many recipients are no longer held."""
        self.held -= count
        if not self.held:
            self._settled.set()
        if self.wants_room and self.held < self.most:
            self.wants_room = False
            self._wake()
