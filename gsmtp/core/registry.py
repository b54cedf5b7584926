"""A table of named things that plug-in files fill. Two files that claim one name stop the start, both named."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from gsmtp.core.errors import ConfigError

T = TypeVar("T")


class Registry(Generic[T]):
    """Names, matched without case, to the things registered under them.

    Args:
        what: what is registered, for messages, e.g. ``"transport"``.
    """

    def __init__(self, what: str) -> None:
        self.what = what
        self._things: dict[str, T] = {}
        self._homes: dict[str, str] = {}

    def add(self, name: str, thing: T, home: str) -> T:
        """Register `thing`; `home` is the module that claims the name. Raises ConfigError on a second claim."""
        key = name.lower()
        if key in self._things and self._homes[key] != home:
            raise ConfigError(f"{self.what} {name!r} is claimed by {self._homes[key]} and by {home}")
        self._things[key] = thing
        self._homes[key] = home
        return thing

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator form of `add`; the home is the decorated object's module."""

        def decorate(thing: T) -> T:
            return self.add(name, thing, getattr(thing, "__module__", "?"))

        return decorate

    def get(self, name: str) -> T | None:
        """The thing of that name, or None."""
        return self._things.get(name.lower())

    def names(self) -> list[str]:
        """All registered names, sorted."""
        return sorted(self._things)

    def items(self) -> list[tuple[str, T]]:
        """Names and things, by name."""
        return sorted(self._things.items())

    def __iter__(self) -> Iterator[T]:
        return iter(self._things.values())

    def __contains__(self, name: str) -> bool:
        return name.lower() in self._things
