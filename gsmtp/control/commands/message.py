"""``message details``, ``retry``, ``fail`` and ``fail quiet``: one message of the queue.

Source: reference/console-and-logs.md section 4.
"""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from gsmtp.control.command import CommandError, Output, command
from gsmtp.control.reconfigure import off_the_hub
from gsmtp.core.errors import SpoolError
from gsmtp.core.ids import number as id_number
from gsmtp.spool.actions import ACTIONS, Action
from gsmtp.spool.base import QueuedMessage, QueuedRecipient, State, StoredBody
from gsmtp.spool.selection import Selection

if TYPE_CHECKING:
    from gsmtp.control.console import Console

_DETAILS: Final = "message details [full | body] ID"
_MOST_IN_DATA: Final = 1 << 20
"""Bytes of a body that ``json`` and ``xml`` give, which have it as one value."""


# --- what there is to see


@command(
    "message details",
    syntax=_DETAILS,
    help="What is known of a message, for each of its recipients; with `body` its text instead, with `full` both.",
)
def details(console: Console, words: Sequence[str]) -> Output:
    """One block a recipient, and the text line by line."""
    what = str(words[0]).lower() if len(words) == 2 else ""
    if len(words) not in (1, 2) or what not in ("", "full", "body"):
        raise CommandError(f"an id is expected: {_DETAILS}")
    message = off_the_hub(console.operations, _look, console.operations.spool.base, _id(words[-1]))
    body = _body(console, message) if what else None
    lines: Iterator[str] = iter(())
    if what != "body":
        lines = itertools.chain.from_iterable(_block(message, one) for one in message.recipients)
    if body is not None:
        lines = itertools.chain(lines, ("",) if what == "full" else (), _text(_pieces(console, body)))
    return Output(lines, _data(console, message, what, body))


def _id(word: str) -> str:
    text = str(word).upper()
    try:
        id_number(text)
    except ValueError:
        raise CommandError(f"'{word}' is not a message id such as 00/2A-01234-0000001F") from None
    return text


def _look(base: str, message_id: str) -> QueuedMessage:
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
    if found is None or found.envelope.message_id != message_id:
        raise CommandError(_gone(message_id))
    return found


def _gone(message_id: str) -> str:
    return f"there is no message {message_id}: it was delivered, bounced or removed, or never came"


def _block(message: QueuedMessage, one: QueuedRecipient) -> Iterator[str]:
    """The documented lines for one recipient."""
    envelope = message.envelope
    yield f"Message: {envelope.message_id}"
    yield "Message Type: full message"
    yield _named("Created", _moment(envelope.received_wall))
    yield _named("Next Attempt", _moment(one.due_wall) if one.state == State.QUEUED else f"none, it is {one.state}")
    yield _named("Retries", str(one.attempts))
    yield _named("Received Via", _way(message))
    yield _named("Sender", envelope.reverse_path)
    yield _named("Recipient", one.address)
    yield _named("Code", one.reply)
    yield _named("Size", str(envelope.size_bytes))


def _named(label: str, value: str) -> str:
    return f"{label:>22}: {value}".rstrip()


def _moment(wall: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(wall))


def _way(message: QueuedMessage) -> str:
    client, _, _ = message.envelope.client_address.rpartition(":")
    ip = client.strip("[]")
    return message.envelope.protocol + (f" {ip} ({'IPv6' if ':' in ip else 'IPv4'})" if ip else "")


def _data(console: Console, message: QueuedMessage, what: str, body: StoredBody | None) -> Iterator[dict[str, object]]:
    """One item a recipient, and one for the text."""
    envelope = message.envelope
    for one in message.recipients if what != "body" else ():
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
    if body is not None:
        text = bytearray()
        for piece in _pieces(console, body):
            text += piece
            if len(text) >= _MOST_IN_DATA:
                break
        yield {"body": _readable(bytes(text[:_MOST_IN_DATA])), "is_whole": body.size_bytes <= _MOST_IN_DATA}


def _body(console: Console, message: QueuedMessage) -> StoredBody:
    try:
        return console.operations.spool.body(message.envelope.message_id)
    except SpoolError as error:
        raise CommandError(f"the text can't be read: {error}") from None


def _pieces(console: Console, body: StoredBody) -> Iterator[bytes]:
    """The text; a large one is read piece by piece in native threads, while the answer is sent."""
    pieces = body.pieces()
    try:
        while piece := off_the_hub(console.operations, next, pieces, b""):
            yield piece
    except OSError as error:  # the answer is under way: it was delivered meanwhile, or the disk is broken
        yield f"(the text can't be read: {error.strerror})\n".encode()


def _text(pieces: Iterator[bytes]) -> Iterator[str]:
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            yield _readable(line.removesuffix(b"\r"))
    if rest:
        yield _readable(rest)


def _readable(line: bytes) -> str:
    return line.decode("utf-8", "backslashreplace")


# --- what there is to do


def _do(console: Console, words: Sequence[str], syntax: str, action: Action, said: str) -> Output:
    """One action on all recipients of a message."""
    from gsmtp.control.queue_work import change

    if len(words) != 1:
        raise CommandError(f"an id is expected: {syntax}")
    message_id = _id(words[0])
    result = change(console, Selection(ids=(message_id,)), action)
    if not result.changed:
        if result.busy:
            raise CommandError(f"{message_id} is being delivered just now")
        if result.passed_over:
            raise CommandError(f"nothing of {message_id} is left to be done")
        raise CommandError(_gone(message_id))
    return Output((said,), {"id": message_id, "changed": result.changed, "busy": result.busy})


@command(
    "message retry",
    syntax="message retry ID",
    help="Tries a message now. What was held is released, and a dead letter replayed.",
)
def retry(console: Console, words: Sequence[str]) -> Output:
    """All of its recipients."""
    return _do(console, words, "message retry ID", ACTIONS["retry"], "Message requeued for delivery")


@command("message fail", syntax="message fail ID", help="Gives a message up and tells its sender.")
def fail(console: Console, words: Sequence[str]) -> Output:
    """All of its recipients."""
    return _do(console, words, "message fail ID", ACTIONS["bounce"], "Message failed")


@command("message fail quiet", syntax="message fail quiet ID", help="Removes a message without a word to its sender.")
def fail_quiet(console: Console, words: Sequence[str]) -> Output:
    """All of its recipients."""
    return _do(console, words, "message fail quiet ID", ACTIONS["delete"], "Message failed")
