"""One mail transaction as it grows: sender, recipients and what the parameters of MAIL asked for."""

from __future__ import annotations

from typing import Final

from gsmtp.core.envelope import Recipient


class Transaction:
    """From an accepted MAIL to the reply to the end of the message (RFC 5321 section 3.3).

    Attributes:
        reverse_path: the sender without angle brackets, "" for the null sender; unqualified senders completed.
        original: the sender as the client wrote it.
        domain: of the sender, as it is compared; "" for the null sender.
        recipients: those that were accepted, in order.
        size: SIZE= in bytes, 0 when not given (RFC 1870).
        body: ``"7BIT"``, ``"8BITMIME"`` or ``"BINARYMIME"`` (RFC 6152, RFC 3030).
        smtputf8: whether the sender asked for it (RFC 6531).
        ret: ``"FULL"``, ``"HDRS"`` or "" (RFC 3461 section 4.3).
        submitter: AUTH= of MAIL as sent, "" when it wasn't (RFC 4954 section 5); only a client that has logged in is
            to be believed.
        envid: xtext as sent, or "" (RFC 3461 section 4.4).
        requires_tls: whether it is to be handed on over TLS only (RFC 8689).
        priority: from -9 to 9 (RFC 6710).
        message_id: the queue id that the driver gave with `Session.accept_body`, "" before.
        is_date_missing: whether the message came without a Date field (known at its end).
    """

    __slots__ = (
        "body", "domain", "envid", "is_date_missing", "message_id", "original", "priority", "recipients",
        "requires_tls", "ret", "reverse_path", "size", "smtputf8", "submitter",
    )  # fmt: skip

    def __init__(self, reverse_path: str = "", domain: str = "", original: str = "") -> None:
        self.reverse_path = reverse_path
        self.domain = domain
        self.original = original
        self.recipients: list[Recipient] = []
        self.size = 0
        self.body = "7BIT"
        self.smtputf8 = False
        self.ret = ""
        self.envid = ""
        self.submitter = ""
        self.requires_tls = False
        self.priority = 0
        self.message_id = ""
        self.is_date_missing = False


NOTHING: Final = Transaction()
"""What a session has while no transaction is open: one for all, and nobody writes to it."""
