"""The parts of one running server, and what its console sees of them (`gsmtp.control.operations`)."""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping

import gevent
import gevent.event

from gsmtp.app.listeners import ListenerSet
from gsmtp.app.loggers import LogKeeper
from gsmtp.app.options import DRAIN_TIME
from gsmtp.app.pidfile import Pidfile
from gsmtp.app.resources import Resources, Surroundings
from gsmtp.config.scopes import Configuration
from gsmtp.config.tree import Tree
from gsmtp.control.host import Host
from gsmtp.control.listener import ControlListener
from gsmtp.control.workers import Workers
from gsmtp.datasource.store import Datasources
from gsmtp.delivery.queue import Delivery
from gsmtp.observe.files import LogFile
from gsmtp.observe.logs import EventLog
from gsmtp.runtime.deadline import DeadlineWheel
from gsmtp.runtime.native import HubMailbox, NativePool
from gsmtp.runtime.pools import Pools
from gsmtp.server.listener import Listener
from gsmtp.server.service import Service
from gsmtp.smtp.options import HOSTNAME
from gsmtp.spool.adopt import Adopted, adopt_all, is_in_use, slots_of
from gsmtp.spool.options import SPOOL_MODE
from gsmtp.spool.sqlite import SqliteSpool

_LOOK_AGAIN_S = 0.05
_TO_CLOSE_S = 2.0


class Parts(ABC):
    """What a running server consists of.

    Args:
        path: the configuration file, read anew at a reload.
        configuration: what it said at start.
        events: the log.
        mailbox: brings results of native threads to the hub.
    """

    def __init__(self, path: str, configuration: Configuration, events: EventLog, mailbox: HubMailbox) -> None:
        self._path = path
        self._configuration = configuration
        self._events = events
        self._native = NativePool("IO", 4, mailbox)
        self._around = Surroundings(events, self._native, mailbox)
        self._resources: Resources
        self._logs = self._make_logs(mailbox)
        self._pools = Pools()
        self._pools.configure(configuration)
        self._host = Host()
        self._listeners = self._make_listeners()
        self._stop = gevent.event.Event()
        self._is_busy = True  # starting; then while a reload is under way
        self._reload_wanted = False
        self._pidfile = Pidfile()
        self._service: Service
        self._spool: SqliteSpool
        self._delivery: Delivery
        self._wheel = DeadlineWheel()
        self.started_wall = time.time()

    def _make_logs(self, mailbox: HubMailbox) -> LogKeeper:
        return LogKeeper(self._events, mailbox)

    def _make_listeners(self) -> ListenerSet:
        return ListenerSet(
            self._pools,
            self._events,
            lambda service, stanza, raw, pool: ControlListener(service, stanza, raw, pool, self, self._host),
        )

    def adopt(self, base: str, slots: int) -> int:
        """Take over the spools of workers that are no more, and tell of it. Blocks in the calling green thread.

        Args:
            base: Spoolbase.
            slots: how many workers there are now.

        Returns:
            The least generation for the spool that is opened next.

        Raises:
            SpoolUnhealthy: mail would be delivered twice.
        """
        deadline = time.monotonic() + self._configuration.view[DRAIN_TIME] + _TO_CLOSE_S
        while slots_of(base) and is_in_use(base) and time.monotonic() < deadline:
            gevent.sleep(_LOOK_AGAIN_S)  # workers may be draining whose parent was killed
        adopted: Adopted = self._native.call(adopt_all, base, slots, self._configuration.view[SPOOL_MODE])
        for slot, count in adopted.moved.items():
            self._events.event("info", "spool", "took over a worker's spool", worker=slot, messages=count)
        for problem in adopted.problems:
            self._events.event("critical", "spool", problem)
        return adopted.opening

    # --- what the console sees (gsmtp.control.operations)

    @property
    def workers(self) -> Workers | None:
        """The processes that serve, None where this one does."""
        return None

    @abstractmethod
    def reload_now(self, path: str | None = None) -> None:
        """Read the files anew and let them take effect."""

    @abstractmethod
    def activate(self, tree: Tree) -> None:
        """Let an edited tree take effect."""

    @abstractmethod
    def request_stop(self) -> None:
        """Stop as TERM does."""

    @property
    def configuration(self) -> Configuration:
        """The one in force."""
        return self._configuration

    @property
    def service(self) -> Service:
        """What all sessions share."""
        return self._service

    @property
    def listeners(self) -> Mapping[str, Listener]:
        """ESMTP listeners by endpoint."""
        return self._listeners.for_mail

    @property
    def pools(self) -> Pools:
        """Green pools."""
        return self._pools

    @property
    def native_pools(self) -> Mapping[str, NativePool]:
        """Native pools by name."""
        authentication = self._resources.authenticator.native
        return {self._native.name: self._native, authentication.name: authentication, **self._around.pools.by_name}

    @property
    def delivery(self) -> Delivery:
        """The handing on."""
        return self._delivery

    @property
    def spool(self) -> SqliteSpool:
        """The queue."""
        return self._spool

    @property
    def host(self) -> Host:
        """What sessions of the console share."""
        return self._host

    @property
    def datasources(self) -> Datasources:
        """What modules and stores ask."""
        return self._resources.datasources

    @property
    def path(self) -> str:
        """The configuration file."""
        return self._path

    def reopen_logs(self) -> None:
        """Close and reopen all log files."""
        self._logs.reopen()
        self._host.traces.reopen()
        self._host.outbound_traces.reopen()

    def open_log(self, path: str, mode: int) -> LogFile:
        """Open a file to append lines to. Raises ConfigError."""
        return self._logs.open(path, mode)


def hostname_of(configuration: Configuration) -> str:
    """What the server calls itself: Hostname, else the machine's name."""
    return configuration.view[HOSTNAME] or os.uname().nodename
