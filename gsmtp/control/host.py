"""What all sessions of the console share: who is there, failed logins, what statistics count, the traces."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from gsmtp.auth.attempts import FailedAttempts
from gsmtp.control.outbound_tracing import OutboundTraces
from gsmtp.control.queue_counts import QueueCounts
from gsmtp.control.statistics import Statistics
from gsmtp.control.tracing import Traces
from gsmtp.core.clock import SystemClock


class Seat(Protocol):
    """A session of the console, for those who list or end them.

    Attributes:
        user: who speaks.
        client_ip: its address, "" for a Unix socket.
        is_busy: whether a command is under way.
    """

    user: str
    client_ip: str
    is_busy: bool


@dataclass(slots=True)
class Host:
    """Shared by all sessions of one server.

    Attributes:
        seats: the sessions that are open, each with its green thread.
        queue: what was counted in it last.
        attempts: failed logins by address; those of SMTP are counted elsewhere.
        is_closing: whether the server stops: no session takes another command.
    """

    statistics: Statistics = field(default_factory=Statistics)
    traces: Traces = field(default_factory=Traces)
    outbound_traces: OutboundTraces = field(default_factory=OutboundTraces)
    seats: dict[Seat, Any] = field(default_factory=dict)
    queue: QueueCounts = field(default_factory=QueueCounts)
    attempts: FailedAttempts = field(default_factory=lambda: FailedAttempts(SystemClock()))
    is_closing: bool = False
