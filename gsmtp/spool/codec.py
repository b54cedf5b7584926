"""How an envelope is written down: compact JSON with a version, never pickle, so that any later gsmtp can read it.

Defaults are left out. Text is escaped to ASCII: bytes of a client that were not UTF-8 (lone surrogates) and control
characters survive as they came. Times in the database are whole microseconds, which order and compare exactly.

No gevent: `gsmtp queue` reads spools too.
"""

from __future__ import annotations

import json
from typing import Any, Final

from gsmtp.core.envelope import Envelope, Recipient
from gsmtp.core.errors import SpoolUnhealthy
from gsmtp.spool.base import Past

ENVELOPE_VERSION: Final = 1

_text = json.encoder.encode_basestring_ascii

# Envelope attribute, key, default. The keys are read by operators and by the SQL of `store`, which needs "to".
_FIELDS: Final[tuple[tuple[str, str, Any], ...]] = (
    ("client_address", "client", ""),
    ("helo", "helo", ""),
    ("protocol", "proto", "SMTP"),
    ("body", "body", "7BIT"),
    ("smtputf8", "utf8", False),
    ("ret", "ret", ""),
    ("envid", "envid", ""),
    ("requires_tls", "rtls", False),
    ("priority", "prio", 0),
)


def microseconds(wall_s: float) -> int:
    """A wall time as the database keeps it."""
    return round(wall_s * 1e6)


def seconds(wall_us: int) -> float:
    """A wall time from the database; `microseconds` of it is the same number again."""
    return wall_us / 1e6


def encode_envelope(envelope: Envelope) -> str:
    """The envelope as one line of ASCII JSON, its message id and size excepted, which have columns of their own.

    Put together by hand from the C encoder's strings: every message pays for it on the hub, and a JSONEncoder takes
    four times as long for so small a record. A test holds it against `json`.
    """
    parts = [
        f'{{"v":{ENVELOPE_VERSION},"from":{_text(envelope.reverse_path)},"conn":{_text(envelope.connection_id)},'
        f'"time":{envelope.received_wall!r}'
    ]
    if envelope.client_address:
        parts.append(f',"client":{_text(envelope.client_address)}')
    if envelope.helo:
        parts.append(f',"helo":{_text(envelope.helo)}')
    if envelope.protocol != "SMTP":
        parts.append(f',"proto":{_text(envelope.protocol)}')
    if envelope.body != "7BIT":
        parts.append(f',"body":{_text(envelope.body)}')
    if envelope.smtputf8:
        parts.append(',"utf8":true')
    if envelope.ret:
        parts.append(f',"ret":{_text(envelope.ret)}')
    if envelope.envid:
        parts.append(f',"envid":{_text(envelope.envid)}')
    if envelope.requires_tls:
        parts.append(',"rtls":true')
    if envelope.priority:
        parts.append(f',"prio":{envelope.priority}')
    if envelope.conn:
        parts.append(f',"cctx":{_object(envelope.conn)}')
    if envelope.mess:
        parts.append(f',"mctx":{_object(envelope.mess)}')
    recipients = ",".join([_recipient(recipient) for recipient in envelope.recipients])
    parts.append(f',"to":[{recipients}]}}')
    return "".join(parts)


def _object(values: dict[str, str]) -> str:
    return "{" + ",".join([f"{_text(key)}:{_text(value)}" for key, value in values.items()]) + "}"


def _recipient(recipient: Recipient) -> str:
    text = f'{{"addr":{_text(recipient.address)},"dom":{_text(recipient.domain)}'
    if recipient.original:
        text += f',"orig":{_text(recipient.original)}'
    if recipient.notify:
        text += f',"notify":[{",".join([_text(word) for word in recipient.notify])}]'
    if recipient.orcpt:
        text += f',"orcpt":{_text(recipient.orcpt)}'
    if recipient.failure:
        text += f',"fail":{_text(recipient.failure)}'
    if recipient.binding:
        text += f',"bind":{_text(recipient.binding)}'
    return text + (',"drop":true}' if recipient.drop else "}")


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
                    entry.get("fail", ""),
                    entry.get("bind", ""),
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
    envelope.conn, envelope.mess = record.get("cctx", {}), record.get("mctx", {})
    return envelope


def decode_history(text: str) -> tuple[Past, ...]:
    """What the `history` column holds; its first line may have been cut off and is left out then."""
    found = []
    for line in text.split("\n"):
        try:
            changed, state, attempts, hop, reply = json.loads(line)
        except ValueError:
            continue
        found.append(Past(seconds(changed), state, attempts, hop, reply))
    return tuple(found)
