"""The SQL of the spool: one statement that writes a whole batch, and the statements that read.

Writing. Python's sqlite3 gives the GIL away at every step of a statement and, while the hub computes, waits up to the
switch interval (5 ms) to have it back. So a batch of accepted messages and outcomes is ONE statement in autocommit
mode: a multi-row INSERT into a temporary view whose triggers do the work, the commit with its sync included. With a
busy hub and 20 messages a batch the commit took 0.9 ms so, 3.5 ms as BEGIN + two INSERTs + COMMIT, 8.3 ms with
executemany. The number of rows is rounded up to a power of two with rows of zeros that a WHERE drops, so a dozen
prepared statements serve all batches.

Reading. For the same reason lists come as one JSON text in one row.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Any

from gsmtp.core.envelope import Envelope, Recipient
from gsmtp.core.errors import SpoolError
from gsmtp.core.ids import number as id_number
from gsmtp.spool.base import Change, Notice, Record, State
from gsmtp.spool.codec import decode_envelope, encode_envelope, microseconds

Row = tuple[Any, ...]

_COLUMNS = ("op", "id", "a", "b", "c", "d", "e", "f", "g", "h")
_ACCEPT, _RECORD, _ACCEPT_ONE, _MARK, _CHANGE = 1, 2, 3, 4, 5
_NOTHING: Row = (0,) * len(_COLUMNS)  # no NULL: sqlite3 would look for an adapter for each
MOST_ROWS = 1024  # times ten parameters: well under SQLite's 32,766 a statement

_HISTORY_CHARACTERS = 8192  # the newest lines of a recipient's history are kept
_SETTLED = ", ".join(f"'{state}'" for state in State.SETTLED)
_HISTORY = (
    "substr(history || json_array({changed}, {state}, {attempts}, {hop}, {reply}) || char(10), "
    f"-{_HISTORY_CHARACTERS})"
)
_REMOVE = f"""
    DELETE FROM message WHERE NEW.b IN ({_SETTLED}) AND id = NEW.id
        AND NOT EXISTS (SELECT 1 FROM recipient WHERE message = NEW.id AND state NOT IN ({_SETTLED}));
    DELETE FROM recipient WHERE NEW.b IN ({_SETTLED}) AND message = NEW.id
        AND NOT EXISTS (SELECT 1 FROM message WHERE id = NEW.id);
"""  # noqa: S608 - our own words go in

_RECORDED = _HISTORY.format(changed="NEW.g", state="NEW.b", attempts="NEW.d", hop="NEW.f", reply="NEW.e")
_CHANGED = _HISTORY.format(changed="NEW.g", state="NEW.b", attempts="attempts", hop="'operator'", reply="NEW.e")

_WORK = f"""
CREATE TEMP VIEW work (op, id, a, b, c, d, e, f, g, h) AS SELECT 0, 0, 0, 0, 0, 0, 0, 0, 0, 0;
CREATE TEMP TRIGGER accepted INSTEAD OF INSERT ON work WHEN NEW.op = 1 BEGIN
    INSERT INTO message (id, name, size, received, envelope, body)
        VALUES (NEW.id, NEW.a, NEW.b, NEW.c, NEW.d, NEW.e);
    INSERT INTO recipient (message, idx, address, domain, state, due, attempts, reply, hop, changed)
        SELECT NEW.id, key, value ->> 'addr', value ->> 'dom', 'queued', NEW.c, 0, '', '', NEW.c
        FROM json_each(NEW.d, '$.to');
END;
CREATE TEMP TRIGGER accepted_one INSTEAD OF INSERT ON work WHEN NEW.op = 3 BEGIN
    INSERT INTO message (id, name, size, received, envelope, body)
        VALUES (NEW.id, NEW.a, NEW.b, NEW.c, NEW.d, NEW.e);
    INSERT INTO recipient (message, idx, address, domain, state, due, attempts, reply, hop, changed)
        VALUES (NEW.id, 0, NEW.f, NEW.g, 'queued', NEW.c, 0, '', '', NEW.c);
END;
CREATE TEMP TRIGGER recorded INSTEAD OF INSERT ON work WHEN NEW.op = 2 BEGIN
    UPDATE recipient SET state = NEW.b, due = NEW.c, attempts = NEW.d, reply = NEW.e, hop = NEW.f, changed = NEW.g,
            warned = NEW.h, doubt = 0, wish = '',
            history = iif(NEW.b = 'delivered', history, {_RECORDED})
        WHERE message = NEW.id AND idx = NEW.a;
    {_REMOVE}
END;
CREATE TEMP TRIGGER marked INSTEAD OF INSERT ON work WHEN NEW.op = 4 BEGIN
    UPDATE recipient SET doubt = NEW.c WHERE message = NEW.id AND idx = NEW.a;
END;
CREATE TEMP TRIGGER changed INSTEAD OF INSERT ON work WHEN NEW.op = 5 BEGIN
    UPDATE recipient SET state = NEW.b, due = NEW.c, changed = NEW.g, wish = NEW.f,
            attempts = iif(NEW.d, 0, attempts), since = iif(NEW.d, NEW.g, since), warned = iif(NEW.d, 0, warned),
            history = {_CHANGED}
        WHERE message = NEW.id AND idx = NEW.a AND (NEW.h = '' OR state = NEW.h);
    {_REMOVE}
END;
"""  # noqa: S608 - our own words go in

_DUE = """
SELECT json_group_array(json_array(name, idx, address, domain, attempts, due, priority, binding, since, warned, wish))
FROM (
    SELECT name, idx, address, domain, attempts, due, since, warned, wish,
        CASE WHEN instr(envelope, '"prio":') AND json_valid(envelope) THEN envelope ->> 'prio' ELSE 0 END AS priority,
        CASE WHEN instr(envelope, '"bind":') AND json_valid(envelope)
            THEN coalesce(envelope ->> ('$.to[' || idx || '].bind'), '') ELSE '' END AS binding
    FROM recipient INDEXED BY recipient_due CROSS JOIN message ON message.id = recipient.message
    WHERE state = 'queued' AND due <= ? AND domain NOT IN (SELECT value FROM json_each(?))
    ORDER BY due, message, idx LIMIT ?)
"""
# Only of a domain with a skipped pair is the binding looked at: it is in the message's row, not in the index.
_DUE_PAIRS = _DUE.replace(
    "ORDER BY",
    """AND (domain NOT IN (SELECT value FROM json_each(?)) OR (domain || ' ' ||
        CASE WHEN instr(envelope, '"bind":') AND json_valid(envelope)
            THEN coalesce(envelope ->> ('$.to[' || idx || '].bind'), '') ELSE '' END
        ) NOT IN (SELECT value FROM json_each(?)))
    ORDER BY""",
)
# What an operator wishes for is handed out whatever domains are skipped; the index of wishes is nearly always empty.
_WISHED = _DUE.replace("INDEXED BY recipient_due", "INDEXED BY recipient_wish").replace(
    "domain NOT IN (SELECT value FROM json_each(?))", "wish <> ''"
)
EVER_US = (1 << 63) - 1
"""As `due`'s time: all that is queued, whenever it is due."""


def _statement(rows: int) -> str:
    row = f"({','.join('?' * len(_COLUMNS))})"
    columns = ",".join(f"column{number}" for number in range(1, len(_COLUMNS) + 1))
    return f"INSERT INTO work SELECT {columns} FROM (VALUES {','.join([row] * rows)}) WHERE column1 <> 0"  # noqa: S608 - only question marks go in


_STATEMENTS = {size: _statement(size) for size in (2**power for power in range(MOST_ROWS.bit_length()))}


def prepare_writer(connection: sqlite3.Connection) -> None:
    """Give a connection the view that `apply` writes through. Nothing of it is in the file."""
    connection.executescript(_WORK)


def accept_row(
    number: int,
    name: str,
    size_bytes: int,
    received_us: int,
    envelope: str,
    body: bytes | None,
    recipients: Sequence[Recipient],
) -> Row:
    """The row for `apply` that stores a message, all its recipients queued and due at `received_us`.

    The usual single recipient goes as two columns: taking it out of the JSON would cost SQLite a quarter of the row.
    """
    one = recipients[0]
    if len(recipients) == 1 and one.address.isascii() and one.domain.isascii():
        # other text may hold a client's bytes that were not UTF-8, which only the JSON carries
        return (_ACCEPT_ONE, number, name, size_bytes, received_us, envelope, body, one.address, one.domain, 0)
    return (_ACCEPT, number, name, size_bytes, received_us, envelope, body, 0, 0, 0)


def notice_row(notice: Notice) -> Row:
    """The row for `apply` that stores a message of our own."""
    envelope = notice.envelope
    return accept_row(
        id_number(envelope.message_id),
        envelope.message_id,
        len(notice.body),
        microseconds(envelope.received_wall),
        encode_envelope(envelope),
        notice.body,
        envelope.recipients,
    )


def record_row(number: int, record: Record) -> Row:
    """The row for `apply` that notes an outcome, and removes the message if it was the last one to be settled."""
    return (
        _RECORD,
        number,
        record.index,
        record.state,
        microseconds(record.due_wall) if record.state == State.QUEUED else 0,
        record.attempts,
        record.reply.encode("utf-8", "surrogatepass").decode("utf-8", "replace"),
        record.hop,
        microseconds(record.when_wall),
        record.warned,
    )


def mark_row(number: int, index: int, when_wall: float) -> Row:
    """The row for `apply` that notes that a recipient is about to be handed over."""
    return (_MARK, number, index, 0, microseconds(when_wall), 0, 0, 0, 0, 0)


def change_row(number: int, change: Change) -> Row:
    """The row for `apply` that does what an operator wants of a recipient."""
    return (
        _CHANGE,
        number,
        change.index,
        change.state,
        microseconds(change.due_wall) if change.state == State.QUEUED else 0,
        change.starts_anew,
        change.note,
        change.wish,
        microseconds(change.when_wall),
        change.expected,
    )


def apply(connection: sqlite3.Connection, rows: Sequence[Row]) -> None:
    """Write up to MOST_ROWS rows as one durable transaction, all or none. Blocks; raises sqlite3.Error."""
    size = 1 << (len(rows) - 1).bit_length()
    values = [value for row in rows for value in row]
    values.extend(_NOTHING * (size - len(rows)))
    connection.execute(_STATEMENTS[size], values)


def probe(connection: sqlite3.Connection) -> None:
    """Write and sync something that means nothing: raises sqlite3.Error when the spool can't be written."""
    connection.execute("UPDATE meta SET value = value + 1 WHERE key = 'probe'")


def still_there(connection: sqlite3.Connection, numbers: Sequence[int]) -> set[int]:
    """Which of these messages exist."""
    text = connection.execute(
        "SELECT json_group_array(id) FROM message WHERE id IN (SELECT value FROM json_each(?))",
        (json.dumps(numbers),),
    ).fetchone()[0]
    return set(json.loads(text))


def due(connection: sqlite3.Connection, now_us: int, limit: int, skip_domains: Sequence[str]) -> list[list[Any]]:
    """Queued recipients due by then, earliest first: [message id, index, address, domain, attempts, due in us,
    priority, binding, since in us, warned, wish]."""
    domains = [key for key in skip_domains if "\0" not in key]
    pairs = [key.split("\0", 1) for key in skip_domains if "\0" in key]
    if not pairs:
        text = connection.execute(_DUE, (now_us, json.dumps(domains), limit)).fetchone()[0]
    else:
        words = (json.dumps(sorted({domain for domain, _ in pairs})), json.dumps([" ".join(pair) for pair in pairs]))
        text = connection.execute(_DUE_PAIRS, (now_us, json.dumps(domains), *words, limit)).fetchone()[0]
    found: list[list[Any]] = json.loads(text)
    if skip_domains and connection.execute("SELECT EXISTS (SELECT 1 FROM recipient WHERE wish <> '')").fetchone()[0]:
        wished: list[list[Any]] = json.loads(connection.execute(_WISHED, (now_us, limit)).fetchone()[0])
        return wished + found  # one may be in both: leases see to it that it is handed out once
    return found


def envelope(connection: sqlite3.Connection, number: int) -> Envelope | None:
    """One envelope, or None when there is no such message."""
    row = connection.execute("SELECT name, size, envelope FROM message WHERE id = ?", (number,)).fetchone()
    return None if row is None else decode_envelope(*row)


def envelopes(connection: sqlite3.Connection, numbers: Sequence[int]) -> list[Envelope]:
    """Those of these messages that exist and can be read."""
    query = (
        "SELECT json_group_array(json_array(name, size, envelope)) FROM message "
        "WHERE id IN (SELECT value FROM json_each(?))"
    )
    found: list[Envelope] = []
    for row in json.loads(connection.execute(query, (json.dumps(numbers),)).fetchone()[0]):
        try:
            found.append(decode_envelope(*row))
        except SpoolError:  # who wants that one is told when it is read alone
            continue
    return found


def body(connection: sqlite3.Connection, number: int) -> tuple[int, bytes | None] | None:
    """Size and bytes of a body, None instead of the bytes when it is in a file; None for no such message."""
    return connection.execute("SELECT size, body FROM message WHERE id = ?", (number,)).fetchone()  # type: ignore[no-any-return]
