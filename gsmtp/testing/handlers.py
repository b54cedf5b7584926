"""A message for a handler under test (``python`` stanza), without a server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from gsmtp.core.inboundmail import InboundMail


def inbound_mail(
    raw: bytes,
    recipients: Sequence[str] = ("user@example.com",),
    *,
    sender: str = "from@example.net",
    attempt: int = 1,
    auth_user: str = "",
    conn: Mapping[str, str] | None = None,
    mess: Mapping[str, str] | None = None,
) -> InboundMail:
    """What a handler is called with.

    Args:
        raw: the message.
        recipients: whom it is for.
        sender: the reverse-path.
        attempt: 1 for the first try.
        auth_user: who the client logged in as.
        conn: variables of the connection.
        mess: variables of the message.
    """
    return InboundMail(
        id="00/01-00042-00000001",
        key="00/01-00042-00000001",
        sender=sender,
        recipients=tuple(recipients),
        attempt=attempt,
        received=datetime(2025, 1, 1, tzinfo=UTC),
        size_bytes=len(raw),
        client="192.0.2.1:40000",
        helo="client.example",
        auth_user=auth_user,
        conn=conn or {},
        mess=mess or {},
        data=raw,
    )
