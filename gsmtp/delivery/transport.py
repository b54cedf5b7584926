"""The contract of transports: one message, some recipients, one Outcome a recipient.

A transport is a file in `delivery/transports/` whose class is registered with ``@transport("name")``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from gsmtp.config.view import View
from gsmtp.core.envelope import Envelope, Recipient
from gsmtp.core.registry import Registry
from gsmtp.spool.base import StoredBody


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one recipient.

    Args:
        code: the reply code that decided: 2xx delivered, 4xx try again, 5xx refused for good.
        reply: the full answer, or an ``[internal]`` text of reference/policy-and-context.md section 5.
        hop: who answered.
    """

    code: int
    reply: str
    hop: str

    @property
    def is_delivered(self) -> bool:
        """Whether the next hop took responsibility."""
        return 200 <= self.code < 300

    @property
    def is_permanent(self) -> bool:
        """Whether trying again is pointless."""
        return self.code >= 500


class Transport(Protocol):
    """Hands one message on to some of its recipients. Runs in a green thread; may wait, never blocks the hub."""

    def deliver(self, envelope: Envelope, body: StoredBody, recipients: Sequence[Recipient],
                view: View) -> list[Outcome]:
        """One Outcome a recipient, in the order given. Raises DeliveryError when all share one failure."""


TRANSPORTS: Registry[type[Transport]] = Registry("transport")
transport = TRANSPORTS.register
