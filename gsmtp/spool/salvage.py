"""Gives a copy of a database that lost its end or parts of its header what SQLite needs to open it, so that what is
left of it can be read. Blocking; changes the copy alone.

Source: the database header of SQLite's file format (https://www.sqlite.org/fileformat.html, section 1.3).
"""

from __future__ import annotations

import os
import struct

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
_APPLICATION = 68
_VERSION = 60
_UNLIKELY_VERSION = 1_000


def mend_copy(path: str) -> None:
    """Give the database its header and its length back. Raises OSError."""
    with open(path, "r+b") as file:
        header = bytearray(file.read(_HEADER_BYTES))
        size_bytes = os.fstat(file.fileno()).st_size
        if len(header) < _HEADER_BYTES:
            return
        mended = _mended(header)
        if mended != header:
            file.seek(0)
            file.write(mended)
        counter, pages = struct.unpack_from(">II", mended, 24)
        if struct.unpack_from(">I", mended, 92)[0] == counter and size_bytes < pages * schema.PAGE_BYTES:
            # SQLite reads nothing of a database that is too short. Half a page would be bodies with their ends zeroed.
            file.truncate(size_bytes // schema.PAGE_BYTES * schema.PAGE_BYTES)
            file.truncate(pages * schema.PAGE_BYTES)


def _mended(header: bytearray) -> bytearray:
    if struct.unpack_from(">I", header, _APPLICATION)[0] != schema.APPLICATION_ID:
        return header  # another program's, or none
    mended = bytearray(header)
    for at, value in _FIELDS:
        mended[at : at + len(value)] = value
    if struct.unpack_from(">I", mended, _VERSION)[0] > _UNLIKELY_VERSION:
        struct.pack_into(">I", mended, _VERSION, schema.SCHEMA_VERSION)
    return mended
