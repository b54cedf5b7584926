"""``showqueue``, ``flush domain``, ``fail domain`` and ``fail domain quiet``: the queue of one domain.

Source: reference/console-and-logs.md section 4.
"""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from gsmtp.control.command import CommandError, Output, command
from gsmtp.core.domains import normal_domain
from gsmtp.core.errors import SpoolError
from gsmtp.spool.actions import ACTIONS, Action
from gsmtp.spool.base import State
from gsmtp.spool.selection import START, Place, Selected, Selection

if TYPE_CHECKING:
    from gsmtp.control.console import Console

_SHOWQUEUE: Final = "showqueue [binding BINDING|all] DOMAIN [LIMIT,OFFSET]"
_DEFAULT: Final = "default"
_ALL: Final = "all"
_OPEN: Final = (State.QUEUED, State.HELD)


# --- showqueue


@command(
    "showqueue",
    syntax=_SHOWQUEUE,
    help="The messages that wait for a domain, by the default binding or the one that is named, in the order in which "
    "they came; 100 of them without LIMIT,OFFSET.",
)
def showqueue(console: Console, words: Sequence[str]) -> Output:
    """Two lines a recipient; read in pages while they are sent."""
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
    selection = Selection(domain=normal_domain(rest[0]), states=_OPEN)

    def wanted() -> Iterator[Selected]:
        known = console.operations.configuration.has_bindings
        fitting = (
            one
            for one in _selected(console, selection)
            if binding == _ALL or (not known and binding == _DEFAULT) or (one.binding or _DEFAULT) == binding
        )
        return itertools.islice(fitting, offset, offset + limit)

    return Output(
        itertools.chain.from_iterable(_lines(one, time.time()) for one in wanted()),
        (_data(one, time.time()) for one in wanted()),
    )


def _selected(console: Console, selection: Selection) -> Iterator[Selected]:
    after: Place | None = START
    while after is not None:
        try:
            found, after = console.operations.spool.select(selection, after)
        except SpoolError as error:
            raise CommandError(str(error)) from None
        yield from found


def _queue(one: Selected, now: float) -> str:
    if one.state != State.QUEUED:
        return one.state
    return "active" if one.due_wall <= now else "delayed"


def _lines(one: Selected, now: float) -> Iterator[str]:
    yield f"[{_queue(one, now)}/{one.binding or _DEFAULT}] {one.message_id} Created: {int(one.received_wall)}"
    yield f"  From: <{one.sender}> To: <{one.address}>"


def _data(one: Selected, now: float) -> dict[str, object]:
    return {
        "queue": _queue(one, now),
        "binding": one.binding or _DEFAULT,
        "id": one.message_id,
        "created": one.received_wall,
        "sender": one.sender,
        "recipient": one.address,
    }


# --- what there is to do


def _do(
    console: Console, words: Sequence[str], syntax: str, action: Action, states: tuple[str, ...]
) -> tuple[str, int]:
    """One action on all that waits for a domain; its name as it was said, and how many recipients it was done to."""
    from gsmtp.control.queue_work import change

    name = str(words[0]) if len(words) == 1 else ""
    if not name or name.startswith("-"):
        raise CommandError(f"a domain is expected: {syntax}")
    is_all = name.lower() == _ALL and action.name == "retry"  # too short a slip for all to be failed by
    domain = "" if is_all else normal_domain(name)
    return name, change(console, Selection(domain=domain, states=states), action).changed


@command(
    "flush domain",
    syntax="flush domain DOMAIN|all",
    help="Tries now what waits for a domain, but what was held.",
)
def flush_domain(console: Console, words: Sequence[str]) -> Output:
    """All that is queued."""
    name, count = _do(console, words, "flush domain DOMAIN|all", ACTIONS["retry"], (State.QUEUED,))
    return Output((f"{name} flushed.  {count} messages requeued.",), {"domain": name, "requeued": count})


@command(
    "fail domain",
    syntax="fail domain DOMAIN",
    help="Gives up what waits for a domain, held or not, and tells the senders.",
)
def fail_domain(console: Console, words: Sequence[str]) -> Output:
    """All that is queued or held."""
    return _failed(*_do(console, words, "fail domain DOMAIN", ACTIONS["bounce"], _OPEN))


@command(
    "fail domain quiet",
    syntax="fail domain quiet DOMAIN",
    help="Removes what waits for a domain, held or not, without a word to anybody.",
)
def fail_domain_quiet(console: Console, words: Sequence[str]) -> Output:
    """All that is queued or held."""
    return _failed(*_do(console, words, "fail domain quiet DOMAIN", ACTIONS["delete"], _OPEN))


def _failed(name: str, count: int) -> Output:
    return Output((f"{name} purged. {count} messages failed.",), {"domain": name, "failed": count})
