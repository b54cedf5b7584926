"""What one operator's session on the console is, as the commands see it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gsmtp.control.operations import Operations
    from gsmtp.control.transaction import Transaction


@dataclass(slots=True)
class Console:
    """One session.

    The words that commands get are `gsmtp.config.words.Word`s, made by `gsmtp.config.words.split`: a value may need to
    know whether a word stood in quotes.

    Args:
        operations: the running server.
        user: who speaks, for the log.
        transaction: what `config begin` opened, or None.
    """

    operations: Operations
    user: str
    transaction: Transaction | None = None
