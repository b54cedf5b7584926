"""``show throttles``: the allowances of Inbound_Throttle_Messages, and who waits for one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gsmtp.config.stanza import STANZAS
from gsmtp.control.command import CommandError, Output, command

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


@command(
    "show throttles",
    help="The allowances of Inbound_Throttle_Messages that were needed so far: the scope that sets each, its rate, how "
    "many messages may begin at once, and how many sessions wait for their 250 to MAIL FROM.",
)
def show_throttles(console: Console, words: Sequence[str]) -> Output:
    """One line an allowance."""
    if words:
        raise CommandError("show throttles takes no arguments")
    states = console.operations.service.throttles.states()
    lines = [
        f"{_title(state.path)}: {state.messages}/{state.seconds}, {state.left} left, {state.waiting} waiting"
        for state in states
    ]
    data = [
        {
            "scope": _title(state.path),
            "messages": state.messages,
            "seconds": state.seconds,
            "left": state.left,
            "waiting": state.waiting,
        }
        for state in states
    ]
    return Output(tuple(lines), data)
