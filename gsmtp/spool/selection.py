"""Which recipients in the spool are meant: by id, domain, state, sender, address, age; read in pages, never at once.

One place turns a Selection into SQL: `gsmtp queue` beside a stopped server and the running server itself use it. The
primary key gives the order and the place where the next page begins, so a page costs the same wherever it is.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from gsmtp.core.ids import number as id_number
from gsmtp.spool.base import State
from gsmtp.spool.codec import microseconds, seconds

PAGE = 500
MOST_SCANNED = 20_000
"""Recipients that one page looks at: a filter that fits few rows still gives the reader back soon."""

Place = tuple[int, int]
START: Place = (-1, -1)


@dataclass(frozen=True, slots=True)
class Selection:
    """What an operator means; everything that is given has to fit.

    Args:
        ids: message ids, () for any.
        domain: of the recipient, lower case, "" for any.
        states: of `State.ALL`, () for any.
        sender: the reverse-path without regard to case, "" for the null sender, None for any.
        recipient: the address without regard to case, "" for any.
        older_s: seconds since reception at the least, 0 for any.
        newer_s: seconds since reception at the most, 0 for any.
    """

    ids: tuple[str, ...] = ()
    domain: str = ""
    states: tuple[str, ...] = ()
    sender: str | None = None
    recipient: str = ""
    older_s: float = 0.0
    newer_s: float = 0.0

    def __post_init__(self) -> None:
        for id_ in self.ids:
            id_number(id_)
        for state in self.states:
            if state not in State.ALL:
                raise ValueError(f"'{state}' is no state of a recipient: expected {', '.join(State.ALL)}")

    @property
    def is_everything(self) -> bool:
        """Whether nothing limits it."""
        return self == Selection()


@dataclass(frozen=True, slots=True)
class Selected:
    """One recipient that is meant.

    Args:
        message_id: of the message.
        index: its place in the envelope.
        address: as `core.envelope.Recipient.address`.
        domain: as `core.envelope.Recipient.domain`.
        state: one of `State.ALL`.
        attempts: so far.
        due_wall: for a queued one.
        size_bytes: of the message.
        received_wall: of the message.
        sender: the reverse-path.
        binding: that policy chose for it, "" for none.
    """

    message_id: str
    index: int
    address: str
    domain: str
    state: str
    attempts: int
    due_wall: float
    size_bytes: int
    received_wall: float
    sender: str
    binding: str = ""


@dataclass(frozen=True, slots=True)
class DomainTotal:
    """What waits for one domain.

    Args:
        domain: of the recipients, "" for an unqualified postmaster.
        counts: recipients by state.
        size_bytes: of their messages, a message with two recipients of the domain counted twice.
        oldest_wall: when the oldest was received.
    """

    domain: str
    counts: dict[str, int]
    size_bytes: int
    oldest_wall: float

    @property
    def recipients(self) -> int:
        """All of them."""
        return sum(self.counts.values())


_COLUMNS = """recipient.message, recipient.idx, name, address, recipient.domain, state, attempts, due, size, received,
    CASE WHEN json_valid(envelope) THEN envelope ->> 'from' ELSE '' END,
    CASE WHEN instr(envelope, '"bind":') AND json_valid(envelope)
        THEN coalesce(envelope ->> ('$.to[' || idx || '].bind'), '') ELSE '' END"""
_TOTALS = """
SELECT domain, state, count(*), sum(size), min(received)
FROM recipient CROSS JOIN message ON message.id = recipient.message
WHERE state NOT IN ('delivered', 'bounced', 'dropped') GROUP BY domain, state ORDER BY domain, state
"""


def _conditions(selection: Selection, now_wall: float) -> tuple[str, list[Any]]:
    parts: list[str] = []
    values: list[Any] = []

    def add(part: str, *more: Any) -> None:
        parts.append(f"({part})")
        values.extend(more)

    if selection.ids:
        add(f"recipient.message IN ({','.join('?' * len(selection.ids))})", *map(id_number, selection.ids))
    if selection.domain:
        add("recipient.domain = ?", selection.domain)
    if selection.states:
        add(f"state IN ({','.join('?' * len(selection.states))})", *selection.states)
    if selection.recipient:
        add("lower(address) = lower(?)", selection.recipient)
    if selection.sender is not None:
        add("json_valid(envelope) AND lower(envelope ->> 'from') = lower(?)", selection.sender)
    if selection.older_s:
        add("received <= ?", microseconds(now_wall - selection.older_s))
    if selection.newer_s:
        add("received >= ?", microseconds(now_wall - selection.newer_s))
    return " AND ".join(parts) or "TRUE", values


def page(
    connection: sqlite3.Connection, selection: Selection, now_wall: float, after: Place = START, limit: int = PAGE
) -> tuple[list[Selected], Place | None]:
    """The next recipients that are meant, in the order of reception, and where to go on; None at the end.

    Raises sqlite3.Error. A page may be empty and not the last one: it looks at MOST_SCANNED rows at the most.
    """
    where, values = _conditions(selection, now_wall)
    window = None
    if not selection.ids:
        window = connection.execute(
            "SELECT message, idx FROM recipient WHERE (message, idx) > (?, ?) ORDER BY message, idx LIMIT 1 OFFSET ?",
            (*after, MOST_SCANNED - 1),
        ).fetchone()
    until = "" if window is None else " AND (recipient.message, recipient.idx) <= (?, ?)"
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM recipient CROSS JOIN message ON message.id = recipient.message "  # noqa: S608 - our own words
        f"WHERE (recipient.message, recipient.idx) > (?, ?){until} AND {where} "
        "ORDER BY recipient.message, recipient.idx LIMIT ?",
        (*after, *(window or ()), *values, limit),
    ).fetchall()
    found = [
        Selected(name, index, address, domain, state, attempts, seconds(due), size, seconds(received), sender or "", by)
        for _, index, name, address, domain, state, attempts, due, size, received, sender, by in rows
    ]
    if len(rows) == limit:
        return found, (rows[-1][0], rows[-1][1])
    return found, None if window is None else (window[0], window[1])


def pages(connection: sqlite3.Connection, selection: Selection, now_wall: float) -> Iterator[list[Selected]]:
    """All pages one after the other; each is a short read."""
    after: Place | None = START
    while after is not None:
        found, after = page(connection, selection, now_wall, after)
        if found:
            yield found


def totals(connection: sqlite3.Connection) -> list[DomainTotal]:
    """Counts, sizes and ages by domain of what isn't settled, the largest number of recipients first.

    Reads all rows: a second or two for a million. Raises sqlite3.Error.
    """
    found: dict[str, DomainTotal] = {}
    for domain, state, count, size, received in connection.execute(_TOTALS):
        one = found.get(domain)
        oldest = seconds(received)
        if one is None:
            found[domain] = DomainTotal(domain, {state: count}, size, oldest)
        else:
            found[domain] = DomainTotal(
                domain, {**one.counts, state: count}, one.size_bytes + size, min(one.oldest_wall, oldest)
            )
    return sorted(found.values(), key=lambda one: (-one.recipients, one.domain))
