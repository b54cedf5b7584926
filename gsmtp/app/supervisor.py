"""The life of the server: bind, become, accept, reload, drain, stop.

Order at start: file limit, sockets, pidfile, identity, spool, delivery, accept (reference/esmtp-listener.md
section 13; the pidfile comes after the sockets, so that a second server that can't bind doesn't overwrite it).
A reload builds the new configuration in a native thread; nothing changes unless all of it is good.
"""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import gevent
import gevent.event

from gsmtp.app.listeners import ListenerSet
from gsmtp.app.loading import Loaded, compile_checked, load
from gsmtp.app.loggers import LogKeeper
from gsmtp.app.options import DRAIN_TIME
from gsmtp.app.resources import Resources, Surroundings, give_up, prepare, take_effect
from gsmtp.config.diagnostics import Problems, Severity
from gsmtp.config.edit import is_of_one_load
from gsmtp.config.option import Option
from gsmtp.config.render import render
from gsmtp.config.scopes import Configuration
from gsmtp.config.tree import Tree
from gsmtp.config.writeback import pending
from gsmtp.control.host import Host
from gsmtp.control.listener import ControlListener, end_sessions
from gsmtp.core.clock import SystemClock
from gsmtp.core.errors import ConfigError, GsmtpError
from gsmtp.core.ids import IdMaker
from gsmtp.core.reply import SHUTTING_DOWN
from gsmtp.datasource.store import Datasources
from gsmtp.delivery.queue import Delivery
from gsmtp.observe.files import LogFile
from gsmtp.observe.logs import EventLog
from gsmtp.runtime.deadline import DeadlineWheel
from gsmtp.runtime.identity import become, inside, owner_of, raise_file_limit
from gsmtp.runtime.native import HubMailbox, NativePool
from gsmtp.runtime.options import CAPABILITIES, CHROOT, GROUP, PIDFILE, SUPPLEMENTAL_GROUPS, USER
from gsmtp.runtime.pools import Pools
from gsmtp.server.listener import Listener
from gsmtp.server.service import Service
from gsmtp.smtp.options import HOSTNAME
from gsmtp.smtp.tls_options import TLS_ENGINE
from gsmtp.spool.options import FORCE_FSYNC, LARGE_MESSAGE_THRESHOLD, SPOOL_MODE, SPOOL_RESERVE, SPOOLBASE
from gsmtp.spool.sqlite import SqliteSpool

_NEED_RESTART: tuple[Option[Any], ...] = (
    SPOOLBASE,
    SPOOL_MODE,
    SPOOL_RESERVE,
    FORCE_FSYNC,
    LARGE_MESSAGE_THRESHOLD,
    PIDFILE,
    TLS_ENGINE,
)
_SECURITY: tuple[Option[Any], ...] = (USER, GROUP, SUPPLEMENTAL_GROUPS, CAPABILITIES, CHROOT)
_DRAIN_TICK_S = 0.01


class Supervisor:
    """One running server.

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
        self._logs = LogKeeper(events, mailbox)
        self._pools = Pools()
        self._pools.configure(configuration)
        self._host = Host()
        self._listeners = ListenerSet(
            self._pools,
            events,
            lambda service, stanza, raw, pool: ControlListener(service, stanza, raw, pool, self, self._host),
        )
        self._stop = gevent.event.Event()
        self._is_busy = True  # starting; then while a reload is under way
        self._reload_wanted = False
        self._pidfile = ""
        self._service: Service
        self._spool: SqliteSpool
        self._delivery: Delivery
        self._wheel = DeadlineWheel()
        self.started_wall = time.time()

    # --- what the console sees (gsmtp.control.operations)

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

    def open_log(self, path: str, mode: int) -> LogFile:
        """Open a file to append lines to. Raises ConfigError."""
        return self._logs.open(path, mode)

    # --- start

    def start(self) -> None:
        """Come up, or raise GsmtpError with nothing left open."""
        view = self._configuration.view
        security = next(iter(self._configuration.stanzas("security")), None)
        raise_file_limit(view)
        self._resources = prepare(self._configuration, None, self._around)
        self._listeners.bind(self._configuration)
        try:
            self._write_pidfile(view[PIDFILE])
            _make_folder(inside(security, view[SPOOLBASE]), owner_of(security))
            become(security)
            recorders = self._resources.scripts.recorders()
            self._logs.use(self._logs.prepare(self._configuration), self._configuration, recorders)
            self._spool = SqliteSpool.open_at(
                view[SPOOLBASE],
                mode=view[SPOOL_MODE],
                fsync=view[FORCE_FSYNC],
                large_threshold=view[LARGE_MESSAGE_THRESHOLD],
                reserve_bytes=view[SPOOL_RESERVE],
            )
        except BaseException:
            self._listeners.close()
            give_up(self._resources)
            self._logs.close()
            self._remove_pidfile()
            raise
        clock = SystemClock()
        self._delivery = Delivery(self._spool, self._configuration, self._native, clock, self._logs.journal)
        self._service = Service(
            configuration=self._configuration,
            spool=self._spool,
            chain=self._resources.chain,
            tls=self._resources.tls,
            wheel=self._wheel,
            events=self._events,
            journal=self._logs.journal,
            ids=IdMaker(self._spool.generation, os.getpid()),
            hostname=_hostname(self._configuration),
            clock=clock,
            accepted=self._delivery.notify,
            authenticator=self._resources.authenticator,
            native=self._native,
        )
        take_effect(self._resources, self._configuration, self._around)
        self._logs.tell(self._service)
        self._tell_recovery()
        self._delivery.start()
        self._listeners.start(self._service)
        self._is_busy = False
        self._say_ready()
        if self._reload_wanted:
            gevent.spawn(self.reload)

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
        for message_id, reason in found.failed:
            self._events.event("error", "spool", "message lost its body", id=message_id, reason=reason)

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
        )
        if not addresses:
            self._events.event("warning", "start", "no Listen stanza is enabled: no mail can come in")

    # --- reload

    def reload(self) -> None:
        """Load the file anew and let it take effect, or say why not. Runs in a green thread; one at a time.

        Asked for during the start or another reload, it is done once more when that is over: the file may have changed.
        """
        self._logs.reopen()  # what rotates logs sends HUP, and the file may be as bad as it likes
        self._reload_wanted = True
        if self._is_busy or self._stop.is_set():
            return
        self._is_busy = True
        try:
            while self._reload_wanted:
                self._reload_wanted = False
                try:
                    self._reload()
                except GsmtpError as error:
                    self._events.event("error", "config", f"Reconfigure failed, the old configuration stays: {error}")
                except Exception as error:  # noqa: BLE001 - a bug of ours must be told like a mistake in the file
                    self._events.event(
                        "error",
                        "config",
                        f"Reconfigure failed, the old configuration stays: {error!r}",
                        traceback=traceback.format_exc(),
                    )
        finally:
            self._is_busy = False

    def _reload(self) -> None:
        loaded: Loaded = self._native.call(load, self._path, self._configuration.generation + 1)
        self.report(loaded.problems)
        if loaded.configuration is None:
            raise ConfigError(f"{self._path} has errors")
        self._take_effect(loaded.configuration, "reloaded")

    def reload_now(self, path: str | None = None) -> None:
        """Load the file, or another one, and let it take effect; the caller waits.

        Raises:
            ConfigError: why not, with all problems laid out; nothing has changed.
        """
        with self._alone():
            path = path or self._path
            self._activate(self._native.call(load, path, self._configuration.generation + 1), "reloaded")
            self._path = path

    def activate(self, tree: Tree) -> None:
        """Let an edited tree take effect; the caller waits.

        Raises:
            ConfigError: why not, with all problems laid out; nothing has changed.
        """
        with self._alone():
            if not is_of_one_load(tree, self._configuration.tree):
                raise ConfigError("the files were read again meanwhile: look at them, and do it once more")
            loaded = self._native.call(compile_checked, tree, self._configuration.generation + 1)
            self._activate(loaded, "changed by the console")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep reloads from each other's way; one that is asked for meanwhile follows."""
        while self._is_busy and not self._stop.is_set():
            gevent.sleep(_DRAIN_TICK_S)
        if self._stop.is_set():
            raise ConfigError("the server stops")
        self._is_busy = True
        try:
            yield
        finally:
            self._is_busy = False
            if self._reload_wanted:
                gevent.spawn(self.reload)

    def _activate(self, loaded: Loaded, word: str) -> None:
        if loaded.configuration is None:
            errors = [problem for problem in loaded.problems if problem.severity is Severity.ERROR]
            raise ConfigError(render(errors, loaded.tree))
        self.report(loaded.problems)
        self._take_effect(loaded.configuration, word)

    def _take_effect(self, new: Configuration, word: str) -> None:
        """Replace the configuration in force. Raises ConfigError with nothing changed."""
        if self._stop.is_set():
            return  # a server that drains opens nothing any more
        loggers = self._logs.prepare(new)
        try:
            resources = prepare(new, self._resources, self._around)
            try:
                changes = self._listeners.apply(new, self._service)
            except BaseException:
                give_up(resources, self._resources)
                raise
        except BaseException:
            self._logs.discard(loggers)
            raise
        for what in _unchangeable(self._configuration, new):
            self._events.event("warning", "config", f"{what} changed: needs a restart, the running value stays")
        if not is_of_one_load(new.tree, self._configuration.tree):
            for change in pending(self._configuration.tree):
                self._events.event("warning", "config", f"dropped a change made by the console: {change}")
        old, self._resources = self._resources, resources
        self._configuration = new
        self._service.hostname = _hostname(new)
        self._service.chain = resources.chain
        self._service.authenticator = resources.authenticator
        self._service.tls = resources.tls
        self._service.reconfigure(new)
        self._logs.use(loggers, new, resources.scripts.recorders())
        self._logs.tell(self._service)
        self._delivery.reconfigure(new)
        take_effect(resources, new, self._around)
        give_up(old, resources)
        self._events.event(
            "info",
            "config",
            word,
            generation=new.generation,
            sockets=changes,
            listening=",".join(self._listeners.addresses()),
        )

    def report(self, problems: Problems) -> None:
        """Log every finding of a load."""
        for problem in problems:
            level = "error" if problem.severity is Severity.ERROR else problem.severity.value
            self._events.event(
                level if level != "note" else "info",
                "config",
                f"{problem.span}: {problem.message}",
                hint=problem.hint or None,
            )

    # --- stop

    def request_stop(self) -> None:
        """Let `wait` return. Safe in a signal's callback."""
        self._stop.set()

    def wait(self) -> None:
        """Wait in the calling green thread until somebody asks to stop."""
        self._stop.wait()

    def stop(self) -> None:
        """Stop accepting, let transactions end within Drain_Time, tell the others 421, close everything."""
        drain_s = self._configuration.view[DRAIN_TIME]
        deadline = time.monotonic() + drain_s
        service = self._service
        self._events.event("info", "stop", "draining", sessions=len(service.connections), seconds=drain_s)
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
        self._remove_pidfile()
        self._events.event("info", "stop", "stopped", transactions_cut=cut or None, **asdict(service.totals))
        self._logs.close()

    # --- pidfile

    def _write_pidfile(self, path: str) -> None:
        if not path:
            return
        try:
            with open(path, "w", encoding="ascii") as file:
                file.write(f"{os.getpid()}\n")
        except OSError as error:
            raise GsmtpError(f"can't write the pidfile {path}: {error.strerror}") from error
        self._pidfile = path

    def _remove_pidfile(self) -> None:
        if self._pidfile:
            try:
                os.unlink(self._pidfile)
            except OSError:
                pass  # its folder may belong to root, and we no longer are


def _hostname(configuration: Configuration) -> str:
    return configuration.view[HOSTNAME] or os.uname().nodename


def _make_folder(path: str, owner: tuple[int, int]) -> None:
    """Make the spool's folder while we may, for the user that will write there."""
    try:
        os.makedirs(path, mode=0o750, exist_ok=True)
        if os.getuid() == 0 and owner != (-1, -1):
            os.chown(path, *owner)
    except OSError as error:
        raise GsmtpError(f"can't make the spool folder {path}: {error.strerror} (set Spoolbase)") from error


def _unchangeable(old: Configuration, new: Configuration) -> Iterator[str]:
    for option in _NEED_RESTART:
        if old.view[option] != new.view[option]:
            yield option.name
    before, after = (next(iter(one.stanzas("security")), None) for one in (old, new))
    for option in _SECURITY:
        if (before[option] if before else option.default) != (after[option] if after else option.default):
            yield f"Security {option.name}"
