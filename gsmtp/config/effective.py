"""``config eval``: what holds for an option at a place, through the documented fallback, set or not, served or not.

Source: reference/scopes-and-fallback.md sections 2 and 3.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from gsmtp.config import accepted
from gsmtp.config.common import LISTENERS
from gsmtp.config.instance import is_regex
from gsmtp.config.locate import locate
from gsmtp.config.option import OPTIONS, Option
from gsmtp.config.pools import predefined_pool
from gsmtp.config.scope_path import Path, Step, find, kind_at, require_option, words_of
from gsmtp.config.scopes import Configuration, PeerTable, regex_source
from gsmtp.config.tree import Array, Dictionary, Scalar, Scope, Value
from gsmtp.config.view import View
from gsmtp.core.address import parse_network
from gsmtp.core.domains import DomainPatterns, normal_domain
from gsmtp.core.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Effective:
    """What holds.

    Args:
        value: as written, or the default in the same form: 0 and 1 for booleans.
        scope: the scope that sets it, None for the default.
    """

    value: Value
    scope: Scope | None


def evaluate(configuration: Configuration, path: Path, name: str) -> Effective:
    """The effective value of an option at a place.

    Args:
        configuration: compiled from the tree that is meant.
        path: the scope, which need not have a stanza; ``peer`` names a client's address or network.
        name: the option, any case.

    Raises:
        ConfigError: there is no such option or place.
    """
    chain = chain_of(configuration, path)
    kinds = list(dict.fromkeys((kind_at(path), *(scope.kind for scope in chain))))
    require_option(path, name, also=kinds[1:])
    option = next((found for kind in kinds if (found := OPTIONS.find(kind, name)) is not None), None)
    if option is not None and option.merges:
        return _merged(option, chain)
    keys = (name.lower(),) if option is None else (option.key, *(alias.lower() for alias in option.aliases))
    for scope in chain:
        # As views do it; in other chains one name may be declared anew for the scopes of another listener.
        if path and path[0].kind == "esmtp_listener" and option is not None and scope.kind not in option.scopes:
            continue
        for key in keys:
            if key in scope.settings:
                return Effective(scope.settings[key].value, scope)
    return Effective(_default(option, kinds, path, name), None)


def _merged(option: Option[Any], chain: tuple[Scope, ...]) -> Effective:
    try:
        origin = View(chain).origin(option)
    except ValueError as error:
        raise ConfigError(f"{option.name}: {error}") from None
    return Effective(_as_value(option, origin.value), origin.scope)


def _default(option: Option[Any] | None, kinds: list[str], path: Path, name: str) -> Value:
    if option is None:
        row = next((found for kind in kinds if (found := accepted.find(kind, name)) is not None), None)
        text = row.default if row is not None else ""
        return Scalar({"true": "1", "false": "0"}.get(text, text), False)
    pool = predefined_pool(path[-1].name or "") if kind_at(path) == "threadpool" else None
    if pool is not None and option.key in ("concurrency", "backlog"):
        return Scalar(str(pool.concurrency if option.key == "concurrency" else pool.backlog), False)
    return _as_value(option, option.default)


def _as_value(option: Option[Any], value: Any) -> Value:
    """A typed value in the form in which one would write it, booleans as numbers."""
    if isinstance(value, bool) or value in ("true", "false"):
        return Scalar("1" if value in (True, "true") else "0", False)
    if isinstance(value, dict):
        return Dictionary(tuple((Scalar(key, False), Scalar(str(one), False)) for key, one in value.items()))
    if option.kind.name != "rate" and isinstance(value, tuple | DomainPatterns):
        return Array(tuple(Scalar(str(item), False) for item in value))
    text = value if isinstance(value, str) else option.kind.show(value)
    return Scalar(text.strip('"') if not isinstance(value, str) else text, False)


# --- chains ---------------------------------------------------------------------------------------


def chain_of(configuration: Configuration, path: Path) -> tuple[Scope, ...]:
    """The scopes that are asked for a place, most specific first; those without a stanza are left out.

    Raises:
        ConfigError: there is no such place.
    """
    root = configuration.tree.root
    if not path:
        return (root,)
    if path[0].kind == "esmtp_listener":
        return locate(configuration, shlex.join(words_of(path))).view.chain
    if path[0].kind in LISTENERS:
        return (*_listener(root, path), root)
    if path[0].kind in ("pathway", "pathway_group"):
        return (*_pathway(root, path), root)
    if path[0].kind in ("binding_group", "binding", "domain", "host"):
        return (*_outbound(root, path), root)
    found = find(root, path)
    return () if found is None else (found,)


def _listener(root: Scope, path: Path) -> Iterator[Scope]:
    """``listen::peer``, ``listen``, ``listener::peer``, ``listener``; all Peers that match, narrower ones first."""
    listener = find(root, path[:1])
    listen = next((find(root, path[: at + 1]) for at, step in enumerate(path) if step.kind == "listen"), None)
    peer = next((step.name or "" for step in path if step.kind == "peer"), None)
    for scope in (listen, listener):
        if scope is None:
            continue
        if peer is not None:
            yield from PeerTable(scope).matching(_address(peer))
        yield scope


def _address(text: str) -> IPv4Address | IPv6Address:
    try:
        return parse_network(text).network_address
    except ValueError as error:
        raise ConfigError(f"peer {text}: {error}") from None


def _pathway(root: Scope, path: Path) -> Iterator[Scope]:
    group = find(root, path[:1]) if path[0].kind == "pathway_group" else None
    pathway = path[-1] if path[-1].kind == "pathway" else None
    if pathway is not None and group is None:
        group = next((one for one in root.all("pathway_group") if one.children.get(pathway.key)), None)
    for outer in (group, root):
        if pathway is not None and outer is not None and pathway.key in outer.children:
            yield outer.children[pathway.key]
    if group is not None:
        yield group


def _outbound(root: Scope, path: Path) -> Iterator[Scope]:
    """The order of the documented list; within a container the exact name goes before regular expressions."""
    steps = {step.kind: step for step in path}
    group = _child(root, steps.get("binding_group"))
    binding_step = steps.get("binding")
    bindings = [found for outer in (group, root) if (found := _child(outer, binding_step)) is not None]
    last = path[-1] if path[-1].kind in ("domain", "host") else None
    for binding in bindings:
        yield from _matching(binding, last)
    yield from _matching(group, last)
    yield from bindings
    if group is not None:
        yield group
    yield from _matching(root, last)


def _child(outer: Scope | None, step: Step | None) -> Scope | None:
    return None if outer is None or step is None else outer.children.get(step.key)


def _matching(outer: Scope | None, step: Step | None) -> Iterator[Scope]:
    if outer is None or step is None:
        return
    name = normal_domain(step.name or "")
    exact = outer.children.get(step.key)
    if exact is not None:
        yield exact
    if is_regex(step.name or ""):
        return
    for scope in outer.all(step.kind):
        source = regex_source(scope.spelled or "")
        if source is not None and _found(source, name):
            yield scope


def _found(expression: str, name: str) -> bool:
    try:
        return re.search(expression, name, re.IGNORECASE) is not None
    except re.error:
        return False  # in a stanza that is not served nobody looked at it
