"""``message details``, ``retry``, ``fail`` and ``fail quiet``: one message of the queue.

Source: reference/console-and-logs.md section 4.
"""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from gsmtp.control.command import CommandError, Output, gathered
from gsmtp.control.parts import Parts, Row, total
from gsmtp.control.reconfigure import off_the_hub
from gsmtp.core.errors import SpoolError
from gsmtp.core.ids import number as id_number
from gsmtp.spool.actions import ACTIONS, Action
from gsmtp.spool.base import QueuedMessage, State, StoredBody
from gsmtp.spool.selection import Selection

if TYPE_CHECKING:
    from gsmtp.control.console import Console

_DETAILS: Final = "message details [full | body] ID"
_MOST_IN_DATA: Final = 1 << 20
"""Bytes of a body that ``json`` and ``xml`` give, which have it as one value."""


# --- what there is to see


def _found(console: Console, words: Sequence[str]) -> Iterator[Row]:
    """A row a recipient, then the text piece by piece; nothing where the message isn't."""
    what = _what(words)
    message = off_the_hub(console.operations, _look, console.operations.spool.base, _id(words[-1]))
    if message is None:
        return iter(())
    body = _body(console, message) if what else None
    rows = _data(message) if what != "body" else iter(())
    return rows if body is None else itertools.chain(rows, _pieces(console, body))


def _what(words: Sequence[str]) -> str:
    what = str(words[0]).lower() if len(words) == 2 else ""
    if len(words) not in (1, 2) or what not in ("", "full", "body"):
        raise CommandError(f"an id is expected: {_DETAILS}")
    return what


@gathered(
    "message details",
    _found,
    syntax=_DETAILS,
    help="What is known of a message, for each of its recipients; with `body` its text instead, with `full` both.",
)
def details(console: Console, words: Sequence[str], parts: Parts) -> Output:
    """One block a recipient, and the text line by line."""
    what = _what(words)
    rows = itertools.chain.from_iterable(parts.values)  # one process has it
    first = next(rows, None)
    if first is None:
        raise CommandError(_gone(_id(words[-1])))
    rows = itertools.chain((first,), rows)
    return Output(_lines(rows, what), _items(rows))


def _id(word: str) -> str:
    text = str(word).upper()
    try:
        id_number(text)
    except ValueError:
        raise CommandError(f"'{word}' is not a message id such as 00/2A-01234-0000001F") from None
    return text


def _look(base: str, message_id: str) -> QueuedMessage | None:
    """In a native thread, with a connection of its own."""
    from gsmtp.spool.inspect import Inspector

    try:
        inspector = Inspector(base)
        try:
            found = inspector.message(message_id)
        finally:
            inspector.close()
    except SpoolError as error:
        raise CommandError(str(error)) from None
    return found if found is not None and found.envelope.message_id == message_id else None


def _gone(message_id: str) -> str:
    return f"there is no message {message_id}: it was delivered, bounced or removed, or never came"


def _lines(rows: Iterator[Row], what: str) -> Iterator[str]:
    rest = b""
    is_first = what == "full"
    for row in rows:
        if "text" not in row:
            yield from _block(row)
            continue
        if is_first:
            yield ""
            is_first = False
        *lines, rest = (rest + _bytes(row)).split(b"\n")
        for line in lines:
            yield _readable(line.removesuffix(b"\r"))
    if rest:
        yield _readable(rest)


def _bytes(row: Row) -> bytes:
    text: str = row["text"]
    return text.encode("latin-1")


def _block(row: Row) -> Iterator[str]:
    """The documented lines for one recipient."""
    due = row["next_try"]
    yield f"Message: {row['id']}"
    yield "Message Type: full message"
    yield _named("Created", _moment(row["created"]))
    yield _named("Next Attempt", f"none, it is {row['state']}" if due is None else _moment(due))
    yield _named("Retries", str(row["attempts"]))
    yield _named("Received Via", row["received_via"])
    yield _named("Sender", row["sender"])
    yield _named("Recipient", row["recipient"])
    yield _named("Code", row["reply"])
    yield _named("Size", str(row["size"]))


def _named(label: str, value: str) -> str:
    return f"{label:>22}: {value}".rstrip()


def _moment(wall: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(wall))


def _way(message: QueuedMessage) -> str:
    client, _, _ = message.envelope.client_address.rpartition(":")
    ip = client.strip("[]")
    return message.envelope.protocol + (f" {ip} ({'IPv6' if ':' in ip else 'IPv4'})" if ip else "")


def _data(message: QueuedMessage) -> Iterator[Row]:
    """A row a recipient."""
    envelope = message.envelope
    for one in message.recipients:
        yield {
            "id": envelope.message_id,
            "created": envelope.received_wall,
            "state": one.state,
            "next_try": one.due_wall if one.state == State.QUEUED else None,
            "attempts": one.attempts,
            "received_via": _way(message),
            "sender": envelope.reverse_path,
            "recipient": one.address,
            "reply": one.reply,
            "hop": one.hop,
            "size": envelope.size_bytes,
            "in_doubt_since": one.doubt_wall or None,
            "history": [dataclasses.asdict(past) for past in one.history],
        }


def _items(rows: Iterator[Row]) -> Iterator[Row]:
    """An item a recipient, and one for the beginning of the text."""
    text: bytearray | None = None
    for row in rows:
        if "text" not in row:
            yield row
            continue
        text = text or bytearray()
        text += _bytes(row)
        if len(text) > _MOST_IN_DATA:
            break
    if text is not None:
        yield {"body": _readable(bytes(text[:_MOST_IN_DATA])), "is_whole": len(text) <= _MOST_IN_DATA}


def _body(console: Console, message: QueuedMessage) -> StoredBody:
    try:
        return console.operations.spool.body(message.envelope.message_id)
    except SpoolError as error:
        raise CommandError(f"the text can't be read: {error}") from None


def _pieces(console: Console, body: StoredBody) -> Iterator[Row]:
    """The text, a code point an octet; a large one is read in native threads, while the answer is sent."""
    pieces = body.pieces()
    yield {"text": ""}
    try:
        while piece := off_the_hub(console.operations, next, pieces, b""):
            yield {"text": piece.decode("latin-1")}
    except OSError as error:  # the answer is under way: it was delivered meanwhile, or the disk is broken
        yield {"text": f"(the text can't be read: {error.strerror})\n"}


def _readable(line: bytes) -> str:
    return line.decode("utf-8", "backslashreplace")


# --- what there is to do


def _declare(name: str, text: str, action: Action, said: str) -> None:
    """A command that does something to all recipients of a message."""
    syntax = f"{name} ID"

    def do(console: Console, words: Sequence[str]) -> Row:
        from gsmtp.control.queue_work import change

        if len(words) != 1:
            raise CommandError(f"an id is expected: {syntax}")
        result = change(console, Selection(ids=(_id(words[0]),)), action)
        return {"changed": result.changed, "busy": result.busy, "passed_over": result.passed_over}

    @gathered(name, do, syntax=syntax, help=text, changes=True)
    def show(console: Console, words: Sequence[str], parts: Parts) -> Output:
        message_id = _id(words[0])
        result = total(parts.values)
        if result["changed"]:
            return Output((said,), {"id": message_id, "changed": result["changed"], "busy": result["busy"]})
        if result["busy"]:
            raise CommandError(f"{message_id} is being delivered just now")
        if result["passed_over"]:
            raise CommandError(f"nothing of {message_id} is left to be done")
        raise CommandError(_gone(message_id))


_declare(
    "message retry",
    "Tries a message now. What was held is released, and a dead letter replayed.",
    ACTIONS["retry"],
    "Message requeued for delivery",
)
_declare("message fail", "Gives a message up and tells its sender.", ACTIONS["bounce"], "Message failed")
_declare("message fail quiet", "Removes a message without a word to its sender.", ACTIONS["delete"], "Message failed")
