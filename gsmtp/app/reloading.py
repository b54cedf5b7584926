"""Reloads and changes by the console: a new configuration takes effect as a whole, or nothing changes.

The order: parse, check, build what it needs (`app.resources`), open sockets, take effect (reference/esmtp-listener.md
section 12). It is built in native threads where it can be; one at a time.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gevent
import gevent.event

from gsmtp.app.loading import Loaded, compile_checked, load
from gsmtp.app.parts import Parts, hostname_of
from gsmtp.app.resources import give_up, prepare, take_effect
from gsmtp.config.diagnostics import Problems, Severity
from gsmtp.config.edit import is_of_one_load
from gsmtp.config.option import Option
from gsmtp.config.render import render
from gsmtp.config.scopes import Configuration
from gsmtp.config.tree import Tree
from gsmtp.config.view import View
from gsmtp.config.writeback import pending
from gsmtp.core.errors import ConfigError, GsmtpError
from gsmtp.runtime.options import (
    BACKLOG,
    CAPABILITIES,
    CHROOT,
    GROUP,
    PIDFILE,
    SERVER_MAX_FILE_DESCRIPTORS,
    SUPPLEMENTAL_GROUPS,
    USER,
)
from gsmtp.smtp.tls_options import TLS_ENGINE
from gsmtp.spool.options import FORCE_FSYNC, LARGE_MESSAGE_THRESHOLD, SPOOL_MODE, SPOOL_RESERVE, SPOOLBASE

_NEED_RESTART: tuple[Option[Any], ...] = (
    SPOOLBASE,
    SPOOL_MODE,
    SPOOL_RESERVE,
    FORCE_FSYNC,
    LARGE_MESSAGE_THRESHOLD,
    PIDFILE,
    SERVER_MAX_FILE_DESCRIPTORS,
    TLS_ENGINE,
)
_SECURITY: tuple[Option[Any], ...] = (USER, GROUP, SUPPLEMENTAL_GROUPS, CAPABILITIES, CHROOT)
_LOOK_AGAIN_S = 0.01


class Reloading(Parts):
    """A server whose configuration can be replaced."""

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
            gevent.sleep(_LOOK_AGAIN_S)
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
        self._tell_what_stays(new)
        old, self._resources = self._resources, resources
        self._configuration = new
        self._service.hostname = hostname_of(new)
        self._service.chain = resources.chain
        self._service.authenticator = resources.authenticator
        self._service.tls = resources.tls
        self._service.reconfigure(new)
        self._logs.use(loggers, new, resources.scripts.recorders())
        self._logs.tell(self._service)
        self._hand_on_by(new)
        take_effect(resources, new, self._around)
        give_up(old, resources)
        self._tell_reload(word, changes)

    def _hand_on_by(self, new: Configuration) -> None:
        self._delivery.reconfigure(new)
        self._service.handover = self._delivery.handover

    def _tell_what_stays(self, new: Configuration) -> None:
        """Say what of a new configuration has no effect, and what it undoes."""
        for what in _unchangeable(self._configuration, new):
            self._events.event("warning", "config", f"{what} changed: needs a restart, the running value stays")
        if not is_of_one_load(new.tree, self._configuration.tree):
            for change in pending(self._configuration.tree):
                self._events.event("warning", "config", f"dropped a change made by the console: {change}")

    def _tell_reload(self, word: str, changes: str) -> None:
        self._events.event(
            "info",
            "config",
            word,
            generation=self._configuration.generation,
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


def _unchangeable(old: Configuration, new: Configuration) -> Iterator[str]:
    """What has changed of the options that a running server can't change."""
    for option in _NEED_RESTART:
        if old.view[option] != new.view[option]:
            yield option.name
    before, after = (next(iter(one.stanzas("security")), None) for one in (old, new))
    for option in _SECURITY:
        if _value(before, option) != _value(after, option):
            yield f"Security {option.name}"
    for name in dict.fromkeys(pool.spelled or "" for one in (old, new) for pool in one.tree.root.all("threadpool")):
        if _value(old.threadpool(name), BACKLOG) != _value(new.threadpool(name), BACKLOG):
            yield f'{BACKLOG.name} of ThreadPool "{name}"'


def _value(view: View | None, option: Option[Any]) -> Any:
    return view[option] if view is not None else option.default
