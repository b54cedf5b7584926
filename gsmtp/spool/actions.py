"""What an operator can do with recipients in the spool: one entry an action, and the Change that it makes of each.

The running server (`gsmtp.control.queue_work`) and `gsmtp queue` beside a stopped one (`spool.offline`) use the same
table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from gsmtp.spool.base import Change, State, Wish
from gsmtp.spool.selection import Selected

OPEN: Final = (State.QUEUED, State.HELD, State.DEAD)
"""States in which something is left to be done."""

_Make = Callable[[Selected, str, float], Change]


@dataclass(frozen=True, slots=True)
class Action:
    """One action.

    Args:
        name: e.g. ``"hold"``.
        past: what was done, e.g. ``"held"``.
        help: one sentence.
        states: of the recipients that it can be done to; others are passed over.
        make: the Change for a recipient, who does it, and when.
    """

    name: str
    past: str
    help: str
    states: tuple[str, ...]
    make: _Make


@dataclass(slots=True)
class Changed:
    """What came of an action.

    Args:
        changed: recipients to which it was done.
        messages: to how many messages they belong, as far as they came one after the other.
        busy: those that were being delivered just then, and are as they were.
        passed_over: those in a state in which it can't be done.
    """

    changed: int = 0
    messages: int = 0
    busy: int = 0
    passed_over: int = 0


def _retry(one: Selected, who: str, now: float) -> Change:
    if one.state == State.DEAD:
        return _change(one, State.QUEUED, f"replayed by {who}", now, due=now, anew=True)
    return _change(one, State.QUEUED, f"to be tried now, says {who}", now, due=now)


def _hold(one: Selected, who: str, now: float) -> Change:
    return _change(one, State.HELD, f"held by {who}", now)


def _release(one: Selected, who: str, now: float) -> Change:
    return _change(one, State.QUEUED, f"released by {who}", now, due=now)


def _bounce(one: Selected, who: str, now: float) -> Change:
    return _change(one, State.QUEUED, f"to be bounced, says {who}", now, due=now, wish=Wish.BOUNCE)


def _delete(one: Selected, who: str, now: float) -> Change:
    return _change(one, State.DROPPED, f"removed by {who}", now)


def _change(
    one: Selected, state: str, note: str, now: float, *, due: float = 0.0, anew: bool = False, wish: str = ""
) -> Change:
    return Change(one.message_id, one.index, state, note, now, due, anew, wish, one.state)


ACTIONS: Final[dict[str, Action]] = {
    action.name: action
    for action in (
        Action("retry", "to be tried now", "Try now; a dead letter is replayed, as if it had just come.", OPEN, _retry),
        Action("hold", "held", "Set aside until `release`.", (State.QUEUED,), _hold),
        Action("release", "released", "Let go on what was held.", (State.HELD,), _release),
        Action("bounce", "to be bounced", "Give up, and tell the sender.", OPEN, _bounce),
        Action("delete", "removed", "Remove without a word to anybody.", OPEN, _delete),
    )
}
