"""``paniclog``: the last troubles of the server itself, without any file.

Source: reference/console-and-logs.md section 4.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from gsmtp.control.command import CommandError, Output, gathered
from gsmtp.control.parts import Parts, Row, by, mark
from gsmtp.observe.logs import EventLog

if TYPE_CHECKING:
    from gsmtp.control.console import Console

_LEVELS: Final = ("critical", "error", "warning")
_KEPT: Final = 10


def _troubles(console: Console, words: Sequence[str]) -> list[Row]:
    """The last ones of each kind, the oldest first."""
    if words:
        raise CommandError("paniclog takes no words")
    events = console.operations.service.events
    assert isinstance(events, EventLog)
    assert tuple(events.recent) == _LEVELS
    return [
        {"time": one.wall, "level": one.level, "area": one.area, "text": one.text}
        for kept in events.recent.values()
        for one in kept
    ]


@gathered(
    "paniclog",
    _troubles,
    help="Shows the last ten criticals, errors and warnings of the server itself, each kind by itself.",
    here_too=True,
)
def paniclog(console: Console, words: Sequence[str], parts: Parts) -> Output:
    """One line a trouble: local time, level, part and text."""
    kinds: dict[str, list[Row]] = {}
    for row in parts.marked():
        kinds.setdefault(row["level"], []).append(row)
    rows = [row for level in _LEVELS for row in sorted(kinds.get(level, ()), key=by("time"))[-_KEPT:]]
    return Output(tuple(map(_line, rows)), rows)


def _line(row: Row) -> str:
    stamp = time.strftime("[%a %d %b %Y %H:%M:%S]", time.localtime(row["time"]))
    return f"{stamp} [{row['level']}] {row['area']}:{row['text']}{mark(row) if row.get('worker') else ''}"
