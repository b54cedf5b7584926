"""``cidrdb list`` and ``cidrdb reload``: the tables of networks that policy asks.

Source: reference/console-and-logs.md section 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gsmtp.control.command import CommandError, Output, gathered
from gsmtp.control.parts import Parts, Row, by, grouped
from gsmtp.policy.modules import cidrdb

if TYPE_CHECKING:
    from gsmtp.control.console import Console


def _running() -> cidrdb.CidrDb:
    running = cidrdb.current()
    if running is None:
        raise CommandError("the configuration has no cidrdb stanza")
    return running


def _tables(console: Console, words: Sequence[str]) -> list[Row]:
    if words:
        raise CommandError("cidrdb list takes no words")
    tables = [_running().tables[name] for name in sorted(_running().tables)]
    return [{"name": one.name, "refresh_in": one.due_in_s, "entries": one.table.entries} for one in tables]


@gathered("cidrdb list", _tables, help="Lists the tables of networks and when each is loaded anew.")
def list_tables(console: Console, words: Sequence[str], parts: Parts) -> Output:
    """One line a table; each worker loads its own, the next of them is told of."""
    data = [min(rows, key=by("refresh_in")) for rows in grouped(parts.merged(by("name")), "name")]
    lines = (f"{one['name']} [refresh in {one['refresh_in']} seconds]" for one in data)
    return Output(tuple(lines), data)


def _load(console: Console, words: Sequence[str]) -> Row:
    if len(words) != 1:
        raise CommandError("cidrdb reload wants the name of a table")
    name = str(words[0])
    try:
        entries = _running().reload(name)
    except KeyError:
        raise CommandError(f"there is no table '{name}'") from None
    except ValueError as error:
        raise CommandError(f"{name} keeps what it has: {error}") from None
    return {"name": name, "entries": entries}


@gathered("cidrdb reload", _load, syntax="cidrdb reload NAME", help="Loads a table of networks now.", changes=True)
def reload(console: Console, words: Sequence[str], parts: Parts) -> Output:
    """Load it and say how many entries there are; when they are not the same everywhere, in each worker."""
    rows = list(parts.values)
    if len({row["entries"] for row in rows}) == 1:
        rows = rows[:1]
    lines = (f"{row['name']}: {row['entries']} entries" for row in rows)
    return Output(tuple(lines), rows[0] if len(rows) == 1 else rows)
