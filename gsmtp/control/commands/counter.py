"""``counter list``, ``add``, ``increment``, ``reset``, ``unlink``, ``help``: the counters of hooks and operators.

Source: reference/console-and-logs.md section 4.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from gsmtp.control.command import COMMANDS, CommandError, Output, command, gathered
from gsmtp.control.parts import Parts, Row, by, grouped, total
from gsmtp.core.counters import COUNTERS

if TYPE_CHECKING:
    from gsmtp.control.console import Console

_HEAD: Final = "VALUE       RESET_TIME       SEMANTICS COUNTER"
_SEMANTICS: Final = "strict"
"""What Momentum calls counters of which there is one copy in memory; ours all are."""


def _counted(console: Console, words: Sequence[str]) -> list[Row]:
    if words:
        raise CommandError("counter list takes no words")
    return [{"name": name, "value": one.value, "reset": one.reset_wall} for name, one in COUNTERS.all()]


@gathered("counter list", _counted, help="All counters: value, time of the last reset, name.", here_too=True)
def list_counters(console: Console, words: Sequence[str], parts: Parts) -> Output:
    """A table. With workers each counts for itself, and here are the sums."""
    data = [_sum(rows) for rows in grouped(parts.merged(by("name")), "name")]
    lines = [_HEAD]
    for row in data:
        stamp = time.strftime("%Y-%m-%d@%H:%M:%S", time.localtime(row["reset"]))
        lines.append(f"{row['value']:<6} {stamp}    {_SEMANTICS:<8} {row['name']}")
    lines += ["", f"{len(data)} counters listed."]
    return Output(tuple(lines), data)


def _sum(rows: Sequence[Row]) -> Row:
    return {**total(rows), "reset": max(row["reset"] for row in rows), "semantics": _SEMANTICS}


def _value(name: str) -> int:
    return next((counter.value for known, counter in COUNTERS.all() if known == name), 0)


def _added(words: Sequence[str]) -> tuple[str, int]:
    try:
        name, delta = str(words[0]), int(words[1])
        if len(words) != 2:
            raise IndexError
    except (IndexError, ValueError):
        raise CommandError("a name and a whole number are expected: counter add NAME NUMBER") from None
    return name, delta


@gathered(
    "counter add",
    lambda console, words: _value(_added(words)[0]),
    syntax="counter add NAME NUMBER",
    help="Adds a number, which may be negative; a counter that isn't there is made.",
    here_too=True,
)
def add(console: Console, words: Sequence[str], parts: Parts) -> Output:
    """Its value then; counted here, beside what workers count."""
    return _add(*_added(words), parts)


@gathered(
    "counter increment",
    lambda console, words: _value(_name(words, "increment")),
    syntax="counter increment NAME",
    help="Adds one; a counter that isn't there is made.",
    here_too=True,
)
def increment(console: Console, words: Sequence[str], parts: Parts) -> Output:
    """Its value then."""
    return _add(_name(words, "increment"), 1, parts)


def _add(name: str, delta: int, parts: Parts) -> Output:
    try:
        COUNTERS.add(name, delta)
    except ValueError as error:
        raise CommandError(str(error)) from None
    value = sum(parts.values) + delta
    return Output((f"{name} = {value}",), {"name": name, "value": value})


def _reset(console: Console, words: Sequence[str]) -> bool:
    try:
        COUNTERS.reset(_name(words, "reset"))
    except KeyError:
        return False
    return True


@gathered(
    "counter reset", _reset, syntax="counter reset NAME", help="Sets a counter to 0.", changes=True, here_too=True
)
def reset(console: Console, words: Sequence[str], parts: Parts) -> Output:
    """Set it."""
    name = _there(words, parts)
    return Output((f"{name} = 0",), {"name": name, "value": 0})


def _unlink(console: Console, words: Sequence[str]) -> bool:
    try:
        COUNTERS.unlink(_name(words, "unlink"))
    except KeyError:
        return False
    return True


@gathered(
    "counter unlink", _unlink, syntax="counter unlink NAME", help="Forgets a counter.", changes=True, here_too=True
)
def unlink(console: Console, words: Sequence[str], parts: Parts) -> Output:
    """Forget it."""
    name = _there(words, parts)
    return Output((f"{name} is gone.",), {"name": name})


def _there(words: Sequence[str], parts: Parts) -> str:
    name = str(words[0])
    if not any(parts.values):
        raise CommandError(f"there is no counter {name}")
    return name


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
