"""Messages and envelopes as JSON for webhooks: which keys there are, and what they hold (docs/transports.md).

Text is valid Unicode whatever the message holds: bytes that are no text were replaced when it was parsed.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from gsmtp.core.inboundmail import InboundMail
from gsmtp.core.parsedmail import Address, Attachment, ParsedMail

VERSION = 1


def moment(when: datetime) -> str:
    """A time in UTC (RFC 3339 section 5.6), e.g. ``2025-01-01T00:00:00.000Z``."""
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{when.microsecond // 1000:03d}Z"


def envelope_of(mail: InboundMail, indexes: Sequence[int]) -> dict[str, Any]:
    """The envelope without the contexts.

    Args:
        mail: the message.
        indexes: the recipients' places in the whole envelope.
    """
    return {
        "version": VERSION,
        "id": mail.id,
        "key": mail.key,
        "attempt": mail.attempt,
        "sender": mail.sender,
        "recipients": list(mail.recipients),
        "indexes": list(indexes),
        "received": moment(mail.received),
        "size": mail.size_bytes,
        "client": mail.client,
        "helo": mail.helo,
        "protocol": mail.protocol,
        "auth_user": mail.auth_user,
        "smtputf8": mail.smtputf8,
    }


def contexts_of(mail: InboundMail) -> dict[str, dict[str, str]]:
    """The variables that policy kept with the message."""
    return {"connection": dict(mail.conn), "message": dict(mail.mess)}


def message_of(parsed: ParsedMail) -> dict[str, Any]:
    """The message taken apart."""
    return {
        "message_id": parsed.message_id,
        "subject": parsed.subject,
        "date": moment(parsed.date) if parsed.date is not None else None,
        "from": _addresses(parsed.from_),
        "reply_to": _addresses(parsed.reply_to),
        "to": _addresses(parsed.to),
        "cc": _addresses(parsed.cc),
        "text": parsed.text,
        "html": parsed.html,
        "attachments": [_attachment(one) for one in parsed.attachments],
        "headers": [list(field) for field in parsed.headers],
        "defects": list(parsed.defects),
    }


def to_json(mail: InboundMail, indexes: Sequence[int]) -> bytes:
    """The body of a request in the JSON form. Takes time and memory with the message's size."""
    whole = {**envelope_of(mail, indexes), "context": contexts_of(mail), "message": message_of(mail.parsed)}
    return json.dumps(whole, ensure_ascii=False, separators=(",", ":")).encode("utf-8")


def to_header(mail: InboundMail, indexes: Sequence[int], most_bytes: int) -> str:
    """The text of ``X-Gsmtp-Envelope``: JSON in ASCII on one line.

    Args:
        mail: the message.
        indexes: the recipients' places.
        most_bytes: beyond that the contexts are left out: ``"context":null`` says so.
    """
    envelope = envelope_of(mail, indexes)
    whole = json.dumps({**envelope, "context": contexts_of(mail)}, separators=(",", ":"))
    if len(whole) <= most_bytes:
        return whole
    return json.dumps({**envelope, "context": None}, separators=(",", ":"))


def _addresses(found: Sequence[Address]) -> list[dict[str, str]]:
    return [{"name": one.name, "address": one.address} for one in found]


def _attachment(one: Attachment) -> dict[str, Any]:
    return {
        "name": one.name,
        "content_type": one.content_type,
        "content_id": one.content_id,
        "disposition": one.disposition,
        "size": len(one.content),
        "content": base64.b64encode(one.content).decode("ascii"),
    }
