"""What a console command is, and the registry of all of them: one entry a command, in files of `control/commands/`.

A command gets the console session and its words and returns an `Output`: lines for people, data for ``--json``. It
runs in a green thread and may block; what goes wrong for the operator to see is a `CommandError`.

A command that asks about mail, sessions or counts, or changes something in the process that serves, is two functions
(`gathered`): one runs where these are, in this process or in each worker, and gives data; the other makes one answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from gsmtp.core.errors import GsmtpError
from gsmtp.core.registry import Registry

if TYPE_CHECKING:
    from gsmtp.control.console import Console
    from gsmtp.control.parts import Parts


class CommandError(GsmtpError):
    """Why a command was not done; the text is shown to the operator."""


@dataclass(frozen=True, slots=True)
class Output:
    """What a command says.

    Args:
        lines: for people, without line ends; the documented shapes (reference/console-and-logs.md). An iterator is
            run through while the answer is sent: for long listings.
        data: the same as JSON values (dict, list, str, int, float, bool, None); an iterator gives the items of a list.
        remark: what the status line says, e.g. that a worker had no part in it; "" for nothing.
        is_whole: False when what was to be done was not done everywhere, for which `remark` has the reason.
        broken: asked when `lines` or `data` were run through: why something is missing in them, "" when nothing is.
    """

    lines: Iterable[str]
    data: object = None
    remark: str = ""
    is_whole: bool = True
    broken: Callable[[], str] | None = None


Run = Callable[["Console", Sequence[str]], Output]
F = TypeVar("F", bound=Run)
Gather = Callable[["Console", Sequence[str]], object]
"""Runs in the process that serves: the words behind the name, and JSON values back; an iterator gives many, one after
the other, while they are sent."""
Show = Callable[["Console", Sequence[str], "Parts"], Output]
S = TypeVar("S", bound=Show)


@dataclass(frozen=True, slots=True)
class Command:
    """One command.

    Args:
        name: its first words in lower case, e.g. ``"show inbound"``. The longest name that fits a line wins.
        syntax: e.g. ``"config get [scope ...] option"``.
        help: one to three sentences.
        run: called with the console and the words behind the name.
        gather: what each worker does of it, None for what only the console's own process does.
        changes: whether it changes something, so that it isn't done when a worker was not reached.
        here_too: whether `gather` is called in the parent of workers, too.
    """

    name: str
    syntax: str
    help: str
    run: Run
    gather: Gather | None = None
    changes: bool = False
    here_too: bool = False


COMMANDS: Registry[Command] = Registry("console command")


def command(name: str, *, syntax: str = "", help: str) -> Callable[[F], F]:
    """Register a function as a console command."""

    def decorate(function: F) -> F:
        COMMANDS.add(name, Command(name, syntax or name, help, function), f"{function.__module__}.{function.__name__}")
        return function

    return decorate


def gathered(
    name: str, gather: Gather, *, syntax: str = "", help: str, changes: bool = False, here_too: bool = False
) -> Callable[[S], S]:
    """Register a command of two functions: `gather`, and the decorated one that makes an answer of its parts.

    In a server of one process there is one part. With workers there is one of each that answered; which did not is
    said beside the answer.

    Args:
        name: see `Command`.
        gather: likewise.
        syntax: likewise.
        help: likewise.
        changes: likewise.
        here_too: likewise.
    """

    def decorate(show: S) -> S:
        def run(console: Console, words: Sequence[str]) -> Output:
            # Commands are loaded with all that declares, and what only checks a file loads no gevent.
            from gsmtp.control.across import perform

            return perform(own, show, console, words)

        own = Command(name, syntax or name, help, run, gather, changes, here_too)
        COMMANDS.add(name, own, f"{show.__module__}.{show.__name__}")
        return show

    return decorate
