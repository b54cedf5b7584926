"""cidrdb: named tables of networks that policy asks (`gsmtp.policy.cidr`), loaded from files or Datasources.

Momentum's tables are defined by scripts; here a stanza of ours does it: ``cidrdb { CIDR_Table "blocked" { … } }``. A
table is loaded when the configuration takes effect and every `Refresh` seconds from then on; when that fails, what was
loaded before stays.

Source: reference/policy-and-context.md section 4 (cidrdb).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from gsmtp.api import ConfigError, Hook
from gsmtp.config import kinds
from gsmtp.config.module import declare_module
from gsmtp.config.option import Option, declare
from gsmtp.config.stanza import Name, NameKind, Stanza, declare_stanza
from gsmtp.config.tree import Scope
from gsmtp.config.view import View
from gsmtp.core.address import parse_network
from gsmtp.datasource.options import examine_datasource
from gsmtp.datasource.question import Asks
from gsmtp.datasource.result import DatasourceError, Result
from gsmtp.policy import cidr
from gsmtp.policy.module import Building, policy_module

if TYPE_CHECKING:
    from gsmtp.runtime.native import NativePool
    from gsmtp.runtime.periodic import Periodic

log = logging.getLogger("gsmtp.cidrdb")

_SCOPES = ("cidr_table",)
_SOURCE = "Momentum: msys.cidr.define"

ENABLED = declare_module("cidrdb", "Named tables of networks for policy: holds CIDR_Table stanzas.", Name.NONE)

CIDR_TABLE = declare_stanza(
    Stanza(
        "CIDR_Table",
        Name.REQUIRED,
        ("cidrdb",),
        "A table of networks and their values, from a file, a Datasource, or filled by policy.",
        NameKind.CASE,
        ours=True,
        needs={"type": 'type = "rbldnsd", "datasource" or "empty"'},
    )
)


def _text(name: str, doc: str, default: str = "", **more: Any) -> Option[str]:
    return declare(
        Option(name=name, kind=kinds.line, default=default, scopes=_SCOPES, doc=doc, source=_SOURCE, ours=True, **more)
    )


TABLE_TYPE: Option[str] = declare(
    Option(
        name="Type",
        kind=kinds.enumeration("datasource", "rbldnsd", "empty"),
        default="empty",
        scopes=_SCOPES,
        doc="Where the entries come from: a query, a file in rbldnsd's format, or policy itself.",
        source=_SOURCE,
        ours=True,
    )
)
TABLE_SOURCE = _text("Source", "The file of a table of type rbldnsd.")
TABLE_VALUE: Option[str] = declare(
    Option(
        name="Value",
        kind=kinds.enumeration("a", "txt"),
        default="a",
        scopes=_SCOPES,
        doc="What of a file's entries is the value: the address or the text.",
        source=_SOURCE,
        ours=True,
    )
)
TABLE_QUERY = _text("Query", "The query of a table of type datasource.")
CACHENAME = _text(
    "CacheName", "The Datasource that is asked; it should have Max_Rows = -1.", examine=examine_datasource
)
CIDR_COLUMN = _text("CIDR_Column", "The column that holds the networks; the first one where nothing is said.")
VALUE_COLUMN = _text("Value_Column", "The column that holds the values; without one the value is ``true``.")
DEFAULT_VALUE = _text("Default_Value", "The value of addresses that are in no network.")
REFRESH: Option[int] = declare(
    Option(
        name="Refresh",
        kind=kinds.seconds,
        default=1800,
        scopes=_SCOPES,
        unit="seconds",
        doc="How often the table is loaded anew; 0: only by ``cidrdb reload`` and with the configuration.",
        source=_SOURCE,
        ours=True,
    )
)
INTERPOLATE: Option[bool] = declare(
    Option(
        name="Interpolate",
        kind=kinds.boolean,
        default=False,
        scopes=_SCOPES,
        doc="Whether ``$`` in a value stands for the address that was asked for.",
        source=_SOURCE,
        ours=True,
    )
)


@dataclass(slots=True)
class Loaded:
    """A table with what it is loaded from.

    Args:
        name: of its stanza.
        view: its options.
        table: what policy asks.
        due_mono: when it is loaded next, 0 for never.
        timer: that does it.
    """

    name: str
    view: View
    table: cidr.Table
    due_mono: float = 0.0
    timer: Periodic | None = None

    @property
    def due_in_s(self) -> int:
        """Seconds until it is loaded next, 0 when it isn't."""
        return max(0, round(self.due_mono - time.monotonic())) if self.due_mono else 0


class CidrDb(Hook):
    """The tables of one configuration. It has a say in no phase: hooks ask it.

    Args:
        scope: the stanza.
        datasources: for tables of type datasource.
    """

    name = "cidrdb"

    def __init__(self, scope: Scope, datasources: Asks) -> None:
        from gsmtp.runtime.native import HubMailbox, NativePool
        from gsmtp.runtime.periodic import Periodic

        self._datasources = datasources
        self._native: NativePool = NativePool("cidrdb", 1, HubMailbox())
        self.tables: dict[str, Loaded] = {}
        for stanza in scope.all("cidr_table"):
            view = View((stanza,))
            _check_complete(stanza, view)
            table = cidr.Table(view[DEFAULT_VALUE] or None, interpolate=view[INTERPOLATE])
            self.tables[stanza.spelled or ""] = Loaded(stanza.spelled or "", view, table)
        for loaded in self.tables.values():
            self._load_first(loaded)
        for loaded in self.tables.values():
            seconds = loaded.view[REFRESH] if loaded.view[TABLE_TYPE] != "empty" else 0
            if seconds:
                loaded.due_mono = time.monotonic() + seconds
                loaded.timer = Periodic(seconds, partial(self._refresh, loaded))
        self._found = {name: loaded.table for name, loaded in self.tables.items()}
        cidr.serve(self._found)
        _running.append(self)

    def deinit(self) -> bool:
        """Let go."""
        cidr.withdraw(self._found)
        _running.remove(self)
        for loaded in self.tables.values():
            if loaded.timer is not None:
                loaded.timer.stop()
        self._native.close()
        return True

    def reload(self, name: str) -> int:
        """Load a table now; how many entries it has. Blocks the green thread.

        Raises:
            KeyError: there is no such table.
            ValueError: it can't be loaded; the text says why.
        """
        loaded = self.tables[name]
        kind = loaded.view[TABLE_TYPE]
        try:
            if kind == "rbldnsd":
                loaded.table.take(self._native.call(_read, loaded.view[TABLE_SOURCE], loaded.view[TABLE_VALUE]))
            elif kind == "datasource":
                result = self._datasources.query(loaded.view[CACHENAME], loaded.view[TABLE_QUERY], {})
                loaded.table.fill(_entries(result, loaded.view))
        except OSError as error:
            raise ValueError(f"{loaded.view[TABLE_SOURCE]}: {error.strerror or error}") from None
        except DatasourceError as error:
            raise ValueError(str(error)) from None
        if loaded.due_mono:
            loaded.due_mono = time.monotonic() + loaded.view[REFRESH]
        return loaded.table.entries

    def _load_first(self, loaded: Loaded) -> None:
        """A file that is wrong keeps the configuration from taking effect; a data base may come up later."""
        try:
            self.reload(loaded.name)
        except ValueError as error:
            if loaded.view[TABLE_TYPE] == "rbldnsd":
                raise ConfigError(f"{loaded.view.chain[0].span}: error: CIDR_Table {loaded.name}: {error}") from None
            log.error("table %s is empty: %s", loaded.name, error)

    def _refresh(self, loaded: Loaded) -> None:
        try:
            self.reload(loaded.name)
        except ValueError as error:
            loaded.due_mono = time.monotonic() + loaded.view[REFRESH]
            log.error("table %s keeps what it has: %s", loaded.name, error)


_running: list[CidrDb] = []


def current() -> CidrDb | None:
    """The one of the running configuration, None without the module."""
    return _running[-1] if _running else None


def _check_complete(stanza: Scope, view: View) -> None:
    needed = {"rbldnsd": (TABLE_SOURCE,), "datasource": (TABLE_QUERY, CACHENAME)}
    for option in needed.get(view[TABLE_TYPE], ()):
        if not view[option]:
            raise ConfigError(f"{stanza.span}: error: {stanza} of type {view[TABLE_TYPE]} has no {option.name.lower()}")


def _read(path: str, value: str) -> dict[tuple[int, int], dict[int, str | None]]:
    return cidr.compiled(cidr.read_rbldnsd(path, text=value == "txt"))


def _entries(result: Result, view: View) -> Iterator[cidr.Entry]:
    if not result.rows:
        return
    networks = result.column(view[CIDR_COLUMN])
    values = result.column(view[VALUE_COLUMN]) if view[VALUE_COLUMN] else iter(["true"] * len(result))
    for network, value in zip(networks, values, strict=True):
        if network:
            yield parse_network(network.strip()), value if value is not None else "true"


@policy_module("cidrdb")
def build(building: Building) -> Hook | None:
    """The tables, unless the stanza switches them off."""
    return CidrDb(building.scope, building.datasources) if building.view[ENABLED] else None
