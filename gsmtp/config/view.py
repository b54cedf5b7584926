"""Views: the effective options of one connection, domain or stanza, found by the documented fallback.

A view is immutable for its users; values are resolved when first read and kept, so a second read of ``view[OPTION]``
is one dictionary look-up. Source: reference/scopes-and-fallback.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from gsmtp.config.option import Option
from gsmtp.config.tree import Scope, Setting

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an effective value comes from.

    Args:
        value: the typed value.
        setting: what sets it, None for the built-in default.
        scope: the scope instance that sets it, None for the built-in default.
        walked: the scopes that were asked, most specific first, the one that answered last.
    """

    value: Any
    setting: Setting | None
    scope: Scope | None
    walked: tuple[Scope, ...]


class View:
    """Effective options along one chain of scopes.

    Args:
        chain: scopes, most specific first; the built-in default comes after the last.
        names: words that tell which view it is, for logs, e.g. pathway and group names.
    """

    __slots__ = ("_values", "chain", "generation", "group", "pathway")

    def __init__(
        self, chain: Sequence[Scope], *, generation: int = 0, pathway: str = "default", group: str = "default"
    ) -> None:
        self.chain = tuple(chain)
        self.generation = generation
        self.pathway = pathway
        self.group = group
        self._values: dict[Option[Any], Any] = {}

    def __getitem__(self, option: Option[T]) -> T:
        try:
            return self._values[option]  # type: ignore[no-any-return]
        except KeyError:
            value = self._values[option] = self.origin(option).value
            return value  # type: ignore[no-any-return]

    def origin(self, option: Option[Any]) -> Origin:
        """The value of an option with the place that sets it and the scopes that were asked on the way."""
        walked: list[Scope] = []
        names = (option.key, *(alias.lower() for alias in option.aliases))
        found: tuple[Setting, Scope] | None = None
        merged: dict[str, str] = {}
        for scope in self.chain:
            walked.append(scope)
            if scope.kind not in option.scopes:
                continue
            setting = next((scope.settings[name] for name in names if name in scope.settings), None)
            if setting is None:
                continue
            found = found or (setting, scope)
            if not option.merges:
                break
            merged = {**option.kind.parse(setting.value), **merged}
        if found is None:
            return Origin(option.default, None, None, tuple(walked))
        value = merged if option.merges else option.kind.parse(found[0].value)
        return Origin(value, found[0], found[1], tuple(walked))

    def derive(self, extra: Sequence[Scope]) -> View:
        """A view with more specific scopes in front."""
        return View((*extra, *self.chain), generation=self.generation, pathway=self.pathway, group=self.group)
