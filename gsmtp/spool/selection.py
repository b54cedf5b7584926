"""Which recipients in the spool are meant: by id, domain, state, sender, address, age; read in pages, never at once.

One place turns a Selection into SQL: `gsmtp queue` beside a stopped server and the running server itself use it. The
primary key gives the order and the place where the next page begins, so a page costs the same wherever it is.
"""

from __future__ import annotations

import json
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


_COLUMNS = "recipient.message, idx, name, address, recipient.domain, state, attempts, due, size, received"
_BY_RECIPIENT = """recipient CROSS JOIN message ON message.id = recipient.message
    WHERE (recipient.message, idx) > (:message, :idx)"""
_BY_MESSAGE = """message CROSS JOIN recipient ON recipient.message = message.id
    AND idx > CASE WHEN message.id = :message THEN :idx ELSE -1 END
    WHERE message.id >= :message"""
"""What is asked of a message is asked once, and not for each of its recipients; but each message's row is read."""
_ENVELOPES = """
SELECT id, CASE WHEN json_valid(envelope) THEN envelope ->> 'from' ELSE '' END,
    CASE WHEN instr(envelope, '"bind":') AND json_valid(envelope) THEN
        (SELECT json_group_object(key, value ->> 'bind') FROM json_each(envelope, '$.to') WHERE value ->> 'bind' <> '')
    ELSE '{}' END
FROM message WHERE id IN (SELECT value FROM json_each(?))
"""
"""An envelope is as long as its recipients are many: it is read once for all of them on a page."""
_TOTALS = """
SELECT domain, state, count(*), sum(size), min(received)
FROM recipient CROSS JOIN message ON message.id = recipient.message
WHERE state NOT IN ('delivered', 'bounced', 'dropped') GROUP BY domain, state ORDER BY domain, state
"""


def _conditions(selection: Selection, now_wall: float) -> tuple[str, dict[str, Any]]:
    parts: list[str] = []
    values: dict[str, Any] = {}

    def add(part: str, name: str, value: Any) -> None:
        parts.append(f" AND ({part})")
        values[name] = value

    if selection.ids:
        table = "recipient.message" if selection.sender is None else "message.id"
        numbers = json.dumps([id_number(one) for one in selection.ids])
        add(f"{table} IN (SELECT value FROM json_each(:ids))", "ids", numbers)  # noqa: S608 - our own words
    if selection.domain:
        add("recipient.domain = :domain", "domain", selection.domain)
    if selection.states:
        add("state IN (SELECT value FROM json_each(:states))", "states", json.dumps(selection.states))
    if selection.recipient:
        add("lower(address) = lower(:recipient)", "recipient", selection.recipient)
    if selection.sender is not None:
        add("json_valid(envelope) AND lower(envelope ->> 'from') = lower(:sender)", "sender", selection.sender)
    if selection.older_s:
        add("received <= :older", "older", microseconds(now_wall - selection.older_s))
    if selection.newer_s:
        add("received >= :newer", "newer", microseconds(now_wall - selection.newer_s))
    return "".join(parts), values


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
    tables = _BY_RECIPIENT if selection.sender is None else _BY_MESSAGE
    order = "recipient.message" if selection.sender is None else "message.id"
    values |= {"message": after[0], "idx": after[1], "limit": limit}
    until = ""
    if window is not None:
        until = f" AND {order} <= :last_message AND (recipient.message, idx) <= (:last_message, :last_idx)"
        values |= {"last_message": window[0], "last_idx": window[1]}
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM {tables}{until}{where} ORDER BY {order}, idx LIMIT :limit",  # noqa: S608 - our own words
        values,
    ).fetchall()
    known = _envelopes(connection, {row[0] for row in rows})
    found = []
    for number, index, name, address, domain, state, attempts, due, size, received in rows:
        if number in known:  # else it went just now
            sender, bindings = known[number]
            by = bindings.get(str(index), "")
            found.append(
                Selected(
                    name, index, address, domain, state, attempts, seconds(due), size, seconds(received), sender, by
                )
            )
    if len(rows) == limit:
        return found, (rows[-1][0], rows[-1][1])
    return found, None if window is None else (window[0], window[1])


def _envelopes(connection: sqlite3.Connection, numbers: set[int]) -> dict[int, tuple[str, dict[str, str]]]:
    """By message number: the reverse-path, and bindings by the recipient's index."""
    if not numbers:
        return {}
    rows = connection.execute(_ENVELOPES, (json.dumps(sorted(numbers)),))
    return {number: (sender or "", json.loads(bindings)) for number, sender, bindings in rows}


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
