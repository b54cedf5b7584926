"""How scopes and names are called in messages and in the reference."""

from __future__ import annotations

from gsmtp.config import accepted
from gsmtp.config.option import OPTIONS
from gsmtp.config.stanza import STANZAS
from gsmtp.config.tree import Scope


def scope_title(scope: Scope) -> str:
    """A scope in the spelling of the documentation, for messages: ``Listen ":25"``; an unknown one as written."""
    if scope.parent is None:
        return "the global scope"
    stanza = STANZAS.get(scope.kind)
    word = stanza.word if stanza is not None else scope.word or scope.kind
    return word if scope.spelled is None else f'{word} "{scope.spelled}"'


def scope_word(kind: str) -> str:
    """A scope word as the documentation spells it: ``esmtp_listener`` is ``ESMTP_Listener``."""
    if kind == "global":
        return "the global scope"
    stanza = STANZAS.get(kind)
    return stanza.word if stanza is not None else kind


def scopes_of(name: str) -> list[str]:
    """The scopes (lower case) in which an option of that name is valid, served or not, in the documented order."""
    found = {scope for option in OPTIONS.named(name) for scope in option.scopes}
    found.update(scope for row in accepted.named(name) for scope in row.scopes)
    return sorted(found, key=lambda scope: (_SCOPE_ORDER.get(scope, 99), scope))


_SCOPE_ORDER = {
    word: number
    for number, word in enumerate(
        ("global", "esmtp_listener", "listen", "peer", "pathway", "pathway_group", "domain", "threadpool")
    )
}


def valid_names(kind: str) -> list[str]:
    """The names of options valid in a scope, served or not, each in its documented spelling."""
    names = [name for option in OPTIONS.in_scope(kind) for name in (option.name, *option.aliases)]
    return [*names, *(row.name for row in accepted.in_scope(kind))]
