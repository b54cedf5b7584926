"""What the queue keeps in memory: lanes of batches, envelopes at hand, and the counts it tells."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gsmtp.core.envelope import Envelope
from gsmtp.delivery.worker import Batch

if TYPE_CHECKING:
    from gsmtp.delivery.gates import Gates


class Pool:
    """What lanes of a kind hold together.

    Attributes:
        held: recipients.
    """

    __slots__ = ("held",)

    def __init__(self) -> None:
        self.held = 0


class Lane:
    """The batches of one destination.

    Args:
        key: the route's key, the binding and the gates.
        gates: what it must pass before a batch starts.
        pool: the lanes of its kind (`delivery.window`), None for one of its own.
        limit: batches at work at the most.
        moved_mono: when it was made.

    Attributes:
        waiting: batches that wait, the more urgent first.
        recipients: recipients in `waiting`.
        active: batches at work.
        is_offered: whether it stands in the line of lanes that may start a batch.
        is_parked: whether it waits at a gate (`delivery.gates`), which offers it again.
        is_crowded: whether mail for it was left in the spool.
        held: recipients that wait or are at work.
        moved_mono: when its destination last answered, or when it was made.
        failures: attempts in a row in which its destination didn't.
    """

    def __init__(
        self, key: Hashable, gates: Gates, pool: Pool | None = None, limit: int = 1, moved_mono: float = 0.0
    ) -> None:
        self.key = key
        self.gates = gates
        self.pool = pool or Pool()
        self.limit = limit
        self.waiting: deque[Batch] = deque()
        self.recipients = 0
        self.active = 0
        self.is_offered = False
        self.is_parked = False
        self.is_crowded = False
        self.held = 0
        self.moved_mono = moved_mono
        self.failures = 0

    def hold(self, count: int) -> None:
        """So many recipients more, or fewer, wait or are at work."""
        self.held += count
        self.pool.held += count

    def change_pool(self, pool: Pool) -> None:
        """Be of another kind from now on."""
        self.pool.held -= self.held
        self.pool = pool
        pool.held += self.held

    def put(self, batch: Batch) -> None:
        """Let a batch wait, behind those that are as urgent and before those that are less."""
        waiting = self.waiting
        at = len(waiting)
        while at and waiting[at - 1].priority < batch.priority:
            at -= 1
        waiting.insert(at, batch)


@dataclass(frozen=True, slots=True)
class DeliveryStats:
    """Counts since the start, and what is going on.

    Args:
        active: recipients at work.
        waiting: recipients in memory that wait for their turn.
        delayed: recipients that were deferred and not yet tried with another result; an estimate.
        delivered: recipients handed on.
        failed: recipients failed for good.
        deferrals: transient failures.
        connections_idle: open connections that wait for mail.
        hops_down: next hops that are backed off from.
    """

    active: int
    waiting: int
    delayed: int
    delivered: int
    failed: int
    deferrals: int
    connections_idle: int
    hops_down: int


class EnvelopeCache:
    """Envelopes of messages that were just accepted, bounded by their recipients; the oldest go first."""

    def __init__(self, most_recipients: int) -> None:
        self._most = most_recipients
        self._count = 0
        self._envelopes: OrderedDict[str, Envelope] = OrderedDict()

    def put(self, envelope: Envelope) -> None:
        """Keep an envelope, if it isn't too large."""
        if len(envelope.recipients) > self._most or envelope.message_id in self._envelopes:
            return
        self._envelopes[envelope.message_id] = envelope
        self._count += len(envelope.recipients)
        while self._count > self._most:
            _, oldest = self._envelopes.popitem(last=False)
            self._count -= len(oldest.recipients)

    def get(self, message_id: str) -> Envelope | None:
        """The envelope, if it is still here."""
        return self._envelopes.get(message_id)

    def drop(self, message_id: str) -> None:
        """Forget it: its message was tried."""
        envelope = self._envelopes.pop(message_id, None)
        if envelope is not None:
            self._count -= len(envelope.recipients)
