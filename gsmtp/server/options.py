"""The options that the listeners and the connection driver read: sessions, time, accepting.

Source: reference/esmtp-listener.md sections 2 and 3, reference/threadpools-eventloops.md section 1.3.
"""

from __future__ import annotations

from gsmtp.config import kinds
from gsmtp.config.common import ENABLE as ENABLE
from gsmtp.config.common import PATHWAY as PATHWAY
from gsmtp.config.common import USE_SSL as USE_SSL
from gsmtp.config.kinds import Kind, Rate
from gsmtp.config.option import ANY_SOCKET, INBOUND, MESSAGE, SOCKET, Option, declare
from gsmtp.config.tree import Value

LISTENER_SESSIONS: Option[int] = declare(
    Option(
        name="Listener_Sessions",
        kind=kinds.count,
        default=0,
        scopes=INBOUND,
        doc="Sessions at one time; one more gets 421 4.4.5. The scope that sets it is what is counted: a Peer's own "
        "clients, a Listen's socket, all sockets of the listener. 0 means no limit.",
        source="Momentum: listener_sessions",
    )
)

SERVICE_SESSIONS: Option[int] = declare(
    Option(
        name="Service_Sessions",
        kind=kinds.count,
        default=0,
        scopes=INBOUND,
        doc="Sessions at one time on all ESMTP sockets together; one more gets 421 4.4.5. 0 means no limit.",
        source="Momentum: service_sessions",
    )
)

IDLE_TIME: Option[int] = declare(
    Option(
        name="Idle_Time",
        kind=kinds.seconds,
        default=300,
        scopes=INBOUND,
        unit="seconds",
        doc="How long a client may say nothing while the server waits for it; then 421 4.4.2 and the connection is "
        "closed. 0 means no limit but a hard one of an hour.",
        source="RFC 5321 section 4.5.3.2.7",
    )
)


def _optional_rate(value: Value) -> Rate | None:
    return kinds.rate.parse(value) if kinds.scalar_text(value) else None


_OPTIONAL_RATE: Kind[Rate | None] = Kind(
    "rate",
    _optional_rate,
    kinds.rate.describe + ', or "" for no limit',
    show=lambda value: kinds.rate.show(value) if value is not None else '""',
)

INBOUND_THROTTLE_MESSAGES: Option[Rate | None] = declare(
    Option(
        name="Inbound_Throttle_Messages",
        kind=_OPTIONAL_RATE,
        default=None,
        scopes=MESSAGE,
        doc='Messages taken, as "N" a second or "N/S" in S seconds: beyond that the 250 to MAIL FROM waits, and nobody '
        "is refused. All sessions for which one scope's value holds share one allowance. Empty: no limit.",
        source="Momentum: inbound_throttle_messages",
    )
)

PROXY_PROTOCOL: Option[str] = declare(
    Option(
        name="Proxy_Protocol",
        kind=kinds.enumeration("none", "v1", "v2", "any"),
        default="none",
        scopes=INBOUND,
        doc="Whether the client is a proxy that says for whom it connects, by a PROXY protocol header of that version "
        "before anything else; without one it is disconnected. All else is then about the address in the header.",
        source="HAProxy: proxy-protocol.txt",
        ours=True,
    )
)

RECONFIG_MESSAGE: Option[str] = declare(
    Option(
        name="Reconfig_Message",
        kind=kinds.line,
        default="4.3.2 Reconfiguration in progress",
        scopes=("esmtp_listener", "pathway"),
        doc="Text after 421 for a session that finds its configuration replaced at MAIL FROM or RSET.",
        source="Momentum: reconfig_message",
    )
)

RECONFIG_SESSIONS: Option[str] = declare(
    Option(
        name="Reconfig_Sessions",
        kind=kinds.enumeration("changed", "always"),
        default="changed",
        scopes=INBOUND,
        doc="Which sessions get Reconfig_Message after a reload: those for which the new configuration says something "
        "else, or (as Momentum does) all.",
        source="gsmtp",
        ours=True,
    )
)

CONCURRENCY: Option[int] = declare(
    Option(
        name="Concurrency",
        kind=kinds.count,
        default=0,
        scopes=ANY_SOCKET,
        doc="How many green threads of the pool this socket may use at once, for establishing connections and for "
        "turns that may block. It bounds work, not sessions. 0: as many as the pool has.",
        source="Momentum: concurrency",
    )
)

POOL_NAME: Option[str] = declare(
    Option(
        name="Pool_Name",
        kind=kinds.line,
        default="",
        scopes=ANY_SOCKET,
        doc="The ThreadPool whose green threads serve this socket. When it names none that exists, or Concurrency is "
        "set without it, the IO pool is used and a critical line is logged.",
        source="Momentum: pool_name",
    )
)

EVENTS_PER_ITER: Option[int] = declare(
    Option(
        name="Events_Per_Iter",
        kind=kinds.integer,
        default=0,
        scopes=ANY_SOCKET,
        doc="Connections accepted in one round of the event loop. Below 1: 1 when Concurrency is set, else gevent's "
        "own number.",
        source="Momentum: events_per_iter",
    )
)

ACCEPT_QUEUE_BACKLOG: Option[int] = declare(
    Option(
        name="Accept_Queue_Backlog",
        kind=kinds.count,
        default=0,
        scopes=ANY_SOCKET,
        doc="Accepted connections that may wait for a green thread; when they are that many, accepting pauses and the "
        "kernel's queue fills. 0: as many as Listen_Backlog.",
        source="Momentum: accept_queue_backlog",
    )
)

EVENT_LOOP: Option[str] = declare(
    Option(
        name="Event_Loop",
        kind=kinds.line,
        default="",
        scopes=SOCKET,
        doc="The EventLoop stanza that says how many worker processes serve. All of them serve all sockets: of several "
        "stanzas that are named the largest counts.",
        dynamic=False,
        source="Momentum: event_loop",
    )
)

EVENT_LOOP_CONCURRENCY: Option[int] = declare(
    Option(
        name="Concurrency",
        kind=kinds.count,
        default=1,
        scopes=("eventloop",),
        doc="How many worker processes the event loop stands for; below 2 the server is one process. `--workers` goes "
        "before it.",
        dynamic=False,
        source="Momentum: concurrency",
    )
)
