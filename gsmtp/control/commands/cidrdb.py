"""``cidrdb list`` and ``cidrdb reload``: the tables of networks that policy asks.

Source: reference/console-and-logs.md section 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gsmtp.control.command import CommandError, Output, command
from gsmtp.policy.modules import cidrdb

if TYPE_CHECKING:
    from gsmtp.control.console import Console


def _running() -> cidrdb.CidrDb:
    running = cidrdb.current()
    if running is None:
        raise CommandError("the configuration has no cidrdb stanza")
    return running


@command("cidrdb list", help="Lists the tables of networks and when each is loaded anew.")
def list_tables(console: Console, words: Sequence[str]) -> Output:
    """One line a table."""
    if words:
        raise CommandError("cidrdb list takes no words")
    tables = [_running().tables[name] for name in sorted(_running().tables)]
    lines = (f"{one.name} [refresh in {one.due_in_s} seconds]" for one in tables)
    data = [{"name": one.name, "refresh_in": one.due_in_s, "entries": one.table.entries} for one in tables]
    return Output(tuple(lines), data)


@command("cidrdb reload", syntax="cidrdb reload NAME", help="Loads a table of networks now.")
def reload(console: Console, words: Sequence[str]) -> Output:
    """Load it and say how many entries there are."""
    if len(words) != 1:
        raise CommandError("cidrdb reload wants the name of a table")
    name = str(words[0])
    try:
        entries = _running().reload(name)
    except KeyError:
        raise CommandError(f"there is no table '{name}'") from None
    except ValueError as error:
        raise CommandError(f"{name} keeps what it has: {error}") from None
    return Output((f"{name}: {entries} entries",), {"name": name, "entries": entries})
