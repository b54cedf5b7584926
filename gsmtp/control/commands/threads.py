"""``threads stats``, ``threads io queue``, ``threads cpu queue``: what the pools have done and what waits for them.

A pool of the configuration is one of green threads; where there are native threads of that name, they have a block of
their own. Source: reference/threadpools-eventloops.md section 3.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final, Protocol

from gsmtp.config.scopes import PREDEFINED_POOLS
from gsmtp.control.command import CommandError, Output, command

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


def _data(operations: Operations) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    for title, kind, size, pool, idle in _blocks(operations):
        row: dict[str, object] = {"pool": title, "kind": kind, "concurrency": size, "invocations": 0}
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


def block(row: dict[str, object]) -> list[str]:
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
        f"   Average wallclock time per op: {float(str(row['average_s'])) * 1000:.2f}ms",
        "",
        f"            Current thread count: {row['running']}",
        "  [inactive threads]",
        f"            Current thread count: {row['idle']}",
    ]


@command("threads stats", help="How much each pool of threads has worked.")
def stats(console: Console, words: Sequence[str]) -> Output:
    """All pools."""
    if words:
        raise CommandError("threads stats takes no words")
    rows = _data(console.operations)
    return Output(tuple(line for row in rows for line in block(row)), rows)


@command("threads io queue", help="How many jobs wait for the IO pool.")
def io_queue(console: Console, words: Sequence[str]) -> Output:
    """Of green and native threads."""
    return _queue(console, words, "IO")


@command("threads cpu queue", help="How many jobs wait for the CPU pool.")
def cpu_queue(console: Console, words: Sequence[str]) -> Output:
    """Of green and native threads."""
    return _queue(console, words, "CPU")


def _queue(console: Console, words: Sequence[str], name: str) -> Output:
    if words:
        raise CommandError(f"threads {name.lower()} queue takes no words")
    operations = console.operations
    pools: list[_Pool] = [pool for pool in operations.pools if pool.name.upper() == name]
    pools += [pool for pool in operations.native_pools.values() if pool.name.upper() == name]
    jobs = sum(pool.waiting for pool in pools)
    return Output((f"Jobs in the {name} pool", f"{jobs} jobs"), {"pool": name, "jobs": jobs})


assert {name.lower() for name in _ORDER} == {name.lower() for name in PREDEFINED_POOLS}
