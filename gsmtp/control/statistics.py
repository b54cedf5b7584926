"""What ``summary`` counts, from its last reset on; with workers also what those had counted that are no more.

A worker counts for itself, and the parent remembers what each said last: it asks now and then (`WATCH_S`), and each
``summary`` asks. What a worker counted between that and its death is missing.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from gsmtp.control.operations import Operations
    from gsmtp.control.workers import Workers

QUESTION: Final = "statistics"
WATCH_S: Final = 5.0


@dataclass(slots=True)
class Statistics:
    """Counts from the last ``summary reset`` on.

    Args:
        since_mono: when that was.
        before: the counts then, by name.
        said: what each worker said last, by slot: its process, and its counts.
        ended: the counts of processes that are no more.
    """

    since_mono: float = field(default_factory=time.monotonic)
    before: dict[str, int] = field(default_factory=dict)
    said: dict[int, tuple[int, dict[str, int]]] = field(default_factory=dict)
    ended: Counter[str] = field(default_factory=Counter)

    def reset(self, counts: dict[str, int]) -> None:
        """Count from now on."""
        self.since_mono = time.monotonic()
        self.before = dict(counts)
        self.said.clear()
        self.ended.clear()

    def since(self, counts: dict[str, int]) -> dict[str, int]:
        """What was counted since then."""
        return {name: value - self.before.get(name, 0) for name, value in counts.items()}

    def note(self, slot: int, pid: int, counts: dict[str, int]) -> None:
        """Remember what a worker has counted since the reset."""
        known = self.said.get(slot)
        if known is not None and known[0] != pid:
            self.ended.update(known[1])
        self.said[slot] = pid, counts

    def together(self) -> dict[str, int]:
        """What all workers have counted that ever were."""
        found = Counter(self.ended)
        for _, counts in self.said.values():
            found.update(counts)
        return dict(found)


def counts(operations: Operations) -> dict[str, int]:
    """What only grows, from the start on. Received and delivered count recipients' messages; questions about names are
    those that were put to name servers, IPv6 addresses among the A queries."""
    totals = operations.service.totals
    stats = operations.delivery.stats()
    dns = operations.delivery.dns
    return {
        "dns_a_queries": dns.a,
        "dns_mx_queries": dns.mx,
        "delivered": stats.delivered,
        "failed": stats.failed,
        "rejected": totals.rejections,
        "received": totals.recipients,
    }


def own(operations: Operations) -> dict[str, Any]:
    """What this process says: its number, and its counts since the reset."""
    return {"pid": os.getpid(), "since": operations.host.statistics.since(counts(operations))}


def ask(workers: Workers, statistics: Statistics) -> None:
    """Have all workers say theirs. Blocks."""
    for one in workers.ask_all(QUESTION):
        if one.body is not None:
            statistics.note(one.slot, one.body["pid"], one.body["since"])
