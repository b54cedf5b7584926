"""Listening sockets of several processes: the parent opens and holds them, its workers accept on them."""

from __future__ import annotations

import _socket
import os
from collections.abc import Collection, Mapping

from gsmtp.app.listeners import ListenerSet, MakeListener, is_control
from gsmtp.config.scopes import Configuration, ListenStanza
from gsmtp.runtime.pools import Pools, WorkPool
from gsmtp.runtime.sockets import BindError, RawSocket
from gsmtp.server.listener import Listener
from gsmtp.server.service import Events, Service


class Held(Listener):
    """A socket on which this process doesn't accept, but keeps clients from being refused whatever workers do."""

    def start(self) -> None:
        """Nothing: the workers accept."""


class HeldSockets(ListenerSet):
    """All sockets as the parent has them; it accepts on those of the console only."""

    is_shared = True

    def __init__(self, pools: Pools, events: Events, make_control: MakeListener) -> None:
        super().__init__(pools, events, make_control, Held)

    def handed(self) -> dict[str, int]:
        """The descriptors of the sockets for mail, by endpoint."""
        bound = {key: raw.fileno() for key, (stanza, raw) in self._bound.items() if not is_control(stanza)}
        return bound | {key: one.socket.fileno() for key, one in self.for_mail.items() if not one.closed}


class InheritedSockets(ListenerSet):
    """The sockets for mail as a worker has them.

    Attributes:
        given: descriptors of the sockets of the configuration that is to take effect, by endpoint.
    """

    is_shared = True
    given: Mapping[str, int] = {}

    def take(self, given: Mapping[str, int]) -> None:
        """Have sockets for the next configuration; those that were left over from the last one are closed."""
        self.let_go()
        self.given = dict(given)

    def let_go(self) -> None:
        """Close what no listener took."""
        for descriptor in self.given.values():
            os.close(descriptor)
        self.given = {}

    def wanted(self, configuration: Configuration) -> dict[str, ListenStanza]:
        """The stanzas for mail; the console is the parent's."""
        return {key: one for key, one in super().wanted(configuration).items() if not is_control(one)}

    def open_socket(self, stanza: ListenStanza, beside: Collection[RawSocket]) -> RawSocket:
        """Take the one that the parent opened. Raises BindError when there is none."""
        descriptor = self.given.get(str(stanza.endpoint))
        if descriptor is None:
            raise BindError(f"the parent has no socket for {stanza.endpoint}")
        raw = _socket.socket(fileno=os.dup(descriptor))
        raw.setblocking(False)
        return raw

    def close_raw(self, raw: RawSocket) -> None:
        """Close our descriptor; the file of a Unix socket is the parent's."""
        raw.close()

    def is_stale(self, key: str, listener: Listener) -> bool:
        """Whether the parent has opened another socket in the place of ours."""
        descriptor = self.given.get(key)
        return descriptor is not None and os.fstat(descriptor).st_ino != os.fstat(listener.socket.fileno()).st_ino

    def _make(self, service: Service, stanza: ListenStanza, raw: RawSocket, pool: WorkPool) -> Listener:
        listener = super()._make(service, stanza, raw, pool)
        listener.is_inherited = True
        return listener
