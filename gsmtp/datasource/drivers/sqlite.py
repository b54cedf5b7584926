"""SQLite data bases: ``sqlite:/path/to/file``.

The file must exist. One that is replaced by another (renamed over) is opened anew. Queries may write, where the file
may be written to.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Mapping
from urllib.parse import quote

from gsmtp.datasource.driver import Surroundings, driver
from gsmtp.datasource.result import ConnectionFault, QueryFault, Result
from gsmtp.datasource.statement import compile_query

_STEPS_BETWEEN_LOOKS = 10_000
_LOST = ("unable to open database file", "file is not a database", "disk I/O error", "database disk image is malformed")


class SqliteConnection:
    """One open data base."""

    def __init__(self, path: str, charset: str, deadline_mono: float) -> None:
        self._path = path
        self._charset = charset
        self._deadline_mono = deadline_mono
        try:
            self._identity = _identity(path)
            self._database = sqlite3.connect(
                f"file:{quote(path)}?mode=rw",
                uri=True,
                isolation_level=None,
                check_same_thread=False,
                timeout=max(0.0, deadline_mono - time.monotonic()),
            )
        except (OSError, sqlite3.Error) as error:
            raise ConnectionFault(f"{path}: {error}") from None
        self._database.text_factory = lambda data: data.decode(charset, "surrogateescape")
        self._database.set_progress_handler(self._is_late, _STEPS_BETWEEN_LOOKS)

    def _is_late(self) -> int:
        return int(time.monotonic() > self._deadline_mono)

    def run(self, query: str, values: Mapping[str, str | None], max_rows: int, deadline_mono: float) -> Result:
        """See `Connection.run`."""
        self._deadline_mono = deadline_mono
        statement = compile_query(query, "?")
        try:
            self._database.execute(f"PRAGMA busy_timeout={max(0, int((deadline_mono - time.monotonic()) * 1000))}")
            cursor = self._database.execute(statement.text, [values[name] for name in statement.names])
            rows = cursor.fetchall() if max_rows < 0 else cursor.fetchmany(max_rows)
            columns = tuple(column[0].lower() for column in cursor.description or ())
            cursor.close()
        except (sqlite3.Error, UnicodeEncodeError) as error:
            if str(error) in _LOST:
                raise ConnectionFault(f"{self._path}: {error}") from None
            raise QueryFault(f"{self._path}: {error}") from None
        return Result(columns, tuple(tuple(self._text(value) for value in row) for row in rows))

    def _text(self, value: object) -> str | None:
        if value is None or isinstance(value, str):
            return value
        if isinstance(value, bytes):
            return value.decode(self._charset, "surrogateescape")
        return str(value)

    def is_stale(self) -> bool:
        """Whether another file stands where this one was."""
        try:
            return _identity(self._path) != self._identity
        except OSError:
            return True

    def close(self) -> None:
        """Close the file."""
        self._database.close()


def _identity(path: str) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_dev, status.st_ino


@driver("sqlite")
class Sqlite:
    """Opens files."""

    def check(self, rest: str) -> None:
        """A path is all that is needed."""
        if not rest or rest.startswith(":memory:"):
            raise ValueError("expected sqlite:/path/to/file")

    def requirement(self) -> str:
        """Nothing: SQLite comes with Python."""
        return ""

    def connect(self, rest: str, surroundings: Surroundings, deadline_mono: float) -> SqliteConnection:
        """Open the file."""
        return SqliteConnection(rest, surroundings.charset or "utf-8", deadline_mono)
