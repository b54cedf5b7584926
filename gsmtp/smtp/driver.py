"""What an extension's command may ask of the driver (`events.Ask`): the contexts, and to see the client anew.

The server's reception is one; `gsmtp.testing` plays another. Nothing here does I/O.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from gsmtp.smtp.session import Facts, Session


class Driver(Protocol):
    """The side of the session that the machine doesn't know.

    Attributes:
        session: the machine.
    """

    session: Session

    @property
    def conn(self) -> dict[str, str]:
        """Connection variables (reference/policy-and-context.md section 2.1)."""

    @property
    def mess(self) -> dict[str, str]:
        """Message variables."""

    def move_client(self, facts: Facts) -> None:
        """Count the client as coming from elsewhere: Peers, pathway, context and relay rights are found anew.

        The socket, its limits and TLS stay as they are (reference/scopes-and-fallback.md section 5).
        """
