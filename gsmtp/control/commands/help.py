"""``help``: what there is, from the registry.

Source: reference/console-and-logs.md section 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap
from typing import TYPE_CHECKING

from gsmtp.control.command import COMMANDS, Command, Output, command
from gsmtp.control.dispatch import find

if TYPE_CHECKING:
    from gsmtp.control.console import Console

_WIDTH = 78


def sorted_commands() -> list[Command]:
    """All commands by name."""
    return sorted(COMMANDS, key=lambda one: one.name)


@command("help", syntax="help [command]", help="Lists the commands, or explains those that begin with some words.")
def show_help(console: Console, words: Sequence[str]) -> Output:
    """One line a command, or all about some."""
    if not words:
        shown = sorted_commands()
        width = max(len(one.syntax) for one in shown if len(one.syntax) <= 40)
        lines = [f"{one.syntax:<{width}}  {first_sentence(one.help)}" for one in shown]
        lines += [
            "",
            "help COMMAND tells more; `json` or `xml` before a command gives its data; quit ends the session.",
        ]
        return Output(tuple(lines), [_data(one) for one in shown])
    said = " ".join(words).lower()
    found = [one for one in sorted_commands() if one.name == said or one.name.startswith(said + " ")]
    if not found:
        found = [find([str(word) for word in words])[0]]
    lines = []
    for one in found:
        lines += [one.syntax, *(f"    {line}" for line in wrap(one.help, _WIDTH - 4))]
    return Output(tuple(lines), [_data(one) for one in found])


def _data(one: Command) -> dict[str, str]:
    return {"command": one.name, "syntax": one.syntax, "help": one.help}


def first_sentence(text: str) -> str:
    """The beginning of a help text, without its full stop."""
    return text.partition(". ")[0].partition(": ")[0].removesuffix(".")
