"""Instance names: which of them mean the same scope instance.

``Listen ":25"`` and ``Listen "*:25"`` are one socket, ``Peer "10.0.0.1/8"`` and ``Peer "10.0.0.0/8"`` one network. How
names are compared is declared with each stanza; names of words that nobody declared are compared without case.
Whether a name is a good one is `check`'s question: one that can't be read is compared as written.

Source: reference/config-language.md sections 11 and 12.
"""

from __future__ import annotations

from gsmtp.config import common  # noqa: F401  declares the stanzas of the listener chapter
from gsmtp.config.stanza import STANZAS, NameKind
from gsmtp.core.address import Endpoint, parse_network


def name_kind(word: str) -> NameKind:
    """How instance names of the stanza `word` (any case) are compared."""
    stanza = STANZAS.get(word)
    return stanza.name_kind if stanza is not None else NameKind.NO_CASE


def canonical(word: str, name: str) -> str:
    """The text that two instance names of the stanza `word` share when they mean the same instance.

    Args:
        word: the scope word, any case.
        name: the instance name as written.
    """
    kind = name_kind(word)
    if kind is NameKind.CASE:
        return name
    try:
        if kind is NameKind.ENDPOINT:
            return str(Endpoint.parse(name))
        if kind is NameKind.NETWORK:
            return str(parse_network(name))
    except ValueError:
        return name
    if kind is NameKind.DOMAIN and is_regex(name):
        return name
    return name.lower()


def is_regex(name: str) -> bool:
    """Whether a domain's or host's name is a regular expression: ``/…/``.

    Source: reference/config-language.md section 12.3.
    """
    return len(name) > 2 and name.startswith("/") and name.endswith("/")
