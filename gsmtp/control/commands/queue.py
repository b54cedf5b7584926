"""``queue …``: see the queue and work it, by id, domain, state, sender, recipient or age.

`gsmtp queue` asks for the same things beside a running server (docs/queue.md).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from gsmtp.control.command import CommandError, Output, gathered
from gsmtp.control.parts import Parts, Row, by, grouped, total
from gsmtp.control.selected import selected
from gsmtp.core.errors import SpoolError
from gsmtp.spool.actions import ACTIONS, OPEN, Action
from gsmtp.spool.filters import SYNTAX, parse
from gsmtp.spool.selection import DomainTotal, Selected, Selection

if TYPE_CHECKING:
    from gsmtp.control.console import Console


def _selection(words: Sequence[str]) -> Selection:
    try:
        return parse(words)
    except ValueError as error:
        raise CommandError(str(error)) from None


def told(action: Action, result: Row) -> str:
    """What came of an action, in a sentence.

    >>> told(ACTIONS["hold"], {"changed": 12, "messages": 10, "busy": 1, "passed_over": 0})
    '12 recipients of 10 messages held; 1 was being delivered just then, and is as it was'
    """
    text = f"{_count(result['changed'], 'recipient')} of {_count(result['messages'], 'message')} {action.past}"
    busy = result["busy"]
    if busy:
        was, isnt = ("was", "is as it was") if busy == 1 else ("were", "are as they were")
        text += f"; {busy} {was} being delivered just then, and {isnt}"
    if result["passed_over"]:
        text += f"; {result['passed_over']} passed over: only {' or '.join(action.states)} ones can be"
    return text


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _declare(action: Action) -> None:
    def do(console: Console, words: Sequence[str]) -> Row:
        from gsmtp.control.queue_work import change

        result = change(console, _selection(words), action)
        return {
            "action": action.name,
            "changed": result.changed,
            "messages": result.messages,
            "busy": result.busy,
            "passed_over": result.passed_over,
        }

    @gathered(f"queue {action.name}", do, syntax=f"queue {action.name} {SYNTAX}", help=action.help, changes=True)
    def show(console: Console, words: Sequence[str], parts: Parts) -> Output:
        result = total(parts.values)
        return Output((told(action, result),), result)


for _action in ACTIONS.values():
    _declare(_action)


def _listed(console: Console, words: Sequence[str]) -> Iterator[Row]:
    return map(_data, selected(console, _selection(words or ("all",))))


@gathered(
    "queue list",
    _listed,
    syntax=f"queue list {SYNTAX}",
    help="One line a recipient: id, state, attempts, age, size, sender and address, the oldest first.",
)
def queue_list(console: Console, words: Sequence[str], parts: Parts) -> Output:
    """Read page by page while the answer is sent."""
    rows = parts.merged(by("received", "id", "index"))
    return Output(map(_line, rows), rows)


def _line(row: Row) -> str:
    age_s = max(int(time.time() - row["received"]), 0)
    return (
        f"{row['id']}  {row['state']:<8}  {row['attempts']:>3}  {age_s:>8} s  {row['size']:>9}  <{row['sender']}>  "
        f"<{row['recipient']}>"
    )


def _data(one: Selected) -> Row:
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


def _totals(console: Console, words: Sequence[str]) -> list[Row]:
    """By domain, by name."""
    if words:
        raise CommandError("queue summary takes no words")
    try:
        found = console.operations.spool.totals()
    except SpoolError as error:
        raise CommandError(str(error)) from None
    return sorted(map(total_data, found), key=by("domain"))


@gathered(
    "queue summary",
    _totals,
    help="Recipients by state, size and the oldest one's age, for each domain; the largest first.",
)
def queue_summary(console: Console, words: Sequence[str], parts: Parts) -> Output:
    """Reads the whole queue: a second or two for a million recipients."""
    found = [_together(rows) for rows in grouped(parts.merged(by("domain")), "domain")]
    found.sort(key=lambda row: (-_recipients(row), row["domain"]))
    return Output(summary_lines(found), found)


def _together(rows: Sequence[Row]) -> Row:
    """What several processes have for one domain."""
    return {**total(rows), "oldest": min(row["oldest"] for row in rows)}


def _recipients(row: Row) -> int:
    return sum(int(row.get(state, 0)) for state in OPEN)


_ROW = "{:<40} {:>9} {:>9} {:>9} {:>12} {:>10}"


def summary_lines(found: Sequence[Row]) -> list[str]:
    """A table, with a line for all of them."""
    now = time.time()
    lines = [_ROW.format("DOMAIN", "QUEUED", "HELD", "DEAD", "BYTES", "OLDEST")]
    for row in found:
        oldest = f"{max(int(now - row['oldest']), 0)} s"
        counts = (row.get(state, 0) for state in OPEN)
        lines.append(_ROW.format(row["domain"] or "(none)", *counts, row["size"], oldest))
    lines.append(f"{_count(sum(map(_recipients, found)), 'recipient')}, {_count(len(found), 'domain')}")
    return lines


def total_data(one: DomainTotal) -> Row:
    """The same as values."""
    return {"domain": one.domain, **one.counts, "size": one.size_bytes, "oldest": one.oldest_wall}
