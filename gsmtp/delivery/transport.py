"""The contract of transports: a Job (one message, some recipients) in, one Outcome a recipient out.

A transport is a file in `delivery/transports/` whose class is registered with ``@transport("name")``. One that has a
stanza of its own (``webhook "name" { … }``) declares it and its options in the same file and says in `takes` whose mail
it gets: the router asks all of them, and nothing else has to be edited. It gets what it needs of the process as
`Tools`; at import it loads no gevent, so that `gsmtp check` can load it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

from gsmtp.config.view import View
from gsmtp.core.errors import DeliveryError
from gsmtp.core.registry import Registry
from gsmtp.core.stages import Stage
from gsmtp.delivery.job import Job as Job
from gsmtp.delivery.job import Outcome as Outcome

if TYPE_CHECKING:
    from gsmtp.delivery.pool import ConnectionPool, HopHealth
    from gsmtp.delivery.resolve import HopResolver

T = TypeVar("T")


class Throttled(DeliveryError):
    """No connection may be opened now: the job was not tried, and waits in memory."""


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


class CutOff(BaseException):
    """The process ends in the middle of a job whose message some recipients have already.

    Args:
        outcomes: one a recipient; those that aren't delivered say nothing.
    """

    def __init__(self, outcomes: Sequence[Outcome]) -> None:
        super().__init__("cut off")
        self.outcomes = outcomes


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


class Connect(Protocol):
    """Makes connected sockets."""

    def __call__(self, host: str, port: int, timeout_s: float, /, source: str = "") -> HopSocket:
        """Connect to host and port within so many seconds, name look-up included, from the IP address `source` if it
        isn't "". Raises OSError."""


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
        resolver: finds the addresses of next hops.
    """

    native: Native
    connect: Connect
    connections: ConnectionPool
    health: HopHealth
    hostname: str
    resolver: HopResolver


class Transport(ABC):
    """Hands messages on. One object serves the whole process; its methods run in green threads, may wait, and never
    block the hub.

    Args:
        tools: of the process.

    Attributes:
        stanza: word of the stanzas that send mail here, in lower case; "" for a transport that Routes lead to.
        order: stanza transports with a lower one are asked first; equal ones in the order of their names.
        keeps_refused: whether ``Failure_Action = "auto"`` keeps what it refuses for good as a dead letter; else the
            sender gets a bounce.
    """

    stanza: ClassVar[str] = ""
    order: ClassVar[int] = 50
    keeps_refused: ClassVar[bool] = False

    def __init__(self, tools: Tools) -> None:
        self.tools = tools

    @classmethod
    def takes(cls, view: View, domain: str) -> bool:
        """Whether a stanza with these options takes mail for a domain (lower case, "" for an unqualified address)."""
        return False

    @classmethod
    def most_at_once(cls, view: View) -> int:
        """Jobs of one stanza at a time at the most; 0 leaves it to Max_Outbound_Connections."""
        return 0

    @classmethod  # noqa: B027 - most have nothing to try
    def examine(cls, view: View, native: Native) -> None:
        """Try what only the start and a reload can find out about a stanza (a handler that can't be imported).

        Blocks the calling green thread; others go on, so files are read by `native`. Raises ConfigError with the place;
        nothing may have changed then.
        """

    @classmethod
    def hands_over(cls, view: View) -> bool:
        """Whether a stanza answers for mail while its client waits, so that the mail needs no spool: by `hand_over`."""
        return False

    def configure(self, views: Sequence[View]) -> None:  # noqa: B027 - most look at the job's view only
        """These are the stanzas from now on: at the start and after each reload. Must not block."""

    @abstractmethod
    def deliver(self, job: Job) -> list[Outcome]:
        """One Outcome a recipient, in order. Raises DeliveryError when all share one failure.

        Whatever else ends it, GreenletExit included, makes no difference between recipients; `CutOff` does.
        """

    def hand_over(self, job: Job, done: Callable[[list[Outcome]], object]) -> None:
        """As `deliver`, for a message that is in no spool. Must not block: runs on the hub, and calls `done` there,
        once, with one Outcome a recipient. The body is there until then."""
        raise DeliveryError(f"451 4.3.5 [internal] {type(self).__name__} hands nothing over")

    def close(self) -> None:  # noqa: B027 - most hold nothing
        """Let go of connections, threads and processes: the server stops."""


TRANSPORTS: Registry[type[Transport]] = Registry("transport")
transport = TRANSPORTS.register


def stanza_transports() -> list[tuple[str, type[Transport]]]:
    """Names and classes of the transports with stanzas of their own, in the order in which they are asked."""
    found = [(name, kind) for name, kind in TRANSPORTS.items() if kind.stanza]
    return sorted(found, key=lambda one: (one[1].order, one[0]))
