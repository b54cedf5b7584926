"""What a configuration needs beside itself: things that are built before it takes effect, and can fail.

`prepare` builds all of them for a new configuration or raises ConfigError with the place; until `take_effect` nothing
that runs has changed. The order of a reload: parse, check, prepare, open sockets, take effect
(reference/esmtp-listener.md section 12). One function a part; each gets what the running configuration has, to reuse.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from gsmtp.app.authentication import prepare_authenticator
from gsmtp.auth.authenticator import Authenticator
from gsmtp.config.pools import predefined_pool
from gsmtp.config.scopes import Configuration
from gsmtp.core.clock import SystemClock
from gsmtp.datasource.store import Datasources
from gsmtp.delivery.securing import ClientContexts
from gsmtp.delivery.securing import prepare as prepare_client_tls
from gsmtp.delivery.securing import use as use_client_tls
from gsmtp.delivery.transport import stanza_transports
from gsmtp.observe.logs import EventLog
from gsmtp.policy.chain import HOOKS, Chain
from gsmtp.policy.offload import use_pools
from gsmtp.policy.script_options import LOOP_WATCH
from gsmtp.policy.scripts import Scripts
from gsmtp.runtime.calls import Calls, NativePools
from gsmtp.runtime.native import HubMailbox, NativePool
from gsmtp.runtime.options import CONCURRENCY
from gsmtp.runtime.tls_contexts import TlsContexts
from gsmtp.runtime.tls_contexts import prepare as prepare_tls
from gsmtp.runtime.watch import LoopWatch, Stall

log = logging.getLogger("gsmtp.loop")


@dataclass(slots=True)
class Surroundings:
    """What parts may use while they are built.

    Args:
        events: the log.
        native: threads for blocking work.
        mailbox: brings results of native threads to the hub.

    Attributes:
        pools: native threads for hooks, by ThreadPool.
        watch: of the loop, None before a configuration takes effect, and without Loop_Watch.
    """

    events: EventLog
    native: NativePool
    mailbox: HubMailbox
    pools: NativePools = field(init=False)
    watch: LoopWatch | None = field(init=False)

    def __post_init__(self) -> None:
        self.pools = NativePools(self.mailbox, lambda name: 1)
        self.watch = None

    def close(self) -> None:
        """The server stops."""
        if self.watch is not None:
            self.watch.close()
        self.pools.close()


@dataclass(slots=True)
class Resources:
    """All parts of one configuration.

    Args:
        chain: built-in checks and the hooks of scripts and modules.
        datasources: what modules and stores ask.
        authenticator: the credential stores.
        tls: certificates.
        client_tls: what TLS to next hosts needs.
        scripts: hooks of scripts and modules.
    """

    chain: Chain
    datasources: Datasources
    authenticator: Authenticator
    tls: TlsContexts
    client_tls: ClientContexts
    scripts: Scripts


def prepare(configuration: Configuration, old: Resources | None, around: Surroundings) -> Resources:
    """Build the parts of a configuration. Blocks in the calling green thread.

    Raises:
        ConfigError: one of them can't be built; what was built before it is given up again.
    """
    for _, kind in stanza_transports():
        for view in configuration.stanzas(kind.stanza):
            kind.examine(view, around.native)
    datasources = Datasources.build(configuration, old.datasources if old else None, around.mailbox, SystemClock())
    try:
        tls = around.native.call(prepare_tls, configuration)
        client_tls = around.native.call(prepare_client_tls, configuration)
        authenticator = prepare_authenticator(
            configuration,
            datasources,
            old.authenticator if old is not None else None,
            around.events,
            around.native,
            around.mailbox,
        )
        try:
            scripts = Scripts.build(
                configuration, old.scripts if old else None, datasources=datasources, has_pool=configuration.has_pool
            )
            return Resources(
                chain=Chain((*HOOKS, *scripts.hooks(Calls(around.pools)))),
                datasources=datasources,
                authenticator=authenticator,
                tls=tls,
                client_tls=client_tls,
                scripts=scripts,
            )
        except BaseException:
            authenticator.close()
            raise
    except BaseException:
        datasources.release()
        raise


def take_effect(resources: Resources, configuration: Configuration, around: Surroundings) -> None:
    """Let what native threads and the watch know follow the configuration that is in force from now on."""
    around.pools.resize(lambda name: pool_size(configuration, name))
    use_pools(around.pools.run)
    use_client_tls(resources.client_tls)
    limit_s = configuration.view[LOOP_WATCH]
    if around.watch is not None and around.watch.limit_s != limit_s:
        around.watch.close()
        around.watch = None
    if around.watch is None and limit_s > 0:
        around.watch = LoopWatch(around.mailbox, limit_s, _tell_stall)
    if around.watch is not None:
        around.watch.watch_code(resources.scripts.roots())


def _tell_stall(stall: Stall) -> None:
    log.log(logging.WARNING if stall.is_own else logging.ERROR, "%s", stall)


def pool_size(configuration: Configuration, name: str) -> int:
    """How many native threads a ThreadPool has. Raises ValueError when there is none of that name."""
    view = configuration.threadpool(name)
    predefined = predefined_pool(name)
    if view is None and predefined is None:
        raise ValueError(f"there is no ThreadPool {name!r}")
    default = predefined.concurrency if predefined is not None else 1
    return default if view is None else view[CONCURRENCY] or default


def give_up(resources: Resources, successor: Resources | None = None) -> None:
    """Let go of parts that were prepared and never took effect, or that a later configuration has replaced.

    Args:
        resources: the parts.
        successor: what is in force, and may go on with some of them; None when the server stops.
    """
    resources.scripts.release(successor.scripts if successor is not None else None)
    resources.authenticator.close()
    resources.datasources.release()
