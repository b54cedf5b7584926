"""Finds the view that a place in words means: ``esmtp_listener listen :25 peer 10.0.0.1``, ``domain example.com``.

The words are those of the console's ``config get``: a scope word and its instance name where it has one, from the
outside in. ``peer`` takes a client's address, and all Peer stanzas that match it take part.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from gsmtp.config.option import GLOBAL, INBOUND, OPTIONS, Option
from gsmtp.config.pools import PoolDefaults, predefined_pool
from gsmtp.config.scopes import Configuration, ListenStanza
from gsmtp.config.stanza import STANZAS, Name, NameKind
from gsmtp.config.suggest import did_you_mean
from gsmtp.config.titles import scope_title, scope_word, valid_names
from gsmtp.config.tree import Scope
from gsmtp.config.view import View
from gsmtp.core.address import Endpoint, parse_network
from gsmtp.core.domains import normal_domain
from gsmtp.core.errors import ConfigError


@dataclass(frozen=True)
class Place:
    """A place in a configuration.

    Args:
        view: the options that hold there.
        kinds: the scope words (lower case) whose options mean something there.
        pool: the defaults of a predefined ThreadPool, or None.
    """

    view: View
    kinds: tuple[str, ...]
    pool: PoolDefaults | None = None

    def options(self) -> list[Option[Any]]:
        """The options that mean something there, by name."""
        kinds = set(self.kinds)
        found = [option for option in OPTIONS if kinds & set(option.scopes)]
        if "esmtp_listener" not in kinds:
            return found
        # some that may stand in a Listen or a Peer are about the console's
        return [one for one in found if "esmtp_listener" in one.scopes or "control_listener" not in one.scopes]

    def option(self, name: str) -> Option[Any] | None:
        """The option of that name that means something there."""
        return next((found for kind in self._asked() if (found := OPTIONS.find(kind, name)) is not None), None)

    def default(self, option: Option[Any]) -> Any:
        """What holds when no scope sets the option; predefined pools have their own numbers."""
        if self.pool is not None and option.key in ("concurrency", "backlog"):
            return self.pool.concurrency if option.key == "concurrency" else self.pool.backlog
        return option.default

    def _asked(self) -> tuple[str, ...]:
        """The kinds, and the scope that everything falls back to."""
        return (*self.kinds, *GLOBAL) if self.view.chain[-1].parent is None else self.kinds

    def names(self) -> list[str]:
        """All names that may be asked for there, served or not."""
        return [name for kind in self._asked() for name in valid_names(kind)]


def locate(configuration: Configuration, words: str) -> Place:
    """The place that `words` mean; "" is the global scope.

    Raises:
        ConfigError: there is no such place; the text says which part, and what there is.
    """
    try:
        parts = shlex.split(words)
    except ValueError as error:
        raise ConfigError(f"'{words}': {error}") from None
    parts = [part for part in parts if part]
    if not parts:
        return Place(configuration.view, GLOBAL)
    head = parts[0].lower()
    if head in ("esmtp_listener", "listen"):
        return _inbound(configuration, parts if head == "listen" else parts[1:])
    if head == "control_listener":
        return _inbound(configuration, parts[1:], head)
    if head == "domain" and len(parts) == 2:
        return Place(configuration.domain_view(parts[1]), ("domain",))
    return _plain(configuration, parts)


def _inbound(configuration: Configuration, parts: list[str], kind: str = "esmtp_listener") -> Place:
    listens = configuration.listens if kind == "esmtp_listener" else configuration.control_listens
    kinds = INBOUND if kind == "esmtp_listener" else (kind,)
    listen: ListenStanza | None = None
    client: str | None = None
    for word, name in _pairs(parts):
        if word == "listen" and listen is None and client is None:
            listen = _listen(listens, name)
        elif word == "peer" and client is None:
            client = _client(name)
        else:
            raise ConfigError(f"'{word} {name}' has no place there; write '{kind} listen :25 peer 10.0.0.1'")
    if listen is None:
        return Place(configuration.listener_view(client, kind), kinds)
    view = listen.view if client is None else configuration.view_for(listen, client)
    return Place(view, kinds)


def _pairs(parts: list[str]) -> Iterator[tuple[str, str]]:
    for index in range(0, len(parts), 2):
        if index + 1 == len(parts):
            raise ConfigError(f"'{parts[index]}' needs a name after it")
        yield parts[index].lower(), parts[index + 1]


def _client(text: str) -> str:
    try:
        return str(parse_network(text).network_address)
    except ValueError as error:
        raise ConfigError(f"peer {text}: {error}") from None


def _listen(listens: Sequence[ListenStanza], name: str) -> ListenStanza:
    try:
        endpoint = Endpoint.parse(name)
    except ValueError as error:
        raise ConfigError(f"listen {name}: {error}") from None
    for listen in listens:
        if listen.endpoint == endpoint:
            return listen
    there = ", ".join(listen.name for listen in listens) or "none"
    raise ConfigError(f"there is no Listen {name}; there is: {there}")


def _plain(configuration: Configuration, parts: list[str]) -> Place:
    """A stanza of another kind: its own options, with no fallback but to the predefined pools' defaults."""
    scope = configuration.tree.root
    pool: PoolDefaults | None = None
    while parts:
        stanza = STANZAS.get(parts[0])
        if stanza is None:
            hint = did_you_mean(parts[0], (stanza.word for stanza in STANZAS))
            raise ConfigError(f"'{parts[0]}' is no stanza" + (f"; {hint}" if hint else ""))
        rest = parts[1:]
        named = stanza.name is not Name.NONE and bool(rest) and STANZAS.get(rest[0]) is None
        if stanza.name is Name.REQUIRED and not rest:
            raise ConfigError(f"'{parts[0]}' needs a name after it")
        if stanza.name is Name.REQUIRED or named:
            name, rest = rest[0], rest[1:]
        else:
            name = None
        child = next((child for child in scope.all(stanza.key) if _is_named(child, name, stanza.name_kind)), None)
        pool = predefined_pool(name) if stanza.key == "threadpool" and name else None
        if child is None:
            if pool is None and stanza.name is not Name.NONE:
                raise ConfigError(_no_such(scope, stanza.key, name))
            child = Scope(stanza.key, name, name, scope)  # nothing is set, and the defaults hold
        scope, parts = child, rest
    return Place(View((scope,), generation=configuration.generation), (scope.kind,), pool)


def _is_named(scope: Scope, name: str | None, kind: NameKind) -> bool:
    mine = scope.spelled
    if name is None or mine is None:
        return mine is None and name is None
    if kind is NameKind.DOMAIN:
        return normal_domain(mine) == normal_domain(name)
    return mine == name if kind is NameKind.CASE else mine.lower() == name.lower()


def _no_such(scope: Scope, kind: str, name: str | None) -> str:
    there = ", ".join(child.spelled or scope_word(kind) for child in scope.all(kind)) or "none"
    asked = scope_word(kind) if name is None else f'{scope_word(kind)} "{name}"'
    return f"there is no {asked} in {scope_title(scope)}; there is: {there}"
