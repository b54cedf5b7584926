"""``counter list``, ``add``, ``increment``, ``reset``, ``unlink``, ``help``: the counters of hooks and operators.

Source: reference/console-and-logs.md section 4.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from gsmtp.control.command import COMMANDS, CommandError, Output, command
from gsmtp.core.counters import COUNTERS

if TYPE_CHECKING:
    from gsmtp.control.console import Console

_HEAD: Final = "VALUE       RESET_TIME       SEMANTICS COUNTER"
_SEMANTICS: Final = "strict"
"""What Momentum calls counters of which there is one copy in memory; ours all are."""


@command("counter list", help="All counters: value, time of the last reset, name.")
def list_counters(console: Console, words: Sequence[str]) -> Output:
    """A table."""
    if words:
        raise CommandError("counter list takes no words")
    found = COUNTERS.all()
    lines = [_HEAD]
    for name, counter in found:
        stamp = time.strftime("%Y-%m-%d@%H:%M:%S", time.localtime(counter.reset_wall))
        lines.append(f"{counter.value:<6} {stamp}    {_SEMANTICS:<8} {name}")
    lines += ["", f"{len(found)} counters listed."]
    data = [
        {"name": name, "value": counter.value, "reset": counter.reset_wall, "semantics": _SEMANTICS}
        for name, counter in found
    ]
    return Output(tuple(lines), data)


@command(
    "counter add",
    syntax="counter add NAME NUMBER",
    help="Adds a number, which may be negative; a counter that isn't there is made.",
)
def add(console: Console, words: Sequence[str]) -> Output:
    """Its value then."""
    try:
        name, delta = str(words[0]), int(words[1])
        if len(words) != 2:
            raise IndexError
    except (IndexError, ValueError):
        raise CommandError("a name and a whole number are expected: counter add NAME NUMBER") from None
    return _added(name, delta)


@command("counter increment", syntax="counter increment NAME", help="Adds one; a counter that isn't there is made.")
def increment(console: Console, words: Sequence[str]) -> Output:
    """Its value then."""
    return _added(_name(words, "increment"), 1)


def _added(name: str, delta: int) -> Output:
    try:
        value = COUNTERS.add(name, delta)
    except ValueError as error:
        raise CommandError(str(error)) from None
    return Output((f"{name} = {value}",), {"name": name, "value": value})


@command("counter reset", syntax="counter reset NAME", help="Sets a counter to 0.")
def reset(console: Console, words: Sequence[str]) -> Output:
    """Set it."""
    name = _name(words, "reset")
    try:
        COUNTERS.reset(name)
    except KeyError:
        raise CommandError(f"there is no counter {name}") from None
    return Output((f"{name} = 0",), {"name": name, "value": 0})


@command("counter unlink", syntax="counter unlink NAME", help="Forgets a counter.")
def unlink(console: Console, words: Sequence[str]) -> Output:
    """Forget it."""
    name = _name(words, "unlink")
    try:
        COUNTERS.unlink(name)
    except KeyError:
        raise CommandError(f"there is no counter {name}") from None
    return Output((f"{name} is gone.",), {"name": name})


@command("counter help", help="What there is to do with counters.")
def help_counters(console: Console, words: Sequence[str]) -> Output:
    """One line a command."""
    found = [COMMANDS.get(name) for name in COMMANDS.names() if name.startswith("counter ")]
    data = [{"command": one.syntax, "help": one.help} for one in found if one is not None]
    return Output(tuple(f"{one['command']:<26} {one['help']}" for one in data), data)


def _name(words: Sequence[str], what: str) -> str:
    if len(words) != 1:
        raise CommandError(f"the name of a counter is expected: counter {what} NAME")
    return str(words[0])
