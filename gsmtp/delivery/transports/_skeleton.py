"""A working transport to copy: it hands every recipient to nobody and says so.

A file whose name begins with an underscore isn't loaded. Copy it to ``transports/NAME.py``, register the class under
that name, declare its stanza and options here, and say in `takes` whose mail it gets. Import no gevent at the top: what
waits goes through `Tools` (`native.call` for blocking work, `connect` for sockets), or is imported where it is used.
"""

from __future__ import annotations

from gsmtp.config.view import View
from gsmtp.delivery.transport import Job, Outcome, Transport, transport


@transport("skeleton")
class SkeletonTransport(Transport):
    """Refuses everything for now."""

    stanza = "skeleton"

    @classmethod
    def takes(cls, view: View, domain: str) -> bool:
        """Only what is for a domain that doesn't exist."""
        return domain == "skeleton.invalid"

    def deliver(self, job: Job) -> list[Outcome]:
        """One Outcome a recipient, in order; raise DeliveryError when all share one failure."""
        job.mark()
        return [Outcome(451, "451 4.3.0 [internal] nothing is here", "skeleton") for _ in job.recipients]
