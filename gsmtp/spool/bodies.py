"""Bodies on their way in: small ones stay in memory, large ones go to a file of their own as they come.

A large body is written to ``bodies/new/``, synced, renamed to ``bodies/HH/HH/NUMBER`` and its directory synced, all
before its row is committed. All decisions are taken on the hub; native threads get pure functions with a file
descriptor and bytes. One job a body is under way at a time, which keeps the pieces in order.

What one session can make the server hold: the threshold, while the body is small; then what is in flight, which is
HIGH_WATER_BYTES plus the piece that passed it (the server reads 128 KiB at the most), so 256 KiB; for a moment, when a
body passes the threshold, both.
"""

from __future__ import annotations

import errno
from collections.abc import Callable

from gsmtp.core.errors import SpoolError, SpoolFull, SpoolUnhealthy
from gsmtp.runtime.native import HubMailbox, NativePool
from gsmtp.spool.base import Settled, StoredBody
from gsmtp.spool.body_files import BodyFiles
from gsmtp.spool.health import Health

HIGH_WATER_BYTES = 131_072  # `write` answers False from here on
LOW_WATER_BYTES = 65_536  # `on_drain` runs from here on
SYNC_EVERY_BYTES = 8 << 20  # written bytes are synced along the way: a last sync of 50 MB would hold up the others


class Body:
    """A `base.BodyWriter` of the SQLite spool. Lives on the hub.

    Args:
        files: where it goes when it is large.
        threshold: bytes up to which it stays in memory.
        pool: native threads that write.
        mailbox: where drain callbacks are posted that are asked for when nothing is to be drained.
        health: asked for room before each write to the disk.
    """

    __slots__ = (
        "_descriptor",
        "_draining",
        "_error",
        "_files",
        "_finish",
        "_flight_bytes",
        "_health",
        "_is_file",
        "_is_over",
        "_is_working",
        "_mailbox",
        "_new_head",
        "_path",
        "_pieces",
        "_pool",
        "_settling",
        "_size",
        "_synced",
        "_threshold",
    )

    def __init__(self, files: BodyFiles, threshold: int, pool: NativePool, mailbox: HubMailbox, health: Health) -> None:
        self._files = files
        self._threshold = threshold
        self._pool = pool
        self._mailbox = mailbox
        self._health = health
        self._pieces: list[bytes] = []
        self._size = 0
        self._is_file = False
        self._is_over = False  # aborted or committed
        self._is_working = False  # a job is in the pool
        self._flight_bytes = 0  # not on the disk yet, those in the job included
        self._synced = 0
        self._path = ""
        self._descriptor = -1
        self._error: SpoolError | None = None
        self._draining: list[Callable[[], None]] = []
        self._finish: tuple[int, Callable[[SpoolError | None], object]] | None = None
        self._new_head: tuple[int, bytes] | None = None
        self._settling: list[Settled] = []

    @property
    def size_bytes(self) -> int:
        """Bytes written so far."""
        return self._size

    @property
    def is_file(self) -> bool:
        """Whether it passed the threshold."""
        return self._is_file

    def write(self, data: bytes) -> bool:
        """Take a piece, at once. False: too much is on its way to the disk; write no more until `on_drain` ran."""
        if self._is_over:
            raise ValueError("this body was committed or aborted")
        self._size += len(data)
        self._health.taken_bytes += len(data)
        if self._error is not None:
            return True
        self._pieces.append(data)
        if self._is_file:
            self._flight_bytes += len(data)
        elif self._size > self._threshold:
            self._is_file = True
            self._path = self._files.temporary_path()
            self._flight_bytes = self._size
        else:
            return True
        self._go_on()
        return self._flight_bytes < HIGH_WATER_BYTES  # nothing is in flight after an error

    def on_drain(self, callback: Callable[[], None]) -> None:
        """Call back once, when writing may go on. Errors show at commit."""
        if self._flight_bytes <= LOW_WATER_BYTES:
            self._mailbox.call_soon(callback)
        else:
            self._draining.append(callback)

    def settle(self, done: Settled) -> None:
        """Show the body as it is: at once while it is in memory, else when all of it is in its file."""
        if self._is_file:
            self._settling.append(done)
            self._go_on()
            return
        data = b"".join(self._pieces)
        self._pieces = [data]
        done(StoredBody(self._size, data, ""), None)

    def replace_head(self, size_bytes: int, head: bytes) -> None:
        """Put other bytes in the place of the first `size_bytes`; a file is copied in the background."""
        self._size += len(head) - size_bytes
        if self._is_file:
            self._new_head = (size_bytes, head)
            self._go_on()
        else:
            self._pieces = [head, b"".join(self._pieces)[size_bytes:]]

    def abort(self) -> None:
        """Forget the body and remove its file. Harmless after abort or commit."""
        if not self._is_over:
            self._new_head = None
            self._is_over = True
            self._pieces.clear()
            self._draining.clear()
            self._go_on()

    def take(self) -> bytes:
        """The bytes of a body in memory; nothing can be written any more."""
        self._is_over = True
        data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        return data

    def finish(self, number: int, done: Callable[[SpoolError | None], object]) -> None:
        """Make a body in a file durable under its final name, then call `done` on the hub."""
        self._is_over = True
        self._finish = (number, done)
        self._go_on()

    @property
    def is_over(self) -> bool:
        """Whether it was committed or aborted."""
        return self._is_over

    def _go_on(self) -> None:
        """Start the next job, if there is one and none is under way."""
        if self._is_working:
            return
        if self._error is None:
            if self._health.closed and self._finish is None:  # what was committed before is carried through
                self._give_up(SpoolUnhealthy("the spool is closed"))
            elif isinstance(self._health.short, SpoolFull):
                self._give_up(self._health.short)
        if self._pieces:
            self._is_working = True
            pieces, self._pieces = self._pieces, []
            sync = self._size - self._synced >= SYNC_EVERY_BYTES
            if sync:
                self._synced = self._size
            in_job = sum(map(len, pieces))
            self._pool.submit(
                self._write_pieces,
                self._descriptor,
                self._path,
                pieces,
                sync,
                done=lambda made, error: self._written(in_job, made, error),
            )
        elif self._new_head is not None and self._error is None:
            self._is_working = True
            (skip_bytes, head), self._new_head = self._new_head, None
            old_path, self._path = self._path, self._files.temporary_path()
            descriptor, self._descriptor = self._descriptor, -1
            self._pool.submit(
                self._files.rewrite,
                descriptor,
                old_path,
                skip_bytes,
                self._path,
                head,
                done=lambda made, error: self._written(0, made, error),
            )
        elif self._settling:
            settling, self._settling = self._settling, []
            stored = StoredBody(self._size, None, self._path) if self._error is None else None
            for done in settling:
                done(stored, self._error)
            self._go_on()
        elif self._is_over:
            self._end()

    def _write_pieces(self, descriptor: int, path: str, pieces: list[bytes], sync: bool) -> int:
        """In a native thread."""
        if self._health.is_near:
            self._health.measure()
            short = self._health.short
            if isinstance(short, SpoolFull):
                raise short
        return self._files.write(descriptor, path, pieces, sync)

    def _written(self, in_job: int, made: int | None, error: BaseException | None) -> None:
        self._is_working = False
        self._flight_bytes -= in_job
        if error is None and made is not None:
            self._descriptor = made
        elif error is not None:
            self._give_up(name_file_trouble(error))
        self._go_on()
        if self._flight_bytes <= LOW_WATER_BYTES:
            self._drained()

    def _drained(self) -> None:
        waiting, self._draining = self._draining, []
        for callback in waiting:
            callback()

    def _give_up(self, problem: SpoolError) -> None:
        self._error = problem
        self._flight_bytes -= sum(map(len, self._pieces))
        self._pieces.clear()
        descriptor, self._descriptor = self._descriptor, -1
        self._discard(descriptor)  # at once: others may need the room
        self._drained()

    def _end(self) -> None:
        finish, self._finish = self._finish, None
        descriptor, self._descriptor = self._descriptor, -1
        if finish is not None and self._error is None:
            number, done = finish
            self._is_working = True
            self._pool.submit(
                self._files.finish,
                descriptor,
                self._path,
                number,
                done=lambda _, error: done(None if error is None else name_file_trouble(error)),
            )
            return
        self._discard(descriptor)
        if finish is not None:
            finish[1](self._error)

    def _discard(self, descriptor: int) -> None:
        if descriptor >= 0:
            self._pool.submit(self._files.discard, descriptor, self._path)


def name_file_trouble(error: BaseException) -> SpoolError:
    """An error of a body file by its cause."""
    if isinstance(error, SpoolError):
        return error
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return SpoolFull(f"no room for a body: {error}")
    return SpoolUnhealthy(f"a body can't be written: {error}")
