"""From a command line to its answer: prefixes, the longest command that fits, text, JSON or XML.

Source: reference/console-and-logs.md section 2.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Final

from gsmtp.config.stanza import STANZAS
from gsmtp.config.suggest import did_you_mean
from gsmtp.config.words import Word, split
from gsmtp.control.command import COMMANDS, Command, CommandError, Output
from gsmtp.control.xml_text import escape, quoteattr
from gsmtp.core.errors import ConfigError

if TYPE_CHECKING:
    from gsmtp.control.console import Console

FORMS: Final = ("json", "xml")
OF_INSTANCES: Final = {"ec_logger": ("reopen logs",)}
"""Commands that may be said of one instance of a module: ``ec_logger:ec_logger reopen logs``."""


@dataclass(frozen=True, slots=True)
class Request:
    """A command line, read.

    Args:
        line: without the prefix, as it is judged and logged.
        form: "json", "xml" or "".
        words: all of them.
    """

    line: str
    form: str
    words: Sequence[Word]


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent back.

    Args:
        is_good: whether the command was done.
        status: the text of the status line, "" for none.
        lines: the text below it; made while it is sent.
    """

    is_good: bool
    status: str = ""
    lines: Iterable[str] = field(default=())


def read(line: str) -> Request:
    """Read a command line. Raises CommandError when a quote is not closed."""
    line = line.strip()
    form = ""
    first, _, rest = line.partition(" ")
    if first.lower() in FORMS and rest.strip():
        form, line = first.lower(), rest.strip()
    try:
        return Request(line, form, split(line))
    except ConfigError as error:
        raise CommandError(str(error)) from None


def find(words: Sequence[str], console: Console | None = None) -> tuple[Command, Sequence[str]]:
    """The command that words begin with, and the words behind its name. Raises CommandError with a hint."""
    if console is not None and words and ":" in words[0]:
        return _of_instance(words, console)
    for count in range(min(len(words), _most_words()), 0, -1):
        found = COMMANDS.get(" ".join(words[:count]))
        if found is not None:
            return found, words[count:]
    raise CommandError(_unknown(words))


def _most_words() -> int:
    return max(len(name.split()) for name in COMMANDS.names())


def _of_instance(words: Sequence[str], console: Console) -> tuple[Command, Sequence[str]]:
    kind, _, name = words[0].partition(":")
    allowed = OF_INSTANCES.get(kind.lower(), ())
    command, rest = find(words[1:])
    if STANZAS.get(kind) is None or command.name not in allowed:
        raise CommandError(f"unknown command: {' '.join(words)}")
    stanzas = console.operations.configuration.tree.root.all(kind.lower())
    if all((stanza.spelled or "").lower() != name.lower() for stanza in stanzas):
        raise CommandError(f'there is no {kind} "{name}"')
    return command, rest


def _unknown(words: Sequence[str]) -> str:
    names = COMMANDS.names()
    said = " ".join(words)
    begun = [name for name in names if words and name.split()[0] == words[0].lower()]
    if begun:
        return f"unknown command: {said}; there is " + ", ".join(begun)
    hint = did_you_mean(said.lower(), names) or did_you_mean(str(words[0]).lower() if words else "", _first_words())
    return f"unknown command: {said}; " + (hint or "`help` lists the commands")


def _first_words() -> list[str]:
    return sorted({name.split()[0] for name in COMMANDS.names()})


def perform(console: Console, request: Request) -> Answer:
    """Do a command. Runs in a green thread and may block."""
    try:
        command, words = find(request.words, console)
        output = command.run(console, words)
        if request.form == "json":
            lines: Iterable[str] = _begun(_json(output))
        elif request.form == "xml":
            lines = _begun(_xml(command.name, output))
        else:
            lines = _begun(_text(output))
    except CommandError as error:
        return refused(str(error), request.form)
    return Answer(output.is_whole, output.remark, lines)


def _text(output: Output) -> Iterable[str]:
    return output.lines if output.broken is None else _ended(output, output.lines)


def _ended(output: Output, lines: Iterable[str]) -> Iterator[str]:
    """Lines, and what is to be said when some are missing."""
    yield from lines
    if output.broken is not None and (reason := output.broken()):
        yield f"({reason})"


def _begun(lines: Iterable[str]) -> Iterable[str]:
    """A listing whose first line is made already: what goes wrong before it can still be said by the status line."""
    if not isinstance(lines, Iterator):
        return lines
    first = next(lines, None)
    return () if first is None else chain((first,), lines)


def refused(text: str, form: str = "") -> Answer:
    """An answer that says no; the status line has the first line of the text."""
    first, _, rest = text.partition("\n")
    if form == "json":
        return Answer(False, first, (json.dumps({"error": text}, ensure_ascii=False),))
    if form == "xml":
        return Answer(False, first, (f"<error>{escape(text)}</error>",))
    return Answer(False, first, rest.split("\n") if rest else ())


# --- data


def _data(output: Output) -> object:
    return {"lines": list(output.lines)} if output.data is None else output.data


def _json(output: Output) -> Iterator[str]:
    data = _data(output)
    if not isinstance(data, Iterator):
        yield json.dumps(data, ensure_ascii=False, default=str)
        return
    yield "["
    previous: str | None = None
    for one in data:
        if previous is not None:
            yield previous + ","
        previous = json.dumps(one, ensure_ascii=False, default=str)
    _need_all(output)
    yield from (line for line in (previous, "]") if line is not None)


def _need_all(output: Output) -> None:
    """Data that isn't all there has no end. Raises CommandError."""
    if output.broken is not None and (reason := output.broken()):
        raise CommandError(reason)


def _xml(name: str, output: Output) -> Iterator[str]:
    data = _data(output)
    root = re.sub(r"\W+", "_", name)
    yield f"<{root}>"
    items = data if isinstance(data, Iterator) else (data,)
    for one in items:
        yield from _elements("item" if isinstance(data, Iterator) else "", one, "  ")
    _need_all(output)
    yield f"</{root}>"


def _elements(key: str, value: object, indent: str) -> Iterator[str]:
    """An element for a value; without a key, those of its parts."""
    name = key if re.fullmatch(r"[A-Za-z_][\w.-]*", key) else "entry"
    name_given = "" if name == key else f" name={quoteattr(key)}"
    parts: Iterable[tuple[str, object]] | None = None
    if isinstance(value, dict):
        parts = ((str(one), part) for one, part in value.items())
    elif isinstance(value, list | tuple):
        parts = (("item", part) for part in value)
    if parts is None:
        text = {True: "true", False: "false"}.get(value, value) if isinstance(value, bool) else value
        yield f"{indent}<{name}{name_given}>{'' if text is None else escape(str(text))}</{name}>"
        return
    inside = chain.from_iterable(_elements(one, part, indent + "  " if key else indent) for one, part in parts)
    if not key:
        yield from inside
        return
    yield f"{indent}<{name}{name_given}>"
    yield from inside
    yield f"{indent}</{name}>"
