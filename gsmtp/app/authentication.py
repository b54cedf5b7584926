"""The authenticator of a configuration: its stores opened and looked at before it takes effect."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from gsmtp.auth.authenticator import POOL, THREADS, Authenticator, SharedPool
from gsmtp.auth.store import OpenedStores, Store
from gsmtp.config.scopes import Configuration
from gsmtp.config.tree import Scope, Setting
from gsmtp.core.errors import ConfigError
from gsmtp.datasource.store import Datasources
from gsmtp.observe.logs import EventLog
from gsmtp.runtime.native import HubMailbox, NativePool
from gsmtp.runtime.options import CONCURRENCY
from gsmtp.runtime.pools import WorkPool
from gsmtp.sasl.mechanism import load_mechanisms
from gsmtp.smtp.auth_options import AUTH_PARAMETERS
from gsmtp.smtp.options import HOSTNAME

_HOLDERS = ("esmtp_listener", "control_listener", "pathway", "pathway_group")


def prepare_authenticator(
    configuration: Configuration,
    datasources: Datasources,
    old: Authenticator | None,
    events: EventLog,
    native: NativePool,
    mailbox: HubMailbox,
) -> Authenticator:
    """Open every store that the configuration names, and tell what is odd about them.

    Args:
        configuration: the one that is prepared.
        datasources: of it.
        old: the one that runs, whose threads go on where the ThreadPool has the same size.
        events: where warnings go.
        native: threads for looking at files.
        mailbox: for threads that are made.

    Raises:
        ConfigError: a URI is wrong, or a file needs a package that isn't installed; names the place.
    """
    view = configuration.threadpool(POOL)
    size = (view[CONCURRENCY] if view is not None else 0) or THREADS
    shared = old.share() if old is not None and old.native.size == size else SharedPool(NativePool(POOL, size, mailbox))
    hostname = configuration.view[HOSTNAME] or os.uname().nodename
    stores = OpenedStores(configuration, hostname, datasources, shared.pool.call)
    authenticator = Authenticator(stores, shared, WorkPool(POOL, size))
    try:
        told: set[str] = set()
        for setting, mechanism in _parameters(configuration.tree.root):
            try:
                store = stores.open(_dictionary(setting), mechanism)
                warnings = native.call(_look_at, store)
            except ConfigError as error:
                raise ConfigError(f"{setting.span}: {setting.spelled}: {error}") from error
            for text in warnings:
                if text not in told:
                    told.add(text)
                    events.event("warning", "config", f"{setting.span}: {text}")
    except BaseException:
        authenticator.close()
        raise
    return authenticator


def _parameters(root: Scope) -> Iterator[tuple[Setting, str]]:
    """Every setting of an Auth…Parameters option, with a mechanism that it is for."""
    mechanisms = {one.option.lower(): one.name for one in load_mechanisms() if one.option and not one.needs_binding}
    keys = {option.key for option in AUTH_PARAMETERS.values()}
    for holder in _HOLDERS:
        for top in root.all(holder):
            for scope in top.walk():
                for key in keys & scope.settings.keys():
                    yield scope.settings[key], mechanisms[key]


def _dictionary(setting: Setting) -> dict[str, str]:
    option = next(option for option in AUTH_PARAMETERS.values() if option.key == setting.key)
    return option.kind.parse(setting.value)


def _look_at(store: Store) -> list[str]:
    warnings: Callable[[], Iterator[str]] | None = getattr(store, "warnings", None)
    return list(warnings()) if warnings is not None else []
