"""``config begin``, ``begin from scratch``, ``commit``, ``rollback`` and ``replay``: one transaction a console session.

Source: reference/console-and-logs.md section 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gsmtp.config.changes import differences
from gsmtp.control import transaction
from gsmtp.control.command import CommandError, Output, command
from gsmtp.control.reconfigure import activate, turn
from gsmtp.core.errors import ConfigError

if TYPE_CHECKING:
    from gsmtp.control.console import Console
    from gsmtp.control.transaction import Transaction


@command("config begin", help="Begins a transaction: set and unset take effect together at `config commit`.")
def begin(console: Console, words: Sequence[str]) -> Output:
    """Begin on what is running."""
    _no_words(words, "config begin [from scratch]")
    _none_open(console)
    console.transaction = transaction.begin(console.operations.configuration.tree)
    return Output(("Transaction begun.",), {"transaction": True, "from_scratch": False})


@command(
    "config begin from scratch",
    help="Begins a transaction with nothing set but the predefined ThreadPools, Debug_Flags and TimestampFormat.",
)
def begin_from_scratch(console: Console, words: Sequence[str]) -> Output:
    """Begin with an empty configuration."""
    _no_words(words, "config begin from scratch")
    _none_open(console)
    console.transaction = transaction.begin_from_scratch(console.operations.configuration.tree)
    return Output(("Transaction begun from scratch.",), {"transaction": True, "from_scratch": True})


@command(
    "config commit",
    help="Lets the transaction's changes take effect. Fails, and stays open, when somebody else has changed the same "
    "meanwhile or the outcome can't be used.",
)
def commit(console: Console, words: Sequence[str]) -> Output:
    """Activate the transaction's outcome."""
    _no_words(words, "config commit")
    opened = _open(console)
    with turn():
        running = console.operations.configuration.tree
        try:
            tree = opened.outcome(running)
        except ConfigError as error:
            raise CommandError(f"Commit failed: {error}") from None
        changes = differences(running.root, tree.root)
        if changes:
            activate(console.operations, tree)
    console.transaction = None
    count = f"{len(changes)} change" + ("" if len(changes) == 1 else "s")
    return Output((f"Transaction committed: {count}.",), {"committed": [str(change) for change in changes]})


@command("config rollback", help="Forgets the transaction and its changes.")
def rollback(console: Console, words: Sequence[str]) -> Output:
    """Drop the transaction."""
    _no_words(words, "config rollback")
    opened = _open(console)
    console.transaction = None
    return Output(("Transaction rolled back.",), {"dropped": [line for line, _ in opened.edits]})


@command("config replay", help="Lists the set and unset commands of the transaction so far.")
def replay(console: Console, words: Sequence[str]) -> Output:
    """The transaction's commands."""
    _no_words(words, "config replay")
    lines = tuple(line for line, _ in _open(console).edits)
    return Output(lines, list(lines))


def _open(console: Console) -> Transaction:
    if console.transaction is None:
        raise CommandError("no transaction is open: `config begin` opens one")
    return console.transaction


def _none_open(console: Console) -> None:
    if console.transaction is not None:
        raise CommandError("a transaction is open already: commit it or roll it back first")


def _no_words(words: Sequence[str], syntax: str) -> None:
    if words:
        raise CommandError(f"'{' '.join(words)}' is too much: {syntax}")
