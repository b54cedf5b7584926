"""Gives a copy of a database that lost its end or parts of its header what SQLite needs to open it, so that what is
left of it can be read. Blocking; changes the copy alone.

Source: the database header of SQLite's file format (https://www.sqlite.org/fileformat.html, section 1.3).
"""

from __future__ import annotations

import os
import sqlite3
import struct

from gsmtp.core.errors import SpoolUnhealthy
from gsmtp.spool import schema

_HEADER_BYTES = 100
_FIELDS: tuple[tuple[int, bytes], ...] = (
    (0, b"SQLite format 3\0"),
    (16, struct.pack(">H", schema.PAGE_BYTES)),
    (18, b"\x02\x02"),  # WAL
    (20, b"\x00\x40\x20\x20"),
    (44, struct.pack(">I", 4)),
    (56, struct.pack(">I", 1)),  # UTF-8
)
"""Places and values that every spool's database has alike."""
_COUNTER = 24
_APPLICATION = 68
_VALID_FOR = 92
_VERSION = 60
_UNLIKELY_VERSION = 32
_MOST_GROWTH = 16
"""A database that lost more than all but a sixteenth is read as it is: it is rather its header that is wrong."""
_MESSAGE = {"id", "name", "size", "received", "envelope", "body"}
_RECIPIENT_1 = {"message", "idx", "address", "domain", "state", "due", "attempts", "reply", "hop", "changed"}
_RECIPIENTS = {1: _RECIPIENT_1, 2: _RECIPIENT_1 | {"since", "doubt", "warned", "wish", "history"}}
"""Columns by the tables' version."""


def is_ours(path: str) -> bool:
    """Whether the database's header says that a gsmtp made it; so does that of an empty file. Raises OSError."""
    with open(path, "rb") as file:
        header = file.read(_HEADER_BYTES)
    return len(header) < _HEADER_BYTES or _is_ours(header)


def _is_ours(header: bytes | bytearray) -> bool:
    return bool(struct.unpack_from(">I", header, _APPLICATION)[0] == schema.APPLICATION_ID)


def version_by_tables(connection: sqlite3.Connection) -> int:
    """The version of a spool's tables by their columns; 0 when they are no spool's, or can't be read."""
    try:
        message, recipient = (
            {row[0] for row in connection.execute("SELECT name FROM pragma_table_info(?)", (table,))}
            for table in ("message", "recipient")
        )
    except sqlite3.Error:
        return 0
    found = [version for version, columns in _RECIPIENTS.items() if columns == recipient and message == _MESSAGE]
    return found[0] if found else 0


def bring_up_to_date(connection: sqlite3.Connection, path: str, version: int) -> None:
    """Give a copy's tables today's form.

    Args:
        connection: to the copy.
        path: of the database, for messages.
        version: as `version_by_tables`, which is more than its header can say.

    Raises:
        SpoolUnhealthy: they are of a newer gsmtp, or nothing says that they are a spool's.
        sqlite3.Error: it can't be read or written.
    """
    claimed = connection.execute("PRAGMA user_version").fetchone()[0]
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    is_newer = application == schema.APPLICATION_ID and schema.SCHEMA_VERSION < claimed < _UNLIKELY_VERSION
    if version and not is_newer:
        if version == schema.SCHEMA_VERSION:
            return
        connection.execute(f"PRAGMA user_version = {version:d}")
        connection.execute(f"PRAGMA application_id = {schema.APPLICATION_ID:d}")
        schema.create_or_check(connection, path)
    elif claimed != schema.SCHEMA_VERSION:
        schema.create_or_check(connection, path)


def refusal(path: str) -> SpoolUnhealthy:
    """Why a database with another program's tables, or with none, isn't touched."""
    return SpoolUnhealthy(f"{path} is not a gsmtp spool: neither its header nor its tables are those of one")


def mend_copy(path: str, *, is_forced: bool = False) -> None:
    """Give the database its header and its length back. Raises OSError.

    Args:
        path: of the copy.
        is_forced: take it for a spool's although its header says otherwise.
    """
    with open(path, "r+b") as file:
        header = bytearray(file.read(_HEADER_BYTES))
        size_bytes = os.fstat(file.fileno()).st_size
        if len(header) < _HEADER_BYTES:
            return
        mended = _mended(header, size_bytes, is_forced=is_forced)
        if mended != header:
            file.seek(0)
            file.write(mended)
        counter, pages = struct.unpack_from(">II", mended, _COUNTER)
        if struct.unpack_from(">I", mended, _VALID_FOR)[0] == counter and size_bytes < pages * schema.PAGE_BYTES:
            # SQLite reads nothing of a database that is too short. Half a page would be bodies with their ends zeroed.
            file.truncate(size_bytes // schema.PAGE_BYTES * schema.PAGE_BYTES)
            file.truncate(pages * schema.PAGE_BYTES)


def _mended(header: bytearray, size_bytes: int, *, is_forced: bool) -> bytearray:
    if not _is_ours(header) and not is_forced:
        return header  # another program's, or none
    mended = bytearray(header)
    counter, pages = struct.unpack_from(">II", mended, _COUNTER)
    there = size_bytes // schema.PAGE_BYTES
    if not _is_ours(header) or not there <= pages <= _MOST_GROWTH * (there + 1):
        struct.pack_into(">I", mended, _VALID_FOR, counter ^ 1)  # SQLite goes by the file's length then
    for at, value in _FIELDS:
        mended[at : at + len(value)] = value
    if struct.unpack_from(">I", mended, _VERSION)[0] > _UNLIKELY_VERSION:
        struct.pack_into(">I", mended, _VERSION, schema.SCHEMA_VERSION)
    return mended
