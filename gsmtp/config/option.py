"""Options: declared once, beside the code in which they work.

A declaration carries name, kind, default, scopes, help and source. The checker, the views, `gsmtp explain`,
`gsmtp options` and docs/options.md all read the same one::

    MAX_MESSAGE_SIZE: Option[int] = declare(Option(
        name="Max_Message_Size", kind=kinds.size, default=0, unit="bytes", scopes=INBOUND,
        doc="Largest message accepted; 0 means no limit. Offered as SIZE in EHLO.",
        source="RFC 1870 section 3",
    ))
    limit = view[MAX_MESSAGE_SIZE]      # an int, for mypy too
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from gsmtp.config.diagnostics import Problems
from gsmtp.config.kinds import Kind
from gsmtp.config.tree import Scope, Setting
from gsmtp.core.errors import ConfigError

T = TypeVar("T")

Examine = Callable[[Any, Setting, Scope, Problems], None]
"""A further look at one setting whose value parsed: typed value, setting, scope that sets it, where to report."""

GLOBAL = ("global",)
INBOUND = ("esmtp_listener", "listen", "pathway", "pathway_group", "peer")
INBOUND_GLOBAL = ("global", *INBOUND)
MESSAGE = ("global", "pathway", "pathway_group")
SOCKET = ("esmtp_listener", "listen")
ANY_SOCKET = ("control_listener", *SOCKET)
OUTBOUND = ("binding", "binding_group", "domain", "global")


@dataclass(frozen=True, eq=False)
class Option(Generic[T]):
    """One option of the configuration language.

    Args:
        name: Momentum's spelling, matched without case.
        kind: how its text becomes a value, and how it is described.
        default: the value when no scope sets it.
        scopes: scope words (lower case) in which it may be set.
        doc: one to three sentences on what it does, for people.
        dynamic: True: a reload changes it for new sessions; False: needs a restart; "socket": when the socket is made.
        unit: "bytes", "seconds" … or "".
        source: RFC and section, or where Momentum documents it, or "".
        aliases: other spellings that the documentation uses.
        ours: an option of gsmtp that Momentum doesn't know; refused by ``gsmtp check --momentum``.
        merges: dictionaries of all scopes on the chain are merged, the narrower scope's keys winning
            (only ``context``; reference/scopes-and-fallback.md section 4).
        unserved: why the option has no effect yet, or "" for one that works. Its values are checked all the same, and
            the first place that sets it is warned about.
        examine: what the checker is to look at beyond the kind, e.g. that an open relay is warned about.
    """

    name: str
    kind: Kind[T]
    default: T
    scopes: tuple[str, ...]
    doc: str
    dynamic: bool | Literal["socket"] = True
    unit: str = ""
    source: str = ""
    aliases: tuple[str, ...] = ()
    ours: bool = False
    merges: bool = False
    unserved: str = ""
    examine: Examine | None = None

    @property
    def key(self) -> str:
        """The name in lower case, as the tree's settings are keyed."""
        return self.name.lower()

    def __str__(self) -> str:
        return self.name


class OptionTable:
    """All declared options, found by name and scope. One name may be declared anew for other scopes (`File_Mode`)."""

    def __init__(self) -> None:
        self._by_place: dict[tuple[str, str], Option[Any]] = {}
        self._all: list[Option[Any]] = []

    def declare(self, option: Option[T]) -> Option[T]:
        """Add an option. Raises ConfigError when a scope already has one of that name."""
        for name in (option.name, *option.aliases):
            for scope in option.scopes:
                place = (scope, name.lower())
                if place in self._by_place:
                    raise ConfigError(f"option {name} is declared twice for scope {scope}")
                self._by_place[place] = option
        self._all.append(option)
        return option

    def find(self, scope: str, name: str) -> Option[Any] | None:
        """The option of that name (any case, aliases too) in that scope."""
        return self._by_place.get((scope, name.lower()))

    def named(self, name: str) -> list[Option[Any]]:
        """All declarations of a name, whatever their scopes."""
        key = name.lower()
        return [o for o in self._all if key == o.key or key in (alias.lower() for alias in o.aliases)]

    def in_scope(self, scope: str) -> list[Option[Any]]:
        """The options valid in a scope, by name."""
        return sorted((o for o in self._all if scope in o.scopes), key=lambda o: o.key)

    def __iter__(self) -> Iterator[Option[Any]]:
        return iter(sorted(self._all, key=lambda o: (o.key, o.scopes)))


OPTIONS = OptionTable()


def declare(option: Option[T]) -> Option[T]:
    """Declare an option in the product's table; returns it, so the declaration is also the name code reads by."""
    return OPTIONS.declare(option)
