"""What becomes of recipients that failed for good, and who is told of attempts: the seam, and what keeps it simple.

Source: reference/policy-and-context.md section 5.2, RFC 3461, RFC 3464.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from gsmtp.core.envelope import Envelope
from gsmtp.delivery.transport import Outcome
from gsmtp.spool.base import Notice, Record

if TYPE_CHECKING:
    from gsmtp.delivery.router import Domains
    from gsmtp.delivery.worker import Batch


class Failures(Protocol):
    """Decides (`delivery.bounces`)."""

    def configure(self, configuration: Domains) -> None:
        """Go by this configuration from now on. Doesn't block."""

    def settle(
        self,
        envelope: Envelope,
        records: Sequence[Record],
        outcomes: Sequence[Outcome],
        batch: Batch,
        *,
        is_ending: bool = False,
    ) -> tuple[Sequence[Record], Sequence[Notice]]:
        """The records as they are to be written, and the messages that go with them. May block the green thread.

        Args:
            envelope: of the message.
            records: of one attempt, one a recipient of the batch, in its order; DEAD for those that failed for good.
            outcomes: likewise.
            batch: what was tried, with the domain's options and the route.
            is_ending: the process ends: this may not wait for anything.
        """


class KeepAll:
    """Keeps all that failed as dead letters and tells nobody."""

    def configure(self, configuration: Domains) -> None:
        """See `Failures.configure`."""

    def settle(
        self,
        envelope: Envelope,
        records: Sequence[Record],
        outcomes: Sequence[Outcome],
        batch: Batch,
        *,
        is_ending: bool = False,
    ) -> tuple[Sequence[Record], Sequence[Notice]]:
        """See `Failures.settle`."""
        return records, ()
