"""The spool's contract: what the server and the delivery side may ask of it.

The server: `open` a body writer, `write` to it, `commit` or `abort`; ask `unhealthy_reason` on every MAIL (no I/O).
The delivery side: `due` recipients, `read` a body, `record` outcomes. Commits are grouped by the implementation;
callbacks run on the hub, in no green thread: they must not block.

All blocking methods say so; they wait in the calling green thread while a native thread works.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
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
        binding: that policy chose for it, "" for none.
        since_wall: from when its expiration counts, when that is not its reception (it was replayed); else 0.
        warned: notices of delay that its sender got.
        wish: what an operator wants done with it instead of a try: `Wish.BOUNCE`, or "".
    """

    message_id: str
    index: int
    address: str
    domain: str
    attempts: int
    due_wall: float
    priority: int = 0
    binding: str = ""
    since_wall: float = 0.0
    warned: int = 0
    wish: str = ""


class State:
    """States of a recipient in the spool (docs/spool-states.md)."""

    QUEUED = "queued"
    """To be tried when it is due."""
    HELD = "held"
    """Set aside by an operator, or found in doubt after a crash (In_Doubt), until it is released."""
    DEAD = "dead"
    """Refused for good and kept: a dead letter, until it is replayed, bounced or removed."""
    DELIVERED = "delivered"
    BOUNCED = "bounced"
    """Refused for good, and its sender has been told."""
    DROPPED = "dropped"
    """Refused for good with nobody to tell, or removed by an operator."""

    ALL = (QUEUED, HELD, DEAD, DELIVERED, BOUNCED, DROPPED)
    SETTLED = (DELIVERED, BOUNCED, DROPPED)
    """Nothing is left to be done; a message whose recipients are all settled is removed with its body."""


class Wish:
    """What an operator may want of a recipient that is QUEUED."""

    BOUNCE = "bounce"
    """Fail it at once and tell its sender."""


@dataclass(frozen=True, slots=True)
class Notice:
    """A message that we write ourselves, such as a bounce; stored in one commit with the outcome that it tells of.

    Args:
        envelope: complete; its `size_bytes` is the body's length.
        body: the whole message.
    """

    envelope: Envelope
    body: bytes


@dataclass(frozen=True, slots=True)
class Record:
    """What became of one recipient in one attempt.

    Args:
        message_id: of the envelope.
        index: the recipient's place.
        state: one of `State.ALL`; QUEUED tries again at `due_wall`.
        due_wall: when to try again, for QUEUED; else 0.
        attempts: attempts so far, this one included.
        reply: the next hop's last answer or an ``[internal]`` text, e.g. ``250 2.0.0 OK``.
        hop: who answered, e.g. ``10.0.0.20:24`` or ``maildir local``.
        when_wall: when it happened.
        warned: notices of delay that its sender got, one that goes with this record included.
    """

    message_id: str
    index: int
    state: str
    due_wall: float
    attempts: int
    reply: str
    hop: str
    when_wall: float
    warned: int = 0


@dataclass(frozen=True, slots=True)
class Change:
    """What an operator does to one recipient; unlike a Record it is no attempt.

    Args:
        message_id: of the envelope.
        index: the recipient's place.
        state: from now on.
        note: what was done, for its history, e.g. ``held by root``.
        when_wall: when.
        due_wall: for QUEUED.
        starts_anew: whether attempts and expiration begin anew (a dead letter is replayed).
        wish: as `Due.wish`.
        expected: the state in which it must be, else nothing happens to it; "" for any.
    """

    message_id: str
    index: int
    state: str
    note: str
    when_wall: float
    due_wall: float = 0.0
    starts_anew: bool = False
    wish: str = ""
    expected: str = ""


@dataclass(frozen=True, slots=True)
class Past:
    """One line of a recipient's history.

    Args:
        when_wall: when it happened.
        state: that it led to.
        attempts: so far.
        hop: who answered, "operator" for a Change.
        reply: the answer, or what was done.
    """

    when_wall: float
    state: str
    attempts: int
    hop: str
    reply: str


@dataclass(frozen=True, slots=True)
class QueuedRecipient:
    """A recipient as `gsmtp queue` shows it.

    `when_wall` is the time of its last record; `doubt_wall` when its last hand-off was about to be completed and no
    outcome was noted (it may have been delivered), else 0; `history` what happened before, the oldest first.
    """

    index: int
    address: str
    domain: str
    state: str
    due_wall: float
    attempts: int
    reply: str
    hop: str
    when_wall: float = 0.0
    doubt_wall: float = 0.0
    since_wall: float = 0.0
    warned: int = 0
    wish: str = ""
    history: tuple[Past, ...] = field(default=(), compare=False)


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

        All recipients begin as QUEUED and due at once.
        """

    def due(self, now_wall: float, limit: int, skip_domains: Sequence[str] = ()) -> list[Due]:
        """Up to `limit` QUEUED recipients with due_wall <= now, earliest first, not of `skip_domains`. Blocks.

        What is skipped is a domain or, with a NUL between them, a domain and a binding ("" for none).

        Recipients that were handed out stay handed out (leased) in this process until `record` or `release`.
        """

    def next_due_wall(self, skip_domains: Sequence[str] = ()) -> float | None:
        """When the earliest QUEUED recipient that is neither leased nor skipped (as by `due`) becomes due, or None.
        Blocks."""

    def lease(self, message_id: str, index: int) -> bool:
        """Take one recipient out of `due`'s reach; False when it is handed out already. It needn't exist."""

    def release(self, message_id: str, index: int) -> None:
        """Give a lease back without a record."""

    def mark(self, message_id: str, indexes: Sequence[int], when_wall: float, done: Committed) -> None:
        """Note with the next group that these recipients are about to be handed over: after a crash they are in doubt
        until there is a record (RFC 1047). `done` runs on the hub, with the reason when it couldn't be noted."""

    def change(self, changes: Sequence[Change], done: Committed | None = None) -> None:
        """Write what an operator wants with the next group. Recipients that exist no more are passed over; the caller
        holds their leases, which end with this."""

    def envelope(self, message_id: str) -> Envelope | None:
        """The envelope, or None when the message is gone. Blocks."""

    def envelopes(self, message_ids: Sequence[str]) -> list[Envelope]:
        """The envelopes of those messages that are there and can be read, in any order. Blocks."""

    def recent_body(self, message_id: str) -> StoredBody | None:
        """The body of a message that was just accepted, if it is at hand. No I/O."""

    def body(self, message_id: str) -> StoredBody:
        """The body. Blocks. Raises SpoolError when it can't be read."""

    def record(self, records: Sequence[Record], done: Committed | None = None, notices: Sequence[Notice] = ()) -> None:
        """Write outcomes, and the messages that tell of them, with the next group, all or none of both.

        A message whose recipients are all settled is removed with its body.
        """

    def close(self) -> None:
        """Write what waits and stop. Blocks, at most a few seconds."""
