"""``ds_core`` and ``cache``: what the caches of Datasources hold and how well they serve.

Source: reference/console-and-logs.md section 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gsmtp.control.command import CommandError, Output, command
from gsmtp.datasource.result import DatasourceError

if TYPE_CHECKING:
    from gsmtp.control.console import Console
    from gsmtp.datasource.store import Datasource

_HEAD = (
    "cache name                      lookups %                  deletions %",
    "                       elts  hit miss pend  total  inserts man ttl lru  total",
    "---------------------- ----- -------------------- -------- ------------------",
)
_NAME_SHOWN = 10


def _share(part: int, whole: int) -> int:
    return round(100 * part / whole) if whole else 0


def _row(datasource: Datasource) -> tuple[str, str]:
    counts = datasource.cache.counts
    lookups = counts.hits + counts.misses + counts.pending
    deleted = counts.removed_manually + counts.removed_old + counts.removed_full
    looked = f"{_share(counts.hits, lookups):3} {_share(counts.misses, lookups):3} {_share(counts.pending, lookups):3}"
    gone = (
        f"{_share(counts.removed_manually, deleted):3} {_share(counts.removed_old, deleted):3} "
        f"{_share(counts.removed_full, deleted):3}"
    )
    numbers = f"{len(datasource.cache):5} {looked}{lookups:9} {counts.inserts:8} {gone}{deleted:7}"
    return datasource.name[:_NAME_SHOWN], f"{'':22} {numbers}"


def _data(datasource: Datasource) -> dict[str, object]:
    counts = datasource.cache.counts
    return {
        "name": datasource.name,
        "entries": len(datasource.cache),
        "hits": counts.hits,
        "misses": counts.misses,
        "pending": counts.pending,
        "inserts": counts.inserts,
        "removed_manually": counts.removed_manually,
        "removed_old": counts.removed_old,
        "removed_full": counts.removed_full,
    }


def _table(datasources: Sequence[Datasource]) -> Output:
    rows = [line for datasource in datasources for line in _row(datasource)]
    return Output((*_HEAD, *rows), [_data(datasource) for datasource in datasources])


def _sorted(console: Console) -> list[Datasource]:
    return sorted(console.operations.datasources, key=lambda datasource: datasource.name)


def _named(console: Console, words: Sequence[str], what: str) -> Datasource:
    if len(words) != 1:
        raise CommandError(f"{what} wants the name of a Datasource")
    try:
        return console.operations.datasources.get(str(words[0]))
    except DatasourceError as error:
        raise CommandError(str(error)) from None


@command("ds_core stats", help="Shows the caches of all Datasources: lookups, inserts and deletions.")
def ds_core_stats(console: Console, words: Sequence[str]) -> Output:
    """The table of all."""
    return _table(_sorted(console))


@command("cache stats", help="As ds_core stats: the caches of all Datasources.")
def cache_stats(console: Console, words: Sequence[str]) -> Output:
    """The table of all."""
    return _table(_sorted(console))


@command("cache stat", syntax="cache stat NAME", help="Shows the cache of one Datasource.")
def cache_stat(console: Console, words: Sequence[str]) -> Output:
    """The table of one."""
    return _table([_named(console, words, "cache stat")])


@command("cache list", help="Lists the Datasources.")
def cache_list(console: Console, words: Sequence[str]) -> Output:
    """One name a line."""
    names = [datasource.name for datasource in _sorted(console)]
    return Output(tuple(names), names)


@command("ds_core flush", syntax="ds_core flush [cache] NAME", help="Forgets all results of a Datasource.")
def ds_core_flush(console: Console, words: Sequence[str]) -> Output:
    """Forget them and say how many they were."""
    if len(words) == 2 and str(words[0]).lower() == "cache":
        words = words[1:]
    datasource = _named(console, words, "ds_core flush")
    count = datasource.flush()
    return Output((f"flushed {count} entries from cache '{datasource.name}'",), {"flushed": count})
