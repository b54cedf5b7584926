"""``paniclog``: the last troubles of the server itself, without any file.

Source: reference/console-and-logs.md section 4.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gsmtp.control.command import CommandError, Output, command
from gsmtp.observe.logs import EventLog

if TYPE_CHECKING:
    from gsmtp.control.console import Console


@command(
    "paniclog", help="Shows the last ten criticals, errors and warnings of the server itself, each kind by itself."
)
def paniclog(console: Console, words: Sequence[str]) -> Output:
    """One line a trouble: local time, level, part and text."""
    if words:
        raise CommandError("paniclog takes no words")
    events = console.operations.service.events
    assert isinstance(events, EventLog)
    found = [trouble for kept in events.recent.values() for trouble in kept]
    lines = (
        f"{time.strftime('[%a %d %b %Y %H:%M:%S]', time.localtime(one.wall))} [{one.level}] {one.area}:{one.text}"
        for one in found
    )
    data = [{"time": one.wall, "level": one.level, "area": one.area, "text": one.text} for one in found]
    return Output(tuple(lines), data)
