"""From the checked tree to the views that the server reads: which scope's value holds for whom.

`CHAIN` is the order in which scopes are asked for a connection; turning it round is changing this one table. Each
option is looked up by itself: the first scope on the chain that sets it gives the value. A Configuration never changes;
a reload makes a new one.

Source: reference/scopes-and-fallback.md sections 2, 3 and 5.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv6Address, ip_address

from gsmtp.config.bindings import DEFAULT, BindingNames, Bindings, DomainTable
from gsmtp.config.common import ENABLE, MATCH_CACHE_LIFE, MATCH_CACHE_SIZE, PATHWAY
from gsmtp.config.instance import is_regex
from gsmtp.config.pools import pool_problem, predefined_pool
from gsmtp.config.tree import Scope, Tree
from gsmtp.config.view import View
from gsmtp.core.address import Endpoint, parse_network
from gsmtp.core.clock import Clock, SystemClock
from gsmtp.core.domains import normal_domain

UNIX_CLIENT = "127.0.0.1"
"""The address as which clients of a Unix socket match (reference/esmtp-listener.md section 2)."""


class PeerTable:
    """The Peer stanzas of one scope, found by address without looking at each of them.

    A dictionary for each prefix length that occurs, so that a look-up costs as many steps as there are different
    lengths (at most 33 and 129), whatever the number of stanzas.
    """

    __slots__ = ("_tables",)

    def __init__(self, scope: Scope) -> None:
        tables: dict[tuple[int, int], dict[int, Scope]] = {}
        for peer in scope.all("peer"):
            network = parse_network(peer.spelled or peer.instance or "")
            shift = network.max_prefixlen - network.prefixlen
            tables.setdefault((network.version, shift), {})[int(network.network_address) >> shift] = peer
        self._tables = sorted(tables.items())

    def matching(self, address: IPv4Address | IPv6Address) -> tuple[Scope, ...]:
        """All stanzas that contain the address, longest prefix first."""
        if not self._tables:
            return ()
        bits = int(address)
        version = address.version
        found = (table.get(bits >> shift) for (of_version, shift), table in self._tables if of_version == version)
        return tuple(peer for peer in found if peer is not None)


def client_address(text: str) -> IPv4Address | IPv6Address:
    """A client's address for matching: a Unix client ("") is 127.0.0.1, ``::ffff:192.0.2.1`` is 192.0.2.1."""
    address = ip_address(text.partition("%")[0] or UNIX_CLIENT)
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


@dataclass(frozen=True, eq=False)
class ListenStanza:
    """One Listen stanza of an ESMTP_Listener or a Control_Listener: one socket.

    Args:
        name: the endpoint as spelled.
        endpoint: what to bind.
        scope: the stanza.
        view: its options without any Peer.
        is_enabled: what Enable says.
        peers: its Peer stanzas.
        listener_peers: the Peer stanzas of the listener around it.
    """

    name: str
    endpoint: Endpoint
    scope: Scope
    view: View
    is_enabled: bool
    peers: PeerTable = field(repr=False)
    listener_peers: PeerTable = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Place:
    """What a chain is built from: the stanzas around a connection and the Peers that match it."""

    root: Scope
    listen: Scope | None
    listener: Scope | None
    listen_peers: tuple[Scope, ...] = ()
    listener_peers: tuple[Scope, ...] = ()
    pathways: tuple[Scope, ...] = ()
    groups: tuple[Scope, ...] = ()


def _present(scope: Scope | None) -> tuple[Scope, ...]:
    return () if scope is None else (scope,)


CHAIN: tuple[tuple[str, Callable[[_Place], Iterable[Scope]]], ...] = (
    ("Peers of the Listen, longest prefix first", lambda place: place.listen_peers),
    ("Listen", lambda place: _present(place.listen)),
    ("Peers of the listener, longest prefix first", lambda place: place.listener_peers),
    ("listener", lambda place: _present(place.listener)),
    ("Pathway, the one inside a group first", lambda place: place.pathways),
    ("Pathway_Group of the Pathway", lambda place: place.groups),
    ("global", lambda place: (place.root,)),
)
"""Most specific first; the built-in default comes after (reference/scopes-and-fallback.md sections 2 and 2.1)."""

_LISTENER_STEPS = 4
"""The steps through which the option ``pathway`` itself is resolved."""


def _chain(place: _Place, steps: int | None = None) -> tuple[Scope, ...]:
    return tuple(scope for _, take in CHAIN[:steps] for scope in take(place))


class _ViewCache:
    """Views by client address, oldest out first; entries older than `life_s` are resolved again (0: never)."""

    __slots__ = ("_clock", "_entries", "_life_s", "_size")

    def __init__(self, size: int, life_s: int, clock: Clock) -> None:
        self._size = size
        self._life_s = life_s
        self._clock = clock
        self._entries: dict[tuple[ListenStanza, str], tuple[View, float]] = {}

    def get(self, key: tuple[ListenStanza, str]) -> View | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        if self._life_s and self._clock.mono() - entry[1] >= self._life_s:
            del self._entries[key]
            return None
        return entry[0]

    def put(self, key: tuple[ListenStanza, str], view: View) -> None:
        if len(self._entries) >= self._size:
            del self._entries[next(iter(self._entries))]
        self._entries[key] = (view, self._clock.mono() if self._life_s else 0.0)

    def __len__(self) -> int:
        return len(self._entries)


class Configuration:
    """All that a checked tree says, compiled for reading.

    Args:
        tree: what was loaded, checked before.
        generation: grows by one with each load that takes effect.
        clock: for Match_Cache_Life.

    Attributes:
        view: the global view.
        listens: the Listen stanzas of ESMTP_Listener in file order, disabled ones too.
        control_listens: likewise those of Control_Listener.
    """

    def __init__(self, tree: Tree, generation: int = 1, clock: Clock | None = None) -> None:
        self.tree = tree
        self.generation = generation
        self.view = View((tree.root,), generation=generation)
        self._pathways, self._groups = _index_pathways(tree.root)
        self._views: dict[tuple[Scope, ...], View] = {}
        self._cache = _ViewCache(self.view[MATCH_CACHE_SIZE], self.view[MATCH_CACHE_LIFE], clock or SystemClock())
        self._domains = DomainTable(tree.root)
        self._bindings = Bindings(tree.root)
        self._domain_views: dict[tuple[str, str | None], View] = {}
        self.listens = tuple(self._compile_listens("esmtp_listener"))
        self.control_listens = tuple(self._compile_listens("control_listener"))

    def _compile_listens(self, kind: str) -> Iterator[ListenStanza]:
        for listener in self.tree.root.all(kind):
            listener_peers = PeerTable(listener)
            for scope in listener.all("listen"):
                view = self._compile_view(_Place(self.tree.root, scope, listener))
                name = scope.spelled or scope.instance or ""
                yield ListenStanza(
                    name=name,
                    endpoint=Endpoint.parse(name),
                    scope=scope,
                    view=view,
                    is_enabled=view[ENABLE],
                    peers=PeerTable(scope),
                    listener_peers=listener_peers,
                )

    def _compile_view(self, place: _Place, pathway: str | None = None) -> View:
        """The view of a place; one View object for one chain of scopes."""
        if pathway is None:
            pathway = View(_chain(place, _LISTENER_STEPS))[PATHWAY]
        takes_mail = place.listener is None or place.listener.kind == "esmtp_listener"
        pathways = self._pathways.get(pathway, ()) if takes_mail else ()
        group = self._groups.get(pathway) if takes_mail else None
        place = replace(place, pathways=pathways, groups=_present(group))
        chain = _chain(place)
        view = self._views.get(chain)
        if view is None:
            group_name = (group.spelled if group else None) or "default"
            view = View(chain, generation=self.generation, pathway=pathway, group=group_name)
            self._views[chain] = view
        return view

    def has_pathway(self, name: str) -> bool:
        """Whether a pathway of that name is configured; ``default`` always is."""
        return name == "default" or name in self._pathways

    def view_for(self, listen: ListenStanza, client_ip: str, pathway: str | None = None) -> View:
        """The options for a client of a socket.

        Args:
            listen: one of `listens`.
            client_ip: the client's address; "" for a Unix socket's client, who matches as 127.0.0.1.
            pathway: a pathway that a hook has set instead of the configured one.
        """
        key = (listen, client_ip)
        if pathway is None:
            view = self._cache.get(key)
            if view is not None:
                return view
        address = client_address(client_ip)
        place = _Place(
            self.tree.root,
            listen.scope,
            listen.scope.parent,
            listen.peers.matching(address),
            listen.listener_peers.matching(address),
        )
        view = self._compile_view(place, pathway)
        if pathway is None:
            self._cache.put(key, view)
        return view

    def listener_view(self, client_ip: str | None = None, kind: str = "esmtp_listener") -> View:
        """The options of a listener itself, for a client or (None) for nobody in particular."""
        listener = next(self.tree.root.all(kind), None)
        peers: tuple[Scope, ...] = ()
        if listener is not None and client_ip is not None:
            peers = PeerTable(listener).matching(client_address(client_ip))
        return self._compile_view(_Place(self.tree.root, None, listener, listener_peers=peers))

    @property
    def has_bindings(self) -> bool:
        """Whether there is a Binding stanza."""
        return bool(len(self._bindings))

    def has_binding(self, name: str) -> bool:
        """Whether a binding of that name is configured; ``default`` always is."""
        return name == DEFAULT or name in self._bindings

    def binding_names(self, binding: str) -> BindingNames:
        """What logs call a binding ("" for none chosen); one that isn't configured is the default binding."""
        return self._bindings.names(binding)

    def domain_view(self, domain: str) -> View:
        """The options for a recipient's domain at reception: its exact stanza, regex stanzas in file order, global."""
        return self._domain_view(domain, None)

    def delivery_view(self, domain: str, binding: str = "") -> View:
        """The options for mail to a domain by a binding, "" where none was chosen (reference/scopes-and-fallback.md
        section 3). A binding that isn't configured is the default binding."""
        return self._domain_view(domain, binding)

    def _domain_view(self, domain: str, binding: str | None) -> View:
        view = self._domain_views.get((domain, binding))
        if view is None:
            if len(self._domain_views) >= self.view[MATCH_CACHE_SIZE]:
                self._domain_views.clear()  # clients choose the names: the cache must not grow with them
            name = normal_domain(domain)
            before = () if binding is None else self._bindings.chain(binding, name)
            chain = (*before, *self._domains.matching(name), self.tree.root)
            view = self._views.get(chain)
            if view is None:
                view = self._views[chain] = View(chain, generation=self.generation)
            self._domain_views[domain, binding] = view
        return view

    def stanzas(self, kind: str) -> list[View]:
        """A view for each global stanza of that kind (``"maildir"``), in file order; ``view.chain[0]`` is the stanza.

        Module options don't fall back to the global scope (reference/scopes-and-fallback.md section 3).
        """
        return [View((scope,), generation=self.generation) for scope in self.tree.root.all(kind.lower())]

    def threadpool(self, name: str) -> View | None:
        """The ThreadPool stanza of that name, any case; None when the file has none (see `PREDEFINED_POOLS`)."""
        key = name.lower()
        scopes = (scope for scope in self.tree.root.all("threadpool") if (scope.spelled or "").lower() == key)
        found = next(scopes, None)
        return None if found is None else View((found,), generation=self.generation)

    def has_pool(self, name: str) -> bool:
        """Whether a pool of that name is defined or predefined."""
        return self.threadpool(name) is not None or predefined_pool(name) is not None

    def pool_problem(self, listen: ListenStanza) -> str:
        """The critical line to log when a socket has to use the IO pool instead of one of its own, or "".

        Source: reference/threadpools-eventloops.md section 2.2.
        """
        return pool_problem(listen.scope, listen.view, self.has_pool)


def _index_pathways(root: Scope) -> tuple[dict[str, tuple[Scope, ...]], dict[str, Scope]]:
    """Pathways by name, the one inside a group before the global one, and the group of each name.

    When two groups hold the same name the first one counts (the checker warns).
    """
    pathways: dict[str, list[Scope]] = {}
    groups: dict[str, Scope] = {}
    for group in root.all("pathway_group"):
        for pathway in group.all("pathway"):
            name = pathway.spelled or ""
            if name not in groups:
                groups[name] = group
                pathways[name] = [pathway]
    for pathway in root.all("pathway"):
        pathways.setdefault(pathway.spelled or "", []).append(pathway)
    return {name: tuple(scopes) for name, scopes in pathways.items()}, groups


def regex_source(name: str) -> str | None:
    """The expression of an instance name such as ``/^mx[.]/``, or None for a plain name."""
    return name[1:-1] if is_regex(name) else None


def compile_tree(tree: Tree, generation: int = 1, clock: Clock | None = None) -> Configuration:
    """Compile a checked tree. Raises ValueError for names that `check` would have reported.

    Args:
        tree: what was loaded.
        generation: number of the configuration, for sessions that outlive a reload.
        clock: for Match_Cache_Life.
    """
    return Configuration(tree, generation, clock)
