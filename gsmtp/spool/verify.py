"""Is a spool sound? Reads all of it, beside a running server or without one, changes nothing, and says what it finds.

Rows are read in pages of a few hundred, so memory stays small however long the queue is. What may be under way in a
running server (a body file whose row is not committed yet, a row whose file was just removed) is looked at once more
before it is called a finding. No gevent.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from gsmtp.core.errors import SpoolError
from gsmtp.core.ids import number as id_number
from gsmtp.spool import schema
from gsmtp.spool.base import State
from gsmtp.spool.body_files import BodyFiles
from gsmtp.spool.codec import decode_envelope
from gsmtp.spool.inspect import is_in_use, look

PAGE = 200
MOST_DAMAGE_LINES = 20
_FAR_FUTURE_S = 400 * 86_400
_YOUNG_S = 60.0
_SECOND_LOOK_S = 1.0

Progress = Callable[[int, int], None]
"""Called now and then with messages read and messages there are."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be.

    Args:
        kind: one word a sort, for programs: ``database``, ``envelope``, ``body``, ``recipient``, ``time``, ``file``.
        text: what, for people.
        message_id: of the message that it concerns, "" for none.
        loses: whether mail can't be delivered because of it; else it is untidy only.
    """

    kind: str
    text: str
    message_id: str = ""
    loses: bool = True


@dataclass(slots=True)
class Verdict:
    """What was looked at and found.

    Args:
        base: the spool's directory.
        in_use: whether a server runs on it.
        messages: that were read.
        recipients: by state.
        body_files: that belong to a message.
        findings: in the order in which they were found.
    """

    base: str
    in_use: bool
    messages: int = 0
    recipients: dict[str, int] = field(default_factory=dict)
    body_files: int = 0
    findings: list[Finding] = field(default_factory=list)

    @property
    def is_sound(self) -> bool:
        """Whether nothing keeps mail from being delivered."""
        return not any(finding.loses for finding in self.findings)


class _Verifier:
    def __init__(self, base: str, progress: Progress) -> None:
        self._base = base
        self._path = schema.database_path(base)
        self._progress = progress
        self._files = BodyFiles(base, mode=0, fsync=False)
        self.verdict = Verdict(base, is_in_use(base))
        self._filed: set[int] = set()

    def run(self) -> Verdict:
        try:
            connection = self._open()
        except (sqlite3.Error, SpoolError) as error:
            self._found("database", f"{self._path} can't be read: {error}")
            return self.verdict
        try:
            self._check_pages(connection)
            self._check_messages(connection)
            self._check_strays(connection)
            self._check_files(connection)
        finally:
            connection.close()
        return self.verdict

    def _open(self) -> sqlite3.Connection:
        is_still = not self.verdict.in_use and not os.path.exists(self._path + "-wal")
        connection = schema.connect(self._path, query="mode=ro&immutable=1" if is_still else "mode=ro")
        schema.check_version(connection, self._path)
        return connection

    def _found(self, kind: str, text: str, message_id: str = "", *, loses: bool = True) -> None:
        self.verdict.findings.append(Finding(kind, text, message_id, loses))

    # --- the database

    def _check_pages(self, connection: sqlite3.Connection) -> None:
        """SQLite's own look at every page and index."""
        try:
            for (line,) in connection.execute(f"PRAGMA integrity_check({MOST_DAMAGE_LINES})"):
                if line != "ok":
                    self._found("database", str(line))
        except sqlite3.Error as error:
            self._found("database", f"SQLite can't check it: {error}")

    def _check_messages(self, connection: sqlite3.Connection) -> None:
        try:
            total = connection.execute("SELECT count(*) FROM message").fetchone()[0]
            last = -1
            while True:
                rows = connection.execute(
                    "SELECT id, name, size, received, envelope, body IS NULL, length(body) FROM message "
                    "WHERE id > ? ORDER BY id LIMIT ?",
                    (last, PAGE),
                ).fetchall()
                if not rows:
                    return
                for row in rows:
                    self._check_message(connection, *row)
                last = rows[-1][0]
                self.verdict.messages += len(rows)
                self._progress(self.verdict.messages, max(total, self.verdict.messages))
        except sqlite3.Error as error:
            self._found("database", f"messages behind the {self.verdict.messages}th can't be read: {error}")

    def _check_message(
        self,
        connection: sqlite3.Connection,
        number: int,
        name: str,
        size: int,
        received: int,
        text: str,
        is_filed: int,
        length: int | None,
    ) -> None:
        try:
            if id_number(name) != number:
                self._found("message", f"its number is {number:012X}, which is not that of its id", name)
        except ValueError:
            self._found("message", f"{name!r} is not a message id", name)
        if received <= 0 or received / 1e6 > time.time() + _FAR_FUTURE_S:
            self._found("time", f"it was received at {received / 1e6:.0f}, seconds since the epoch", name, loses=False)
        if is_filed:
            self._filed.add(number)
            self._check_body_file(connection, number, name, size)
        elif length != size:
            self._found("body", f"its body has {length} of {size} bytes", name)
        try:
            expected = [one.address for one in decode_envelope(name, size, text).recipients]
        except SpoolError as error:
            self._found("envelope", str(error), name)
            expected = None
        self._check_recipients(connection, number, name, expected)

    def _check_body_file(self, connection: sqlite3.Connection, number: int, name: str, size: int) -> None:
        problem = self._body_problem(number, size)
        if problem and self.verdict.in_use and not _still_there(connection, number):
            return  # delivered meanwhile
        if problem:
            self._found("body", problem, name)
        else:
            self.verdict.body_files += 1

    def _body_problem(self, number: int, size: int) -> str:
        path = self._files.path(number)
        try:
            found = os.stat(path).st_size
        except OSError as error:
            return f"its body file {path}: {error.strerror}"
        return "" if found == size else f"its body file {path} has {found} of {size} bytes"

    def _check_recipients(
        self, connection: sqlite3.Connection, number: int, name: str, expected: list[str] | None
    ) -> None:
        rows = connection.execute(
            "SELECT idx, address, state, due FROM recipient WHERE message = ? ORDER BY idx", (number,)
        ).fetchall()
        if not rows and self.verdict.in_use and not _still_there(connection, number):
            return
        count = len(rows) if expected is None else len(expected)
        if [row[0] for row in rows] != list(range(count)):
            self._found("recipient", f"it has {len(rows)} of its {count} recipients", name)
        for index, address, state, due in rows:
            self.verdict.recipients[state] = self.verdict.recipients.get(state, 0) + 1
            if state not in State.ALL:
                self._found("recipient", f"recipient {index} is in state {state!r}, which is none", name)
            if expected is not None and index < len(expected) and address != expected[index]:
                self._found("recipient", f"recipient {index} is <{address}> in the queue and not in the envelope", name)
            if state == State.QUEUED and due / 1e6 > time.time() + _FAR_FUTURE_S:
                self._found("time", f"recipient {index} is due at {due / 1e6:.0f} only", name, loses=False)

    def _check_strays(self, connection: sqlite3.Connection) -> None:
        try:
            strays = connection.execute(
                "SELECT count(*) FROM recipient WHERE message NOT IN (SELECT id FROM message)"
            ).fetchone()[0]
        except sqlite3.Error as error:
            self._found("database", f"recipients can't be read: {error}")
            return
        if strays:
            self._found("recipient", f"{strays} recipients are of no message", loses=False)

    # --- files

    def _check_files(self, connection: sqlite3.Connection) -> None:
        strays = [path for path, number in self._body_files() if number not in self._filed]
        if strays and self.verdict.in_use:
            time.sleep(_SECOND_LOOK_S)
        for path in strays:
            number = int(os.path.basename(path), 16)
            if not self._is_stray(connection, path, number):
                continue
            self._found("file", f"{path} belongs to no message; the next start removes it", loses=False)
        try:
            unfinished = [entry.path for entry in os.scandir(self._files.incoming)]
        except OSError:
            unfinished = []
        if unfinished and not self.verdict.in_use:
            self._found(
                "file",
                f"{len(unfinished)} bodies were cut off on their way in; the next start removes them",
                loses=False,
            )
        if not os.path.exists(os.path.join(self._base, schema.BALLAST)):
            self._found("file", "the ballast is missing: the disk was full; it comes back with room", loses=False)

    def _is_stray(self, connection: sqlite3.Connection, path: str, number: int) -> bool:
        if not self.verdict.in_use:
            return True
        try:
            is_young = time.time() - os.stat(path).st_mtime < _YOUNG_S
        except OSError:
            return False
        try:
            return not is_young and not _still_there(connection, number)
        except sqlite3.Error:
            return not is_young

    def _body_files(self) -> Iterator[tuple[str, int]]:
        return body_files(self._files)


def body_files(files: BodyFiles) -> Iterator[tuple[str, int]]:
    """Path and message number of each body file of a spool; files that are not the spool's are passed over."""
    for directory, _, names in os.walk(files.root):
        if directory in (files.root, files.incoming):
            continue
        for name in names:
            path = os.path.join(directory, name)
            try:
                number = int(name, 16)
            except ValueError:
                continue
            if files.path(number) == path:
                yield path, number


def _still_there(connection: sqlite3.Connection, number: int) -> bool:
    found = connection.execute("SELECT EXISTS (SELECT 1 FROM message WHERE id = ?)", (number,)).fetchone()[0]
    return bool(found)


def verify(base: str, progress: Progress = lambda done, total: None) -> Verdict:
    """Look at the spool in a directory. Takes as long as reading all of it; the server may run meanwhile.

    Raises:
        NoSpool: nothing is there.
        SpoolUnhealthy: the directory can't be read.
    """
    look(base)
    return _Verifier(base, progress).run()
