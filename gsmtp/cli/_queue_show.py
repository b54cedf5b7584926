"""How `gsmtp queue` shows messages: a table, all about one, or JSON. What clients sent never reaches a terminal raw."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from gsmtp.spool.base import QueuedMessage, QueuedRecipient, State
from gsmtp.spool.selection import DomainTotal

_ROW = "{:<20}  {:>5}  {:>9}  {:<9}  {:<8}  {:<28}  {:<32}  {}"
_HEADER = _ROW.format("ID", "AGE", "SIZE", "STATE", "NEXT TRY", "SENDER", "RECIPIENT", "LAST REPLY")


def table(messages: Iterable[QueuedMessage]) -> int:
    """Print a line a recipient, as they come. Gives the number of messages."""
    count = 0
    for message in messages:
        if not count:
            print(_HEADER)
        count += 1
        envelope = message.envelope
        now = time.time()
        id_, sender = envelope.message_id, f"<{clean(envelope.reverse_path)}>"
        age, size = span(now - envelope.received_wall), size_text(envelope.size_bytes)
        for recipient in message.recipients:
            row = _ROW.format(
                id_,
                age,
                size,
                recipient.state,
                _next_try(recipient, now),
                sender,
                clean(recipient.address),
                clean(recipient.reply),
            )
            print(row.rstrip())
            id_ = age = size = sender = ""
    return count


def data(message: QueuedMessage) -> dict[str, Any]:
    """A message as JSON values; times in seconds since the epoch."""
    envelope = message.envelope
    return {
        "id": envelope.message_id,
        "received": envelope.received_wall,
        "size": envelope.size_bytes,
        "sender": envelope.reverse_path,
        "client": envelope.client_address,
        "helo": envelope.helo,
        "protocol": envelope.protocol,
        "body": envelope.body,
        "smtputf8": envelope.smtputf8,
        "ret": envelope.ret,
        "envid": envelope.envid,
        "connection": envelope.connection_id,
        "connection_variables": envelope.conn,
        "message_variables": envelope.mess,
        "recipients": [
            {
                "index": recipient.index,
                "address": recipient.address,
                "domain": recipient.domain,
                "state": recipient.state,
                "next_try": recipient.due_wall if recipient.state == State.QUEUED else None,
                "attempts": recipient.attempts,
                "reply": recipient.reply,
                "hop": recipient.hop,
                "last_change": recipient.when_wall,
                "in_doubt_since": recipient.doubt_wall or None,
                "wish": recipient.wish,
                "history": [
                    {
                        "when": past.when_wall,
                        "state": past.state,
                        "attempts": past.attempts,
                        "hop": past.hop,
                        "reply": past.reply,
                    }
                    for past in recipient.history
                ],
            }
            for recipient in message.recipients
        ],
    }


def details(message: QueuedMessage) -> str:
    """Everything about a message, for people."""
    envelope, now = message.envelope, time.time()
    words = [envelope.body, *(["SMTPUTF8"] if envelope.smtputf8 else [])]
    words += [f"{key}={value}" for key, value in (("RET", envelope.ret), ("ENVID", envelope.envid)) if value]
    client = f" from {envelope.client_address}" if envelope.client_address else ""
    lines = [
        envelope.message_id,
        f"  received    {_moment(envelope.received_wall)}, {span(now - envelope.received_wall)} ago",
        f"  by          {envelope.protocol}{client}, greeted as {clean(envelope.helo) or '(nothing)'}",
        f"  connection  {envelope.connection_id}",
        f"  size        {envelope.size_bytes:,} bytes, {clean(' '.join(words))}",
        f"  sender      <{clean(envelope.reverse_path)}>",
    ]
    for title, values in (("context", envelope.conn), ("", envelope.mess)):
        shown = ", ".join(f"{clean(key)}={clean(value)}" for key, value in values.items())
        if shown:
            lines.append(f"  {title or '':<10}  {shown}")
    for recipient in message.recipients:
        lines += _recipient_details(recipient, now)
    return "\n".join(lines) + "\n"


def _recipient_details(recipient: QueuedRecipient, now: float) -> list[str]:
    tries = f"{recipient.attempts} attempt{'' if recipient.attempts == 1 else 's'}"
    next_try = ""
    if recipient.state == State.QUEUED:
        next_try = f", next try {_moment(recipient.due_wall)} ({_next_try(recipient, now)})"
    if recipient.wish:
        next_try += f", to be {recipient.wish}d"
    lines = [f"  recipient   <{clean(recipient.address)}> {recipient.state}, {tries}{next_try}"]
    if recipient.doubt_wall:
        lines.append(f"              in doubt since {_moment(recipient.doubt_wall)}: it may have been delivered")
    past = [(one.when_wall, one.hop, one.reply) for one in recipient.history]
    last = (recipient.when_wall, recipient.hop, recipient.reply)
    if recipient.reply and last not in past:
        past.append(last)
    for when_wall, hop, reply in sorted(past, key=lambda one: one[0]):
        whose = f" from {clean(hop)}" if hop and hop != "operator" else ""
        lines.append(f"              {_moment(when_wall)}{whose}: {clean(reply)}")
    return lines


def _next_try(recipient: QueuedRecipient, now: float) -> str:
    if recipient.state != State.QUEUED:
        return "-"
    return "now" if recipient.due_wall <= now else f"in {span(recipient.due_wall - now)}"


def span(seconds_s: float) -> str:
    """A time span in at most four characters."""
    for unit, length_s in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds_s >= length_s:
            return f"{int(seconds_s // length_s)}{unit}"
    return f"{max(int(seconds_s), 0)}s"


def _moment(wall_s: float) -> str:
    try:
        return datetime.fromtimestamp(wall_s, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return "?"


def size_text(size_bytes: int) -> str:
    """A size for people."""
    if size_bytes < 1024:
        return f"{size_bytes} B"
    size, units = size_bytes / 1024, ["KiB", "MiB", "GiB"]
    while size >= 1024 and len(units) > 1:
        size /= 1024
        units.pop(0)
    return f"{size:.1f} {units[0]}"


def clean(text: str) -> str:
    """Text of clients and servers without what a terminal would obey."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


_TOTAL = "{:<40}  {:>9}  {:>9}  {:>9}  {:>10}  {:>6}"


def totals_table(found: Sequence[DomainTotal]) -> list[str]:
    """A line a domain, and one for all."""
    now = time.time()
    lines = [_TOTAL.format("DOMAIN", "QUEUED", "HELD", "DEAD", "SIZE", "OLDEST")]
    for one in found:
        counts = (one.counts.get(state, 0) for state in (State.QUEUED, State.HELD, State.DEAD))
        oldest = span(now - one.oldest_wall)
        lines.append(_TOTAL.format(clean(one.domain) or "(none)", *counts, size_text(one.size_bytes), oldest))
    recipients = sum(one.recipients for one in found)
    lines.append(f"{recipients:,} recipient{'' if recipients == 1 else 's'} of {len(found):,} domains")
    return lines


def total_data(one: DomainTotal) -> dict[str, Any]:
    """The same as JSON values."""
    return {"domain": one.domain, "counts": one.counts, "size": one.size_bytes, "oldest": one.oldest_wall}
