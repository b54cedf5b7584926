"""``threads stats``, ``threads io queue``, ``threads cpu queue``: what the pools have done and what waits for them.

A pool of the configuration is one of green threads; where there are native threads of that name, they have a block of
their own. Source: reference/threadpools-eventloops.md section 3.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final, Protocol

from gsmtp.config.pools import PREDEFINED_POOLS
from gsmtp.control.command import CommandError, Output, gathered
from gsmtp.control.parts import Parts, Row, total

if TYPE_CHECKING:
    from gsmtp.control.console import Console
    from gsmtp.control.operations import Operations
    from gsmtp.runtime.usage import Usage

_ORDER: Final = ("CPU", "IO", "SwapOut", "SwapIn", "Unlink", "Batch_Unlink", "SpoolIn", "Close")


class _Pool(Protocol):
    """What green and native pools have in common."""

    name: str
    usage: Usage

    @property
    def waiting(self) -> int:
        """Jobs that wait."""


def _blocks(operations: Operations) -> Iterator[tuple[str, str, int, _Pool | None, int]]:
    """Title, kind, size, pool if it was ever used, idle threads: in the documented order."""
    green = {pool.name.lower(): pool for pool in operations.pools}
    configured = [scope.spelled or "" for scope in operations.configuration.tree.root.all("threadpool")]
    predefined = [name.lower() for name in _ORDER]
    others = [name for name in configured if name.lower() not in predefined]
    others += [pool.name for key, pool in green.items() if key not in (*predefined, *(o.lower() for o in others))]
    native = {pool.name.lower(): pool for pool in operations.native_pools.values()}
    for name in (*_ORDER, *others):
        title = name.upper() if name.lower() in predefined else name
        pool = green.get(name.lower())
        yield title, "green", pool.slots if pool else operations.pools.size(name), pool, 0
        threads = native.pop(name.lower(), None)
        if threads is not None:
            yield title, "native", threads.size, threads, max(threads.threads - threads.usage.running, 0)
    for threads in native.values():
        yield threads.name, "native", threads.size, threads, max(threads.threads - threads.usage.running, 0)


def _data(operations: Operations) -> list[Row]:
    found: list[Row] = []
    for title, kind, size, pool, idle in _blocks(operations):
        row: Row = {"pool": title, "kind": kind, "concurrency": size, "invocations": 0}
        if pool is not None:
            usage = pool.usage
            row.update(
                invocations=usage.invocations,
                observed_concurrency=round(usage.concurrency, 2),
                saturation=round(usage.saturation, 4),
                average_s=round(usage.average_s, 6),
                running=usage.running,
                idle=idle,
                waiting=pool.waiting,
            )
        found.append(row)
    return found


def block(row: Row) -> list[str]:
    """The documented lines of one pool; one that never worked has the first line only."""
    native = " (native)" if row["kind"] == "native" else ""
    lines = [f"{row['pool']} thread pool{native}: concurrency {row['concurrency']}"]
    if not row["invocations"] and not row.get("running"):
        return lines
    return [
        *lines,
        f"               Total invocations: {row['invocations']}",
        f"    Observed average concurrency: {row['observed_concurrency']:.2f}",
        f"          Thread pool saturation: {row['saturation']:6.2%}",
        f"   Average wallclock time per op: {row['average_s'] * 1000:.2f}ms",
        "",
        f"            Current thread count: {row['running']}",
        "  [inactive threads]",
        f"            Current thread count: {row['idle']}",
    ]


def _stats(console: Console, words: Sequence[str]) -> list[Row]:
    if words:
        raise CommandError("threads stats takes no words")
    return _data(console.operations)


@gathered("threads stats", _stats, help="How much each pool of threads has worked.")
def stats(console: Console, words: Sequence[str], parts: Parts) -> Output:
    """All pools."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in (row for value in parts.values for row in value):
        found.setdefault((row["pool"], row["kind"]), []).append(row)
    rows = [_together(same) for same in found.values()]
    return Output(tuple(line for row in rows for line in block(row)), rows)


def _together(rows: Sequence[Row]) -> Row:
    """The pools of one name in several processes as one; an operation's time is the average over all of them."""
    if len(rows) == 1:
        return rows[0]
    row = total(rows)
    used = [one for one in rows if "saturation" in one]
    if used:
        row["saturation"] = round(sum(one["saturation"] for one in used) / len(rows), 4)
        took_s = sum(one["average_s"] * one["invocations"] for one in used)
        row["average_s"] = round(took_s / row["invocations"], 6) if row["invocations"] else 0.0
        row["observed_concurrency"] = round(row["observed_concurrency"], 2)
    return row


def _declare(name: str) -> None:
    def jobs(console: Console, words: Sequence[str]) -> int:
        if words:
            raise CommandError(f"threads {name.lower()} queue takes no words")
        operations = console.operations
        pools: list[_Pool] = [pool for pool in operations.pools if pool.name.upper() == name]
        pools += [pool for pool in operations.native_pools.values() if pool.name.upper() == name]
        return sum(pool.waiting for pool in pools)

    @gathered(f"threads {name.lower()} queue", jobs, help=f"How many jobs wait for the {name} pool.")
    def show(console: Console, words: Sequence[str], parts: Parts) -> Output:
        count = sum(parts.values)
        return Output((f"Jobs in the {name} pool", f"{count} jobs"), {"pool": name, "jobs": count})


_declare("IO")
_declare("CPU")

assert {name.lower() for name in _ORDER} == {name.lower() for name in PREDEFINED_POOLS}
