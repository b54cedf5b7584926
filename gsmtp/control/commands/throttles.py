"""``show throttles``: the allowances of Inbound_Throttle_Messages, and who waits for one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gsmtp.config.stanza import STANZAS
from gsmtp.control.command import CommandError, Output, gathered
from gsmtp.control.parts import Parts, Row

if TYPE_CHECKING:
    from gsmtp.control.console import Console
    from gsmtp.server.limits import Path


def _title(path: Path) -> str:
    """The scope as ``config get`` takes it."""
    words = []
    for kind, instance in path:
        stanza = STANZAS.get(kind)
        words.append(stanza.word if stanza is not None else kind)
        words += [instance] if instance else []
    return " ".join(words) or "global"


def _allowances(console: Console, words: Sequence[str]) -> list[Row]:
    if words:
        raise CommandError("show throttles takes no arguments")
    return [
        {
            "scope": _title(state.path),
            "messages": state.messages,
            "seconds": state.seconds,
            "left": state.left,
            "waiting": state.waiting,
        }
        for state in console.operations.service.throttles.states()
    ]


@gathered(
    "show throttles",
    _allowances,
    help="The allowances of Inbound_Throttle_Messages that were needed so far: the scope that sets each, its rate, how "
    "many messages may begin at once, and how many sessions wait for their 250 to MAIL FROM.",
)
def show_throttles(console: Console, words: Sequence[str], parts: Parts) -> Output:
    """One line an allowance; workers share it, and each has its own line of those who wait."""
    found: dict[str, Row] = {}
    for row in (row for value in parts.values for row in value):
        known = found.setdefault(row["scope"], {**row, "waiting": 0})
        known["left"] = min(known["left"], row["left"])
        known["waiting"] += row["waiting"]
    lines = (
        f"{row['scope']}: {row['messages']}/{row['seconds']}, {row['left']} left, {row['waiting']} waiting"
        for row in found.values()
    )
    return Output(tuple(lines), list(found.values()))
