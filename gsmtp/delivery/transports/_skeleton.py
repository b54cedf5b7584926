"""A working transport to copy: it hands every recipient to nobody and says so.

A file whose name begins with an underscore isn't loaded. Copy it to ``transports/NAME.py``, register the class under
that name, and let `router.py` send it the recipients it is for. Import no gevent: what waits goes through `Tools`
(`native.call` for blocking work, `connect` for sockets).
"""

from __future__ import annotations

from collections.abc import Sequence

from gsmtp.config.view import View
from gsmtp.core.envelope import Envelope, Recipient
from gsmtp.delivery.hops import Hop
from gsmtp.delivery.transport import Outcome, Tools, transport
from gsmtp.spool.base import StoredBody


@transport("skeleton")
class SkeletonTransport:
    """Refuses everything for now.

    Args:
        tools: of the process.
    """

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    def deliver(
        self,
        envelope: Envelope,
        body: StoredBody,
        recipients: Sequence[Recipient],
        view: View,
        hops: Sequence[Hop] = (),
    ) -> list[Outcome]:
        """One Outcome a recipient, in order; raise DeliveryError when all share one failure."""
        return [Outcome(451, "451 4.3.0 [internal] nothing is here", "skeleton") for _ in recipients]
