"""``hello``: an example to copy. Files with a leading underscore don't load.

A command gets the console session (`gsmtp.control.console.Console`: the running server, the user, a transaction) and
the words behind its name. What it can't do it says by CommandError.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gsmtp.control.command import CommandError, Output, command

if TYPE_CHECKING:
    from gsmtp.control.console import Console


@command("hello", syntax="hello [name]", help="Greets. Shows how a command is written.")
def hello(console: Console, words: Sequence[str]) -> Output:
    """Lines for people, data for ``json`` and ``xml``."""
    if len(words) > 1:
        raise CommandError("one name at most is expected: hello [name]")
    name = str(words[0]) if words else console.user
    sessions = len(console.operations.service.connections)
    return Output((f"Hello {name}, there are {sessions} sessions.",), {"name": name, "sessions": sessions})
