"""Recipients in the queue of the running server that an operator means: page by page, while they are told of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from gsmtp.control.command import CommandError
from gsmtp.core.errors import SpoolError
from gsmtp.spool.selection import START, Place, Selected, Selection

if TYPE_CHECKING:
    from gsmtp.control.console import Console


def selected(console: Console, selection: Selection) -> Iterator[Selected]:
    """Those of this process, in the order in which they came. Blocks. Raises CommandError."""
    after: Place | None = START
    while after is not None:
        try:
            found, after = console.operations.spool.select(selection, after)
        except SpoolError as error:
            raise CommandError(str(error)) from None
        yield from found
