"""``ds_core`` and ``cache``: what the caches of Datasources hold and how well they serve.

Source: reference/console-and-logs.md section 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gsmtp.control.command import CommandError, Output, command, gathered
from gsmtp.control.parts import Parts, Row, by, grouped, total
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


def _lines(row: Row) -> tuple[str, str]:
    lookups = row["hits"] + row["misses"] + row["pending"]
    deleted = row["removed_manually"] + row["removed_old"] + row["removed_full"]
    looked = f"{_share(row['hits'], lookups):3} {_share(row['misses'], lookups):3} {_share(row['pending'], lookups):3}"
    gone = (
        f"{_share(row['removed_manually'], deleted):3} {_share(row['removed_old'], deleted):3} "
        f"{_share(row['removed_full'], deleted):3}"
    )
    numbers = f"{row['entries']:5} {looked}{lookups:9} {row['inserts']:8} {gone}{deleted:7}"
    return row["name"][:_NAME_SHOWN], f"{'':22} {numbers}"


def _data(datasource: Datasource) -> Row:
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


def _table(parts: Parts) -> Output:
    rows = [total(rows) for rows in grouped(parts.merged(by("name")), "name")]
    return Output((*_HEAD, *(line for row in rows for line in _lines(row))), rows)


def _all(console: Console, words: Sequence[str]) -> list[Row]:
    return [_data(datasource) for datasource in _sorted(console)]


def _sorted(console: Console) -> list[Datasource]:
    return sorted(console.operations.datasources, key=lambda datasource: datasource.name)


def _named(console: Console, words: Sequence[str], what: str) -> Datasource:
    if len(words) != 1:
        raise CommandError(f"{what} wants the name of a Datasource")
    try:
        return console.operations.datasources.get(str(words[0]))
    except DatasourceError as error:
        raise CommandError(str(error)) from None


@gathered(
    "ds_core stats",
    _all,
    help="Shows the caches of all Datasources: lookups, inserts and deletions.",
    here_too=True,
)
def ds_core_stats(console: Console, words: Sequence[str], parts: Parts) -> Output:
    """The table of all."""
    return _table(parts)


@gathered("cache stats", _all, help="As ds_core stats: the caches of all Datasources.", here_too=True)
def cache_stats(console: Console, words: Sequence[str], parts: Parts) -> Output:
    """The table of all."""
    return _table(parts)


@gathered(
    "cache stat",
    lambda console, words: [_data(_named(console, words, "cache stat"))],
    syntax="cache stat NAME",
    help="Shows the cache of one Datasource.",
    here_too=True,
)
def cache_stat(console: Console, words: Sequence[str], parts: Parts) -> Output:
    """The table of one."""
    return _table(parts)


@command("cache list", help="Lists the Datasources.")
def cache_list(console: Console, words: Sequence[str]) -> Output:
    """One name a line."""
    names = [datasource.name for datasource in _sorted(console)]
    return Output(tuple(names), names)


def _flush(console: Console, words: Sequence[str]) -> Row:
    if len(words) == 2 and str(words[0]).lower() == "cache":
        words = words[1:]
    datasource = _named(console, words, "ds_core flush")
    return {"name": datasource.name, "flushed": datasource.flush()}


@gathered(
    "ds_core flush",
    _flush,
    syntax="ds_core flush [cache] NAME",
    help="Forgets all results of a Datasource.",
    changes=True,
    here_too=True,
)
def ds_core_flush(console: Console, words: Sequence[str], parts: Parts) -> Output:
    """Forget them and say how many they were."""
    row = total(parts.values)
    line = f"flushed {row['flushed']} entries from cache '{row['name']}'"
    return Output((line,), {"flushed": row["flushed"]})
