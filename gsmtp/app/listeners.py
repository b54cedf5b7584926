"""The set of listening sockets: opened all before the first accepts, compared and changed by a reload."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable
from ipaddress import ip_address

from gsmtp.config.scopes import Configuration, ListenStanza
from gsmtp.core.address import Endpoint
from gsmtp.core.errors import ConfigError
from gsmtp.runtime.identity import owner_of
from gsmtp.runtime.pools import FALLBACK, Pools, WorkPool
from gsmtp.runtime.sockets import BindError, RawSocket, close_listening, open_listening
from gsmtp.server.listener import Listener
from gsmtp.server.options import POOL_NAME
from gsmtp.server.service import Events, Service

MakeListener = Callable[[Service, ListenStanza, RawSocket, WorkPool], Listener]


class ListenerSet:
    """All listeners of the process by endpoint, those for mail first.

    Args:
        pools: the green pools that Pool_Name names.
        events: the log.
        make_control: makes a listener of the console of service, stanza, socket and pool.
        make_mail: makes one for mail of the same.

    Attributes:
        is_shared: whether other processes hold the sockets, too: then a closed one may still be in a new one's way.
    """

    is_shared = False

    def __init__(
        self, pools: Pools, events: Events, make_control: MakeListener, make_mail: MakeListener = Listener
    ) -> None:
        self._pools = pools
        self._events = events
        self._make_control = make_control
        self._make_mail = make_mail
        self._control_pool = WorkPool("Control", 1)  # of nobody else, and idle unless a stanza names another
        self._owner = (-1, -1)
        self._bound: dict[str, tuple[ListenStanza, RawSocket]] = {}
        self.listeners: dict[str, Listener] = {}

    def bind(self, configuration: Configuration) -> None:
        """Open the sockets of a first configuration. Raises ConfigError that names the stanza; then none is open."""
        self._owner = owner_of(next(iter(configuration.stanzas("security")), None))
        try:
            for key, stanza in self.wanted(configuration).items():
                self._bound[key] = (stanza, self._open(stanza, self._bound.values()))
                if stanza.endpoint.family == "unix" and os.getuid() == 0:
                    # those who may talk to the server are its own user and group, not root's
                    os.chown(stanza.endpoint.host, *self._owner)
        except ConfigError:
            self.close()
            raise

    def start(self, service: Service) -> None:
        """Start accepting on all bound sockets."""
        configuration = service.configuration
        for key, (stanza, raw) in self._bound.items():
            self.listeners[key] = self._make(service, stanza, raw, self._pool(configuration, stanza))
        self._bound.clear()
        for listener in self.listeners.values():
            listener.start()

    def apply(self, configuration: Configuration, service: Service) -> str:
        """Make the sockets what a new configuration says; sessions are left alone. Returns what changed, in words.

        Removed sockets on the port of a new one are closed first, so that a change from one address to ``*`` binds in
        the same reload. When a new one can't be bound, those are opened again, nothing is changed (no pool either) and
        ConfigError says why. A Unix socket whose file somebody removed is opened anew.
        """
        wanted = self.wanted(configuration)
        removed = {key: one for key, one in self.listeners.items() if key not in wanted or self.is_stale(key, one)}
        added = {key: stanza for key, stanza in wanted.items() if key not in self.listeners or key in removed}
        ports = {stanza.endpoint.port for stanza in added.values()}
        in_the_way = {
            key: one for key, one in removed.items() if one.stanza.endpoint.port in ports and not self.is_shared
        }
        for listener in in_the_way.values():
            listener.close_socket()
        opened: dict[str, RawSocket] = {}
        try:
            for key, stanza in added.items():
                beside = [(one.stanza, one.socket) for one in self.listeners.values() if not one.closed]
                opened[key] = self._open(stanza, [*beside, *((added[at], raw) for at, raw in opened.items())])
        except ConfigError:
            for raw in opened.values():
                self.close_raw(raw)
            self._reopen(in_the_way, service)
            raise
        self._pools.configure(configuration)
        for key, listener in removed.items():
            listener.close_socket()
            del self.listeners[key]
        for key, listener in self.listeners.items():
            try:
                listener.change(wanted[key], self._pool(configuration, wanted[key]))
            except OSError as error:  # the others must not be left half changed
                self._events.event("error", "net", f"can't change all options of {key}: {error}")
        for key, raw in opened.items():
            listener = self._make(service, added[key], raw, self._pool(configuration, added[key]))
            self.listeners[key] = listener
            listener.start()
        self.listeners = {key: self.listeners[key] for key in wanted}
        return ", ".join([f"opened {key}" for key in added] + [f"closed {key}" for key in removed]) or "none"

    def wanted(self, configuration: Configuration) -> dict[str, ListenStanza]:
        """The stanzas of a configuration that want a socket, by endpoint."""
        return {
            str(stanza.endpoint): stanza
            for stanza in (*configuration.listens, *configuration.control_listens)
            if stanza.is_enabled
        }

    def _make(self, service: Service, stanza: ListenStanza, raw: RawSocket, pool: WorkPool) -> Listener:
        return (self._make_control if is_control(stanza) else self._make_mail)(service, stanza, raw, pool)

    def _reopen(self, removed: dict[str, Listener], service: Service) -> None:
        for key, old in removed.items():
            try:
                raw = self._open(
                    old.stanza, [(one.stanza, one.socket) for one in self.listeners.values() if not one.closed]
                )
            except ConfigError as error:  # somebody took it in that moment
                self._events.event("critical", "net", f"lost a socket: {error}")
                del self.listeners[key]
                continue
            listener = self._make(service, old.stanza, raw, old.work_pool)
            self.listeners[key] = listener
            listener.start()

    def _open(self, stanza: ListenStanza, others: Iterable[tuple[ListenStanza, RawSocket]]) -> RawSocket:
        """Open a socket beside our own others; ``:25`` and ``10.0.0.1:25`` may both be there."""
        if is_control(stanza) and stanza.endpoint.family == "unix":
            _make_folder(os.path.dirname(stanza.endpoint.host), stanza, self._owner)
        beside = [raw for other, raw in others if raw.fileno() >= 0 and _overlap(stanza.endpoint, other.endpoint)]
        try:
            return self.open_socket(stanza, beside)
        except BindError as error:
            span = stanza.scope.span
            raise ConfigError(f'{span}: error: Listen "{stanza.name}": {error}') from error

    def open_socket(self, stanza: ListenStanza, beside: Collection[RawSocket]) -> RawSocket:
        """Open the socket of a Listen beside others of ours. Raises BindError."""
        return open_listening(stanza.endpoint, stanza.view, beside)

    def close_raw(self, raw: RawSocket) -> None:
        """Close a socket that no listener has yet."""
        close_listening(raw)

    def is_stale(self, _key: str, listener: Listener) -> bool:
        """Whether a reload is to open a socket anew that the configuration still wants."""
        return _lost_its_file(listener)

    def _pool(self, configuration: Configuration, stanza: ListenStanza) -> WorkPool:
        problem = configuration.pool_problem(stanza)
        if problem:
            self._events.event("critical", "threads", problem)
        name = stanza.view[POOL_NAME]
        if is_control(stanza) and not problem and not name:
            return self._control_pool
        return self._pools.get(FALLBACK if problem or not name else name)

    @property
    def for_mail(self) -> dict[str, Listener]:
        """Those that are not the console's."""
        return {key: one for key, one in self.listeners.items() if not is_control(one.stanza)}

    def addresses(self, *, control: bool = False) -> list[str]:
        """Where the sockets for mail listen (or the console's), with the real port where the file says 0."""
        return [_shown(listener) for listener in self.listeners.values() if is_control(listener.stanza) is control]

    def close(self) -> None:
        """Close all sockets, bound ones that don't accept yet too; sessions go on."""
        for _, raw in self._bound.values():
            self.close_raw(raw)
        self._bound.clear()
        for listener in self.listeners.values():
            listener.close_socket()


def is_control(stanza: ListenStanza) -> bool:
    """Whether it is the console's."""
    return stanza.scope.parent is not None and stanza.scope.parent.kind == "control_listener"


def _make_folder(path: str, stanza: ListenStanza, owner: tuple[int, int]) -> None:
    """Make the folder of a socket of the console, as /run/gsmtp after each boot; not those above it."""
    try:
        os.mkdir(path, 0o755)
        if os.getuid() == 0:
            os.chown(path, *owner)
    except FileExistsError:
        pass
    except OSError as error:
        raise ConfigError(
            f'{stanza.scope.span}: error: Listen "{stanza.name}": can\'t make the folder {path}: {error.strerror}'
        ) from error


def _lost_its_file(listener: Listener) -> bool:
    endpoint = listener.stanza.endpoint
    return endpoint.family == "unix" and not os.path.exists(endpoint.host)


def _overlap(one: Endpoint, other: Endpoint) -> bool:
    """Whether one is on all addresses of the other's port."""
    if one.family == "unix" or (one.family, one.port) != (other.family, other.port) or not one.port:
        return False
    return ip_address(one.host).is_unspecified != ip_address(other.host).is_unspecified


def _shown(listener: Listener) -> str:
    address = listener.address
    if not isinstance(address, tuple):
        return str(address)
    host, port = address[0], address[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
