"""Which scopes exist, where they may stand and whether they carry an instance name.

The stanzas of the listener chapter are declared here; a transport, a logger or a module of gsmtp's own declares its
stanza beside its code, as options are. Source: reference/config-language.md section 9.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from gsmtp.core.errors import ConfigError


class Name(StrEnum):
    """Whether a stanza carries an instance name."""

    NONE = "none"
    REQUIRED = "required"
    OPTIONAL = "optional"


class NameKind(StrEnum):
    """How instance names of a stanza are compared (reference/config-language.md section 11)."""

    ENDPOINT = "endpoint"
    NETWORK = "network"
    DOMAIN = "domain"
    NO_CASE = "no-case"
    CASE = "case"


@dataclass(frozen=True)
class Stanza:
    """One kind of scope.

    Args:
        word: the scope word as the documentation spells it, matched without case.
        name: whether an instance name is required, optional or forbidden.
        inside: the scopes (lower case) in which it may stand.
        doc: what it is for.
        name_kind: how instance names are compared.
        served: False for scopes that are read and kept but have no effect; `reason` then says why.
        reason: why it is not served.
        free_form: whether any option name is accepted in it (scopes that are not served).
        ours: a stanza of gsmtp that Momentum doesn't know.
        takes_more: whether options that nobody declared are taken, for code of the operator's own.
        needs: options that each instance must set, with what to write, e.g. ``{"uri": 'uri = ( "sqlite:/file" )'}``.
    """

    word: str
    name: Name
    inside: tuple[str, ...]
    doc: str
    name_kind: NameKind = NameKind.NO_CASE
    served: bool = True
    reason: str = ""
    free_form: bool = False
    ours: bool = False
    takes_more: bool = False
    needs: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The scope word in lower case."""
        return self.word.lower()


class StanzaTable:
    """All declared stanzas by (scope word, surrounding scope)."""

    def __init__(self) -> None:
        self._all: dict[str, Stanza] = {}

    def declare(self, stanza: Stanza) -> Stanza:
        """Add a stanza. Raises ConfigError when the word is taken."""
        if stanza.key in self._all:
            raise ConfigError(f"stanza {stanza.word} is declared twice")
        self._all[stanza.key] = stanza
        return stanza

    def get(self, word: str) -> Stanza | None:
        """The stanza of that word, any case."""
        return self._all.get(word.lower())

    def __iter__(self) -> Iterator[Stanza]:
        return iter(self._all.values())


STANZAS = StanzaTable()


def declare_stanza(stanza: Stanza) -> Stanza:
    """Declare a stanza in the product's table."""
    return STANZAS.declare(stanza)
