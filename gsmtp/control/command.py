"""What a console command is, and the registry of all of them: one entry a command, in files of `control/commands/`.

A command gets the console session and its words and returns an `Output`: lines for people, data for ``--json``. It
runs in a green thread and may block; what goes wrong for the operator to see is a `CommandError`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from gsmtp.core.errors import GsmtpError
from gsmtp.core.registry import Registry

if TYPE_CHECKING:
    from gsmtp.control.console import Console


class CommandError(GsmtpError):
    """Why a command was not done; the text is shown to the operator."""


@dataclass(frozen=True, slots=True)
class Output:
    """What a command says.

    Args:
        lines: for people, without line ends; the documented shapes (reference/console-and-logs.md). An iterator is
            run through while the answer is sent: for long listings.
        data: the same as JSON values (dict, list, str, int, float, bool, None); an iterator gives the items of a list.
    """

    lines: Iterable[str]
    data: object = None


Run = Callable[["Console", Sequence[str]], Output]
F = TypeVar("F", bound=Run)


@dataclass(frozen=True, slots=True)
class Command:
    """One command.

    Args:
        name: its first words in lower case, e.g. ``"show inbound"``. The longest name that fits a line wins.
        syntax: e.g. ``"config get [scope ...] option"``.
        help: one to three sentences.
        run: called with the console and the words behind the name.
    """

    name: str
    syntax: str
    help: str
    run: Run


COMMANDS: Registry[Command] = Registry("console command")


def command(name: str, *, syntax: str = "", help: str) -> Callable[[F], F]:
    """Register a function as a console command."""

    def decorate(function: F) -> F:
        COMMANDS.add(name, Command(name, syntax or name, help, function), f"{function.__module__}.{function.__name__}")
        return function

    return decorate
