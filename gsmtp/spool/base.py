"""The spool's contract: what the server and the delivery side may ask of it.

The server: `open` a body writer, `write` to it, `commit` or `abort`; ask `unhealthy_reason` on every MAIL (no I/O).
The delivery side: `due` recipients, `read` a body, `record` outcomes. Commits are grouped by the implementation;
callbacks run on the hub, in no green thread: they must not block.

All blocking methods say so; they wait in the calling green thread while a native thread works.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from gsmtp.core.envelope import Envelope
from gsmtp.core.errors import SpoolError

Committed = Callable[[SpoolError | None], None]
Settled = Callable[["StoredBody | None", SpoolError | None], object]


class BodyWriter(Protocol):
    """Takes one message's body. Bodies up to the threshold stay in memory, larger ones go to a file as they come."""

    @property
    def size_bytes(self) -> int:
        """Bytes written so far."""

    def write(self, data: bytes) -> bool:
        """Take a piece, at once. False: too much is on its way to the disk; write no more until `on_drain` ran."""

    def on_drain(self, callback: Callable[[], None]) -> None:
        """Call back once, when writing may go on. Errors show at commit."""

    def abort(self) -> None:
        """Forget the body and remove its file. Harmless after abort or commit."""

    def settle(self, done: Settled) -> None:
        """Have the body as it is now shown to `done`, on the hub: at once for one in memory, else when all of it is in
        its file. The file is there until the body is committed, aborted or its head replaced."""

    def replace_head(self, size_bytes: int, head: bytes) -> None:
        """Put other bytes in the place of the first `size_bytes`. Returns at once; a file is copied in the background,
        and errors show at commit. Nothing can be written any more."""


@dataclass(frozen=True, slots=True)
class Due:
    """One recipient that is to be tried now.

    Args:
        message_id: of the envelope.
        index: the recipient's place in the envelope, from 0.
        address: as `Recipient.address`.
        domain: as `Recipient.domain`.
        attempts: how often it was tried before.
        due_wall: when it became due.
        priority: of its message (RFC 6710).
    """

    message_id: str
    index: int
    address: str
    domain: str
    attempts: int
    due_wall: float
    priority: int = 0


class State:
    """States of a recipient in the spool (docs/spool-states.md)."""

    QUEUED = "queued"
    DELIVERED = "delivered"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Record:
    """What became of one recipient in one attempt.

    Args:
        message_id: of the envelope.
        index: the recipient's place.
        state: `State.DELIVERED`, `State.FAILED` or `State.QUEUED` (try again at `due_wall`).
        due_wall: when to try again, for QUEUED; else 0.
        attempts: attempts so far, this one included.
        reply: the next hop's last answer or an ``[internal]`` text, e.g. ``250 2.0.0 OK``.
        hop: who answered, e.g. ``10.0.0.20:24`` or ``maildir local``.
        when_wall: when it happened.
    """

    message_id: str
    index: int
    state: str
    due_wall: float
    attempts: int
    reply: str
    hop: str
    when_wall: float


@dataclass(frozen=True, slots=True)
class QueuedRecipient:
    """A recipient as `gsmtp queue` shows it; `when_wall` is the time of its last record."""

    index: int
    address: str
    domain: str
    state: str
    due_wall: float
    attempts: int
    reply: str
    hop: str
    when_wall: float = 0.0


@dataclass(frozen=True, slots=True)
class QueuedMessage:
    """A message as `gsmtp queue` shows it; delivered recipients are listed until the last one is done."""

    envelope: Envelope
    recipients: tuple[QueuedRecipient, ...]


@dataclass(frozen=True, slots=True)
class StoredBody:
    """A committed body: in memory when small, a file that holds exactly the body when large.

    Args:
        size_bytes: its length.
        data: the bytes, None for a large one.
        path: the file, "" for a small one.
    """

    size_bytes: int
    data: bytes | None
    path: str

    def pieces(self, size_bytes: int = 131_072) -> Iterator[bytes]:
        """The body in pieces of at most `size_bytes`. Reads a file with blocking calls: for native threads."""
        if self.data is not None:
            for start in range(0, len(self.data), size_bytes):
                yield self.data[start : start + size_bytes]
            return
        with open(self.path, "rb") as file:
            while piece := file.read(size_bytes):
                yield piece


class Spool(Protocol):
    """What acceptance and delivery ask of a spool."""

    generation: int

    def unhealthy_reason(self) -> SpoolError | None:
        """Why no mail can be kept now, or None. No I/O: it is asked on every MAIL."""

    def has_room(self, size_bytes: int) -> bool:
        """Whether a message of the declared size (SIZE=) can be kept. No I/O."""

    def open(self) -> BodyWriter:
        """A writer for one body. No I/O."""

    def commit(self, envelope: Envelope, body: BodyWriter, done: Committed) -> None:
        """Make the message durable with the next group; `done` runs on the hub with None or the reason it failed.

        All recipients begin as QUEUED and due at once, but those with a `failure`: they are FAILED from the start.
        """

    def due(self, now_wall: float, limit: int, skip_domains: Sequence[str] = ()) -> list[Due]:
        """Up to `limit` QUEUED recipients with due_wall <= now, earliest first, not of `skip_domains`. Blocks.

        Recipients that were handed out stay handed out (leased) in this process until `record` or `release`.
        """

    def next_due_wall(self) -> float | None:
        """When the earliest QUEUED recipient that is not leased becomes due, or None. Blocks."""

    def release(self, message_id: str, index: int) -> None:
        """Give a lease back without a record."""

    def envelope(self, message_id: str) -> Envelope | None:
        """The envelope, or None when the message is gone. Blocks."""

    def body(self, message_id: str) -> StoredBody:
        """The body. Blocks. Raises SpoolError when it can't be read."""

    def record(self, records: Sequence[Record], done: Committed | None = None) -> None:
        """Write outcomes with the next group; a message whose recipients are all DELIVERED is removed with its body."""

    def close(self) -> None:
        """Write what waits and stop. Blocks, at most a few seconds."""
