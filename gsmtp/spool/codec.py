"""How an envelope is written down: compact JSON with a version, never pickle, so that any later gsmtp can read it.

Defaults are left out. Text is escaped to ASCII: bytes of a client that were not UTF-8 (lone surrogates) and control
characters survive as they came. Times in the database are whole microseconds, which order and compare exactly.

No gevent: `gsmtp queue` reads spools too.
"""

from __future__ import annotations

import json
from typing import Any

from gsmtp.core.envelope import Envelope, Recipient
from gsmtp.core.errors import SpoolUnhealthy

ENVELOPE_VERSION = 1

_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode

# Envelope attribute, key, default. The keys are read by operators and by the SQL of `store`, which needs "to".
_FIELDS: tuple[tuple[str, str, Any], ...] = (
    ("client_address", "client", ""),
    ("helo", "helo", ""),
    ("protocol", "proto", "SMTP"),
    ("body", "body", "7BIT"),
    ("smtputf8", "utf8", False),
    ("ret", "ret", ""),
    ("envid", "envid", ""),
)


def microseconds(wall_s: float) -> int:
    """A wall time as the database keeps it."""
    return round(wall_s * 1e6)


def seconds(wall_us: int) -> float:
    """A wall time from the database; `microseconds` of it is the same number again."""
    return wall_us / 1e6


def encode_envelope(envelope: Envelope) -> str:
    """The envelope as one line of ASCII JSON, its message id and size excepted, which have columns of their own."""
    record: dict[str, Any] = {"v": ENVELOPE_VERSION, "from": envelope.reverse_path, "conn": envelope.connection_id}
    record["time"] = envelope.received_wall
    for attribute, key, default in _FIELDS:
        value = getattr(envelope, attribute)
        if value != default:
            record[key] = value
    record["to"] = [_recipient_record(recipient) for recipient in envelope.recipients]
    return _encode(record)


def _recipient_record(recipient: Recipient) -> dict[str, Any]:
    record: dict[str, Any] = {"addr": recipient.address, "dom": recipient.domain}
    if recipient.original:
        record["orig"] = recipient.original
    if recipient.notify:
        record["notify"] = recipient.notify
    if recipient.orcpt:
        record["orcpt"] = recipient.orcpt
    if recipient.drop:
        record["drop"] = True
    return record


def decode_envelope(message_id: str, size_bytes: int, text: str) -> Envelope:
    """The envelope back. Raises SpoolUnhealthy when it is damaged or was written by a newer gsmtp."""
    try:
        record = json.loads(text)
        version = record["v"]
        if version != ENVELOPE_VERSION:
            raise SpoolUnhealthy(
                f"message {message_id}: its envelope has version {version}, this gsmtp knows {ENVELOPE_VERSION}"
            )
        envelope = Envelope(
            message_id,
            record["conn"],
            record["from"],
            [
                Recipient(
                    entry["addr"],
                    entry["dom"],
                    entry.get("orig", ""),
                    tuple(entry.get("notify", ())),
                    entry.get("orcpt", ""),
                    entry.get("drop", False),
                )
                for entry in record["to"]
            ],
            record["time"],
            size_bytes,
        )
    except (ValueError, KeyError, TypeError) as error:
        raise SpoolUnhealthy(f"message {message_id}: its envelope is damaged ({error!r})") from error
    for attribute, key, default in _FIELDS:
        setattr(envelope, attribute, record.get(key, default))
    return envelope
