"""The options that the listeners and the connection driver read: sessions, time, accepting.

Source: reference/esmtp-listener.md sections 2 and 3, reference/threadpools-eventloops.md section 1.3.
"""

from __future__ import annotations

from gsmtp.config import kinds
from gsmtp.config.common import ENABLE as ENABLE
from gsmtp.config.common import PATHWAY as PATHWAY
from gsmtp.config.common import USE_SSL as USE_SSL
from gsmtp.config.option import INBOUND, SOCKET, Option, declare

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
        scopes=SOCKET,
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
        scopes=SOCKET,
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
        scopes=SOCKET,
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
        scopes=SOCKET,
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
        doc="The EventLoop stanza whose worker processes are to serve the sessions.",
        dynamic=False,
        source="Momentum: event_loop",
        unserved="sessions are served by one process",
    )
)

EVENT_LOOP_CONCURRENCY: Option[int] = declare(
    Option(
        name="Concurrency",
        kind=kinds.count,
        default=1,
        scopes=("eventloop",),
        doc="How many worker processes the event loop stands for.",
        dynamic=False,
        source="Momentum: concurrency",
        unserved="sessions are served by one process",
    )
)
