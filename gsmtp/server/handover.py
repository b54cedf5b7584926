"""Mail that is not kept here: what acceptance may ask of who answers for a message in the spool's place.

The application gives it to the Service (`gsmtp.delivery.handover`); without one, every message goes into the spool.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from gsmtp.core.envelope import Envelope
from gsmtp.core.errors import GsmtpError
from gsmtp.spool.base import BodyWriter

HandedOver = Callable[[GsmtpError | None], None]


class Handover(Protocol):
    """Takes responsibility for messages while their clients wait."""

    def takes(self, envelope: Envelope) -> bool:
        """Whether all of a message's recipients are for it. No I/O."""

    def commit(self, envelope: Envelope, body: BodyWriter, done: HandedOver) -> None:
        """Hand the message on; `done` runs on the hub, later and once, with None or the reason it failed.

        Nothing is kept here in either case. The reason is a SpoolError, or a DeliveryError whose text begins with a
        reply code and an enhanced code.
        """
