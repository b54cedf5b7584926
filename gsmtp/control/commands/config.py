"""The ``config`` commands that read and edit: get, eval, show, showrecurse, locate, set, unset.

Inside a transaction they see and change what the transaction makes of the configuration.
Source: reference/console-and-logs.md section 3.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from gsmtp.config import accepted, edit, show
from gsmtp.config.dump import value_data
from gsmtp.config.effective import Effective, evaluate
from gsmtp.config.remarks import quote
from gsmtp.config.scope_path import (
    Path,
    display_name,
    find,
    kind_at,
    option_at,
    parse,
    path_of,
    require_option,
    text_of,
)
from gsmtp.config.scopes import Configuration, compile_tree
from gsmtp.config.stanza import STANZAS
from gsmtp.config.tree import Scope, Setting, Tree, Value
from gsmtp.config.words import value_of
from gsmtp.control.command import CommandError, Output, command
from gsmtp.control.reconfigure import activate, turn
from gsmtp.core.errors import ConfigError

if TYPE_CHECKING:
    from gsmtp.control.console import Console

_SCOPE = "[scope ...]"


def tree_of(console: Console) -> Tree:
    """The configuration as the session sees it: its transaction's, or the running one."""
    transaction = console.transaction
    return transaction.tree if transaction is not None else console.operations.configuration.tree


def _place(console: Console, words: Sequence[str]) -> tuple[Path, tuple[str, ...]]:
    try:
        return parse(words, tree_of(console).root)
    except ConfigError as error:
        raise CommandError(str(error)) from None


def _one_option(console: Console, words: Sequence[str], syntax: str) -> tuple[Path, str]:
    path, rest = _place(console, words)
    if not rest:
        raise CommandError(f"an option is missing: {syntax}")
    if len(rest) > 1:
        _known(path, rest[0])
        raise CommandError(f"'{' '.join(rest[1:])}' is too much: {syntax}")
    return path, rest[0]


def _known(path: Path, name: str, also: Sequence[str] = ()) -> None:
    try:
        require_option(path, name, also=also)
    except ConfigError as error:
        raise CommandError(str(error)) from None


def _lines(path: Path, name: str, value: Value) -> list[str]:
    return show.option_lines(display_name(kind_at(path), name), value, show.NESTED if path else "")


def _data(path: Path, name: str, setting: Setting | None) -> dict[str, Any]:
    data: dict[str, Any] = {"option": display_name(kind_at(path), name), "scope": text_of(path)}
    data["value"] = None if setting is None else value_data(setting.value)
    data["is_set"] = setting is not None
    if setting is not None:
        data["at"] = str(setting.span) if setting.span.line else setting.span.file
    return data


# --- reading ---------------------------------------------------------------------------------------


@command(
    "config get", syntax=f"config get {_SCOPE} option", help="The value that is set in exactly that scope, if one is."
)
def get(console: Console, words: Sequence[str]) -> Output:
    """One option of one scope."""
    return _get(console, *_one_option(console, words, f"config get {_SCOPE} option"))


def _get(console: Console, path: Path, name: str) -> Output:
    setting = edit.get(tree_of(console), path, name)
    if setting is None:
        _known(path, name)
        return Output((edit.not_set(path, name),), _data(path, name, None))
    return Output(tuple(_lines(path, name, setting.value)), _data(path, name, setting))


@command(
    "config eval",
    syntax=f"config eval {_SCOPE} option",
    help="The value that holds there, with fallback to the scopes around it and to the default.",
)
def evaluated(console: Console, words: Sequence[str]) -> Output:
    """One effective value."""
    path, name = _one_option(console, words, f"config eval {_SCOPE} option")
    found = _evaluate(console, path, name)
    data = {
        "option": display_name(kind_at(path), name),
        "scope": text_of(path),
        "value": value_data(found.value),
        "is_default": found.scope is None,
        "from": None if found.scope is None else text_of(path_of(found.scope)),
    }
    return Output(tuple(_lines(path, name, found.value)), data)


def _evaluate(console: Console, path: Path, name: str) -> Effective:
    try:
        return evaluate(_configuration(console), path, name)
    except ConfigError as error:
        raise CommandError(str(error)) from None


def _configuration(console: Console) -> Configuration:
    running = console.operations.configuration
    tree = tree_of(console)
    if tree is running.tree:
        return running
    try:
        return compile_tree(tree, running.generation)
    except (ValueError, re.error) as error:
        raise CommandError(f"the configuration in this transaction can't be used: {error}") from None


@command(
    "config show",
    syntax=f"config show {_SCOPE} [option]",
    help="What a scope sets, and the stanzas in it.",
)
def show_scope(console: Console, words: Sequence[str]) -> Output:
    """One scope, or one option."""
    path, rest = _place(console, words)
    if rest:
        return _get(console, *_one_option(console, words, f"config show {_SCOPE} [option]"))
    scope = _there(console, path)
    return Output(tuple(show.scope_lines(scope)), show.scope_data(scope, deep=False))


@command(
    "config showrecurse",
    syntax=f"config showrecurse {_SCOPE}",
    help="What a scope sets, with everything in it.",
)
def show_recursively(console: Console, words: Sequence[str]) -> Output:
    """One scope with all below it."""
    path, rest = _place(console, words)
    if rest:
        _known(path, rest[0])
        raise CommandError(f"'{rest[0]}' is an option: use `config show`")
    scope = _there(console, path)
    return Output(tuple(show.tree_lines(scope)), show.scope_data(scope, deep=True))


def _there(console: Console, path: Path) -> Scope:
    scope = find(tree_of(console).root, path)
    if scope is None:
        raise CommandError(f"Scope '{text_of(path)}' is not set.")
    return scope


@command(
    "config locate",
    syntax="config locate name [regex]",
    help="Where the stanzas of that name are; the expression is looked for in their instance names.",
)
def locate(console: Console, words: Sequence[str]) -> Output:
    """All stanzas of a word."""
    if not 1 <= len(words) <= 2:
        raise CommandError("one name is expected: config locate name [regex]")
    root = tree_of(console).root
    pattern = words[1] if len(words) == 2 else None
    try:
        found = show.located(root, words[0], pattern)
    except re.error as error:
        raise CommandError(f"'{pattern}' is no regular expression: {error}") from None
    if not found:
        what = STANZAS.get(words[0])
        name = what.word if what is not None else words[0]
        return Output((f"There is no stanza {name}" + (f" that matches '{pattern}'." if pattern else "."),), [])
    data = [
        {"scope": one.kind, "name": one.spelled, "place": text_of(path_of(one)), "at": [str(s) for s in one.spans]}
        for one in found
    ]
    return Output(tuple(show.locate_lines(root, words[0], pattern)), data)


# --- editing ---------------------------------------------------------------------------------------


@command(
    "config set",
    syntax=f"config set {_SCOPE} option [=] value",
    help="Sets an option in a scope, and makes the stanza if there is none. Takes effect at once, in a transaction at "
    "its commit.",
)
def set_option(console: Console, words: Sequence[str]) -> Output:
    """Set one option."""
    path, rest = _place(console, words)
    syntax = f"config set {_SCOPE} option [=] value"
    if not rest:
        raise CommandError(f"an option is missing: {syntax}")
    name, *values = rest
    _known(path, name)
    if values and values[0] == "=":
        values = values[1:]
    try:
        value = value_of(name, values, edit.CONSOLE)
    except ConfigError as error:
        raise CommandError(f"{error}: {syntax}" if not values else str(error)) from None
    _change(console, _line("set", words), lambda tree: edit.set_option(tree, path, name, value))
    setting = edit.get(tree_of(console), path, name)
    data = _data(path, name, setting)
    remarks = data["remarks"] = _remarks(path, name)
    return Output((*_lines(path, name, value), *remarks), data)


@command(
    "config unset",
    syntax=f"config unset {_SCOPE} [option]",
    help="Clears an option, or a scope with all below it; the global scope can't be cleared.",
)
def unset(console: Console, words: Sequence[str]) -> Output:
    """Unset one option or one scope."""
    path, rest = _place(console, words)
    line = _line("unset", words)
    if not rest:
        _change(console, line, lambda tree: edit.unset_scope(tree, path))
        where = text_of(path)
        return Output((f"Scope '{where}' has been unset.",), {"scope": where, "is_set": False})
    path, name = _one_option(console, words, f"config unset {_SCOPE} [option]")
    _change(console, line, lambda tree: edit.unset_option(tree, path, name))
    shown = display_name(kind_at(path), name)
    data: dict[str, Any] = {"option": shown, "scope": text_of(path), "is_set": False, "remarks": _remarks(path, name)}
    try:
        found = _evaluate(console, path, name)
    except CommandError:  # the place is gone, or a transaction is half done
        return Output((f'"{shown}" has been unset.', *data["remarks"]), data)
    data["value"] = value_data(found.value)
    lines = (f'"{shown}" has been unset. Effective value is now:', *_lines(path, name, found.value))
    return Output((*lines, *data["remarks"]), data)


def _change(console: Console, line: str, change: Callable[[Tree], Tree]) -> None:
    """Do an edit: in the session's transaction, or at once."""
    try:
        if console.transaction is not None:
            console.transaction.apply(line, change)
            return
        with turn():
            _change_running(console, change)
    except ConfigError as error:
        raise CommandError(str(error)) from None


def _change_running(console: Console, change: Callable[[Tree], Tree], tries: int = 3) -> None:
    running = console.operations.configuration.tree
    try:
        activate(console.operations, change(running))
    except CommandError:
        # A reload by signal came between: the edit starts from what it brought.
        if tries == 1 or edit.is_of_one_load(running, console.operations.configuration.tree):
            raise
        _change_running(console, change, tries - 1)


def _line(verb: str, words: Sequence[str]) -> str:
    """The command as it can be typed again."""
    typed = [quote(word) if _needs_quotes(word) else word for word in words]
    return " ".join(("config", verb, *typed))


def _needs_quotes(word: str) -> bool:
    return bool(getattr(word, "quoted", False)) or not word or any(char.isspace() for char in word)


def _remarks(path: Path, name: str) -> list[str]:
    """What an operator has to know beside the new value."""
    option = option_at(path, name)
    shown = display_name(kind_at(path), name)
    reason = "" if option is None else option.unserved
    if option is None:
        row = accepted.find(kind_at(path), name)
        reason = row.reason if row is not None else ""
    unserved = next(
        (one for one in (STANZAS.get(step.kind) for step in path) if one is not None and not one.served), None
    )
    if unserved is not None:
        return [f"Stanza {unserved.word} is not served: {unserved.reason}."]
    if reason:
        return [f"{shown} is not served: {reason}."]
    if option is not None and option.dynamic is False:
        return [f"{shown} needs a restart to take effect."]
    if option is not None and option.dynamic == "socket":
        return [f"{shown} takes effect when the socket is made anew."]
    return []
