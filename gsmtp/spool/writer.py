"""The one thread that writes the database: whatever waits goes into one transaction, then all its callbacks run.

While the disk works on one batch, or the hub is busy, the next one forms. What fails because of the disk is told to
the messages of that batch and to nobody else; outcomes of deliveries are kept in memory and tried again until they are
written. After an I/O error the connection is made anew, and nothing is accepted before a probe was written.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from gsmtp.core.errors import SpoolError, SpoolFull, SpoolUnhealthy
from gsmtp.runtime.later import WhenIdle
from gsmtp.runtime.native import HubMailbox, NativeQueue, NativeThread
from gsmtp.spool import keeper, schema, store
from gsmtp.spool.health import Health
from gsmtp.spool.keeper import Keeper

Done = Callable[[SpoolError | None], object]

MOST_BATCH_BYTES = 8 << 20  # bodies in one transaction: bounds how long one commit takes
_TICK_S = 1.0
_RETRY_S = 0.5
_MOST_S_TO_GATHER = 0.002  # for which a busy hub keeps entries together
_COMMIT_PAGES = 6  # pages that even the smallest commit writes to the WAL
_KEPT_FREE_PAGES = 4096  # free pages worth keeping for the next burst (16 MiB)
_VACUUM_PAGES = 512


@dataclass(slots=True, eq=False)
class Entry:
    """Rows that succeed or fail together, and who wants to know.

    Args:
        rows: for `store.apply`, at most `store.MOST_ROWS`.
        done: called on the hub with None or the reason; None when nobody waits, or no longer.
        size_bytes: of bodies in the rows.
        is_outcome: outcomes are tried again until they are written; all else is refused.
        is_step: a step of a delivery, which frees room in the end: written on a short disk too, but tried only once.
        messages: new messages among the rows.
        filed: the message's number when its body is in a file, else 0.
        finished: numbers of messages of which a recipient is settled.
    """

    rows: list[store.Row]
    done: Done | None
    size_bytes: int = 0
    is_outcome: bool = False
    is_step: bool = False
    messages: int = 0
    filed: int = 0
    finished: tuple[int, ...] = field(default=())


class GroupWriter:
    """The thread with its connection.

    Args:
        path: the database, made and checked already.
        fsync: whether a commit is on the disk when it returns.
        mailbox: where callbacks go.
        health: where failures are noted.
        filed: numbers of the messages whose body is in a file.
        removed: called on the hub with the number of each message with a file that is gone from the database.
    """

    def __init__(
        self,
        path: str,
        *,
        fsync: bool,
        mailbox: HubMailbox,
        health: Health,
        filed: Iterable[int],
        removed: Callable[[int], object],
    ) -> None:
        self._path = path
        self._fsync = fsync
        self._mailbox = mailbox
        self._health = health
        self._filed = set(filed)
        self._removed = removed
        self._queue: NativeQueue[list[Entry] | None] = NativeQueue()
        self._coming: list[Entry] = []
        self._soon = WhenIdle(_MOST_S_TO_GATHER, self.hand_over)
        self._owed: list[Entry] = []
        self._retry_at = 0.0
        self._must_check = False
        self._wal_pages = 0.0
        self._soft_pages = min(keeper.SOFT_PAGES, health.ballast.size_bytes // 2 // schema.PAGE_BYTES)
        self._checkpointing = False
        self._is_copied = False
        self._connection: sqlite3.Connection | None = self._connect()
        self._keeper = Keeper(path, health, self._note_copied)
        self._writing = NativeThread(self._run)

    # On the hub.

    def put(self, entry: Entry) -> None:
        """Write an entry with the next group.

        What comes while the hub is busy is handed over together: the thread would take the interpreter away from it,
        and the groups would be smaller, with as much work each.
        """
        self._coming.append(entry)
        self._soon.arm()

    def hand_over(self) -> None:
        """Give the thread what came."""
        self._soon.disarm()
        if self._coming:
            coming, self._coming = self._coming, []
            self._queue.put(coming)

    # In another native thread.

    def close(self, timeout_s: float) -> bool:
        """Write what was handed over and stop. Native threads only; False when it did not end in time."""
        self._queue.put(None)
        return self._writing.join(timeout_s)

    def _note_copied(self) -> None:
        self._is_copied = True

    # In the thread.

    def _connect(self) -> sqlite3.Connection:
        connection = schema.connect_writer(self._path, fsync=self._fsync)
        try:
            schema.check_version(connection, self._path)
            store.prepare_writer(connection)
        except (sqlite3.Error, SpoolError):
            connection.close()
            raise
        return connection

    def _run(self) -> None:
        stop = False
        while not stop:
            entries: list[Entry] = []
            for coming in self._queue.take(store.MOST_ROWS, _RETRY_S if self._in_trouble else _TICK_S):
                if coming is None:
                    stop = True
                else:
                    entries.extend(coming)
            self._health.busy_since = time.monotonic()
            try:
                self._turn(entries, stop)
            except Exception as error:  # noqa: BLE001 - a bug: say so at every MAIL rather than leave all waiting
                self._health.broken = SpoolUnhealthy(f"the spool's writer broke: {error!r}")
                self._refuse([one for one in entries if one.done and one not in self._owed], self._health.broken)
                self._drop_connection()
            self._health.busy_since = 0.0
        self._keeper.close(timeout_s=2.0)
        self._drop_connection()  # the last one: SQLite copies the WAL into the database and removes it

    def _turn(self, entries: list[Entry], stop: bool) -> None:
        if self._in_trouble and (stop or time.monotonic() >= self._retry_at):
            self._mend()
        for batch in _batches(entries):
            self._write(batch)
        self._keep_wal_short(at_once=not entries or self._health.short is not None)
        if not entries and not stop and self._connection is not None:
            self._give_space_back(self._connection)

    @property
    def _in_trouble(self) -> bool:
        return self._health.broken is not None or bool(self._owed)

    def _write(self, entries: list[Entry]) -> None:
        if self._connection is None:
            self._refuse(entries, self._health.broken or SpoolUnhealthy("the spool's database is closed"))
            return
        if self._health.is_near:
            self._health.measure()
        if isinstance(self._health.short, SpoolFull):  # what room there is belongs to the deliveries
            self._refuse([entry for entry in entries if not (entry.is_outcome or entry.is_step)], self._health.short)
            entries = [entry for entry in entries if entry.is_outcome or entry.is_step]
            if not entries:
                return
        try:
            store.apply(self._connection, [row for entry in entries for row in entry.rows])
        except sqlite3.Error as error:
            self._failed(entries, error)
        except (ValueError, TypeError, OverflowError) as error:  # a value that SQLite can't take
            self._failed(entries, error)
        else:
            self._finished(entries, self._connection)

    def _finished(self, entries: Sequence[Entry], connection: sqlite3.Connection) -> None:
        counters = self._health.counters
        counters.transactions += 1
        counters.largest_batch = max(counters.largest_batch, len(entries))
        pages = float(_COMMIT_PAGES)
        maybe_removed: set[int] = set()
        for entry in entries:
            if entry.is_outcome:
                counters.records += len(entry.rows) - entry.messages
            counters.messages += entry.messages
            if entry.finished:
                maybe_removed.update(self._filed.intersection(entry.finished))
            if entry.filed:
                self._filed.add(entry.filed)
            pages += len(entry.rows) + 1.2 * entry.size_bytes / schema.PAGE_BYTES
        self._wal_pages += pages
        calls: list[tuple[Callable[..., object], tuple[object, ...]]]
        calls = [(entry.done, (None,)) for entry in entries if entry.done is not None]
        for entry in entries:
            entry.done = None
        for number in self._gone(connection, maybe_removed):
            self._filed.discard(number)
            calls.append((self._removed, (number,)))
        self._mailbox.post_all(calls)

    def _gone(self, connection: sqlite3.Connection, numbers: set[int]) -> set[int]:
        if not numbers:
            return numbers
        try:
            return numbers - store.still_there(connection, sorted(numbers))
        except sqlite3.Error:  # their files are removed by `recover` at the next start
            return set()

    def _failed(self, entries: list[Entry], error: Exception) -> None:
        self._health.counters.failures += 1
        if is_fault_of_row(error):
            if len(entries) > 1:
                for entry in entries:
                    self._write([entry])
                return
            self._answer(entries, SpoolUnhealthy(f"the message can't be stored: {error}"))
            return
        self._health.measure()
        problem = name_trouble(error, is_short=isinstance(self._health.short, SpoolFull))
        self._health.broken = problem
        if isinstance(problem, SpoolUnhealthy):
            self._must_check = self._must_check or _is_damage(error)
            self._drop_connection()
        self._retry_at = 0.0 if isinstance(problem, SpoolFull) else time.monotonic() + _RETRY_S
        self._refuse(entries, problem)

    def _refuse(self, entries: Sequence[Entry], problem: SpoolError) -> None:
        self._owed.extend(entry for entry in entries if entry.is_outcome)
        self._answer([entry for entry in entries if not entry.is_outcome], problem)

    def _answer(self, entries: Sequence[Entry], problem: SpoolError | None) -> None:
        """Tell those who wait, each once."""
        self._mailbox.post_all([(entry.done, (problem,)) for entry in entries if entry.done is not None])
        for entry in entries:
            entry.done = None

    def _drop_connection(self) -> None:
        if self._connection is not None:
            try:
                self._connection.close()
            except sqlite3.Error:
                pass
            self._connection = None

    def _mend(self) -> None:
        """Get a connection, write what is owed and a probe. Service is back when all of it worked."""
        self._retry_at = time.monotonic() + _RETRY_S
        try:
            if self._connection is None:
                self._connection = self._connect()
            if self._must_check:
                answer = self._connection.execute("PRAGMA quick_check(1)").fetchone()[0]
                if answer != "ok":
                    raise SpoolUnhealthy(f"{self._path} is damaged: {answer}")
                self._must_check = False
            if isinstance(self._health.broken, SpoolFull):
                self._health.ballast.release()
                keeper.checkpoint(self._connection)  # a WAL that begins anew needs no new room
            store.probe(self._connection)
        except SpoolError as error:
            self._health.broken = error
            self._drop_connection()
            return
        except sqlite3.Error as error:
            self._health.measure()
            self._health.broken = name_trouble(error, is_short=isinstance(self._health.short, SpoolFull))
            if isinstance(self._health.broken, SpoolUnhealthy):
                self._drop_connection()
            return
        owed, self._owed = self._owed, []
        for batch in _batches(owed):
            self._write(batch)  # what fails is owed again
        if not self._owed:
            self._health.broken = None

    def _keep_wal_short(self, *, at_once: bool) -> None:
        """Begin or finish a checkpoint when it is time. On a short disk at once: a WAL that is copied whole begins
        anew in the room it has, so that outcomes can be written with no byte free."""
        if self._connection is None:
            return
        if not self._checkpointing:
            if self._wal_pages > (keeper.IDLE_PAGES if at_once else self._soft_pages):
                self._checkpointing = True
                self._keeper.request_checkpoint()
            return
        if not self._is_copied and self._wal_pages > keeper.HARD_PAGES:
            self._keeper.wait(10.0)
        if self._is_copied:
            self._checkpointing = self._is_copied = False
            try:
                in_log, copied = keeper.checkpoint(self._connection)
            except sqlite3.Error:  # the next commit meets the same trouble and tells
                return
            self._health.counters.checkpoints += 1
            # A long read elsewhere (an operator's shell) may hold pages back: ask again a little later.
            self._wal_pages = 0.0 if in_log == copied else self._soft_pages * 0.75

    def _give_space_back(self, connection: sqlite3.Connection) -> None:
        """When idle, return free pages to the file system: many of them, or any when the disk is short."""
        try:
            keep = 0 if isinstance(self._health.short, SpoolFull) else _KEPT_FREE_PAGES
            free = connection.execute("PRAGMA freelist_count").fetchone()[0]
            while free > keep and not len(self._queue):
                connection.execute(f"PRAGMA incremental_vacuum({min(_VACUUM_PAGES, free - keep)})").fetchall()
                self._wal_pages += _VACUUM_PAGES
                before, free = free, connection.execute("PRAGMA freelist_count").fetchone()[0]
                if free == before:
                    return
                self._keep_wal_short(at_once=False)
        except sqlite3.Error:  # nothing depends on it; the next commit tells if something is wrong
            pass


def _batches(entries: Sequence[Entry]) -> Iterable[list[Entry]]:
    batch: list[Entry] = []
    rows = size_bytes = 0
    for entry in entries:
        full = rows + len(entry.rows) > store.MOST_ROWS or size_bytes + entry.size_bytes > MOST_BATCH_BYTES
        if batch and full:
            yield batch
            batch, rows, size_bytes = [], 0, 0
        batch.append(entry)
        rows += len(entry.rows)
        size_bytes += entry.size_bytes
    if batch:
        yield batch


def _code(error: Exception) -> int:
    code: int = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code


def _is_damage(error: Exception) -> bool:
    return _code(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def is_fault_of_row(error: Exception) -> bool:
    """Whether the values were the trouble (a doubled id, text that can't be stored), not the disk."""
    kinds = (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.ProgrammingError, sqlite3.InterfaceError)
    return isinstance(error, kinds) or not isinstance(error, sqlite3.Error)


def name_trouble(error: Exception, *, is_short: bool) -> SpoolError:
    """The error by its cause. Some calls report a full disk as an I/O error, so the file system is asked as well."""
    if _code(error) == sqlite3.SQLITE_FULL or is_short:
        return SpoolFull(f"no room to write: {error}")
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    return SpoolUnhealthy(f"the database can't be written: {error} ({name})")
