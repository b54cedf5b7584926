"""The ``config`` commands that are about files: reload, writeback, and ``write config``.

Source: reference/console-and-logs.md section 3, reference/config-language.md section 13.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gsmtp.config import files, save, show
from gsmtp.config.diagnostics import Problems, Severity
from gsmtp.config.edit import copy_of
from gsmtp.config.printer import to_conf
from gsmtp.config.tree import Tree
from gsmtp.config.writeback import Plan, outdated, pending, plan, written
from gsmtp.control.command import CommandError, Output, command
from gsmtp.control.reconfigure import failed, off_the_hub, turn
from gsmtp.core.errors import ConfigError, GsmtpError

if TYPE_CHECKING:
    from gsmtp.control.console import Console


@command(
    "config reload",
    syntax="config reload [path]",
    help="Reads the files again; changes made by console that were not written back are dropped.",
)
def reload(console: Console, words: Sequence[str]) -> Output:
    """Read the files anew."""
    path = _one_path(words, "config reload [path]")
    if console.transaction is not None:
        raise CommandError("a transaction is open: commit it or roll it back first")
    with turn():
        dropped = len(pending(console.operations.configuration.tree))
        try:
            console.operations.reload_now(path)
        except GsmtpError as error:
            raise failed(error) from None
    lines = ["Configuration reloaded."]
    if dropped:
        lines.append(f"{_count(dropped)} made by console {'was' if dropped == 1 else 'were'} dropped.")
    return Output(tuple(lines), {"reloaded": True, "dropped": dropped})


@command(
    "config writeback",
    syntax="config writeback [path]",
    help="Writes changes made by console into the files they belong to, with comments and layout kept; with a path, "
    "those of that file alone.",
)
def write_back(console: Console, words: Sequence[str]) -> Output:
    """Edit the files in place."""
    path = _one_path(words, "config writeback [path]")
    with turn():
        tree = console.operations.configuration.tree
        try:
            made, done = off_the_hub(console.operations, _write_back, tree, path)
        except ConfigError as error:
            raise CommandError(str(error)) from None
        written(tree, done)
    lines = [f"Written: {name}" for name in done]
    for left in made.leftovers:
        lines.append(f"Not written: {left.change}: {left.reason}.")
    if made.virtual:
        lines.append("Warning: no file takes these changes; put them where they belong, or set Local_Changes_File:")
        lines += made.virtual.splitlines()
    if not lines:
        lines = ["Nothing to write back."]
    data = {
        "written": list(done),
        "changes": [str(change) for change in made.changes],
        "not_written": [{"change": str(left.change), "reason": left.reason} for left in made.leftovers],
        "virtual": made.virtual,
    }
    return Output(tuple(lines), data)


def _write_back(tree: Tree, path: str | None) -> tuple[Plan, dict[str, str]]:
    """Plan and save; the texts that were written, by path. Runs in a native thread."""
    made = plan(tree, save.is_writable)
    texts, before = outdated(tree, made)
    if path is not None:
        real = os.path.realpath(path)
        known = {os.path.realpath(name): name for name in {**tree.files, **texts}}
        if real not in known:
            raise ConfigError(f"'{path}' is no file of this configuration; there is: {', '.join(tree.files)}")
        texts = {name: text for name, text in texts.items() if name == known[real]}
    if texts:
        save.save(texts, before)
    return made, texts


@command(
    "write config",
    syntax="write config [path]",
    help="Prints the running configuration as one file without includes, or writes it to a file on the server; .yaml "
    "is written as YAML.",
)
def write_config(console: Console, words: Sequence[str]) -> Output:
    """The whole running tree as text."""
    path = _one_path(words, "write config [path]")
    tree = console.operations.configuration.tree
    text = _text(tree, path or "")
    if path is None:
        return Output(tuple(text.splitlines()), show.scope_data(tree.root, deep=True))
    if os.path.realpath(path) in {os.path.realpath(name) for name in tree.files}:
        raise CommandError(f"{path} is a file of this configuration: `config writeback` changes it")
    try:
        off_the_hub(console.operations, _put, path, text)
    except ConfigError as error:
        raise CommandError(str(error)) from None
    return Output((f"Written: {path}",), {"written": path})


def _put(path: str, text: str) -> None:
    before: dict[str, str] = {}
    if os.path.exists(path):
        try:
            before[path] = files.read_text(path)
        except files.BadPath as error:
            raise ConfigError(f"{path} {error}") from None
    save.save({path: text}, before)


def _text(tree: Tree, path: str) -> str:
    problems = Problems()
    document = show.document_of(copy_of(tree))
    if files.is_yaml(path):
        from gsmtp.config.yaml_printer import to_yaml

        text = to_yaml(document, problems)
    else:
        text = to_conf(document, problems)
    errors = [problem for problem in problems if problem.severity is Severity.ERROR]
    if errors:
        raise CommandError(f"the configuration can't be written: {errors[0].message}; {errors[0].hint}")
    return text


def _one_path(words: Sequence[str], syntax: str) -> str | None:
    if len(words) > 1:
        raise CommandError(f"one path at most is expected: {syntax}")
    return str(words[0]) if words else None


def _count(number: int) -> str:
    return f"{number} change" + ("" if number == 1 else "s")
