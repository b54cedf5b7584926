"""What a hook may see and set: the two documented dictionaries, the facts of the connection and its settings.

Values in the dictionaries are strings, always; keys that start with ``#`` are internal. The connection's dictionary
lives as long as the connection, the message's is emptied for every message (reference/policy-and-context.md section 2).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gsmtp.config.scopes import Configuration
from gsmtp.config.view import View
from gsmtp.smtp.session import Facts, Session

if TYPE_CHECKING:
    from gsmtp.policy.handles import Around


@dataclass(slots=True)
class Context:
    """One connection as policy sees it.

    Args:
        configuration: the one the session began under.
        view: the effective options for this client on this socket.
        facts: addresses and ids.
        session: the machine, for the open transaction.
        conn: connection variables.
        pathway_override: a pathway that a hook has set, None for the configured one.
        around: what hooks may ask of the server, None where there is none.
    """

    configuration: Configuration
    view: View
    facts: Facts
    session: Session
    conn: dict[str, str] = field(default_factory=dict)
    pathway_override: str | None = None
    around: Around | None = None
    _mess: dict[str, str] | None = None

    @property
    def mess(self) -> dict[str, str]:
        """Message variables; made when first asked for, as most connections that are held have no message."""
        mess = self._mess
        if mess is None:
            mess = self._mess = {}
        return mess

    @mess.setter
    def mess(self, variables: dict[str, str]) -> None:
        self._mess = variables

    @property
    def can_relay(self) -> bool:
        """Whether this client may send to any domain (connection variable ``can_relay``)."""
        return self.conn.get("can_relay") == "true"
