"""What all listeners and connections share: the configuration in force, the spool, the policy chain, the counts.

Built by `gsmtp.app.supervisor`; connections read it, nobody below writes to it but the counters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from gsmtp.config.scopes import Configuration
from gsmtp.config.view import View
from gsmtp.core.clock import Clock
from gsmtp.core.envelope import Envelope
from gsmtp.core.ids import IdMaker
from gsmtp.policy.chain import Chain
from gsmtp.runtime.deadline import DeadlineWheel
from gsmtp.runtime.sockopts import When, rows
from gsmtp.server.limits import Limits, SessionCounts
from gsmtp.server.options import IDLE_TIME
from gsmtp.spool.base import Spool

if TYPE_CHECKING:
    from gsmtp.server.connection import Connection

LONGEST_IDLE_S = 3600.0
"""With Idle_Time = 0 a silent client is still let go after an hour: leaked connections would fill the process."""


class Events(Protocol):
    """Where log events go (`gsmtp.observe.logs.EventLog`)."""

    def event(self, level: str, area: str, what: str, **fields: object) -> None:
        """Write one event."""


@dataclass(slots=True)
class Plan:
    """What a view says about connections, read once a view instead of once a connection."""

    view: View
    limits: Limits
    idle_s: float
    tcp_options: list[tuple[int, int, int]]


@dataclass(slots=True)
class Totals:
    """Counters since the start."""

    sessions: int = 0
    refused_sessions: int = 0
    messages: int = 0
    recipients: int = 0
    bytes: int = 0
    rejections: int = 0


@dataclass(slots=True)
class Service:
    """The shared state of all ESMTP listeners.

    Args:
        configuration: the one for new sessions; a reload replaces it.
        spool: where accepted mail goes.
        chain: the policy hooks.
        wheel: the deadlines.
        events: the log.
        ids: message and connection ids.
        hostname: the machine's name, where nothing is configured.
        clock: for `Received` and envelopes.
        accepted: told of each committed envelope, on the hub.
    """

    configuration: Configuration
    spool: Spool
    chain: Chain
    wheel: DeadlineWheel
    events: Events
    ids: IdMaker
    hostname: str
    clock: Clock
    accepted: Callable[[Envelope], object]
    counts: SessionCounts = field(default_factory=SessionCounts)
    totals: Totals = field(default_factory=Totals)
    connections: set[Connection] = field(default_factory=set)
    is_draining: bool = False
    _plans: dict[View, Plan] = field(default_factory=dict)

    def reconfigure(self, configuration: Configuration) -> None:
        """New sessions use `configuration` from now on; running ones keep theirs."""
        self.configuration = configuration
        self._plans = {}

    def plan(self, view: View, family: Any) -> Plan:
        """The plan of a view; all connections of one view are on sockets of one family."""
        plan = self._plans.get(view)
        if plan is None:
            idle_s = float(view[IDLE_TIME]) or LONGEST_IDLE_S
            plan = Plan(view, Limits.of(view), idle_s, rows(view, family, When.ACCEPTED))
            self._plans[view] = plan
        return plan
