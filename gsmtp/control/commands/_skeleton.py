"""``hello``: an example to copy. Files with a leading underscore don't load.

A command gets the console session (`gsmtp.control.console.Console`: the running server, the user, a transaction) and
the words behind its name. What it can't do it says by CommandError. What it tells of sessions, mail or counts it
gathers where these are: in this process, or in each worker.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gsmtp.control.command import CommandError, Output, gathered
from gsmtp.control.parts import Parts

if TYPE_CHECKING:
    from gsmtp.control.console import Console


def _sessions(console: Console, words: Sequence[str]) -> int:
    """Runs in each process that serves; JSON values."""
    return len(console.operations.service.connections)


@gathered("hello", _sessions, syntax="hello [name]", help="Greets. Shows how a command is written.")
def hello(console: Console, words: Sequence[str], parts: Parts) -> Output:
    """Lines for people, data for ``json`` and ``xml``. `@command` is for what needs no parts."""
    if len(words) > 1:
        raise CommandError("one name at most is expected: hello [name]")
    name = str(words[0]) if words else console.user
    sessions = sum(parts.values)
    return Output((f"Hello {name}, there are {sessions} sessions.",), {"name": name, "sessions": sessions})
