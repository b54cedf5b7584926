"""What a configuration needs beside itself: things that are built before it takes effect, and can fail.

`prepare` builds all of them for a new configuration or raises ConfigError with the place; until `take_effect` nothing
that runs has changed. The order of a reload: parse, check, prepare, open sockets, take effect
(reference/esmtp-listener.md section 12). One function a part; each gets what the running configuration has, to reuse.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gsmtp.config.scopes import Configuration
from gsmtp.core.clock import SystemClock
from gsmtp.datasource.store import Datasources
from gsmtp.observe.logs import EventLog
from gsmtp.policy.chain import HOOKS, Chain, Hook
from gsmtp.runtime.native import HubMailbox, NativePool
from gsmtp.runtime.tls_contexts import TlsContexts
from gsmtp.runtime.tls_contexts import prepare as prepare_tls


@dataclass(slots=True)
class Surroundings:
    """What parts may use while they are built.

    Args:
        events: the log.
        native: threads for blocking work.
        mailbox: brings results of native threads to the hub.
    """

    events: EventLog
    native: NativePool
    mailbox: HubMailbox


@dataclass(slots=True)
class Resources:
    """All parts of one configuration.

    Args:
        chain: built-in checks and the hooks of scripts and modules.
        datasources: what modules and stores ask.
        tls: certificates.
    """

    chain: Chain
    datasources: Datasources
    tls: TlsContexts


def prepare(configuration: Configuration, old: Resources | None, around: Surroundings) -> Resources:
    """Build the parts of a configuration. Blocks in the calling green thread.

    Raises:
        ConfigError: one of them can't be built; what was built before it is given up again.
    """
    datasources = Datasources.build(configuration, old.datasources if old else None, around.mailbox, SystemClock())
    try:
        tls = around.native.call(prepare_tls, configuration)
        return Resources(chain=Chain(_hooks(configuration, old, around)), datasources=datasources, tls=tls)
    except BaseException:
        datasources.release()
        raise


def _hooks(configuration: Configuration, old: Resources | None, around: Surroundings) -> Iterable[Hook]:
    return HOOKS


def give_up(resources: Resources) -> None:
    """Let go of parts that were prepared and never took effect, or that a later configuration has replaced."""
    resources.datasources.release()
