"""What one operator's session on the console is, as the commands see it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from gsmtp.control.host import Host

if TYPE_CHECKING:
    from gsmtp.config.view import View
    from gsmtp.control.operations import Operations
    from gsmtp.control.transaction import Transaction
    from gsmtp.core.records import Peering


class Closable(Protocol):
    """What is open while an answer is sent."""

    def close(self) -> None:
        """Let it go. May be called twice."""


@dataclass(slots=True)
class Console:
    """One session.

    The words that commands get are `gsmtp.config.words.Word`s, made by `gsmtp.config.words.split`: a value may need to
    know whether a word stood in quotes.

    Args:
        operations: the running server.
        user: who speaks, for the log.
        transaction: what `config begin` opened, or None.
        host: what all sessions share.
        view: the options that hold for the session, None in tests without a socket.
        peering: both ends, for records; likewise.
        streams: what workers have to say, until the answer is sent.
    """

    operations: Operations
    user: str
    transaction: Transaction | None = None
    host: Host = field(default_factory=Host)
    view: View | None = None
    peering: Peering | None = None
    streams: list[Closable] = field(default_factory=list)

    def release(self) -> None:
        """The answer is sent, or nobody wants the rest of it."""
        while self.streams:
            self.streams.pop().close()
