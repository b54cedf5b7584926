"""Listening sockets of several processes: the parent opens and holds them, its workers accept on them.

Each worker has a socket of its own on each address (SO_REUSEPORT), and the kernel distributes connections among them:
nobody wakes up for what another one takes. The parent holds all of them open, so that what waits in one whose worker
died is neither refused nor lost, and the others accept on it until there is a new worker. A Unix socket can't be had
twice: all accept on the same one.
"""

from __future__ import annotations

import _socket
import os
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Final

from gsmtp.app.listeners import ListenerSet, MakeListener, is_control
from gsmtp.config.scopes import Configuration, ListenStanza
from gsmtp.runtime.later import Later
from gsmtp.runtime.pools import Pools, WorkPool
from gsmtp.runtime.shared_counts import SharedCounts
from gsmtp.runtime.sockets import BindError, RawSocket, close_listening, configure, open_listening
from gsmtp.server.listener import Listener
from gsmtp.server.service import Events, Service

SERVES: Final = "serves"
"""Each worker that accepts counts one by this."""
_LOOK_S: Final = 0.25
"""How often workers look whether the others are there."""


class Held(Listener):
    """A socket on which this process doesn't accept, but keeps clients from being refused whatever workers do.

    Attributes:
        twins: those on the same address, for workers behind the first.
    """

    twins: Sequence[RawSocket] = ()

    def start(self) -> None:
        """Nothing: the workers accept."""

    def change(self, stanza: ListenStanza, pool: WorkPool) -> None:
        """Take a changed stanza, for all sockets."""
        super().change(stanza, pool)
        for twin in self.twins:
            configure(twin, stanza.view)

    def close_socket(self) -> None:
        """Close all sockets."""
        super().close_socket()
        for twin in self.twins:
            twin.close()
        self.twins = ()


class HeldSockets(ListenerSet):
    """All sockets as the parent has them; it accepts on those of the console only.

    Attributes:
        count: of the workers.
    """

    is_shared = True

    def __init__(self, pools: Pools, events: Events, make_control: MakeListener) -> None:
        super().__init__(pools, events, make_control, Held)
        self.count = 1
        self._twins: dict[RawSocket, list[RawSocket]] = {}

    def handed(self) -> dict[str, list[int]]:
        """The descriptors of the sockets for mail, by endpoint: one for each slot, or one for all."""
        found = {key: raw for key, (stanza, raw) in self._bound.items() if not is_control(stanza)}
        bound = {key: [raw.fileno(), *(one.fileno() for one in self._twins.get(raw, ()))] for key, raw in found.items()}
        for key, one in self.for_mail.items():
            if isinstance(one, Held) and not one.closed:
                bound[key] = [one.socket.fileno(), *(twin.fileno() for twin in one.twins)]
        return bound

    def open_socket(self, stanza: ListenStanza, beside: Collection[RawSocket]) -> RawSocket:
        """Open as many sockets as there are workers. Raises BindError, with none open."""
        endpoint = stanza.endpoint
        if is_control(stanza) or endpoint.family == "unix":
            return super().open_socket(stanza, beside)
        first = open_listening(endpoint, stanza.view, beside, is_first=True)
        twins = self._twins[first] = []
        try:
            same = replace(endpoint, port=first.getsockname()[1])
            for _ in range(self.count - 1):
                twins.append(open_listening(same, stanza.view, (first, *beside)))
        except BindError:
            self.close_raw(first)
            raise
        return first

    def close_raw(self, raw: RawSocket) -> None:
        """Close a socket that no listener has yet, and its twins."""
        for twin in self._twins.pop(raw, ()):
            twin.close()
        close_listening(raw)

    def _make(self, service: Service, stanza: ListenStanza, raw: RawSocket, pool: WorkPool) -> Listener:
        listener = super()._make(service, stanza, raw, pool)
        if isinstance(listener, Held):
            listener.twins = self._twins.pop(raw, ())
        return listener


class Inherited(Listener):
    """A socket that the parent opened, with those of other workers beside it.

    Attributes:
        spares: by slot, where this process accepts as long as that slot has no worker.
    """

    def __init__(self, service: Service, stanza: ListenStanza, raw: RawSocket, pool: WorkPool) -> None:
        super().__init__(service, stanza, raw, pool)
        self.is_inherited = True
        self.spares: dict[int, Listener] = {}

    def change(self, stanza: ListenStanza, pool: WorkPool) -> None:
        """Take a changed stanza, for the others too."""
        super().change(stanza, pool)
        for spare in self.spares.values():
            spare.change(stanza, pool)

    def close_socket(self) -> None:
        """Stop accepting on all of them."""
        for spare in self.spares.values():
            spare.close_socket()
        self.spares = {}
        super().close_socket()


class InheritedSockets(ListenerSet):
    """The sockets for mail as a worker has them."""

    is_shared = True

    def __init__(self, pools: Pools, events: Events, make_control: MakeListener) -> None:
        super().__init__(pools, events, make_control, Inherited)
        self._given: dict[str, list[int]] = {}
        self._slot = 1
        self._counts: SharedCounts | None = None
        self._missing: set[int] = set()
        self._later = Later(_LOOK_S, self._look)

    def beside(self, slot: int, counts: SharedCounts) -> None:
        """Say which worker this is, and where others say that they serve."""
        self._slot = slot
        self._counts = counts

    def take(self, named: Sequence[tuple[str, int]], descriptors: Sequence[int]) -> None:
        """Have sockets for the next configuration: endpoints, and how many of the descriptors are theirs."""
        self.let_go()
        rest = list(descriptors)
        for name, count in named:
            self._given[name], rest = rest[:count], rest[count:]

    def let_go(self) -> None:
        """Close what came; listeners have copies."""
        for found in self._given.values():
            for descriptor in found:
                os.close(descriptor)
        self._given = {}

    def watch(self) -> None:
        """Tell that this worker serves, and begin to look after the sockets of those that don't."""
        if self._counts is not None:
            self._counts.add(SERVES)
            self._later.arm()

    def _look(self) -> None:
        assert self._counts is not None
        absent = {
            slot
            for slot in range(1, self._counts.columns + 1)
            if slot != self._slot and not self._counts.of(slot - 1, SERVES)
        }
        for listener in self.listeners.values():
            if isinstance(listener, Inherited):
                for slot, spare in listener.spares.items():
                    if slot not in absent:
                        spare.stop_accepting()
                    elif slot in self._missing:  # for a while already
                        spare.start_accepting()
        self._missing = absent
        self._later.arm()

    def wanted(self, configuration: Configuration) -> dict[str, ListenStanza]:
        """The stanzas for mail; the console is the parent's."""
        return {key: one for key, one in super().wanted(configuration).items() if not is_control(one)}

    def open_socket(self, stanza: ListenStanza, beside: Collection[RawSocket]) -> RawSocket:
        """Take the one that the parent opened. Raises BindError when there is none."""
        found = self._given.get(str(stanza.endpoint))
        if not found:
            raise BindError(f"the parent has no socket for {stanza.endpoint}")
        return _copy(found[self._slot - 1] if len(found) > 1 else found[0])

    def close_raw(self, raw: RawSocket) -> None:
        """Close our descriptor; the file of a Unix socket is the parent's."""
        raw.close()

    def close(self) -> None:
        """Stop accepting, and looking after others."""
        self._later.disarm()
        super().close()

    def is_stale(self, key: str, listener: Listener) -> bool:
        """Whether the parent has opened another socket in the place of ours."""
        found = self._given.get(key)
        if not found:
            return False
        ours = found[self._slot - 1] if len(found) > 1 else found[0]
        return os.fstat(ours).st_ino != os.fstat(listener.socket.fileno()).st_ino

    def _make(self, service: Service, stanza: ListenStanza, raw: RawSocket, pool: WorkPool) -> Listener:
        listener = super()._make(service, stanza, raw, pool)
        if isinstance(listener, Inherited):
            found = self._given.get(str(stanza.endpoint), [])
            for slot, descriptor in enumerate(found if len(found) > 1 else (), 1):
                if slot != self._slot:
                    spare = listener.spares[slot] = Listener(service, stanza, _copy(descriptor), pool)
                    spare.is_inherited = True
                    spare.start()
                    spare.stop_accepting()
        return listener


def _copy(descriptor: int) -> RawSocket:
    raw = _socket.socket(fileno=os.dup(descriptor))
    raw.setblocking(False)
    return raw
