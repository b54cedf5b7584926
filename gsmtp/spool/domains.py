"""How much waits for each domain and binding, and how much in all: due by now, and due later. Reads an index only.

A million queued recipients are counted in some tenths of a second; their bindings are in the messages' rows and take
longer, so they are looked at only where there are any.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Final

from gsmtp.spool.codec import microseconds


@dataclass(frozen=True, slots=True)
class Waiting:
    """Queued recipients of one domain and binding.

    Args:
        domain: of the recipients, "" for an unqualified postmaster.
        binding: that policy chose for them, "" for none.
        active: due by now: at work, in line, or suspended.
        delayed: due later.
    """

    domain: str
    binding: str
    active: int
    delayed: int


_COUNTS: Final = "count(*) FILTER (WHERE due <= ?1), count(*) FILTER (WHERE due > ?1)"
_TOTAL: Final = f"SELECT {_COUNTS} FROM recipient INDEXED BY recipient_due WHERE state = 'queued'"  # noqa: S608 - our own words
_PLAIN: Final = f"""
SELECT domain, '', {_COUNTS} FROM recipient INDEXED BY recipient_due WHERE state = 'queued' GROUP BY domain
"""  # noqa: S608 - our own words
_BINDING: Final = """CASE WHEN instr(envelope, '"bind":') AND json_valid(envelope)
    THEN coalesce(envelope ->> ('$.to[' || idx || '].bind'), '') ELSE '' END"""
_BOUND: Final = f"""
SELECT domain, {_BINDING} AS binding, {_COUNTS} FROM recipient CROSS JOIN message ON message.id = recipient.message
WHERE state = 'queued' GROUP BY domain, binding
"""  # noqa: S608 - our own words


def waiting(connection: sqlite3.Connection, now_wall: float, with_bindings: bool) -> list[Waiting]:
    """What waits by domain, and by binding where that is asked for. Raises sqlite3.Error."""
    rows = connection.execute(_BOUND if with_bindings else _PLAIN, (microseconds(now_wall),))
    return [Waiting(*row) for row in rows]


def total(connection: sqlite3.Connection, now_wall: float) -> tuple[int, int]:
    """Queued recipients that are due by now, and those that are due later. Raises sqlite3.Error."""
    active, delayed = connection.execute(_TOTAL, (microseconds(now_wall),)).fetchone()
    return active, delayed
