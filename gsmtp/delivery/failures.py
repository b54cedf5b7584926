"""What becomes of recipients that failed for good, and of those that wait long: bounces, dead letters, nothing.

Source: reference/policy-and-context.md section 5.2, RFC 3461, RFC 3464.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from gsmtp.core.envelope import Envelope
from gsmtp.delivery.transport import Outcome
from gsmtp.spool.base import Due, Notice, Record

if TYPE_CHECKING:
    from gsmtp.delivery.worker import Batch


@dataclass(frozen=True, slots=True)
class Failed:
    """A recipient that failed for good.

    Args:
        due: as the spool handed it out.
        record: that says so, with state DEAD.
        outcome: of the last attempt.
    """

    due: Due
    record: Record
    outcome: Outcome


class Failures(Protocol):
    """Decides."""

    def settle(
        self, envelope: Envelope, records: Sequence[Record], failed: Sequence[Failed], batch: Batch
    ) -> tuple[Sequence[Record], Sequence[Notice]]:
        """The records as they are to be written, and the messages that go with them. May block the green thread.

        Args:
            envelope: of the message.
            records: of one attempt, one a recipient of the batch, in its order.
            failed: those that failed for good.
            batch: what was tried, with the domain's options and the route.
        """


class KeepAll:
    """Keeps all that failed as dead letters."""

    def settle(
        self, envelope: Envelope, records: Sequence[Record], failed: Sequence[Failed], batch: Batch
    ) -> tuple[Sequence[Record], Sequence[Notice]]:
        """See `Failures.settle`."""
        return records, ()
