"""The envelope of one transaction: who sent it, for whom, and what came with it (RFC 5321 section 2.3.1)."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
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
    original: str = ""
    notify: tuple[str, ...] = ()
    orcpt: str = ""
    drop: bool = False
    failure: str = ""
    binding: str = ""


@dataclass(slots=True)
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
    recipients: list[Recipient] = field(default_factory=list)
    received_wall: float = 0.0
    size_bytes: int = 0
    client_address: str = ""
    helo: str = ""
    protocol: str = "SMTP"
    body: str = "7BIT"
    smtputf8: bool = False
    ret: str = ""
    envid: str = ""
    requires_tls: bool = False
    priority: int = 0
    conn: dict[str, str] = field(default_factory=dict)
    mess: dict[str, str] = field(default_factory=dict)
