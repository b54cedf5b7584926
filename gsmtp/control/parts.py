"""What the processes of a server said to one question of the console, and how one answer is made of it.

A server of one process has one part; with workers there is one of each that answered. What a part holds came as JSON,
or is what the command's own `gather` returned.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

Row = dict[str, Any]

PARENT: Final = 0


@dataclass(frozen=True, slots=True)
class Part:
    """What one process said.

    Args:
        slot: of the worker; PARENT for the process that has the console.
        data: JSON values, an iterator where the command gives one.
    """

    slot: int
    data: Any


@dataclass(slots=True)
class Parts:
    """What all said.

    Args:
        found: those who answered, by slot; never empty.
        has_workers: whether there are workers.
        missing: who did not answer, or broke off, and why; by slot.
        refused: who answered that it can't be done, and why; by slot.
    """

    found: Sequence[Part]
    has_workers: bool = False
    missing: dict[int, str] = field(default_factory=dict)
    refused: dict[int, str] = field(default_factory=dict)

    @property
    def values(self) -> list[Any]:
        """The data of each."""
        return [part.data for part in self.found]

    def merged(self, key: Callable[[Any], Any]) -> Iterator[Any]:
        """The items of all, each part's in the order in which it has them, by a key."""
        if len(self.found) == 1:
            return iter(self.found[0].data)
        return heapq.merge(*self.values, key=key)

    def marked(self) -> Iterator[Row]:
        """The items of all, one part after the other, with a key ``worker`` where there are workers."""
        for part in self.found:
            for row in part.data:
                yield {**row, "worker": part.slot} if self.has_workers else row

    def reason(self) -> str:
        """Who did not answer, in a line; "" when all did."""
        texts = [f"{name_of(slot)} did not answer: {why}" for slot, why in sorted(self.missing.items())]
        texts += [f"{name_of(slot)} says: {why}" for slot, why in sorted(self.refused.items())]
        return "; ".join(text.replace("\n", " ") for text in texts)


def name_of(slot: int) -> str:
    """How a process is called in answers."""
    return f"worker {slot}" if slot else "the parent"


def mark(row: Row) -> str:
    """What stands at the end of a row's line that `Parts.marked` gave."""
    return f"  [worker {row['worker']}]" if "worker" in row else ""


def total(rows: Iterable[Row]) -> Row:
    """The sums of all numbers, by key; what is no number is as in the first row.

    >>> total([{"name": "x", "count": 1}, {"name": "x", "count": 2}])
    {'name': 'x', 'count': 3}
    """
    found: Row = {}
    for row in rows:
        for key, value in row.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                found[key] = found.get(key, 0) + value
            else:
                found.setdefault(key, value)
    return found


def grouped(rows: Iterable[Row], *keys: str) -> Iterator[list[Row]]:
    """Rows that stand side by side and have the same values of some keys."""
    for _, group in itertools.groupby(rows, key=by(*keys)):
        yield list(group)


def by(*keys: str) -> Callable[[Row], tuple[Any, ...]]:
    """The values of some keys, to sort by."""
    return lambda row: tuple(row[key] for key in keys)
