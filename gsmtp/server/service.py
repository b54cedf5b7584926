"""What all listeners and connections share: the configuration in force, the spool, the policy chain, the counts.

Built by `gsmtp.app.supervisor`; connections read it, nobody below writes to it but the counters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final, Protocol

import gevent

from gsmtp.auth.attempts import FailedAttempts
from gsmtp.auth.authenticator import Authenticator
from gsmtp.config.scopes import Configuration
from gsmtp.config.view import View
from gsmtp.core.address import parse_network
from gsmtp.core.clock import Clock
from gsmtp.core.envelope import Envelope
from gsmtp.core.ids import IdMaker
from gsmtp.core.records import Peering, Record, Rejection
from gsmtp.core.reply import Reply, reply
from gsmtp.policy.chain import Chain
from gsmtp.runtime.deadline import DeadlineWheel
from gsmtp.runtime.native import NativePool
from gsmtp.runtime.shared_counts import SharedCounts
from gsmtp.runtime.sockopts import When, rows
from gsmtp.runtime.tls_contexts import TlsContexts
from gsmtp.server.handover import Handover
from gsmtp.server.limits import Limits, SessionCounts
from gsmtp.server.options import IDLE_TIME, PROXY_PROTOCOL, RECONFIG_MESSAGE, RECONFIG_SESSIONS
from gsmtp.server.outbox import Outbox
from gsmtp.server.outdated import SessionComparison
from gsmtp.server.throttle import Throttles
from gsmtp.smtp.facts import Facts
from gsmtp.smtp.session import Session
from gsmtp.smtp.tls_options import TLS_HANDSHAKE_TIMEOUT, USE_SSL
from gsmtp.spool.base import Spool

if TYPE_CHECKING:
    from gsmtp.runtime.tls import TlsContext
    from gsmtp.server.connection import Connection

PROXY_VERSIONS: Final = {
    "none": frozenset[int](),
    "v1": frozenset((1,)),
    "v2": frozenset((2,)),
    "any": frozenset((1, 2)),
}
"""The versions of headers that each word of `Proxy_Protocol` allows."""

LONGEST_IDLE_S = 3600.0
"""With Idle_Time = 0 a silent client is still let go after an hour: leaked connections would fill the process."""


class Events(Protocol):
    """Where log events go (`gsmtp.observe.logs.EventLog`)."""

    def event(self, level: str, area: str, what: str, **fields: object) -> None:
        """Write one event."""


class Journal(Protocol):
    """Where records go (`gsmtp.observe.journal`)."""

    def record(self, record: Record) -> None:
        """Write one record to all logs that want it."""


@dataclass(slots=True)
class Plan:
    """What a view says about connections, read once a view instead of once a connection.

    Args:
        view: the options.
        limits: of sessions.
        idle_s: Idle_Time.
        tcp_options: (level, number, value) for accepted sockets.
        proxy_versions: of the PROXY header that the client has to begin with; none when it has not to.
        tls_from_start: the context of Use_SSL, None without it.
        handshake_s: TLS_Handshake_Timeout.
    """

    view: View
    limits: Limits
    idle_s: float
    tcp_options: list[tuple[int, int, int]]
    proxy_versions: frozenset[int] = frozenset()
    tls_from_start: TlsContext | None = None
    handshake_s: float = 30.0


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
        tls: certificates.
        wheel: the deadlines.
        events: the log of what is no record.
        journal: takes the records.
        ids: message and connection ids.
        hostname: the machine's name, where nothing is configured.
        clock: for `Received` and envelopes.
        accepted: told of each committed envelope, on the hub.
        authenticator: asks the credential stores.
        native: threads that read large messages for hooks.
        handover: who answers for mail in the spool's place, None for nobody.
        shared: counts that several processes keep together, None in a server of one process.

    Attributes:
        throttles: of Inbound_Throttle_Messages.
        attempts: failed logins by address.
        make_session: makes the machine of a new session; another class while sessions are traced.
    """

    configuration: Configuration
    spool: Spool
    chain: Chain
    tls: TlsContexts
    wheel: DeadlineWheel
    events: Events
    journal: Journal
    ids: IdMaker
    hostname: str
    clock: Clock
    accepted: Callable[[Envelope], object]
    authenticator: Authenticator
    totals: Totals = field(default_factory=Totals)
    connections: set[Connection] = field(default_factory=set)
    is_draining: bool = False
    native: NativePool | None = None
    handover: Handover | None = None
    shared: SharedCounts | None = None
    tells_begins: bool = False
    tells_ends: bool = False
    make_session: Callable[[View, Facts, Clock], Session] = Session
    _plans: dict[View, Plan] = field(default_factory=dict)
    outbox: Outbox = field(init=False)
    counts: SessionCounts = field(init=False)
    throttles: Throttles = field(init=False)
    attempts: FailedAttempts = field(init=False)

    def __post_init__(self) -> None:
        self.outbox = Outbox(gevent.get_hub().loop)
        self.counts = SessionCounts(self.shared)
        rates = None if self.shared is None else self.shared.rates
        self.throttles = Throttles(self.clock, shared=rates)
        self.attempts = FailedAttempts(self.clock)

    def use_tls(self, contexts: TlsContexts) -> None:
        """New connections get their TLS from these."""
        self.tls = contexts
        self._plans = {}

    def refuse_session(self, peering: Peering, reply: Reply) -> None:
        """Count and tell a client that is turned away before it has a session."""
        self.totals.refused_sessions += 1
        self.journal.record(Rejection(peering, "concurrency limit", reply))

    def reconfigure(self, configuration: Configuration) -> None:
        """New sessions use `configuration` from now on.

        Running sessions for which it says nothing else adopt it; the others end at their next MAIL or RSET
        (reference/esmtp-listener.md section 12).
        """
        self.configuration = configuration
        self._plans = {}
        self.throttles.reconfigured()
        stanzas = {str(stanza.endpoint): stanza for stanza in configuration.listens}
        comparison = SessionComparison()
        connections: set[Any] = self.connections  # compiled code would insist on its own class; tests stand in for it
        for connection in connections:
            session = connection.session
            if session.is_over or session.outdated is not None:
                continue
            context = connection.reception.context
            old = context.view
            stanza = stanzas.get(str(connection.listener.stanza.endpoint))
            if stanza is not None and old[RECONFIG_SESSIONS] != "always":
                new = configuration.view_for(stanza, session.facts.client_ip, context.pathway_override)
                if comparison.is_same(old, new):
                    connection.adopt(configuration, new)
                    continue
            connection.outdate(reply_421(old[RECONFIG_MESSAGE]))

    def session_count(self, network: str = "", endpoint: str = "") -> int:
        """Sessions that are open now, from a network ("" for any) and on a Listen ("" for any). Raises ValueError."""
        wanted = parse_network(network) if network else None
        count = 0
        connections: set[Any] = self.connections
        for connection in connections:
            facts = connection.facts
            if endpoint and facts.endpoint != endpoint:
                continue
            if wanted is None or (facts.client_ip and ip_address(facts.client_ip) in wanted):
                count += 1
        return count

    def plan(self, view: View, family: Any) -> Plan:
        """The plan of a view; all connections of one view are on sockets of one family."""
        plan = self._plans.get(view)
        if plan is None:
            idle_s = float(view[IDLE_TIME]) or LONGEST_IDLE_S
            plan = Plan(view, Limits.of(view), idle_s, rows(view, family, When.ACCEPTED))
            plan.proxy_versions = PROXY_VERSIONS[view[PROXY_PROTOCOL]]
            plan.tls_from_start = self.tls.of(view) if view[USE_SSL] else None
            plan.handshake_s = float(view[TLS_HANDSHAKE_TIMEOUT])
            self._plans[view] = plan
        return plan


def reply_421(text: str) -> Reply:
    """A closing reply with a configured text, whose first word may be an enhanced code."""
    return reply(421, text, close=True)
