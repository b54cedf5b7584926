"""``queue …``: see the queue and work it, by id, domain, state, sender, recipient or age.

`gsmtp queue` asks for the same things beside a running server (docs/queue.md).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from gsmtp.control.command import CommandError, Output, command
from gsmtp.core.errors import SpoolError
from gsmtp.spool.actions import ACTIONS, Action, Changed
from gsmtp.spool.filters import SYNTAX, parse
from gsmtp.spool.selection import START, DomainTotal, Place, Selected, Selection

if TYPE_CHECKING:
    from gsmtp.control.console import Console


def _selection(words: Sequence[str]) -> Selection:
    try:
        return parse(words)
    except ValueError as error:
        raise CommandError(str(error)) from None


def told(action: Action, result: Changed) -> str:
    """What came of an action, in a sentence.

    >>> told(ACTIONS["hold"], Changed(12, 10, 1, 0))
    '12 recipients of 10 messages held; 1 was being delivered just then, and is as it was'
    """
    text = f"{_count(result.changed, 'recipient')} of {_count(result.messages, 'message')} {action.past}"
    if result.busy:
        was, isnt = ("was", "is as it was") if result.busy == 1 else ("were", "are as they were")
        text += f"; {result.busy} {was} being delivered just then, and {isnt}"
    if result.passed_over:
        text += f"; {result.passed_over} passed over: only {' or '.join(action.states)} ones can be"
    return text


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _declare(action: Action) -> None:
    @command(f"queue {action.name}", syntax=f"queue {action.name} {SYNTAX}", help=action.help)
    def run(console: Console, words: Sequence[str]) -> Output:
        from gsmtp.control.queue_work import change

        result = change(console, _selection(words), action)
        data = {
            "action": action.name,
            "changed": result.changed,
            "messages": result.messages,
            "busy": result.busy,
            "passed_over": result.passed_over,
        }
        return Output((told(action, result),), data)


for _action in ACTIONS.values():
    _declare(_action)


@command(
    "queue list",
    syntax=f"queue list {SYNTAX}",
    help="One line a recipient: id, state, attempts, age, size, sender and address, the oldest first.",
)
def queue_list(console: Console, words: Sequence[str]) -> Output:
    """Read page by page while the answer is sent."""
    selection = _selection(words or ("all",))
    return Output(
        (_line(one) for one in _selected(console, selection)), (_data(one) for one in _selected(console, selection))
    )


def _selected(console: Console, selection: Selection) -> Iterator[Selected]:
    after: Place | None = START
    while after is not None:
        try:
            found, after = console.operations.spool.select(selection, after)
        except SpoolError as error:
            raise CommandError(str(error)) from None
        yield from found


def _line(one: Selected) -> str:
    age_s = max(int(time.time() - one.received_wall), 0)
    return (
        f"{one.message_id}  {one.state:<8}  {one.attempts:>3}  {age_s:>8} s  {one.size_bytes:>9}  <{one.sender}>  "
        f"<{one.address}>"
    )


def _data(one: Selected) -> dict[str, object]:
    return {
        "id": one.message_id,
        "index": one.index,
        "recipient": one.address,
        "domain": one.domain,
        "state": one.state,
        "attempts": one.attempts,
        "next_try": one.due_wall or None,
        "received": one.received_wall,
        "size": one.size_bytes,
        "sender": one.sender,
    }


@command(
    "queue summary", help="Recipients by state, size and the oldest one's age, for each domain; the largest first."
)
def queue_summary(console: Console, words: Sequence[str]) -> Output:
    """Reads the whole queue: a second or two for a million recipients."""
    if words:
        raise CommandError("queue summary takes no words")
    try:
        found = console.operations.spool.totals()
    except SpoolError as error:
        raise CommandError(str(error)) from None
    return Output(summary_lines(found), [total_data(one) for one in found])


_ROW = "{:<40} {:>9} {:>9} {:>9} {:>12} {:>10}"


def summary_lines(found: Sequence[DomainTotal]) -> list[str]:
    """A table, with a line for all of them."""
    now = time.time()
    lines = [_ROW.format("DOMAIN", "QUEUED", "HELD", "DEAD", "BYTES", "OLDEST")]
    for one in found:
        oldest = f"{max(int(now - one.oldest_wall), 0)} s"
        counts = (one.counts.get(state, 0) for state in ("queued", "held", "dead"))
        lines.append(_ROW.format(one.domain or "(none)", *counts, one.size_bytes, oldest))
    total = _count(sum(one.recipients for one in found), "recipient")
    lines.append(f"{total}, {_count(len(found), 'domain')}")
    return lines


def total_data(one: DomainTotal) -> dict[str, object]:
    """The same as values."""
    return {"domain": one.domain, **one.counts, "size": one.size_bytes, "oldest": one.oldest_wall}
