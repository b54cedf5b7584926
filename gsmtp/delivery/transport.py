"""The contract of transports: one message, some recipients, one Outcome a recipient.

A transport is a file in `delivery/transports/` whose class is registered with ``@transport("name")``. It gets what it
needs of the process as `Tools`; it imports no gevent, so that `gsmtp check` can load it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from gsmtp.config.view import View
from gsmtp.core.envelope import Envelope, Recipient
from gsmtp.core.errors import DeliveryError
from gsmtp.core.registry import Registry
from gsmtp.core.stages import Stage
from gsmtp.spool.base import StoredBody

if TYPE_CHECKING:
    from gsmtp.delivery.hops import Hop
    from gsmtp.delivery.pool import ConnectionPool, HopHealth

T = TypeVar("T")


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
    """

    code: int
    reply: str
    hop: str
    stage: Stage = field(default=Stage.NOT_CONNECTED, compare=False)
    remote: str = field(default="", compare=False)
    sent_bytes: int = field(default=0, compare=False)

    @property
    def is_delivered(self) -> bool:
        """Whether the next hop took responsibility."""
        return 200 <= self.code < 300

    @property
    def is_permanent(self) -> bool:
        """Whether trying again is pointless."""
        return self.code >= 500


class NoHopReachable(DeliveryError):
    """No next hop of the route could be connected to, or none greeted well. Always temporary.

    Args:
        message: as `DeliveryError`.
        stage: how far the last hop that was tried let us come.
        remote: its IP address, "" when it wasn't connected to.
    """

    def __init__(self, message: str, *, stage: Stage = Stage.NOT_CONNECTED, remote: str = "") -> None:
        super().__init__(message)
        self.stage = stage
        self.remote = remote


class HopSocket(Protocol):
    """What transports use of a connected socket, whoever made it."""

    def settimeout(self, value: float | None, /) -> None:
        """Seconds that the next call may take; 0 for no waiting."""

    def sendall(self, data: bytes, /) -> object:
        """Send everything. Raises OSError, TimeoutError when the time was over."""

    def recv(self, size: int, /) -> bytes:
        """Up to `size` bytes, b"" at the end."""

    def getpeername(self) -> Any:
        """The other end, its address first. Raises OSError."""

    def close(self) -> object:
        """Close it."""


Connect = Callable[[str, int, float], HopSocket]
"""Connects to host and port within so many seconds, name look-up included. Raises OSError."""


class Native(Protocol):
    """Runs blocking functions in native threads (`runtime.native.NativePool`)."""

    def call(self, function: Callable[..., T], *args: Any) -> T:
        """The function's result; the calling green thread waits."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What transports get of the process.

    Args:
        native: for file work.
        connect: makes connected sockets.
        connections: idle connections to next hops.
        health: which next hops are backed off from.
        hostname: what the system calls itself, for EHLO and for Maildir file names.
    """

    native: Native
    connect: Connect
    connections: ConnectionPool
    health: HopHealth
    hostname: str


class Transport(Protocol):
    """Hands one message on to some of its recipients. Runs in a green thread; may wait, never blocks the hub."""

    def __init__(self, tools: Tools) -> None: ...

    def deliver(
        self,
        envelope: Envelope,
        body: StoredBody,
        recipients: Sequence[Recipient],
        view: View,
        hops: Sequence[Hop] = (),
    ) -> list[Outcome]:
        """One Outcome a recipient, in the order given. Raises DeliveryError when all share one failure.

        Args:
            envelope: of the message.
            body: the message.
            recipients: some of `envelope.recipients`, the same objects.
            view: the options: of the recipients' domain, or of the transport's stanza.
            hops: where to, in the order of preference; () for a transport that knows by itself.
        """


TRANSPORTS: Registry[type[Transport]] = Registry("transport")
transport = TRANSPORTS.register
