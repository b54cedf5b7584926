"""What a transport is given, a Job, and what it says of each recipient, an Outcome."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from gsmtp.config.view import View
from gsmtp.core.envelope import Envelope, Recipient
from gsmtp.core.stages import Stage
from gsmtp.delivery.hops import Hop
from gsmtp.spool.base import StoredBody


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one recipient.

    Args:
        code: the reply code that decided: 2xx delivered, 4xx try again, 5xx refused for good.
        reply: the full answer, or an ``[internal]`` text of reference/policy-and-context.md section 5.
        hop: who answered.
        stage: how far the attempt came, for the log.
        remote: the IP address of who answered, "" when nobody did; for the log.
        sent_bytes: how much of the body was sent, for the log.
        keep: whether a permanent failure leaves a dead letter, whatever `Failure_Action` says.
        retry_after_s: seconds that the next try waits at least, 0 for what the retry options say.
        passes_dsn: whether who took it got the DSN parameters, too, and so tells its sender by itself.
        tls: what is told of TLS, "" in clear text; for the log.
    """

    code: int
    reply: str
    hop: str
    stage: Stage = field(default=Stage.NOT_CONNECTED, compare=False)
    remote: str = field(default="", compare=False)
    sent_bytes: int = field(default=0, compare=False)
    keep: bool = False
    retry_after_s: float = 0.0
    passes_dsn: bool = field(default=False, compare=False)
    tls: str = field(default="", compare=False)

    @property
    def is_delivered(self) -> bool:
        """Whether the next hop took responsibility."""
        return 200 <= self.code < 300

    @property
    def is_permanent(self) -> bool:
        """Whether trying again is pointless."""
        return self.code >= 500


def _unmarked() -> None:
    """Nobody wants to know."""


@dataclass(frozen=True, slots=True)
class Job:
    """One message for some of its recipients, to one destination.

    Args:
        envelope: of the message.
        body: the message.
        recipients: some of `envelope.recipients`, the same objects.
        view: the options: of the recipients' domain, or of the transport's stanza.
        hops: where to, in the order of preference; () for a transport that knows by itself.
        attempts: tries before this one, the most of any of the recipients.
        mark: to be called right before the other end may take responsibility (the final dot, the last bytes of a
            request): notes in the spool that from now on a crash leaves the message in doubt. Blocks; raises
            SpoolError, upon which nothing more is to be sent (RFC 1047).
        connecting: to be called before a connection is opened. Raises `Throttled`, which is to be let
            through: the job comes again later.
    """

    envelope: Envelope
    body: StoredBody
    recipients: Sequence[Recipient]
    view: View
    hops: Sequence[Hop] = ()
    attempts: int = 0
    mark: Callable[[], None] = _unmarked
    connecting: Callable[[], None] = _unmarked
