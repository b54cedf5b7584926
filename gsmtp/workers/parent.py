"""The parent: reads the configuration, holds the sockets and the console, and has workers that do all the rest.

Order at start: the workers' interpreters, file limit, what the configuration needs (so that what is wrong is told
once), sockets, pidfile, spool folder, spools of slots that are no more, orders to the workers, console. A reload goes
through the parent first, and reaches the workers only when all of it is good here.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence

import gevent

from gsmtp import compiled
from gsmtp.app.loggers import LogKeeper
from gsmtp.app.options import DRAIN_TIME
from gsmtp.app.parts import hostname_of
from gsmtp.app.process import end_at_once
from gsmtp.app.reloading import Reloading
from gsmtp.app.resources import give_up, prepare, take_effect
from gsmtp.app.supervisor import make_spool_folder
from gsmtp.config.scopes import Configuration
from gsmtp.control import statistics, trace_workers
from gsmtp.control.listener import ControlListener, end_sessions
from gsmtp.core.clock import SystemClock
from gsmtp.core.errors import GsmtpError
from gsmtp.core.ids import IdMaker
from gsmtp.delivery.queue import Delivery
from gsmtp.observe.logs import EventLog
from gsmtp.observe.writer import LineWriter
from gsmtp.runtime.identity import inside, owner_of, raise_file_limit, work_as
from gsmtp.runtime.native import HubMailbox, NativePool
from gsmtp.runtime.options import PIDFILE
from gsmtp.runtime.shared_counts import make
from gsmtp.server.service import Service
from gsmtp.spool.options import SPOOLBASE
from gsmtp.spool.sqlite import SqliteSpool
from gsmtp.workers.count import workers_of
from gsmtp.workers.crew import Crew, Orders
from gsmtp.workers.nospool import no_spool
from gsmtp.workers.sockets import HeldSockets

_MARGIN_S = 1.5
"""What a worker may take beyond Drain_Time to close its spool."""

_ASK_WORKERS = "not served with workers: the mail is with them, and this asks the parent only"


class Parent(Reloading):
    """A server whose workers serve.

    Args:
        path: the configuration file, read anew at a reload.
        configuration: what it said at start.
        events: the log.
        mailbox: brings results of native threads to the hub.
        asked: ``--workers``, None when it wasn't given.
        count: of the workers.
        table: descriptor of the counts that they share.
        command: what starts a worker.
    """

    def __init__(
        self,
        path: str,
        configuration: Configuration,
        events: EventLog,
        mailbox: HubMailbox,
        *,
        asked: int | None,
        count: int,
        table: int,
        command: Sequence[str],
    ) -> None:
        super().__init__(path, configuration, events, mailbox)
        self._sockets.count = count
        self._asked = asked
        self._crew = Crew(count, command, events, self._orders, {}, table=table)
        self._crew.serving = self._tell_traces

    def _make_logs(self, mailbox: HubMailbox) -> LogKeeper:
        return LogKeeper(self._events, mailbox, is_shared=True)

    def _make_listeners(self) -> HeldSockets:
        self._sockets = HeldSockets(
            self._pools,
            self._events,
            lambda service, stanza, raw, pool: ControlListener(service, stanza, raw, pool, self, self._host),
        )
        return self._sockets

    @property
    def workers(self) -> Crew:
        """The processes that serve."""
        return self._crew

    @property
    def delivery(self) -> Delivery:
        """Raises GsmtpError: there is none."""
        raise GsmtpError(_ASK_WORKERS)

    @property
    def spool(self) -> SqliteSpool:
        """Raises GsmtpError: there is none."""
        raise GsmtpError(_ASK_WORKERS)

    def _orders(self) -> Orders:
        return Orders(self._configuration, self._sockets.handed())

    def _tell_traces(self, slot: int) -> None:
        """A worker that replaces another goes on with what the console traces."""
        traces = trace_workers.wanted(self._host)
        if any(traces.values()):
            answered = self._crew.ask(slot, trace_workers.QUESTION, traces)
            if answered.error:
                self._events.event("warning", "workers", f"worker {slot} traces nothing: {answered.error}")

    def _keep_statistics(self) -> None:
        """What a worker has counted is known when it dies."""
        while True:
            gevent.sleep(statistics.WATCH_S)
            statistics.ask(self._crew, self._host.statistics)

    # --- start

    def start(self) -> None:
        """Come up, or raise GsmtpError with nothing left open and no worker left."""
        try:
            self._start()
        except BaseException:
            self._crew.kill()
            self._listeners.close()
            self._logs.close()
            self._pidfile.remove()
            raise

    def _start(self) -> None:
        configuration = self._configuration
        view = configuration.view
        security = next(iter(configuration.stanzas("security")), None)
        raise_file_limit(view)
        self._crew.launch()
        self._resources = prepare(configuration, None, self._around)
        self._listeners.bind(configuration)
        self._pidfile.write(view[PIDFILE])
        make_spool_folder(inside(security, view[SPOOLBASE]), owner_of(security))
        self._crew.privileged = work_as(security)
        self._logs.use(self._logs.prepare(configuration), configuration, self._resources.scripts.recorders())
        self._crew.opening = self.adopt(view[SPOOLBASE], len(self._crew.members))
        self._crew.begin()
        self._service = Service(
            configuration=configuration,
            spool=no_spool(),
            chain=self._resources.chain,
            tls=self._resources.tls,
            wheel=self._wheel,
            events=self._events,
            journal=self._logs.journal,
            ids=IdMaker(self._crew.opening, os.getpid()),
            hostname=hostname_of(configuration),
            clock=SystemClock(),
            accepted=lambda envelope: None,
            authenticator=self._resources.authenticator,
            native=self._native,
        )
        take_effect(self._resources, configuration, self._around)
        self._logs.tell(self._service)
        self._listeners.start(self._service)
        gevent.spawn(self._keep_statistics)
        self._is_busy = False
        self._say_ready()
        if self._reload_wanted:
            gevent.spawn(self.reload)

    def _say_ready(self) -> None:
        addresses = self._listeners.addresses()
        self._events.event(
            "info",
            "start",
            "ready",
            listening=",".join(addresses) or "nothing",
            control=",".join(self._listeners.addresses(control=True)) or None,
            pid=os.getpid(),
            workers=len(self._crew.members),
            spool=self._configuration.view[SPOOLBASE],
            code=compiled.words(),
        )
        if not addresses:
            self._events.event("warning", "start", "no Listen stanza is enabled: no mail can come in")

    # --- reload

    def reload(self) -> None:
        """HUP: log files are opened anew whatever the configuration says, then it is read."""
        gevent.spawn(self._crew.ask_all, "reopen")
        super().reload()

    def reopen_logs(self) -> None:
        """Close and reopen all log files, those of the workers too."""
        super().reopen_logs()
        self._crew.ask_all("reopen")

    def _hand_on_by(self, new: Configuration) -> None:
        """The workers do."""

    def _tell_what_stays(self, new: Configuration) -> None:
        super()._tell_what_stays(new)
        if workers_of(new, self._asked) != len(self._crew.members):
            self._events.event(
                "warning", "config", "the number of workers changed: needs a restart, the running value stays"
            )

    def _tell_reload(self, word: str, changes: str) -> None:
        self._crew.reload()
        super()._tell_reload(word, changes)

    # --- stop

    def request_stop(self) -> None:
        """Let `wait` return. Safe in a signal's callback."""
        self._stop.set()

    def wait(self) -> None:
        """Wait in the calling green thread until somebody asks to stop."""
        self._stop.wait()

    def end_at_once(self, number: int) -> None:
        """End all workers and this process without draining."""
        self._crew.signal_all()
        end_at_once(number)

    def stop(self) -> None:
        """Stop accepting, let the workers drain within Drain_Time, close everything."""
        drain_s = self._configuration.view[DRAIN_TIME]
        self._events.event("info", "stop", "draining", workers=len(self._crew.members), seconds=drain_s)
        self._listeners.close()
        began = time.monotonic()
        late = self._crew.stop(drain_s, _MARGIN_S)
        end_sessions(self._host)
        give_up(self._resources)
        self._around.close()
        self._pidfile.remove()
        self._events.event(
            "info", "stop", "stopped", workers_cut=late or None, seconds=round(time.monotonic() - began, 1)
        )
        self._logs.close()


def make_writer(count: int) -> tuple[int, HubMailbox, LineWriter]:
    """The workers' shared table, which is also what processes lock when they write to standard output."""
    table = make(count)
    mailbox = HubMailbox()
    turns = os.open(f"/proc/self/fd/{table}", os.O_RDWR | os.O_CLOEXEC)
    return table, mailbox, LineWriter(sys.stdout.fileno(), NativePool("log", 1, mailbox), turns)
