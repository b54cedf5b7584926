"""The life of the server: bind, become, accept, reload, drain, stop.

Order at start: file limit, sockets, pidfile, identity, spool, delivery, accept (reference/esmtp-listener.md
section 13; the pidfile comes after the sockets, so that a second server that can't bind doesn't overwrite it).
A reload builds the new configuration in a native thread; nothing changes unless all of it is good.
"""

from __future__ import annotations

import os
import time
from dataclasses import asdict

import gevent
import gevent.event

from gsmtp import compiled
from gsmtp.app.options import DRAIN_TIME
from gsmtp.app.parts import hostname_of
from gsmtp.app.process import end_at_once
from gsmtp.app.reloading import Reloading
from gsmtp.app.resources import give_up, prepare, take_effect
from gsmtp.control.listener import end_sessions
from gsmtp.core.clock import SystemClock
from gsmtp.core.envelope import Envelope
from gsmtp.core.errors import GsmtpError
from gsmtp.core.ids import IdMaker
from gsmtp.core.records import Peering, Reception
from gsmtp.core.reply import SHUTTING_DOWN
from gsmtp.delivery.bounces import PROTOCOL, Bounces
from gsmtp.delivery.queue import Delivery
from gsmtp.runtime.identity import become, inside, owner_of, raise_file_limit
from gsmtp.runtime.options import PIDFILE
from gsmtp.runtime.shared_counts import SharedCounts
from gsmtp.server.service import Service
from gsmtp.spool.options import FORCE_FSYNC, IN_DOUBT, LARGE_MESSAGE_THRESHOLD, SPOOL_MODE, SPOOL_RESERVE, SPOOLBASE
from gsmtp.spool.sqlite import SqliteSpool

_DRAIN_TICK_S = 0.01


class Supervisor(Reloading):
    """One running server.

    Args:
        path: the configuration file, read anew at a reload.
        configuration: what it said at start.
        events: the log.
        mailbox: brings results of native threads to the hub.
    """

    def start(self) -> None:
        """Come up, or raise GsmtpError with nothing left open."""
        raise_file_limit(self._configuration.view)
        self._resources = prepare(self._configuration, None, self._around)
        self._listeners.bind(self._configuration)
        try:
            self._spool = self._become_and_open()
        except BaseException:
            self._listeners.close()
            give_up(self._resources)
            self._logs.close()
            self._pidfile.remove()
            raise
        self._put_together()
        take_effect(self._resources, self._configuration, self._around)
        self._logs.tell(self._service)
        self._tell_recovery()
        self._delivery.start()
        self._listeners.start(self._service)
        self._is_busy = False
        self._say_ready()
        if self._reload_wanted:
            gevent.spawn(self.reload)

    def _become_and_open(self) -> SqliteSpool:
        """Note the pid, give up what rights aren't needed any more, open the logs' files and the spool."""
        view = self._configuration.view
        security = next(iter(self._configuration.stanzas("security")), None)
        self._pidfile.write(self._pidfile_path(view[PIDFILE]))
        make_spool_folder(inside(security, self._spool_folder(view[SPOOLBASE])), owner_of(security))
        become(security)
        recorders = self._resources.scripts.recorders()
        self._logs.use(self._logs.prepare(self._configuration), self._configuration, recorders)
        return SqliteSpool.open_at(
            self._spool_folder(view[SPOOLBASE]),
            mode=view[SPOOL_MODE],
            fsync=view[FORCE_FSYNC],
            large_threshold=view[LARGE_MESSAGE_THRESHOLD],
            reserve_bytes=view[SPOOL_RESERVE],
            hold_in_doubt=view[IN_DOUBT] == "hold",
            first_opening=self._first_opening(view[SPOOLBASE]),
        )

    def _put_together(self) -> None:
        """Make what delivers and what all connections share; nothing runs yet."""
        clock = SystemClock()
        ids = IdMaker(self._spool.generation, os.getpid())
        hostname = hostname_of(self._configuration)
        self._delivery = Delivery(
            self._spool,
            self._configuration,
            self._native,
            clock,
            self._logs.journal,
            failures=Bounces(self._spool, self._native, ids.next, clock, hostname),
            announced=self._tell_notice,
            shared=self._shared,
        )
        self._service = Service(
            configuration=self._configuration,
            spool=self._spool,
            chain=self._resources.chain,
            tls=self._resources.tls,
            wheel=self._wheel,
            events=self._events,
            journal=self._logs.journal,
            ids=ids,
            hostname=hostname,
            clock=clock,
            accepted=self._delivery.notify,
            authenticator=self._resources.authenticator,
            native=self._native,
            handover=self._delivery.handover,
            shared=self._shared,
        )

    # --- what a worker does in another way

    @property
    def _shared(self) -> SharedCounts | None:
        """The counts that all workers keep together; None in a server of one process."""
        return None

    @property
    def _label(self) -> dict[str, object]:
        """What tells its last lines from those of others."""
        return {}

    def _pidfile_path(self, path: str) -> str:
        return path

    def _spool_folder(self, base: str) -> str:
        return base

    def _first_opening(self, base: str) -> int:
        """The least generation of the spool. Takes over what workers left that are no more."""
        return self.adopt(base, 1)

    def _tell_notice(self, envelope: Envelope) -> None:
        """Log a message that we wrote ourselves (reference/console-and-logs.md section 5.1)."""
        self._logs.journal.record(Reception(Peering(envelope.connection_id, "", "", ""), envelope, protocol=PROTOCOL))

    def _tell_recovery(self) -> None:
        """Say what opening the spool put right after a crash."""
        found = self._spool.recovery
        if found.unfinished_removed or found.orphans_removed:
            self._events.event(
                "info",
                "spool",
                "recovered",
                unfinished_removed=found.unfinished_removed,
                orphans_removed=found.orphans_removed,
            )
        for message_id, reason in found.dead:
            self._events.event("error", "spool", "message lost its body", id=message_id, reason=reason)
        for message_id, address in found.in_doubt:
            self._events.event(
                "warning", "spool", "may have been delivered before the crash", id=message_id, to=address
            )

    def _say_ready(self) -> None:
        addresses = self._listeners.addresses()
        self._events.event(
            "info",
            "start",
            "ready",
            listening=",".join(addresses) or "nothing",
            control=",".join(self._listeners.addresses(control=True)) or None,
            pid=os.getpid(),
            spool=self._configuration.view[SPOOLBASE],
            code=compiled.words(),
        )
        if not addresses:
            self._events.event("warning", "start", "no Listen stanza is enabled: no mail can come in")

    # --- stop

    def request_stop(self) -> None:
        """Let `wait` return. Safe in a signal's callback."""
        self._stop.set()

    def end_at_once(self, number: int) -> None:
        """End without draining, as by a signal."""
        end_at_once(number)

    def wait(self) -> None:
        """Wait in the calling green thread until somebody asks to stop."""
        self._stop.wait()

    def stop(self) -> None:
        """Stop accepting, let transactions end within Drain_Time, tell the others 421, close everything."""
        drain_s = self._configuration.view[DRAIN_TIME]
        deadline = time.monotonic() + drain_s
        service = self._service
        self._events.event(
            "info", "stop", "draining", **self._label, sessions=len(service.connections), seconds=drain_s
        )
        self._listeners.close()
        service.is_draining = True
        service.throttles.release_all()
        for connection in list(service.connections):
            connection.drain()
        while any(connection.is_working for connection in service.connections) and time.monotonic() < deadline:
            gevent.sleep(_DRAIN_TICK_S)
        cut = sum(connection.is_working for connection in service.connections)
        for connection in list(service.connections):
            connection.dismiss(SHUTTING_DOWN)
        end_sessions(self._host)
        self._delivery.drain(max(0.2, deadline - time.monotonic()))
        for connection in list(service.connections):
            connection.abandon()
        self._spool.close()
        give_up(self._resources)
        self._around.close()
        self._pidfile.remove()
        self._events.event(
            "info", "stop", "stopped", **self._label, transactions_cut=cut or None, **asdict(service.totals)
        )
        self._logs.close()


def make_spool_folder(path: str, owner: tuple[int, int]) -> None:
    """Make the spool's folder while we may, for the user that will write there."""
    try:
        os.makedirs(path, mode=0o750, exist_ok=True)
        if os.getuid() == 0 and owner != (-1, -1):
            os.chown(path, *owner)
    except OSError as error:
        raise GsmtpError(f"can't make the spool folder {path}: {error.strerror} (set Spoolbase)") from error
