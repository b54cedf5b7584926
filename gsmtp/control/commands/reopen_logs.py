"""``reopen logs``: after the log files were moved away.

Source: reference/console-and-logs.md sections 4 and 5.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gsmtp.control.command import CommandError, Output, command

if TYPE_CHECKING:
    from gsmtp.control.console import Console


@command("reopen logs", help="Closes all log files and opens them again, after what was logged until now.")
def reopen_logs(console: Console, words: Sequence[str]) -> Output:
    """Nothing is said when it goes well; what goes wrong is in the log."""
    if words:
        raise CommandError("reopen logs takes no words")
    console.operations.reopen_logs()
    return Output((), {"reopened": True})
