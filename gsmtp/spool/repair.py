"""Save what is readable of a damaged spool into a new database, and set the damaged one aside under a dated name.

The server must be stopped: the spool's lock is taken. Messages are read page by page around what is damaged. What can't
be saved whole is saved in part where that is of use: recipients whose rows are lost are made anew from the envelope and
held, since they may have been delivered; a body whose envelope is lost is kept as a file for a person to look at. Body
files stay where they are. Nothing of the old spool is removed. No gevent.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from gsmtp.core.envelope import Envelope
from gsmtp.core.errors import SpoolError, SpoolUnhealthy
from gsmtp.spool import recover, salvage, schema
from gsmtp.spool.base import State
from gsmtp.spool.body_files import BodyFiles, sync_directory
from gsmtp.spool.codec import decode_envelope, microseconds
from gsmtp.spool.verify import body_files

_PAGE = 200
_SPLITS = 48  # halvings of the range of all message numbers, which are under 2**48
_MOST_FAILURES = 2_000
"""Ranges in a row that can't be read: what they lie in is one damaged page, however many numbers it may span."""

_MESSAGE = "id, name, size, received, envelope, body"
_RECIPIENT = (
    "message, idx, address, domain, state, due, attempts, reply, hop, changed, since, doubt, warned, wish, history"
)
_LOST_STATE = "held by the repair: its state was lost, it may have been delivered"

Progress = Callable[[int], None]
"""Called now and then with the number of messages saved."""


@dataclass(slots=True)
class Repaired:
    """What came of a repair.

    Args:
        base: the spool's directory.
        messages: saved.
        recipients: saved with their state.
        held: recipients whose state was lost.
        bodies: files with bodies whose envelope was lost, for a person.
        lost: message ids, or numbers where even the id is lost, with what is lost of them.
        damaged: where the old database is now; "" for a dry run.
    """

    base: str
    messages: int = 0
    recipients: int = 0
    held: int = 0
    bodies: list[str] = field(default_factory=list)
    lost: list[tuple[str, str]] = field(default_factory=list)
    damaged: str = ""


class _Reader:
    """Rows of a damaged database, around what is damaged."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._failures = 0
        self.unread: list[tuple[int, int]] = []
        """Ranges of message numbers in which something could not be read."""

    def numbers(self) -> Iterator[int]:
        """The numbers of all messages that can be found."""
        yield from self._numbers(0, (1 << _SPLITS) - 1)

    def _numbers(self, low: int, high: int) -> Iterator[int]:
        """From both ends up to what is damaged; then the halves of what is left."""
        for order in ("ASC", "DESC"):
            while (found := self._page(low, high, order)) is not None:
                yield from found
                if not found:
                    return
                if order == "ASC":
                    low = found[-1] + 1
                else:
                    high = found[-1] - 1
        if low >= high or self._failures > _MOST_FAILURES:
            self._note_unread(low, high)
            return
        middle = (low + high) // 2
        yield from self._numbers(low, middle)
        yield from self._numbers(middle + 1, high)

    def _page(self, low: int, high: int, order: str) -> list[int] | None:
        """The first numbers of a range, [] when there are none, None when they can't be read."""
        try:
            rows = self._connection.execute(
                f"SELECT id FROM message WHERE id BETWEEN ? AND ? ORDER BY id {order} LIMIT ?",  # noqa: S608 - our own word
                (low, high, _PAGE),
            ).fetchall()
            found = [number for (number,) in rows]
            if found != sorted({one for one in found if low <= one <= high}, reverse=order == "DESC"):
                raise sqlite3.DatabaseError("numbers out of their order")  # to go on from there would never end
        except sqlite3.Error:
            self._failures += 1
            return None
        if found:
            self._failures = 0
        return found

    def _note_unread(self, low: int, high: int) -> None:
        if low > high:
            return
        if self.unread and self.unread[-1][1] + 1 == low:
            low = self.unread.pop()[0]
        self.unread.append((low, high))

    def message(self, number: int) -> tuple[Any, ...] | None:
        """The row of a message, with None for a body that can't be read; None when all of it can't."""
        for columns in (_MESSAGE, _MESSAGE.replace(" body", " NULL")):
            try:
                row: tuple[Any, ...] | None = self._connection.execute(
                    f"SELECT {columns} FROM message WHERE id = ?",  # noqa: S608 - our own words
                    (number,),
                ).fetchone()
            except sqlite3.Error:
                continue
            return row
        return None

    def recipients(self, number: int) -> list[tuple[Any, ...]] | None:
        """The rows of a message's recipients; None when they can't be read."""
        try:
            return self._connection.execute(
                f"SELECT {_RECIPIENT} FROM recipient WHERE message = ? ORDER BY idx",  # noqa: S608 - our own words
                (number,),
            ).fetchall()
        except sqlite3.Error:
            return None


class _Repair:
    def __init__(self, base: str, progress: Progress, mode: int) -> None:
        self._base = base
        self._path = schema.database_path(base)
        self._progress = progress
        self._files = BodyFiles(base, mode=mode, fsync=True)
        self._stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
        self._saved: set[int] = set()
        self.result = Repaired(base)

    def read(self, old: sqlite3.Connection, new: sqlite3.Connection | None) -> None:
        """Read all that can be read, and write it where a new database is given."""
        reader = _Reader(old)
        for number in reader.numbers():
            row = reader.message(number)
            if row is None:
                self.result.lost.append((f"{number:012X}", "the message's row can't be read"))
            else:
                self._save(row, reader.recipients(number), new)
        for low, high in reader.unread:
            text = "messages with these numbers, if there were any, can't be read"
            self.result.lost.append((f"{low:012X}-{high:012X}", text))

    def _save(
        self, row: tuple[Any, ...], recipients: list[tuple[Any, ...]] | None, new: sqlite3.Connection | None
    ) -> None:
        number, name, size, received, text, body = row
        try:
            envelope = decode_envelope(str(name), int(size), str(text))
        except (SpoolError, ValueError, TypeError) as error:
            self.result.lost.append((str(name), f"{error}"))
            if body is not None and new is not None:
                self._keep_body(number, body)
            return
        if not self._has_body(number, size, body):
            self.result.lost.append(
                (envelope.message_id, "the body is missing or cut; its recipients are dead letters")
            )
        rows, held = _whole(number, received, envelope, recipients)
        if all(one[4] in State.SETTLED for one in rows):
            return  # what removes such a message was cut off: nothing is left to be done
        self.result.messages += 1
        self.result.held += held
        self.result.recipients += len(rows) - held
        self._saved.add(number)
        if new is not None:
            places = ",".join("?" * 6)
            new.execute(f"INSERT INTO message ({_MESSAGE}) VALUES ({places})", row)  # noqa: S608 - our own words
            places = ",".join("?" * 15)
            new.executemany(f"INSERT INTO recipient ({_RECIPIENT}) VALUES ({places})", rows)  # noqa: S608 - likewise
        if not self.result.messages % _PAGE:
            self._progress(self.result.messages)

    def _has_body(self, number: int, size: int, body: bytes | None) -> bool:
        if body is not None:
            return len(body) == size
        try:
            return os.stat(self._files.path(number)).st_size == size
        except OSError:
            return False

    def keep_strays(self) -> None:
        """Take body files whose message is lost out of the reach of the next start, which would remove them."""
        for path, number in list(body_files(self._files)):
            if number not in self._saved:
                target = self._saved_path(number)
                os.rename(path, target)
                self.result.bodies.append(target)

    def _keep_body(self, number: int, body: bytes) -> None:
        target = self._saved_path(number)
        with open(self._files.create(target), "wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        self.result.bodies.append(target)

    def _saved_path(self, number: int) -> str:
        folder = os.path.join(self._base, f"saved-{self._stamp}")
        os.makedirs(folder, mode=0o750, exist_ok=True)
        return os.path.join(folder, f"{number:012X}.eml")

    def replace(self, made: str) -> None:
        """Put the new database in the old one's place."""
        self.result.damaged = f"{self._path}.damaged-{self._stamp}"
        for suffix in ("", "-wal"):
            if os.path.exists(self._path + suffix):
                os.rename(self._path + suffix, self.result.damaged + suffix)
        if os.path.exists(self._path + "-shm"):
            os.unlink(self._path + "-shm")
        os.rename(made, self._path)
        sync_directory(self._base)


def _whole(
    number: int, received: int, envelope: Envelope, found: list[tuple[Any, ...]] | None
) -> tuple[list[tuple[Any, ...]], int]:
    """A row for each recipient of the envelope, and how many of them had to be made anew."""
    known = {row[1]: row for row in found or () if row[4] in State.ALL}
    now_us = microseconds(time.time())
    rows = []
    held = 0
    for index, recipient in enumerate(envelope.recipients):
        row = known.get(index)
        if row is None:
            held += 1
            address, domain = recipient.address, recipient.domain
            row = (number, index, address, domain, State.HELD, 0, 0, _LOST_STATE, "repair", now_us, 0, 0, 0, "", "")
        rows.append(row)
    return rows, held


def repair(base: str, *, is_dry: bool = False, mode: int = 0o640, progress: Progress = lambda done: None) -> Repaired:
    """Save what is readable of the spool in a directory.

    Args:
        base: the directory.
        is_dry: say what would be saved and change nothing.
        mode: of the new database's file.
        progress: told how far it is.

    Raises:
        SpoolUnhealthy: a server uses the spool, there is no room, or the directory can't be written.
    """
    lock = recover.take_lock(base, mode)
    work = os.path.join(base, f"repair-{os.getpid()}")
    try:
        os.makedirs(work, mode=0o750)
        return _repair_in(work, base, is_dry, mode, progress)
    except (OSError, sqlite3.Error) as error:
        raise SpoolUnhealthy(f"can't repair the spool at {base}: {error}") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
        os.close(lock)


def _repair_in(work: str, base: str, is_dry: bool, mode: int, progress: Progress) -> Repaired:
    """Work on a copy: opening a database with a WAL writes to it."""
    path = schema.database_path(base)
    old, version = _open_copy(path, os.path.join(work, "damaged.db"))
    made = os.path.join(work, "repaired.db")
    task = _Repair(base, progress, mode)
    try:
        salvage.bring_up_to_date(old, path, version)
        old.execute("PRAGMA query_only=ON")
        old.execute("PRAGMA cell_size_check=ON")
        if is_dry:
            task.read(old, None)
            return task.result
        os.close(task._files.create(made))
        new = schema.connect(made)
        try:
            new.execute("PRAGMA synchronous=FULL")
            schema.create_or_check(new, made)
            _take_over_openings(old, new)
            new.execute("BEGIN")
            task.read(old, new)
            new.execute("COMMIT")
            schema.checkpoint_all(new)
        finally:
            new.close()
    finally:
        old.close()
    task.keep_strays()
    task.replace(made)
    return task.result


def _open_copy(path: str, copy: str) -> tuple[sqlite3.Connection, int]:
    """A copy of the database, and the version of its tables; 0 where that can't be told.

    Raises SpoolUnhealthy: it is another program's. A header that doesn't say whose it is may be damaged.
    """
    for is_forced in (False, True):
        for suffix in ("", "-wal", "-shm"):
            if os.path.exists(copy + suffix):
                os.unlink(copy + suffix)
            if os.path.exists(path + suffix) and suffix != "-shm":
                shutil.copyfile(path + suffix, copy + suffix)
        salvage.mend_copy(copy, is_forced=is_forced)
        old = schema.connect(copy)
        version = salvage.version_by_tables(old)
        if version or salvage.is_ours(path):
            return old, version
        old.close()
    raise salvage.refusal(path)


def _take_over_openings(old: sqlite3.Connection, new: sqlite3.Connection) -> None:
    """Message ids go on from where they were; where that is lost, far behind."""
    try:
        opens = old.execute("SELECT value FROM meta WHERE key = 'opens'").fetchone()[0]
    except (sqlite3.Error, TypeError):
        opens = int(time.time()) & 0xFFFF
    new.execute("UPDATE meta SET value = ? WHERE key = 'opens'", (opens,))
