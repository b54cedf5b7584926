"""How two trees differ, one change at a time: for write-back, for counting, and for transactions that meet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from gsmtp.config.dump import value_data
from gsmtp.config.instance import is_regex
from gsmtp.config.scope_path import Path, path_of, text_of
from gsmtp.config.tree import Scope, Setting

Place = tuple[tuple[str, str | None], ...]
"""A path for comparing: (kind, canonical instance name) from the outside in."""


@dataclass(frozen=True, eq=False, slots=True)
class Change:
    """One difference.

    Args:
        path: the scope that it is in, or that it is.
        key: the option's name in lower case, None when the scope as a whole appears or disappears.
        old: the setting or scope before, None when there was none.
        new: the setting or scope after, None when there is none.
    """

    path: Path
    key: str | None
    old: Setting | Scope | None
    new: Setting | Scope | None

    @property
    def place(self) -> Place:
        """The path for comparing."""
        return tuple(step.key for step in self.path)

    def __str__(self) -> str:
        what = text_of(self.path)
        if self.key is not None:
            named = self.new if isinstance(self.new, Setting) else self.old
            name = named.spelled if isinstance(named, Setting) else self.key
            return f"'{name}' in scope '{what}'"
        return f"scope '{what}'"


def differences(old: Scope, new: Scope) -> list[Change]:
    """What makes `new` of `old`, outer scopes first. Quotes, spelling and the order of what needs none don't count."""
    return list(_of_scope(old, new))


def _of_scope(old: Scope, new: Scope) -> Iterator[Change]:
    path = path_of(new)
    for key in dict.fromkeys((*old.settings, *new.settings)):
        before, after = old.settings.get(key), new.settings.get(key)
        if before is None or after is None or value_data(before.value) != value_data(after.value):
            yield Change(path, key, before, after)
    moved = _moved(old, new)
    for place, child in old.children.items():
        if place not in new.children or place in moved:
            yield Change(path_of(child), None, child, None)
    for place, child in new.children.items():
        if place not in old.children or place in moved:
            yield Change(path_of(child), None, None, child)
        else:
            yield from _of_scope(old.children[place], child)


def _moved(old: Scope, new: Scope) -> set[tuple[str, str | None]]:
    """Stanzas of both whose order among their like counts and has changed: names that are regular expressions."""
    both = [[place for place in one.children if place in other.children and is_regex(place[1] or "")]
            for one, other in ((old, new), (new, old))]  # fmt: skip
    if both[0] == both[1]:
        return set()
    at = next(number for number, (left, right) in enumerate(zip(*both, strict=True)) if left != right)
    return set(both[1][at:])


def overlap(mine: Iterable[Change], theirs: Iterable[Change]) -> Change | None:
    """The first of my changes that is to something which theirs change too."""
    taken = list(theirs)
    for change in mine:
        for other in taken:
            if change.place == other.place and change.key == other.key:
                return change
            outer, inner = (change, other) if len(change.place) <= len(other.place) else (other, change)
            if outer.key is None and inner.place[: len(outer.place)] == outer.place:
                return change
    return None
