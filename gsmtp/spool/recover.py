"""Opening a spool: the lock, the files, and putting right what a crash left (docs/spool-states.md has the table).

Blocking; runs once at start, before anything is accepted.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from dataclasses import dataclass, field

from gsmtp.core.errors import SpoolUnhealthy
from gsmtp.spool import schema, store
from gsmtp.spool.ballast import Ballast
from gsmtp.spool.base import Change, State
from gsmtp.spool.body_files import BodyFiles, directory_mode, sync_directory
from gsmtp.spool.codec import microseconds

_OPEN_BYTES = 4 << 20  # copying a WAL that a crash left, and counting the opening


@dataclass(slots=True)
class Recovery:
    """What was found and done at opening; the application logs it.

    Args:
        unfinished_removed: bodies that were on their way in when the process ended; their clients got no 250.
        orphans_removed: body files without a message: not committed, or delivered and not unlinked yet.
        dead: message ids whose recipients were set to dead because their body file is missing or cut, with the reason.
        in_doubt: message id and address of recipients that were about to be handed over when the process ended; they
            may have been delivered (RFC 1047).
    """

    unfinished_removed: int = 0
    orphans_removed: int = 0
    dead: list[tuple[str, str]] = field(default_factory=list)
    in_doubt: list[tuple[str, str]] = field(default_factory=list)


def take_lock(base: str, mode: int) -> int:
    """Become the one process that uses this spool. Returns the descriptor that holds the lock.

    Raises:
        SpoolUnhealthy: another process has it (its pid is named), or the directory can't be used.
    """
    path = os.path.join(base, schema.LOCK)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, mode)
    except OSError as error:
        raise SpoolUnhealthy(f"can't use the spool directory {base}: {error}") from error
    try:
        _lock_soon(descriptor)
    except OSError as error:
        owner = os.read(descriptor, 20).decode("ascii", "replace").strip() or "unknown"
        os.close(descriptor)
        raise SpoolUnhealthy(f"the spool {base} is in use by process {owner}") from error
    try:
        os.pwrite(descriptor, b"%-10d\n" % os.getpid(), 0)
    except OSError:  # a full disk; the lock itself needs no room
        pass
    return descriptor


def _lock_soon(descriptor: int) -> None:
    for _ in range(9):  # `gsmtp queue` holds it for the blink of an eye to see whether anybody does
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            time.sleep(0.05)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def make_directories(base: str, files: BodyFiles) -> None:
    """Make the spool's directories and an empty database file of the right mode, all durable.

    Raises:
        SpoolUnhealthy: naming what can't be made.
    """
    try:
        for directory in (base, files.root, files.incoming):
            if not os.path.isdir(directory):
                os.makedirs(directory, directory_mode(files.mode))
                sync_directory(os.path.dirname(os.path.abspath(directory)))
        path = schema.database_path(base)
        if not os.path.exists(path):
            _refuse_half_repaired(base)
            os.close(files.create(path))  # SQLite gives -wal and -shm the mode of this one
            sync_directory(base)
    except OSError as error:
        raise SpoolUnhealthy(f"can't make the spool at {base}: {error}") from error


def _refuse_half_repaired(base: str) -> None:
    """A repair that was cut off between its last two steps has left no database: with a new one in its place all bodies
    would be removed as nobody's."""
    beginning = f"{schema.DATABASE}.damaged-"
    found = sorted(name for name in os.listdir(base) if name.startswith(beginning) and not name.endswith("-wal"))
    if found:
        back = " && ".join(
            f"mv {name} {schema.DATABASE}{'-wal' if name.endswith('-wal') else ''}"
            for name in (found[-1], f"{found[-1]}-wal")
            if os.path.exists(os.path.join(base, name))
        )
        raise SpoolUnhealthy(f"a repair of the spool at {base} was cut off: there, do {back}; then repair it again")


def find_ballast(base: str, mode: int) -> Ballast:
    """The ballast, given up already when the disk is so full that the database could not be opened."""
    ballast = Ballast(os.path.join(base, schema.BALLAST), mode)
    facts = os.statvfs(base)
    if facts.f_bavail * facts.f_frsize < _OPEN_BYTES:
        ballast.release()
    return ballast


def open_database(base: str, first_opening: int = 0) -> tuple[sqlite3.Connection, int]:
    """Open or make the database, and count this opening, durably. Returns a connection and the generation.

    Raises:
        SpoolUnhealthy: it is damaged, newer, not ours, or can't be read or written.
    """
    path = schema.database_path(base)
    connection = schema.connect(path)
    try:
        connection.execute("PRAGMA synchronous=FULL")
        schema.create_or_check(connection, path)
        schema.checkpoint_all(connection)
        generation = _count_opening(connection, first_opening)
    except sqlite3.Error as error:
        connection.close()
        is_damaged = isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError)
        hint = "; `gsmtp spool repair` saves what is readable" if is_damaged else ""
        raise SpoolUnhealthy(f"can't use the spool database {path}: {error}{hint}") from error
    except SpoolUnhealthy:
        connection.close()
        raise
    sync_directory(base)
    return connection, generation


def _count_opening(connection: sqlite3.Connection, first: int) -> int:
    opens: int = max(connection.execute("SELECT value FROM meta WHERE key = 'opens'").fetchone()[0], first)
    # After 65,536 openings the numbers begin anew: pass over one that a message still has.
    used = "SELECT EXISTS (SELECT 1 FROM message WHERE id BETWEEN ? AND ?)"
    for opening in range(opens, opens + 65536):
        lowest = (opening & 0xFFFF) << 32
        if not connection.execute(used, (lowest, lowest + 0xFFFFFFFF)).fetchone()[0]:
            break
    connection.execute("UPDATE meta SET value = ? WHERE key = 'opens'", (opening + 1,))
    return opening & 0xFFFF


def repair(
    connection: sqlite3.Connection, files: BodyFiles, now_wall: float, *, hold_in_doubt: bool = False
) -> tuple[Recovery, set[int]]:
    """Bring rows and body files together. Returns what was done and the numbers of messages with a body file.

    Raises:
        SpoolUnhealthy: the database or the directory can't be read or written.
    """
    recovery = Recovery()
    try:
        for entry in os.scandir(files.incoming):
            os.unlink(entry.path)
            recovery.unfinished_removed += 1
        filed = {row[0]: row[1] for row in connection.execute("SELECT id, size FROM message WHERE body IS NULL")}
        found = _scan(files, filed, recovery)
        for number in sorted(filed.keys() - found.keys()):
            _fail(connection, number, "the body file is missing", now_wall, recovery)
        for number, size_bytes in sorted(found.items()):
            if size_bytes != filed[number]:
                reason = f"the body file has {size_bytes} of {filed[number]} bytes"
                _fail(connection, number, reason, now_wall, recovery)
        _note_doubt(connection, now_wall, recovery, hold=hold_in_doubt)
    except (OSError, sqlite3.Error) as error:
        raise SpoolUnhealthy(f"can't recover the spool: {error}") from error
    return recovery, set(filed)


def _scan(files: BodyFiles, filed: dict[int, int], recovery: Recovery) -> dict[int, int]:
    """Sizes of the body files that have a row; the others are removed, and so are empty directories."""
    found: dict[int, int] = {}
    for directory, directories, names in os.walk(files.root, topdown=False):
        if directory in (files.root, files.incoming):
            continue
        kept = len(directories)
        for name in names:
            path = os.path.join(directory, name)
            number = _number(name)
            if number is None or files.path(number) != path:  # not ours: left alone
                kept += 1
            elif number in filed:
                found[number] = os.stat(path).st_size
                kept += 1
            else:
                os.unlink(path)
                recovery.orphans_removed += 1
        if not kept:
            os.rmdir(directory)
    return found


def _number(name: str) -> int | None:
    try:
        return int(name, 16) if len(name) == 12 else None
    except ValueError:
        return None


def _note_doubt(connection: sqlite3.Connection, now_wall: float, recovery: Recovery, *, hold: bool) -> None:
    found = connection.execute(
        "SELECT name, address, message, idx FROM recipient JOIN message ON message.id = recipient.message "
        "WHERE doubt <> 0 AND state = ?",
        (State.QUEUED,),
    ).fetchall()
    recovery.in_doubt = [(name, address) for name, address, *_ in found]
    if hold and found:
        store.prepare_writer(connection)
        note = "held after a crash in the middle of a hand-off: it may have been delivered"
        changes = [(number, Change(name, index, State.HELD, note, now_wall)) for name, _, number, index in found]
        for start in range(0, len(changes), store.MOST_ROWS):
            part = changes[start : start + store.MOST_ROWS]
            store.apply(connection, [store.change_row(number, change) for number, change in part])


def _fail(connection: sqlite3.Connection, number: int, reason: str, now_wall: float, recovery: Recovery) -> None:
    changed = connection.execute(
        "UPDATE recipient SET state = ?, due = 0, reply = ?, hop = '', changed = ? WHERE message = ? AND state = ?",
        (State.DEAD, f"554 5.3.0 [internal] {reason}", microseconds(now_wall), number, State.QUEUED),
    ).rowcount
    if changed:
        name: str = connection.execute("SELECT name FROM message WHERE id = ?", (number,)).fetchone()[0]
        recovery.dead.append((name, reason))
