"""The envelope of one transaction: who sent it, for whom, and what came with it (RFC 5321 section 2.3.1).

These are made for every message. Their `__init__` is written out because compiled code would call the one that
`dataclass` makes as Python code: for a message in a kept connection that was a thirtieth of all its time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(slots=True, init=False)
class Recipient:
    """One forward-path with its DSN parameters.

    Args:
        address: local part and domain as they are to be delivered, without angle brackets; local part as sent.
        domain: lower-case domain of the address, trailing dot dropped; "" for an unqualified postmaster.
        original: the path as the client wrote it in RCPT TO, without angle brackets.
        notify: DSN NOTIFY words, upper case, e.g. ``("FAILURE", "DELAY")``; () when not given (RFC 3461 section 4.1).
        orcpt: DSN ORCPT as sent (``rfc822;user+40example.com``), or "" (RFC 3461 section 4.2).
        drop: whether policy asked to accept and forget it (`Blackhole = "internal"`).
        binding: that policy chose for it, "" for none.
        failure: the reply with which policy refused it after the text came, "" for one that is to be delivered.
    """

    address: str
    domain: str
    original: str
    notify: tuple[str, ...]
    orcpt: str
    drop: bool
    failure: str
    binding: str

    def __init__(
        self,
        address: str,
        domain: str,
        original: str = "",
        notify: tuple[str, ...] = (),
        orcpt: str = "",
        drop: bool = False,
        failure: str = "",
        binding: str = "",
    ) -> None:
        self.address = address
        self.domain = domain
        self.original = original
        self.notify = notify
        self.orcpt = orcpt
        self.drop = drop
        self.failure = failure
        self.binding = binding


@dataclass(slots=True, init=False)
class Envelope:
    """What the spool keeps beside a body.

    Args:
        message_id: the queue id (`core.ids`), which is also what the 250 says.
        connection_id: the id of the session it came by.
        reverse_path: MAIL FROM without angle brackets, "" for the null sender.
        recipients: at least one.
        received_wall: when the transaction was accepted, seconds since the epoch.
        size_bytes: the body as kept, trace headers included.
        client_address: ``ip:port``, "" for a Unix socket.
        helo: what the client called itself.
        protocol: RFC 3848 word, e.g. ``"ESMTP"``.
        body: ``"7BIT"``, ``"8BITMIME"`` or ``"BINARYMIME"`` (RFC 6152, RFC 3030).
        smtputf8: whether MAIL FROM asked for SMTPUTF8 (RFC 6531).
        ret: DSN RET, ``"FULL"``, ``"HDRS"`` or "" (RFC 3461 section 4.3).
        envid: DSN ENVID as sent (xtext), or "" (RFC 3461 section 4.4).
        requires_tls: whether it is to be handed on over verified TLS only (RFC 8689).
        priority: MT-PRIORITY, from -9 to 9 (RFC 6710).
        conn: connection variables that are kept (reference/policy-and-context.md section 2).
        mess: message variables that are kept.
    """

    message_id: str
    connection_id: str
    reverse_path: str
    recipients: list[Recipient]
    received_wall: float
    size_bytes: int
    client_address: str
    helo: str
    protocol: str
    body: str
    smtputf8: bool
    ret: str
    envid: str
    requires_tls: bool
    priority: int
    conn: dict[str, str]
    mess: dict[str, str]

    def __init__(
        self,
        message_id: str,
        connection_id: str,
        reverse_path: str,
        recipients: list[Recipient] | None = None,
        received_wall: float = 0.0,
        size_bytes: int = 0,
        client_address: str = "",
        helo: str = "",
        protocol: str = "SMTP",
        body: str = "7BIT",
        smtputf8: bool = False,
        ret: str = "",
        envid: str = "",
        requires_tls: bool = False,
        priority: int = 0,
        conn: dict[str, str] | None = None,
        mess: dict[str, str] | None = None,
    ) -> None:
        self.message_id = message_id
        self.connection_id = connection_id
        self.reverse_path = reverse_path
        self.recipients = [] if recipients is None else recipients
        self.received_wall = received_wall
        self.size_bytes = size_bytes
        self.client_address = client_address
        self.helo = helo
        self.protocol = protocol
        self.body = body
        self.smtputf8 = smtputf8
        self.ret = ret
        self.envid = envid
        self.requires_tls = requires_tls
        self.priority = priority
        self.conn = {} if conn is None else conn
        self.mess = {} if mess is None else mess

    def copy(self) -> Envelope:
        """Another one that says the same and shares nothing that changes; what is compiled `copy.copy` can't copy."""
        recipients = [replace(recipient) for recipient in self.recipients]
        return replace(self, recipients=recipients, conn=dict(self.conn), mess=dict(self.mess))
