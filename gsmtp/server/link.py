"""What a reception needs of the connection it works for; `gsmtp.testing` stands in for one without a socket."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from gsmtp.config.scopes import ListenStanza
    from gsmtp.core.records import Peering
    from gsmtp.runtime.tls import TlsContext


class LinkListener(Protocol):
    """Where the client came in."""

    @property
    def stanza(self) -> ListenStanza:
        """The Listen stanza."""


class Link(Protocol):
    """A connection, as a reception sees it."""

    reason: str
    """Why it ends, once that is known."""

    @property
    def listener(self) -> LinkListener:
        """Where the client came in."""

    @property
    def family(self) -> int:
        """The socket's address family."""

    @property
    def peering(self) -> Peering:
        """Both ends, for records."""

    @property
    def is_closed(self) -> bool:
        """Whether it is gone."""

    @property
    def is_ended(self) -> bool:
        """Whether the client will send nothing more."""

    def pause(self, *, keep_reading: bool = True) -> None:
        """Somebody else has the turn until `resume`."""

    def resume(self) -> None:
        """Whoever had the turn gives it back."""

    def submit(self, function: Callable[..., object], *args: Any) -> None:
        """Run a part of the turn that may wait."""

    def hold(self, delay_s: float, go_on: Callable[[], object]) -> None:
        """Go on after a while (a decision's delay)."""

    def break_off(self) -> None:
        """Close because of the exception that is being handled."""

    def moved(self) -> None:
        """The facts or the view of the session have changed."""

    def start_tls(self, context: TlsContext) -> None:
        """Begin the handshake."""
