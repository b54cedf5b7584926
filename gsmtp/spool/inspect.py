"""Looking into a spool from outside, read-only, beside a running server or without one: `gsmtp queue`.

Messages come in pages of a few hundred; each page is one short read, so a long listing neither holds rows in memory nor
keeps the server's WAL from being begun anew. No gevent.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager

from gsmtp.core.envelope import Envelope
from gsmtp.core.errors import SpoolError, SpoolUnhealthy
from gsmtp.core.ids import number as id_number
from gsmtp.spool import schema
from gsmtp.spool.base import QueuedMessage, QueuedRecipient, StoredBody
from gsmtp.spool.body_files import BodyFiles
from gsmtp.spool.codec import decode_envelope, decode_history, seconds
from gsmtp.spool.selection import START, DomainTotal, Place, Selected, Selection, page, totals

EVERYTHING = Selection()
_RECIPIENTS = """
SELECT idx, state, due, attempts, reply, hop, changed, doubt, since, warned, wish, history
FROM recipient WHERE message = ? ORDER BY idx
"""


class NoSpool(SpoolError):
    """There is no spool at that place (yet)."""


def look(base: str) -> str:
    """The path of the database of the spool at `base`. Raises NoSpool or SpoolUnhealthy."""
    path = schema.database_path(base)
    try:
        os.stat(path)
    except FileNotFoundError as error:
        raise NoSpool(f"there is no spool at {base}") from error
    except OSError as error:
        raise SpoolUnhealthy(f"can't read the spool at {base}: {error.strerror}") from error
    return path


class Inspector:
    """A spool opened for looking.

    Args:
        base: the spool's directory.

    Raises:
        NoSpool: nothing is there.
        SpoolUnhealthy: it can't be read, is damaged, or was written by a newer gsmtp.
    """

    def __init__(self, base: str) -> None:
        self.base = base
        self._path = look(base)
        self._connection = self._open()

    def _open(self) -> sqlite3.Connection:
        # Without a server and without a WAL nothing changes: SQLite needs no shared memory then, and no right to write.
        is_still = not os.path.exists(self._path + "-wal") and not is_in_use(self.base)
        with self._errors():
            connection = schema.connect(self._path, query="mode=ro&immutable=1" if is_still else "mode=ro")
            try:
                if connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0:
                    raise NoSpool(f"the spool at {self.base} is being made")
                schema.check_version(connection, self._path)
            except (sqlite3.Error, SpoolError):
                connection.close()
                raise
        return connection

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            readable = os.access(self._path, os.R_OK)
            why = str(error) if readable else "Permission denied"
            raise SpoolUnhealthy(f"can't read the spool {self._path}: {why}") from error

    def selected(self, selection: Selection) -> Iterator[Selected]:
        """The recipients that are meant, in the order of reception."""
        after: Place | None = START
        now = time.time()
        while after is not None:
            with self._errors():
                found, after = page(self._connection, selection, now, after)
            yield from found

    def messages(self, selection: Selection = EVERYTHING, *, limit: int = 0) -> Iterator[QueuedMessage]:
        """The messages with a recipient that is meant, oldest first; each with all its recipients.

        Args:
            selection: which.
            limit: at most so many, 0 for all.
        """
        last, given = "", 0
        for one in self.selected(selection):
            if one.message_id == last:
                continue
            last = one.message_id
            message = self.message(last)
            if message is not None:  # else it was delivered meanwhile
                yield message
                given += 1
                if given == limit:
                    return

    def totals(self) -> list[DomainTotal]:
        """Counts, sizes and ages by domain."""
        with self._errors():
            return totals(self._connection)

    def body(self, message_id: str) -> StoredBody:
        """A body. Raises SpoolUnhealthy when it isn't there, or not whole."""
        number = id_number(message_id)
        with self._errors():
            row = self._connection.execute("SELECT size, body FROM message WHERE id = ?", (number,)).fetchone()
        if row is None:
            raise SpoolUnhealthy(f"message {message_id} is not in the spool")
        if row[1] is not None:
            return StoredBody(row[0], row[1], "")
        path = BodyFiles(self.base, mode=0, fsync=False).path(number)
        try:
            found = os.stat(path).st_size
        except OSError as error:
            raise SpoolUnhealthy(f"message {message_id}: its body can't be read: {error}") from error
        if found != row[0]:
            raise SpoolUnhealthy(f"message {message_id}: its body file has {found} of {row[0]} bytes")
        return StoredBody(row[0], None, path)

    def message(self, message_id: str) -> QueuedMessage | None:
        """One message, or None when it is not there. Raises ValueError when the text is not a message id."""
        number = id_number(message_id)
        with self._errors():
            row = self._connection.execute(
                "SELECT id, name, size, envelope FROM message WHERE id = ?", (number,)
            ).fetchone()
            return None if row is None else self._message(*row)

    def _message(self, number: int, name: str, size_bytes: int, text: str) -> QueuedMessage:
        try:
            envelope = decode_envelope(name, size_bytes, text)
        except SpoolError as error:  # show the others all the same
            envelope = Envelope(name, "", f"({error})", size_bytes=size_bytes)
        recipients: list[QueuedRecipient] = []
        rows = self._connection.execute(_RECIPIENTS, (number,))
        for index, state, due, attempts, reply, hop, changed, doubt, since, warned, wish, history in rows:
            there = index < len(envelope.recipients)
            address = envelope.recipients[index].address if there else "?"
            domain = envelope.recipients[index].domain if there else ""
            recipients.append(
                QueuedRecipient(
                    index,
                    address,
                    domain,
                    state,
                    seconds(due),
                    attempts,
                    reply,
                    hop,
                    seconds(changed),
                    seconds(doubt),
                    seconds(since),
                    warned,
                    wish,
                    decode_history(history),
                )
            )
        return QueuedMessage(envelope, tuple(recipients))

    def close(self) -> None:
        """Done looking."""
        self._connection.close()


def is_in_use(base: str) -> bool:
    """Whether a process uses the spool now; True when that can't be told."""
    try:
        descriptor = os.open(os.path.join(base, schema.LOCK), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False
