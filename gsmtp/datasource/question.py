"""A query that a stanza holds, ready to be asked with the values of one login or recipient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from gsmtp.config.view import View
from gsmtp.core.errors import ConfigError
from gsmtp.datasource.options import CACHE, MACRO, MAP, QUERY
from gsmtp.datasource.result import Result


class Asks(Protocol):
    """Something to ask (`gsmtp.datasource.store.Datasources`)."""

    def query(self, name: str, query: str, values: Mapping[str, str | None]) -> Result:
        """Ask a Datasource. Blocks the green thread. Raises DatasourceError."""


@dataclass(frozen=True, slots=True)
class Question:
    """Query, Cache and Map of one stanza."""

    query: str
    datasource: str
    parameters: dict[str, str]

    @classmethod
    def of(cls, view: View) -> Question:
        """Read a stanza's view. Raises ConfigError when Query or Cache is missing."""
        for option in (QUERY, CACHE):
            if not view[option]:
                scope = view.chain[0]
                raise ConfigError(f"{scope.span}: error: {scope} sets no {option.name.lower()}")
        return cls(view[QUERY], view[CACHE], view[MAP])

    def values(self, macros: Mapping[str, str]) -> dict[str, str]:
        """The parameters with ``%{name}`` replaced; a name without a value is the empty text."""
        return {name: MACRO.sub(lambda match: macros.get(match[1], ""), text) for name, text in self.parameters.items()}

    def ask(self, datasources: Asks, macros: Mapping[str, str]) -> Result:
        """Ask. Blocks the green thread. Raises DatasourceError."""
        return datasources.query(self.datasource, self.query, self.values(macros))
