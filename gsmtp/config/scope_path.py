"""Places in a tree as the console writes them: ``esmtp_listener listen :587``, and ``Esmtp_Listener::Listen:\\:587:``.

A place need not exist. Where a stanza may carry a name or not, the words behind it tell which is meant.
Source: reference/console-and-logs.md section 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gsmtp.config import accepted
from gsmtp.config.instance import canonical
from gsmtp.config.option import OPTIONS, Option
from gsmtp.config.stanza import STANZAS, Name
from gsmtp.config.suggest import did_you_mean
from gsmtp.config.titles import scope_word, scopes_of, valid_names
from gsmtp.config.tree import Scope
from gsmtp.core.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Step:
    """One scope on the way down.

    Args:
        kind: the scope word in lower case.
        name: the instance name as written, None for an unnamed scope.
    """

    kind: str
    name: str | None = None

    @property
    def key(self) -> tuple[str, str | None]:
        """As in `Scope.children`."""
        return self.kind, None if self.name is None else canonical(self.kind, self.name)


Path = tuple[Step, ...]
"""From the outside in; () is the global scope."""


def path_of(scope: Scope) -> Path:
    """Where a scope is."""
    steps: list[Step] = []
    at: Scope | None = scope
    while at is not None and at.parent is not None:
        steps.append(Step(at.kind, at.spelled))
        at = at.parent
    return tuple(reversed(steps))


def find(root: Scope, path: Path) -> Scope | None:
    """The scope at a place, None when it has no stanza."""
    scope: Scope | None = root
    for step in path:
        scope = scope.children.get(step.key) if scope is not None else None
    return scope


def kind_at(path: Path) -> str:
    """The scope word (lower case) of a place."""
    return path[-1].kind if path else "global"


def text_of(path: Path) -> str:
    """A place as ``config locate`` prints it; "" for the global scope."""
    return "".join(f"{display_word(step.kind)}:{_escaped(step.name or '')}:" for step in path)


def _escaped(name: str) -> str:
    return name.replace("\\", "\\\\").replace(":", "\\:")


def words_of(path: Path) -> list[str]:
    """A place as words of a command, instance names as they are."""
    return [word for step in path for word in ((step.kind,) if step.name is None else (step.kind, step.name))]


def display_word(kind: str) -> str:
    """A scope word as the console prints it: ``Esmtp_Listener``, ``ThreadPool``, ``ec_logger``."""
    stanza = STANZAS.get(kind)
    word = stanza.word if stanza is not None else kind
    return "_".join(part.capitalize() if len(part) > 1 and part.isupper() else part for part in word.split("_"))


def display_name(kind: str, name: str) -> str:
    """An option's name in the documented spelling, as written when nobody knows it."""
    option = OPTIONS.find(kind, name)
    if option is not None:
        return option.name
    row = accepted.find(kind, name)
    if row is not None:
        return row.name
    known = OPTIONS.named(name)
    return known[0].name if known else name


def keys_of(kind: str, name: str) -> tuple[str, ...]:
    """The names (lower case) under which a scope of that kind may set an option: its own, and its other spellings."""
    option = OPTIONS.find(kind, name)
    if option is None:
        return (name.lower(),)
    return (option.key, *(alias.lower() for alias in option.aliases))


def parse(words: Sequence[str], root: Scope) -> tuple[Path, tuple[str, ...]]:
    """The place that a command's words begin with, and the words behind it.

    Args:
        words: scope words with names where they have one, then anything.
        root: the tree, which tells a name from an option where both could stand.

    Raises:
        ConfigError: a scope's name is missing.
    """
    path: Path = ()
    scope: Scope | None = root
    rest = list(words)
    while rest and _is_stanza(kind_at(path), scope, rest):
        kind = rest.pop(0).lower()
        step = Step(kind, _take_name(kind, scope, rest))
        scope = None if scope is None else scope.children.get(step.key)
        path = (*path, step)
    return path, tuple(rest)


def _is_stanza(kind: str, scope: Scope | None, words: list[str]) -> bool:
    word = words[0].lower()
    stanza = STANZAS.get(word)
    is_stanza = (stanza is not None and kind in stanza.inside) or any(scope.all(word) if scope is not None else ())
    if not is_stanza or not _is_option(kind, word):
        return is_stanza
    # One word for an option and a stanza (domainkeys).
    is_there = scope is not None and any(scope.all(word))
    return len(words) > 1 and words[1] != "=" and (is_there or len(words) > 2 or _is_option(word, words[1]))


def _is_option(kind: str, name: str) -> bool:
    return OPTIONS.find(kind, name) is not None or accepted.find(kind, name) is not None


def _take_name(kind: str, parent: Scope | None, rest: list[str]) -> str | None:
    """Take the instance name from the words behind a scope word, if they begin with one."""
    stanza = STANZAS.get(kind)
    there = list(parent.all(kind)) if parent is not None else []
    if stanza is not None and stanza.name is Name.NONE:
        return None
    if stanza is not None and stanza.name is Name.REQUIRED:
        if not rest:
            names = ", ".join(child.spelled or "" for child in there) or "none"
            raise ConfigError(f"{stanza.word} needs a name; there is: {names}")
        return str(rest.pop(0))
    if rest and _is_name(kind, there, rest):
        return str(rest.pop(0))
    return None


def _is_name(kind: str, there: list[Scope], rest: list[str]) -> bool:
    """Whether the first word behind a scope word that may carry a name is its name."""
    word = rest[0]
    if any(child.instance is not None and child.instance == canonical(kind, word) for child in there):
        return True
    unnamed = next((child for child in there if child.instance is None), None)
    stanza = STANZAS.get(word)
    if _is_option(kind, word) or (stanza is not None and kind in stanza.inside):
        return False
    if unnamed is not None and (word.lower() in unnamed.settings or any(unnamed.all(word.lower()))):
        return False
    if len(rest) > 1 and _is_option(kind, rest[1]):
        return True
    # `name option [=] value` against `option [=] value`.
    return len(rest) > 2 and rest[1] != "=" and rest[1][:1] not in ("(", "[")


def require_option(path: Path, name: str, *, also: Sequence[str] = ()) -> None:
    """Refuse a name that no option valid at a place has; stanzas that take any name take this one too.

    Args:
        path: the place.
        name: what was written.
        also: further scope words (lower case) whose options are asked for there.

    Raises:
        ConfigError: the name is unknown there, with what may have been meant.
    """
    kinds = (kind_at(path), *also)
    stanza = STANZAS.get(kinds[0])
    is_free = any(known is None or known.free_form for known in (STANZAS.get(step.kind) for step in path))
    if is_free or (stanza is not None and stanza.takes_more) or any(_is_option(kind, name) for kind in kinds):
        return
    where = scope_word(kinds[0]) if stanza is None or not path else f"{stanza.word}"
    elsewhere = scopes_of(name)
    known = STANZAS.get(name)
    if elsewhere:
        hint = "is valid in: " + ", ".join(scope_word(kind) for kind in elsewhere)
    elif known is not None:
        hint = f"{known.word} is a stanza of " + ", ".join(scope_word(kind) for kind in known.inside)
    else:
        stanzas = [one.word for one in STANZAS if kinds[0] in one.inside]
        names = [*(one for kind in kinds for one in valid_names(kind)), *stanzas]
        hint = did_you_mean(name, names) or did_you_mean(name, [one.name for one in OPTIONS])
    raise ConfigError(f"unknown option '{name}' in {where}" + (f"; {hint}" if hint else ""))


def option_at(path: Path, name: str) -> Option[Any] | None:
    """The served or unserved option of that name at a place, or in the global scope that it falls back to."""
    return OPTIONS.find(kind_at(path), name) or OPTIONS.find("global", name)
