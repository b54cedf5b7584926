"""What may come next in a command line that is being typed: commands, scope words, instance names, options, values."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from gsmtp.config.kinds import BOOLEAN_WORDS
from gsmtp.config.option import OPTIONS
from gsmtp.config.scope_path import Path, find, kind_at, option_at, parse
from gsmtp.config.stanza import STANZAS, Name
from gsmtp.config.words import split
from gsmtp.control.command import COMMANDS
from gsmtp.control.dispatch import FORMS
from gsmtp.core.errors import ConfigError

if TYPE_CHECKING:
    from gsmtp.control.console import Console

_SCOPED: Final = ("config get", "config eval", "config set", "config unset", "config show", "config showrecurse")
_BOOLEANS: Final = ("true", "false")


def candidates(console: Console, text: str, *, names_too: bool = True) -> list[str]:
    """The words that may stand where the line ends, in place of its last word.

    Args:
        console: the session, whose configuration names instances.
        text: the line so far; its last word is being typed, or empty behind a blank.
        names_too: whether names of instances may be shown.
    """
    try:
        words = [str(word) for word in split(text)]
    except ConfigError:
        return []
    begun = words.pop() if words and not text[-1:].isspace() else ""
    if words and words[0].lower() in FORMS:
        words = words[1:]
        found = _next(console, words, names_too)
    else:
        found = [*_next(console, words, names_too), *(FORMS if not words else ())]
    return sorted({one for one in found if one.lower().startswith(begun.lower())})


def _next(console: Console, words: list[str], names_too: bool) -> list[str]:
    typed = [word.lower() for word in words]
    found = []
    for name in COMMANDS.names():
        parts = name.split()
        if parts[: len(typed)] == typed and len(parts) > len(typed):
            found.append(parts[len(typed)])
    if typed[:1] == ["help"]:
        return _next(console, words[1:], names_too)
    if " ".join(typed[:2]) in _SCOPED:
        found += _in_scope(console, words[2:], names_too)
    return found


def _in_scope(console: Console, words: list[str], names_too: bool) -> Iterable[str]:
    transaction = console.transaction
    root = (transaction.tree if transaction is not None else console.operations.configuration.tree).root
    try:
        path, rest = parse(words, root)
    except ConfigError:  # a stanza whose name is wanted
        return _names(root, words) if names_too else ()
    if not rest:
        kind = kind_at(path)
        options = [option.name for option in OPTIONS.in_scope(kind)]
        stanzas = [stanza.word for stanza in STANZAS if kind in stanza.inside and stanza.served]
        waits = STANZAS.get(words[-1]) if words else None
        optional = waits is not None and waits.name is Name.OPTIONAL
        return [*options, *stanzas, *(_names(root, words) if optional and names_too else ())]
    return _values(path, rest[0]) if len(rest) == 1 or rest[1:] == ("=",) else ()


def _names(root: Any, words: list[str]) -> list[str]:
    """The instances of the stanza that the last word names."""
    path: Path
    try:
        path, rest = parse(words[:-1], root)
    except ConfigError:
        return []
    scope = find(root, path)
    if rest or scope is None:
        return []
    return [one.spelled for one in scope.all(words[-1].lower()) if one.spelled]


def _values(path: Path, name: str) -> Iterable[str]:
    option = option_at(path, name)
    if option is not None and isinstance(option.default, bool):
        assert set(_BOOLEANS) <= set(BOOLEAN_WORDS)
        return _BOOLEANS
    return ()
