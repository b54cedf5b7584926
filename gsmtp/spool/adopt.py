"""The spools of several workers: where they are, and what becomes of one whose worker is no more.

The worker of slot 1 uses Spoolbase itself, that of slot k ``Spoolbase/worker-k``. Before anything is delivered, at each
start, the messages of slots that are no more are moved to the first spool, some hundreds at a time: body files are
linked, the rows copied in one synced commit there, then deleted in one commit here. A crash in between leaves messages
in both, and the next start finds that out before either copy can be delivered (docs/spool-states.md). Numbers don't
clash, because the openings of all these spools are counted together.

Blocks. No gevent: jobs in native threads and `gsmtp queue` use it.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from gsmtp.core.errors import SpoolError, SpoolUnhealthy
from gsmtp.spool import recover, schema
from gsmtp.spool.body_files import BodyFiles, sync_directory

_WORKER = re.compile(r"worker-([1-9][0-9]*)")
_GONE = re.compile(r"worker-[1-9][0-9]*\.gone")
_A_STEP = 500
_A_STEP_BYTES = 32 << 20
_RECIPIENT = (
    "message, idx, address, domain, state, due, attempts, reply, hop, changed, since, doubt, warned, wish, history"
)
_MESSAGE = "id, name, size, received, envelope, body"


@dataclass(slots=True)
class Adopted:
    """What was done at a start.

    Args:
        opening: the least generation for the spool that is opened next, greater than those of all spools here.
        moved: messages that were moved to the first spool, by the slot that they came from.
        problems: why a spool was left where it is.
    """

    opening: int = 0
    moved: dict[int, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def spool_of(base: str, slot: int) -> str:
    """The folder of a slot's spool."""
    return base if slot == 1 else os.path.join(base, f"worker-{slot}")


def slots_of(base: str) -> list[int]:
    """The slots that have a spool folder beside the first one, the lowest first. [] where nothing can be read."""
    try:
        names = os.listdir(base)
    except OSError:
        return []
    return sorted(int(found[1]) for name in names if (found := _WORKER.fullmatch(name)) and int(found[1]) > 1)


def is_in_use(base: str) -> bool:
    """Whether a process has one of the spools here, for instance a worker that drains after its parent's death. Doesn't
    wait."""
    for slot in (1, *slots_of(base)):
        try:
            descriptor = os.open(os.path.join(spool_of(base, slot), schema.LOCK), os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
    return False


def adopt_all(base: str, slots: int, mode: int = 0o640) -> Adopted:
    """Move the messages of slots above `slots` to the first spool, and remove what duplicates a crash left.

    Args:
        base: Spoolbase.
        slots: how many workers there are now.
        mode: of new files (Spool_Mode).

    Raises:
        SpoolUnhealthy: a spool is in use, or can't be read; or what was copied can't be deleted, so that starting now
            would deliver it twice.
    """
    adopted = Adopted()
    found = slots_of(base)
    _remove_gone(base)
    if found:
        recover.make_directories(base, BodyFiles(base, mode=mode, fsync=True))
    for slot in found:
        if slot > slots or _is_marked(spool_of(base, slot)):
            with _both(base, slot, mode) as connection:
                adopted.opening = max(adopted.opening, _share_openings(connection))
                if slot > slots:
                    _Move(connection, base, slot, mode).run(adopted)
                else:
                    _drop_copies(connection)
    _remove_gone(base)
    for slot in (1, *slots_of(base)):
        adopted.opening = max(adopted.opening, _openings(spool_of(base, slot)))
    return adopted


class _Move:
    """One spool into the first one.

    Args:
        connection: to the first spool's database, with the other one attached as ``other``.
        base: Spoolbase.
        slot: of the other one.
        mode: of new files.
    """

    def __init__(self, connection: sqlite3.Connection, base: str, slot: int, mode: int) -> None:
        self._connection = connection
        self._base = base
        self._slot = slot
        self._from = BodyFiles(spool_of(base, slot), mode=mode, fsync=True)
        self._to = BodyFiles(base, mode=mode, fsync=True)

    def run(self, adopted: Adopted) -> None:
        """Move all messages, and remove the folder when it is empty."""
        self._connection.execute("INSERT OR REPLACE INTO other.meta VALUES ('adopting', 1)")
        count, after = 0, -1
        while step := self._next(after):
            after = step[-1]
            try:
                self._copy(step)
            except (sqlite3.Error, OSError) as error:
                adopted.problems.append(
                    f"the mail of worker {self._slot} stays in {spool_of(self._base, self._slot)} for now: {error}"
                )
                break
            count += self._delete(step)
            self._connection.execute("PRAGMA main.wal_checkpoint(PASSIVE)").fetchall()
            self._connection.execute("PRAGMA other.wal_checkpoint(PASSIVE)").fetchall()
        adopted.moved[self._slot] = count
        left = self._connection.execute("SELECT count(*) FROM other.message").fetchone()[0]
        if not left:
            folder = spool_of(self._base, self._slot)
            os.rename(folder, f"{folder}.gone")
            sync_directory(self._base)
        elif not adopted.problems:
            adopted.problems.append(
                f"{left} messages stay in {spool_of(self._base, self._slot)}: the spool has others of their numbers"
            )

    def _next(self, after: int) -> list[int]:
        """The numbers of the next messages to move."""
        step: list[int] = []
        size = 0
        rows = self._connection.execute(
            "SELECT id, iif(body IS NULL, 0, size) FROM other.message WHERE id > ? ORDER BY id LIMIT ?",
            (after, _A_STEP),
        )
        for number, size_bytes in rows.fetchall():
            if step and size + size_bytes > _A_STEP_BYTES:
                break
            step.append(number)
            size += size_bytes
        return step

    def _copy(self, step: Sequence[int]) -> None:
        new = f"IN {_list(step)} AND {{}} NOT IN (SELECT id FROM main.message)"  # noqa: S608 - numbers
        filed = self._connection.execute(
            f"SELECT id FROM other.message WHERE body IS NULL AND id {new.format('id')}"  # noqa: S608 - numbers
        ).fetchall()
        for (number,) in filed:
            self._to.link(self._from.path(number), number)
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            connection.execute(
                f"INSERT INTO main.recipient ({_RECIPIENT}) SELECT {_RECIPIENT} FROM other.recipient "  # noqa: S608 - ours
                f"WHERE message {new.format('message')}"
            )
            connection.execute(
                f"INSERT INTO main.message ({_MESSAGE}) SELECT {_MESSAGE} FROM other.message "  # noqa: S608 - ours
                f"WHERE id {new.format('id')}"
            )
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    def _delete(self, step: Sequence[int]) -> int:
        """Delete what is in the first spool now. Returns how many messages that were."""
        gone = _drop_copies(self._connection, f"AND id IN {_list(step)}")
        for number in gone:
            self._from.remove(number)
        return len(gone)


def _drop_copies(connection: sqlite3.Connection, where: str = "") -> list[int]:
    """Delete messages from the other spool that the first one has. Raises SpoolUnhealthy."""
    try:
        found = connection.execute(
            "SELECT id FROM other.message AS theirs WHERE EXISTS (SELECT 1 FROM main.message AS ours "  # noqa: S608 - ours
            f"WHERE ours.id = theirs.id AND ours.name = theirs.name) {where} ORDER BY id"
        ).fetchall()
        numbers = [number for (number,) in found]
        connection.execute("BEGIN IMMEDIATE")
        for start in range(0, len(numbers), _A_STEP):
            ids = _list(numbers[start : start + _A_STEP])
            connection.execute(f"DELETE FROM other.recipient WHERE message IN {ids}")  # noqa: S608 - numbers
            connection.execute(f"DELETE FROM other.message WHERE id IN {ids}")  # noqa: S608 - numbers
        if not where:
            connection.execute("DELETE FROM other.meta WHERE key = 'adopting'")
        connection.execute("COMMIT")
        return numbers
    except sqlite3.Error as error:
        raise SpoolUnhealthy(f"mail that was moved from a worker's spool can't be removed there: {error}") from error


def _list(numbers: Sequence[int]) -> str:
    return f"({','.join(map(str, numbers))})"


@contextmanager
def _both(base: str, slot: int, mode: int) -> Iterator[sqlite3.Connection]:
    """The first spool and another one, both locked, in one connection that writes durably."""
    other = spool_of(base, slot)
    locks: list[int] = []
    try:
        for folder in (base, other):
            locks.append(recover.take_lock(folder, mode))
            _prepare(folder)
        connection = schema.connect_writer(schema.database_path(base), fsync=True)
        try:
            connection.execute("ATTACH DATABASE ? AS other", (schema.database_path(other),))
            connection.execute("PRAGMA other.synchronous=FULL")
            yield connection
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise SpoolUnhealthy(f"can't take over the spool {other}: {error}") from error
    finally:
        for lock in locks:
            os.close(lock)


def _prepare(folder: str) -> None:
    """Make sure that there is a database of this version."""
    path = schema.database_path(folder)
    connection = schema.connect(path, query="mode=rwc")
    try:
        schema.create_or_check(connection, path)
    finally:
        connection.close()


def _share_openings(connection: sqlite3.Connection) -> int:
    """Let the first spool count on from where the two have got; returns that number."""
    opens: int = connection.execute(
        "SELECT max(value) FROM (SELECT value FROM main.meta WHERE key = 'opens' "
        "UNION SELECT value FROM other.meta WHERE key = 'opens')"
    ).fetchone()[0]
    connection.execute("UPDATE main.meta SET value = ? WHERE key = 'opens'", (opens,))
    return opens


def _openings(folder: str) -> int:
    """How often a spool was opened; 0 where there is none yet."""
    found = _asked(folder, "SELECT value FROM meta WHERE key = 'opens'")
    return found if isinstance(found, int) else 0


def _is_marked(folder: str) -> bool:
    return _asked(folder, "SELECT value FROM meta WHERE key = 'adopting'") is not None


def _asked(folder: str, question: str) -> object:
    path = schema.database_path(folder)
    if not os.path.exists(path) or not os.path.getsize(path):
        return None
    try:
        connection = schema.connect(path, query="mode=rw")
        try:
            row = connection.execute(question).fetchone()
        finally:
            connection.close()
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            return None
        raise SpoolUnhealthy(f"can't read the spool {folder}: {error}") from error
    except (sqlite3.Error, SpoolError) as error:
        raise SpoolUnhealthy(f"can't read the spool {folder}: {error}") from error
    return None if row is None else row[0]


def _remove_gone(base: str) -> None:
    """Remove folders of spools that were emptied before."""
    try:
        names = os.listdir(base)
    except OSError:
        return
    for name in names:
        if _GONE.fullmatch(name):
            shutil.rmtree(os.path.join(base, name), ignore_errors=True)
