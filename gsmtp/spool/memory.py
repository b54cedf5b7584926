"""A spool for tests: the contract of `spool.base` without a disk. NOT DURABLE: what it holds is gone with the process.

It takes the same turns as the real one: `done` never runs inside `commit` or `record`, leases end when an outcome was
noted, and a message goes when its last recipient is delivered.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from gsmtp.core.envelope import Envelope
from gsmtp.core.errors import SpoolError, SpoolUnhealthy
from gsmtp.core.ids import number as id_number
from gsmtp.runtime.native import HubMailbox
from gsmtp.spool.base import (
    BodyWriter,
    Change,
    Committed,
    Due,
    Notice,
    Past,
    QueuedMessage,
    QueuedRecipient,
    Record,
    Settled,
    State,
    StoredBody,
)
from gsmtp.spool.leases import Leases


class MemoryBody:
    """A body in memory, whatever its size; writing is never held up."""

    def __init__(self, mailbox: HubMailbox) -> None:
        self._mailbox = mailbox
        self._data = bytearray()
        self.is_over = False

    @property
    def size_bytes(self) -> int:
        """Bytes written so far."""
        return len(self._data)

    def write(self, data: bytes) -> bool:
        """Take a piece. Always True."""
        if self.is_over:
            raise ValueError("this body was committed or aborted")
        self._data += data
        return True

    def on_drain(self, callback: Callable[[], None]) -> None:
        """Call back soon."""
        self._mailbox.call_soon(callback)

    def abort(self) -> None:
        """Forget the body. Harmless after abort or commit."""
        self.is_over = True
        self._data = bytearray()

    def settle(self, done: Settled) -> None:
        """Show the body at once."""
        done(StoredBody(len(self._data), bytes(self._data), ""), None)

    def replace_head(self, size_bytes: int, head: bytes) -> None:
        """Put other bytes in the place of the first."""
        self._data[:size_bytes] = head

    def take(self) -> bytes:
        """The bytes; nothing can be written any more."""
        data = bytes(self._data)
        self.abort()
        return data


@dataclass(slots=True)
class _Message:
    envelope: Envelope
    body: bytes
    recipients: list[QueuedRecipient]


class MemorySpool:
    """A `base.Spool` that forgets.

    Args:
        generation: what a spool on disk would count.
        room_bytes: what `has_room` answers from.

    Attributes:
        trouble: set it to have MAIL and commits refused with that error.
    """

    def __init__(self, *, generation: int = 0, room_bytes: int = 1 << 40) -> None:
        self.generation = generation
        self.trouble: SpoolError | None = None
        self._room_bytes = room_bytes
        self._mailbox = HubMailbox()
        self._messages: dict[str, _Message] = {}
        self._leases = Leases()
        self._is_closed = False

    def unhealthy_reason(self) -> SpoolError | None:
        """`trouble`, or that the spool is closed."""
        return SpoolUnhealthy("the spool is closed") if self._is_closed else self.trouble

    def has_room(self, size_bytes: int) -> bool:
        """Whether `room_bytes` is enough."""
        return size_bytes <= self._room_bytes

    def open(self) -> MemoryBody:
        """A writer for one body."""
        return MemoryBody(self._mailbox)

    def commit(self, envelope: Envelope, body: BodyWriter, done: Committed) -> None:
        """Keep the message; `done` runs on the hub soon. Raises ValueError for misuse, as the real one."""
        if not isinstance(body, MemoryBody) or body.is_over:
            raise ValueError("not an open body of this spool")
        if not envelope.recipients:
            raise ValueError(f"message {envelope.message_id} has no recipient")
        id_number(envelope.message_id)
        data = body.take()
        problem = self.unhealthy_reason()
        if problem is None and envelope.message_id in self._messages:
            problem = SpoolUnhealthy(f"the message can't be stored: {envelope.message_id} is there already")
        if problem is None:
            self._keep(envelope, data)
        self._mailbox.call_soon(done, problem)

    def _keep(self, envelope: Envelope, data: bytes) -> None:
        kept = envelope.copy()
        kept.size_bytes = len(data)
        recipients = [
            QueuedRecipient(index, r.address, r.domain, State.QUEUED, kept.received_wall, 0, "", "")
            for index, r in enumerate(kept.recipients)
        ]
        self._messages[kept.message_id] = _Message(kept, data, recipients)

    def _queued(self, skip_domains: Sequence[str] = ()) -> list[Due]:
        skipped = set(skip_domains)
        found = [
            Due(
                message_id,
                r.index,
                r.address,
                r.domain,
                r.attempts,
                r.due_wall,
                message.envelope.priority,
                message.envelope.recipients[r.index].binding,
                r.since_wall,
                r.warned,
                r.wish,
            )
            for message_id, message in self._messages.items()
            for r in message.recipients
            if r.state == State.QUEUED and self._leases.is_free((message_id, r.index), set())
        ]
        wanted = (due for due in found if skipped.isdisjoint((due.domain, f"{due.domain}\0{due.binding}")))
        return sorted(wanted, key=lambda due: due.due_wall)

    def due(self, now_wall: float, limit: int, skip_domains: Sequence[str] = ()) -> list[Due]:
        """As `base.Spool.due`."""
        ready = [due for due in self._queued(skip_domains) if due.due_wall <= now_wall][:limit]
        for due in ready:
            self._leases.take((due.message_id, due.index))
        return ready

    def next_due_wall(self, skip_domains: Sequence[str] = ()) -> float | None:
        """As `base.Spool.next_due_wall`."""
        return next((due.due_wall for due in self._queued(skip_domains)), None)

    def lease(self, message_id: str, index: int) -> bool:
        """As `base.Spool.lease`."""
        if not self._leases.is_free((message_id, index), set()):
            return False
        self._leases.take((message_id, index))
        return True

    def release(self, message_id: str, index: int) -> None:
        """Give a lease back without a record."""
        self._leases.end((message_id, index))

    def mark(self, message_id: str, indexes: Sequence[int], when_wall: float, done: Committed) -> None:
        """As `base.Spool.mark`."""
        message = self._messages.get(message_id)
        if message is not None:
            for index in indexes:
                message.recipients[index] = replace(message.recipients[index], doubt_wall=when_wall)
        self._mailbox.call_soon(done, None)

    def change(self, changes: Sequence[Change], done: Committed | None = None) -> None:
        """As `base.Spool.change`."""
        self._mailbox.call_soon(self._change, tuple(changes), done)

    def _change(self, changes: tuple[Change, ...], done: Committed | None) -> None:
        for change in changes:
            self._leases.end((change.message_id, change.index))
            message = self._messages.get(change.message_id)
            if message is None:
                continue
            old = message.recipients[change.index]
            if change.expected not in ("", old.state):
                continue
            anew = change.starts_anew
            past = Past(change.when_wall, change.state, old.attempts, "operator", change.note)
            message.recipients[change.index] = replace(
                old,
                state=change.state,
                due_wall=change.due_wall if change.state == State.QUEUED else 0.0,
                attempts=0 if anew else old.attempts,
                since_wall=change.when_wall if anew else old.since_wall,
                warned=0 if anew else old.warned,
                wish=change.wish,
                when_wall=change.when_wall,
                history=(*old.history, past),
            )
            self._forget_settled(change.message_id, message)
        if done is not None:
            done(None)

    def _forget_settled(self, message_id: str, message: _Message) -> None:
        if all(recipient.state in State.SETTLED for recipient in message.recipients):
            del self._messages[message_id]

    def envelope(self, message_id: str) -> Envelope | None:
        """A copy of the envelope, or None when the message is gone."""
        message = self._messages.get(message_id)
        return None if message is None else message.envelope.copy()

    def envelopes(self, message_ids: Sequence[str]) -> list[Envelope]:
        """Copies of those that are there."""
        found = (self._messages.get(message_id) for message_id in message_ids)
        return [message.envelope.copy() for message in found if message is not None]

    def recent_body(self, message_id: str) -> StoredBody | None:
        """As `base.Spool.recent_body`."""
        return None

    def body(self, message_id: str) -> StoredBody:
        """The body. Raises SpoolUnhealthy when the message is gone."""
        message = self._messages.get(message_id)
        if message is None:
            raise SpoolUnhealthy(f"message {message_id} is not in the spool")
        return StoredBody(len(message.body), message.body, "")

    def record(self, records: Sequence[Record], done: Committed | None = None, notices: Sequence[Notice] = ()) -> None:
        """As `base.Spool.record`; noted when `done` runs."""
        self._mailbox.call_soon(self._record, tuple(records), done, tuple(notices))

    def _record(self, records: tuple[Record, ...], done: Committed | None, notices: tuple[Notice, ...]) -> None:
        for notice in notices:
            self._keep(notice.envelope, notice.body)
        for record in records:
            self._leases.end((record.message_id, record.index))
            message = self._messages.get(record.message_id)
            if message is None:
                continue
            old = message.recipients[record.index]
            past = Past(record.when_wall, record.state, record.attempts, record.hop, record.reply)
            message.recipients[record.index] = replace(
                old,
                state=record.state,
                due_wall=record.due_wall if record.state == State.QUEUED else 0.0,
                attempts=record.attempts,
                reply=record.reply,
                hop=record.hop,
                when_wall=record.when_wall,
                warned=record.warned,
                doubt_wall=0.0,
                wish="",
                history=old.history if record.state == State.DELIVERED else (*old.history, past),
            )
            self._forget_settled(record.message_id, message)
        if done is not None:
            done(None)

    def messages(self) -> list[QueuedMessage]:
        """What it holds, for assertions."""
        return [QueuedMessage(m.envelope.copy(), tuple(m.recipients)) for m in self._messages.values()]

    def close(self) -> None:
        """Take nothing more."""
        self._is_closed = True
