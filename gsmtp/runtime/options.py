"""The options of the process and of what it runs on: sockets, pools, identity, files.

Source: reference/esmtp-listener.md sections 2 and 13, reference/threadpools-eventloops.md section 1.
"""

from __future__ import annotations

from gsmtp.config import kinds
from gsmtp.config.option import ANY_SOCKET, GLOBAL, Option, declare

# --- sockets --------------------------------------------------------------------------------------

LISTEN_BACKLOG: Option[int] = declare(
    Option(
        name="Listen_Backlog",
        kind=kinds.integer_between(1, 65535),
        default=500,
        scopes=ANY_SOCKET,
        dynamic="socket",
        doc="Connections that the kernel keeps until they are accepted: the argument of listen(2). "
        "The kernel's own limit (net.core.somaxconn) may make it less.",
        source="Momentum: listen_backlog",
    )
)

TCP_RECV_BUFFER_SIZE: Option[int] = declare(
    Option(
        name="TCP_Recv_Buffer_Size",
        kind=kinds.size,
        default=0,
        scopes=ANY_SOCKET,
        unit="bytes",
        dynamic="socket",
        doc="SO_RCVBUF, set before listen(2) and inherited by the connections; 0 lets the kernel tune. Momentum's "
        "default of 4096 limits a connection of 50 ms to 80 kB/s.",
        source="Momentum: tcp_recv_buffer_size",
    )
)

TCP_SEND_BUFFER_SIZE: Option[int] = declare(
    Option(
        name="TCP_Send_Buffer_Size",
        kind=kinds.size,
        default=0,
        scopes=ANY_SOCKET,
        unit="bytes",
        dynamic="socket",
        doc="SO_SNDBUF, set before listen(2) and inherited by the connections; 0 lets the kernel tune.",
        source="Momentum: tcp_send_buffer_size",
    )
)

DISABLE_NAGLE_ALGORITHM: Option[bool] = declare(
    Option(
        name="Disable_Nagle_Algorithm",
        kind=kinds.boolean,
        default=False,
        scopes=("control_listener", "esmtp_listener", "global", "listen"),
        doc="Sets TCP_NODELAY, so that small replies are not held back for an acknowledgement.",
        source="RFC 896",
    )
)

FILE_MODE: Option[int] = declare(
    Option(
        name="File_Mode",
        kind=kinds.mode,
        default=0o660,
        scopes=ANY_SOCKET,
        dynamic="socket",
        doc="Permission bits of a Unix socket's file.",
        source="Momentum: file_mode",
    )
)

# --- pools ----------------------------------------------------------------------------------------

CONCURRENCY: Option[int] = declare(
    Option(
        name="Concurrency",
        kind=kinds.count,
        default=0,
        scopes=("threadpool",),
        doc="Size of the pool. 0: jobs run in the caller. The predefined pools have their own defaults.",
        source="Momentum: concurrency",
    )
)

BACKLOG: Option[int] = declare(
    Option(
        name="Backlog",
        kind=kinds.count,
        default=0,
        scopes=("threadpool",),
        dynamic=False,
        doc="Jobs that may wait for the pool; when they are that many, the caller waits. 0 means no limit.",
        source="Momentum: backlog",
    )
)

STACK_SIZE: Option[int] = declare(
    Option(
        name="Stack_Size",
        kind=kinds.size,
        default=0,
        scopes=("threadpool",),
        unit="bytes",
        dynamic=False,
        doc="Stack of each native thread of the pool; 0 means the system's. Green threads have no such limit.",
        source="Momentum: stack_size",
        unserved="native threads have the system's stack, and green threads none of their own",
    )
)

MAX_SESSIONS: Option[int] = declare(
    Option(
        name="Max_Sessions",
        kind=kinds.count,
        default=0,
        scopes=("threadpool",),
        doc="Sessions at one time on the sockets that name the pool; further connections wait in the accept queue. "
        "0 means no limit. Concurrency bounds work, not sessions; this bounds sessions.",
        ours=True,
    )
)

# --- identity -------------------------------------------------------------------------------------

USER: Option[str] = declare(
    Option(
        name="User",
        kind=kinds.word,
        default="",
        scopes=("security",),
        dynamic=False,
        doc="User name or number taken once the sockets are bound. Empty: stays who started it.",
        source="Momentum: user",
    )
)

GROUP: Option[str] = declare(
    Option(
        name="Group",
        kind=kinds.word,
        default="",
        scopes=("security",),
        dynamic=False,
        doc="Group name or number taken once the sockets are bound. Empty: the user's, when one is set.",
        source="Momentum: group",
    )
)

SUPPLEMENTAL_GROUPS: Option[tuple[str, ...]] = declare(
    Option(
        name="Supplemental_Groups",
        kind=kinds.strings,
        default=(),
        scopes=("security",),
        dynamic=False,
        doc="Further groups, taken by setgroups(2) together with User.",
        source="Momentum: supplemental_groups",
    )
)

CAPABILITIES: Option[str] = declare(
    Option(
        name="Capabilities",
        kind=kinds.line,
        default="",
        scopes=("security",),
        dynamic=False,
        doc="Capabilities kept after the change of user, as cap_from_text(3) writes them, e.g. "
        "``cap_net_bind_service+ep``.",
        source="Momentum: capabilities",
    )
)

CHROOT: Option[str] = declare(
    Option(
        name="Chroot",
        kind=kinds.path,
        default="",
        scopes=("security",),
        dynamic=False,
        doc="Directory that becomes the root once the sockets are bound. Empty: none.",
        source="Momentum: chroot",
    )
)

# --- files ----------------------------------------------------------------------------------------

PIDFILE: Option[str] = declare(
    Option(
        name="Pidfile",
        kind=kinds.path,
        default="",
        scopes=GLOBAL,
        dynamic=False,
        doc="File that holds the process id while the server runs. Empty: none, as a process manager wants it.",
        source="Momentum: pidfile",
    )
)

SERVER_MAX_FILE_DESCRIPTORS: Option[int] = declare(
    Option(
        name="Server_Max_File_Descriptors",
        kind=kinds.count,
        default=3_000_000,
        scopes=GLOBAL,
        dynamic=False,
        doc="RLIMIT_NOFILE asked for at start. Where the hard limit is lower it is what one gets; 0 leaves the limit "
        "as it is.",
        source="Momentum: server_max_file_descriptors",
    )
)
