"""What the console may do to the running server; `gsmtp.app.supervisor` is it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from gsmtp.config.scopes import Configuration
    from gsmtp.config.tree import Tree
    from gsmtp.control.host import Host
    from gsmtp.control.workers import Workers
    from gsmtp.datasource.store import Datasources
    from gsmtp.delivery.queue import Delivery
    from gsmtp.observe.files import LogFile
    from gsmtp.runtime.native import NativePool
    from gsmtp.runtime.pools import Pools
    from gsmtp.server.listener import Listener
    from gsmtp.server.service import Service
    from gsmtp.spool.sqlite import SqliteSpool


class Operations(Protocol):
    """The running server, for commands.

    Attributes:
        configuration: in force; `configuration.tree` is what `config` commands read and edit copies of.
        service: sessions, counters, the log.
        listeners: ESMTP listeners by endpoint.
        pools: green pools.
        native_pools: native pools by name.
        delivery: the handing on.
        spool: the queue.
        datasources: what modules and stores ask.
        started_wall: seconds since the epoch.
        workers: the processes that serve, None where this one does. A parent has no mail, sessions or spool itself.
        host: what all sessions of the console share; a worker has one, too, for its part of commands.
    """

    @property
    def configuration(self) -> Configuration: ...
    @property
    def service(self) -> Service: ...
    @property
    def listeners(self) -> Mapping[str, Listener]: ...
    @property
    def pools(self) -> Pools: ...
    @property
    def native_pools(self) -> Mapping[str, NativePool]: ...
    @property
    def delivery(self) -> Delivery: ...
    @property
    def spool(self) -> SqliteSpool: ...
    @property
    def datasources(self) -> Datasources: ...
    @property
    def path(self) -> str: ...
    @property
    def started_wall(self) -> float: ...
    @property
    def workers(self) -> Workers | None: ...
    @property
    def host(self) -> Host: ...

    def reload_now(self, path: str | None = None) -> None:
        """Read the files anew and let them take effect. Blocks. Raises ConfigError with all problems laid out."""

    def activate(self, tree: Tree) -> None:
        """Check, compile and let an edited tree take effect. Blocks. Raises ConfigError with all problems laid out."""

    def reopen_logs(self) -> None:
        """Close and reopen all log files."""

    def open_log(self, path: str, mode: int) -> LogFile:
        """Open a file to append lines to, made with these permission bits. Raises ConfigError."""

    def request_stop(self) -> None:
        """Stop as TERM does."""
