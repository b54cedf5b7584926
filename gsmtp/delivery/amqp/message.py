"""A message and its envelope as broker messages (docs/transports.md, "What a queue item holds").

The body is the message as it was accepted, or a claim. One broker message carries all recipients of the transaction;
only where some of them go elsewhere, were settled before or don't fit into one frame there are parts. What is published
again, after a lost connection or a restart, has the same ``message_id``, and consumers can tell. Our own ids are unique
for one spool only, and nodes of a cluster may begin with an empty one each time: so there is a digest of the reception
behind the id, and one of the recipients behind that of a part.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gsmtp.core.envelope import Envelope, Recipient

RFC822 = "message/rfc822"
CLAIM = "application/vnd.gsmtp.claim+json"
FORMAT = 1
"""Of the headers; a consumer should refuse what it doesn't know."""
_HEADER_BYTES = 48_000  # of recipients; a broker's frame holds 128 KiB, and properties can't be split
Table = dict[str, object]


@dataclass(frozen=True, slots=True)
class Part:
    """Recipients that share a broker message.

    Args:
        message_id: tells consumers what they have seen.
        headers: the envelope.
        recipients: places among those that were asked for.
    """

    message_id: str
    headers: Table
    recipients: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class BrokerMessage:
    """What is published.

    Args:
        message_id: of its part.
        headers: likewise.
        content_type: `RFC822` or `CLAIM`.
        body: the message, or the claim.
        received_wall: when it was accepted, seconds since the epoch.
    """

    message_id: str
    headers: Table
    content_type: str
    body: bytes
    received_wall: float


def parts(envelope: Envelope, recipients: Sequence[Recipient]) -> list[Part]:
    """The broker messages for some recipients of a message, mostly one.

    Args:
        envelope: of the message.
        recipients: some of its recipients, the same objects.
    """
    common = _common(envelope)
    whole = unique_id(envelope)
    if len(recipients) == len(envelope.recipients):
        runs = list(_runs(recipients))
        if len(runs) == 1:
            return [Part(whole, common | _recipients(recipients), tuple(range(len(recipients))))]
    places = {id(recipient): index for index, recipient in enumerate(envelope.recipients)}
    found: list[Part] = []
    for start, end in _runs(recipients):
        part = recipients[start:end]
        named = ",".join(str(places[id(recipient)]) for recipient in part)
        found.append(Part(f"{whole}.{_digest(named)}", common | _recipients(part), tuple(range(start, end))))
    return found


def unique_id(envelope: Envelope) -> str:
    """A message's id that no other node's message has, and that is the same after a restart."""
    reception = f"{envelope.message_id} {envelope.received_wall!r} {envelope.client_address} {envelope.connection_id}"
    return f"{envelope.message_id}.{_digest(reception)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:12]


def _runs(recipients: Sequence[Recipient]) -> Iterator[tuple[int, int]]:
    """Begin and end of the runs of recipients that fit into one header frame."""
    start = size = 0
    for index, recipient in enumerate(recipients):
        own = 4 * len(recipient.address) + 4 * len(recipient.orcpt) + 64
        if index > start and size + own > _HEADER_BYTES:
            yield start, index
            start, size = index, 0
        size += own
    yield start, len(recipients)


def _common(envelope: Envelope) -> Table:
    headers: Table = {
        "gsmtp-format": FORMAT,
        "gsmtp-id": envelope.message_id,
        "sender": _text(envelope.reverse_path),
        "client-address": envelope.client_address,
        "helo": _text(envelope.helo),
        "protocol": envelope.protocol,
        "size": envelope.size_bytes,
        "body": envelope.body,
        "smtputf8": envelope.smtputf8,
    }
    for name, value in (("ret", envelope.ret), ("envid", _text(envelope.envid)), ("priority", envelope.priority)):
        if value:
            headers[name] = value
    if envelope.requires_tls:
        headers["requiretls"] = True
    return headers


def _recipients(recipients: Sequence[Recipient]) -> Table:
    """The addresses and, when one of them has any, the DSN parameters in the same order."""
    headers: Table = {"recipients": [_text(recipient.address) for recipient in recipients]}
    if any(recipient.notify or recipient.orcpt for recipient in recipients):
        headers["notify"] = [",".join(recipient.notify) for recipient in recipients]
        headers["orcpt"] = [_text(recipient.orcpt) for recipient in recipients]
    return headers


def _text(value: str) -> str:
    """What AMQP can carry: bytes that are no UTF-8 are shown, as ``\\xNN``."""
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
