"""One Listen of a Control_Listener: accepts, and gives each client a session in a green thread of its own.

Accepting is as for mail (`gsmtp.server.listener`). Commands run in the session's green thread, or, where Pool_Name or
Concurrency is set, in the pool that they name: an operator must get through when the pools for mail are stuck.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

import gevent

from gsmtp.config.scopes import ListenStanza
from gsmtp.control.host import Host
from gsmtp.control.operations import Operations
from gsmtp.control.session import ControlSession
from gsmtp.runtime.pools import WorkPool
from gsmtp.runtime.sockets import RawSocket
from gsmtp.runtime.sockopts import When, rows
from gsmtp.server.listener import Listener
from gsmtp.server.service import Service

if TYPE_CHECKING:
    from gsmtp.runtime.pools import SessionCount

log = logging.getLogger("gsmtp.control")

MOST_SESSIONS: Final = 100
"""At one time on one socket: clients of one can't lock out those of another."""

_LAST_WORDS_S: Final = 1.0


class ControlListener(Listener):
    """Accepts operators.

    Args:
        service: the log, ids, stores.
        stanza: the Listen.
        raw: bound and listening.
        pool: that the stanza names, or one that nobody else uses.
        operations: the running server.
        host: what all sessions share.
    """

    def __init__(
        self,
        service: Service,
        stanza: ListenStanza,
        raw: RawSocket,
        pool: WorkPool,
        operations: Operations,
        host: Host,
    ) -> None:
        super().__init__(service, stanza, raw, pool)
        self.operations = operations
        self.host = host

    def do_handle(self, raw: RawSocket, address: Any) -> None:
        """Begin a session."""
        if self.sessions >= MOST_SESSIONS:
            _refuse(raw)
            return
        try:
            for level, number, value in rows(self.stanza.view, raw.family, When.ACCEPTED):
                raw.setsockopt(level, number, value)
            session = ControlSession(self, raw, address)
        except OSError:  # gone already
            raw.close()
            return
        self.host.seats[session] = gevent.spawn(self._run, session, self.session_began())

    def _run(self, session: ControlSession, counted_in: SessionCount) -> None:
        try:
            session.run()
        finally:
            self.host.seats.pop(session, None)
            self.session_ended(counted_in)


def _refuse(raw: RawSocket) -> None:
    try:
        raw.send(b"ERR too many console sessions\n.\n")
    except OSError:
        pass
    raw.close()


def end_sessions(host: Host) -> None:
    """End all sessions: idle ones at once, the others when their command is answered, or after a second."""
    host.is_closing = True
    busy = []
    for session, thread in list(host.seats.items()):
        if session.is_busy:
            busy.append(thread)
        else:
            thread.kill(block=False)
    gevent.joinall(busy, timeout=_LAST_WORDS_S)
    gevent.killall([thread for thread in host.seats.values()], timeout=_LAST_WORDS_S)
    host.traces.close()
    host.outbound_traces.close()
