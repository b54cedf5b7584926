"""What the server tells of its work, as values: one class a kind of log record.

Source: reference/console-and-logs.md section 5.

The code that knows something makes a record and hands it to the journal (`gsmtp.observe.journal`), which writes it to
whatever is configured: readable or JSON lines, mainlog, rejectlog, acctlog. No record carries a password.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gsmtp.core.envelope import Envelope
from gsmtp.core.reply import Reply


@dataclass(slots=True)
class Peering:
    """Both ends of a session, as records name them.

    Args:
        connection_id: as `core.ids`.
        remote: ``ip:port``, IPv6 as ``[addr]:port``, "" for a Unix socket.
        local: likewise.
        endpoint: the Listen's name as configured.
        pathway: its name, "default" without one.
        group: of the pathway.
    """

    connection_id: str
    remote: str
    local: str
    endpoint: str
    pathway: str = "default"
    group: str = "default"


@dataclass(slots=True, init=False)
class Reception:
    """A message was accepted (mainlog ``R``, one a recipient).

    Args:
        peering: the session.
        envelope: with the recipients that are kept; for a dropped message all of them.
        conn: connection variables.
        mess: message variables.
        is_dropped: whether it was taken and forgotten (Blackhole = internal, a discard).
        protocol: ``"esmtp"`` or ``"internal"`` (mainlog field 11).
    """

    peering: Peering
    envelope: Envelope
    conn: Mapping[str, str]
    mess: Mapping[str, str]
    is_dropped: bool
    protocol: str

    def __init__(
        self,
        peering: Peering,
        envelope: Envelope,
        conn: Mapping[str, str] | None = None,
        mess: Mapping[str, str] | None = None,
        is_dropped: bool = False,
        protocol: str = "esmtp",
    ) -> None:
        self.peering = peering
        self.envelope = envelope
        self.conn = {} if conn is None else conn
        self.mess = {} if mess is None else mess
        self.is_dropped = is_dropped
        self.protocol = protocol


@dataclass(slots=True)
class Rejection:
    """Something was refused (rejectlog).

    Args:
        peering: the session.
        state: Momentum's reception state name, e.g. ``"awaiting rcptto"``.
        reply: what the peer was told.
        check: the hook that decided, ``"core"`` for the engine.
        reason: for the log only, "" when the reply says it all.
        conn: connection variables.
        mess: message variables.
        message_id: of the message, "" before its body began.
    """

    peering: Peering
    state: str
    reply: Reply
    check: str = "core"
    reason: str = ""
    conn: Mapping[str, str] = field(default_factory=dict)
    mess: Mapping[str, str] = field(default_factory=dict)
    message_id: str = ""


@dataclass(slots=True)
class AuthAttempt:
    """Somebody tried to log in (acctlog ``N``, ``T`` when it timed out).

    Args:
        peering: the session (``remote`` is "" for a Unix socket).
        user: as claimed, "" when it never came to that.
        mechanism: in upper case.
        status: ``"pass"``, ``"fail"``, ``"error"`` or ``"timeout"``.
        is_accounted: whether ``log_authentication`` asks for an acctlog record.
        reason: for the log only.
    """

    peering: Peering
    user: str
    mechanism: str
    status: str
    is_accounted: bool
    reason: str = ""


@dataclass(slots=True)
class Authorization:
    """A console command was allowed or not (acctlog ``Z``).

    Args:
        peering: the console session.
        user: who is logged in.
        command: the whole command line.
        verdict: 1 allowed, 0 denied, -1 error.
        role: that matched, "" when not allowed.
        is_accounted: whether an acctlog gets it.
    """

    peering: Peering
    user: str
    command: str
    verdict: int
    role: str = ""
    is_accounted: bool = True


@dataclass(slots=True)
class SessionBegin:
    """A client connected."""

    peering: Peering


@dataclass(slots=True)
class SessionEnd:
    """A session is over.

    Args:
        peering: the session.
        reason: e.g. ``"quit"``, ``"peer closed"``, ``"closed by reply"``, ``"idle timeout"``.
        seconds: how long it lasted.
        messages: accepted in it.
        state: Momentum's state name at the end.
        tls: protocol and suite, "" without TLS.
        user: who was logged in, "".
    """

    peering: Peering
    reason: str
    seconds: float
    messages: int
    state: str
    tls: str = ""
    user: str = ""


@dataclass(slots=True)
class TlsFailure:
    """A handshake failed or timed out, or TLS that was on broke.

    Args:
        was_on: whether the handshake was over.
    """

    peering: Peering
    reason: str
    was_on: bool = False


@dataclass(slots=True)
class Attempt:
    """One recipient's delivery attempt ended (mainlog ``D``, ``T`` or ``P``).

    Args:
        kind: ``"delivered"``, ``"deferred"`` (will be tried again) or ``"failed"`` (for good).
        message_id: of the message.
        connection_id: of the session that it came by.
        sender: the reverse-path, "" for the null sender.
        recipient: its address.
        domain: the routing domain: the gateway's host where one is set, else the recipient's, lower case.
        hop: who answered, as the configuration names it.
        reply: the answer, code included.
        attempts: how many there were, this one included.
        age_s: seconds since reception.
        size_bytes: of the message.
        sent_bytes: of the message, before the attempt ended.
        stage: as `core.stages`.
        remote: the IP address that answered, "" when nobody did.
        due_wall: when it is tried again, 0 when it is not.
        group: the binding group it was sent by.
        binding: likewise.
        tls: protocol, cipher and what is known of the hop's certificate, "" in clear text.
    """

    kind: str
    message_id: str
    connection_id: str
    sender: str
    recipient: str
    domain: str
    hop: str
    reply: str
    attempts: int
    age_s: float
    size_bytes: int = 0
    sent_bytes: int = 0
    stage: int = 0
    remote: str = ""
    due_wall: float = 0.0
    group: str = "default"
    binding: str = "default"
    tls: str = ""


Record = Reception | Rejection | AuthAttempt | Authorization | SessionBegin | SessionEnd | TlsFailure | Attempt
