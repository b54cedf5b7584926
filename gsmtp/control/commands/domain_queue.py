"""``showqueue``, ``flush domain``, ``fail domain`` and ``fail domain quiet``: the queue of one domain.

Source: reference/console-and-logs.md section 4.
"""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gsmtp.control.command import CommandError, Output, gathered
from gsmtp.control.parts import Parts, Row, by, total
from gsmtp.control.selected import selected
from gsmtp.core.domains import normal_domain
from gsmtp.spool.actions import ACTIONS, Action
from gsmtp.spool.base import State
from gsmtp.spool.selection import Selected, Selection

if TYPE_CHECKING:
    from gsmtp.control.console import Console

_SHOWQUEUE: Final = "showqueue [binding BINDING|all] DOMAIN [LIMIT,OFFSET]"
_DEFAULT: Final = "default"
_ALL: Final = "all"
_OPEN: Final = (State.QUEUED, State.HELD)


# --- showqueue


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is to be shown: a domain, a binding or all, so many, after those that are passed over."""

    domain: str
    binding: str
    limit: int
    offset: int


def _asked(words: Sequence[str]) -> _Asked:
    rest = [str(word) for word in words]
    binding = _DEFAULT
    if len(rest) > 2 and rest[0].lower() == "binding":
        binding, rest = rest[1], rest[2:]
    limit, offset = 100, 0
    if len(rest) == 2:
        found = re.fullmatch(r"(\d{1,9})(?:,(\d{1,9}))?", rest[1])
        if found is None:
            raise CommandError(f"'{rest[1]}' is no limit and offset, such as 100,0")
        limit, offset = int(found[1]), int(found[2] or 0)
    if len(rest) not in (1, 2) or not rest[0]:
        raise CommandError(f"a domain is expected: {_SHOWQUEUE}")
    return _Asked(normal_domain(rest[0]), binding, limit, offset)


def _wanted(console: Console, words: Sequence[str]) -> Iterator[Row]:
    """The first ones, in the order in which they came; as many as may be shown."""
    asked = _asked(words)
    known = console.operations.configuration.has_bindings
    binding = _ALL if asked.binding == _DEFAULT and not known else asked.binding
    fitting = (
        _data(one, time.time())
        for one in selected(console, Selection(domain=asked.domain, states=_OPEN))
        if binding == _ALL or (one.binding or _DEFAULT) == binding
    )
    return itertools.islice(fitting, asked.offset + asked.limit)


@gathered(
    "showqueue",
    _wanted,
    syntax=_SHOWQUEUE,
    help="The messages that wait for a domain, by the default binding or the one that is named, in the order in which "
    "they came; 100 of them without LIMIT,OFFSET.",
)
def showqueue(console: Console, words: Sequence[str], parts: Parts) -> Output:
    """Two lines a recipient; read in pages while they are sent."""
    asked = _asked(words)
    rows = itertools.islice(parts.merged(by("created", "id")), asked.offset, asked.offset + asked.limit)
    return Output(itertools.chain.from_iterable(map(_lines, rows)), rows)


def _queue(one: Selected, now: float) -> str:
    if one.state != State.QUEUED:
        return one.state
    return "active" if one.due_wall <= now else "delayed"


def _lines(row: Row) -> Iterator[str]:
    yield f"[{row['queue']}/{row['binding']}] {row['id']} Created: {int(row['created'])}"
    yield f"  From: <{row['sender']}> To: <{row['recipient']}>"


def _data(one: Selected, now: float) -> Row:
    return {
        "queue": _queue(one, now),
        "binding": one.binding or _DEFAULT,
        "id": one.message_id,
        "created": one.received_wall,
        "sender": one.sender,
        "recipient": one.address,
    }


# --- what there is to do


def _declare(
    name: str, syntax: str, text: str, action: Action, states: tuple[str, ...], told: Callable[[str, int], Output]
) -> None:
    """A command that does something to all that waits for a domain; `told` says to how many recipients it was done."""

    def do(console: Console, words: Sequence[str]) -> Row:
        from gsmtp.control.queue_work import change

        named = str(words[0]) if len(words) == 1 else ""
        if not named or named.startswith("-"):
            raise CommandError(f"a domain is expected: {syntax}")
        is_all = named.lower() == _ALL and action.name == "retry"  # too short a slip for all to be failed by
        domain = "" if is_all else normal_domain(named)
        return {"changed": change(console, Selection(domain=domain, states=states), action).changed}

    @gathered(name, do, syntax=syntax, help=text, changes=True)
    def show(console: Console, words: Sequence[str], parts: Parts) -> Output:
        return told(str(words[0]), total(parts.values)["changed"])


def _flushed(name: str, count: int) -> Output:
    return Output((f"{name} flushed.  {count} messages requeued.",), {"domain": name, "requeued": count})


def _failed(name: str, count: int) -> Output:
    return Output((f"{name} purged. {count} messages failed.",), {"domain": name, "failed": count})


_declare(
    "flush domain",
    "flush domain DOMAIN|all",
    "Tries now what waits for a domain, but what was held.",
    ACTIONS["retry"],
    (State.QUEUED,),
    _flushed,
)
_declare(
    "fail domain",
    "fail domain DOMAIN",
    "Gives up what waits for a domain, held or not, and tells the senders.",
    ACTIONS["bounce"],
    _OPEN,
    _failed,
)
_declare(
    "fail domain quiet",
    "fail domain quiet DOMAIN",
    "Removes what waits for a domain, held or not, without a word to anybody.",
    ACTIONS["delete"],
    _OPEN,
    _failed,
)
