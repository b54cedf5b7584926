"""Datasources as the server uses them: one cache and one bounded door to native threads for each stanza.

`Datasources` holds all of a configuration. A reload keeps those whose stanza says the same, with cache and
connections. Source: reference/policy-and-context.md section 4 (ds_core).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from gsmtp.config.pools import predefined_pool
from gsmtp.config.scopes import Configuration
from gsmtp.config.view import View
from gsmtp.core.clock import Clock
from gsmtp.core.errors import ConfigError
from gsmtp.datasource.backends import Backends
from gsmtp.datasource.cache import Cache, cache_key
from gsmtp.datasource.driver import Surroundings, split_uri
from gsmtp.datasource.options import (
    ASSUME_CHARSET,
    CACHE_LIFE,
    CACHE_SIZE,
    DS_CORE,
    MAX_ROWS,
    NO_CACHE,
    POOL,
    QUERY_TIMEOUT,
    URI,
)
from gsmtp.datasource.result import DatasourceError, Result
from gsmtp.runtime.descriptors import wait_for_descriptor
from gsmtp.runtime.gate import DeadlineFault, Gate
from gsmtp.runtime.native import HubMailbox, NativePool
from gsmtp.runtime.options import CONCURRENCY


@dataclass(frozen=True, slots=True)
class Settings:
    """What a Datasource stanza says."""

    name: str
    uris: tuple[str, ...]
    cache_life_s: int
    cache_size: int
    max_rows: int
    no_cache: bool
    charset: str
    timeout_s: int
    threads: int

    @classmethod
    def of(cls, view: View, configuration: Configuration) -> Settings:
        """Read a stanza's view."""
        return cls(
            view.chain[0].spelled or "",
            view[URI],
            view[CACHE_LIFE],
            view[CACHE_SIZE],
            view[MAX_ROWS],
            view[NO_CACHE],
            view[ASSUME_CHARSET],
            view[QUERY_TIMEOUT],
            _threads(configuration, view[POOL]),
        )


def _threads(configuration: Configuration, pool: str) -> int:
    """Native threads, and so connections, of a Datasource: its pool's Concurrency, 8 where nobody set one."""
    stanza = configuration.threadpool(pool)
    if stanza is not None and stanza[CONCURRENCY]:
        return stanza[CONCURRENCY]
    predefined = predefined_pool(pool)
    return predefined.concurrency if predefined is not None and 0 < predefined.concurrency < 8 else 8


class Datasource:
    """One named cache over one or several databases.

    Args:
        settings: of its stanza.
        mailbox: brings results of its native threads to the hub.
        clock: for the cache.
    """

    def __init__(self, settings: Settings, mailbox: HubMailbox, clock: Clock) -> None:
        self.settings = settings
        self.users = 0  # configurations that hold it
        self._is_closed = False
        self.cache = Cache(settings.cache_size, settings.cache_life_s, clock)
        self._backends = Backends(settings.uris, Surroundings(settings.charset, wait_for_descriptor))
        self._pool = NativePool(f"datasource {settings.name}", settings.threads, mailbox)
        self._gate = Gate(self._pool, settings.threads)

    @property
    def name(self) -> str:
        """Of the stanza, as written."""
        return self.settings.name

    def query(self, query: str, values: Mapping[str, str | None]) -> Result:
        """The rows of a query, from the cache or the database. Blocks the green thread, never longer than allowed.

        Args:
            query: with ``:name`` parameters.
            values: of its parameters.

        Raises:
            DatasourceError: no database answered in time, or it refused. Nothing of that is kept.
        """
        key = self._key(query, values)
        known = self._known(key)
        if known is not None:
            return known
        if self._is_closed:
            raise DatasourceError(f"datasource {self.name} is of a configuration that a reload has replaced")
        settings = self.settings
        deadline_mono = time.monotonic() + settings.timeout_s
        arguments = (query, dict(values), settings.max_rows, deadline_mono)

        def meanwhile() -> Result | None:
            return self.cache.get(key) if key else None

        try:
            result = self._gate.call(self._backends.run, *arguments, timeout_s=settings.timeout_s, before=meanwhile)
        except (DeadlineFault, DatasourceError) as error:
            raise self._fault(error) from None
        return self._fresh(key, result)

    def _key(self, query: str, values: Mapping[str, str | None]) -> bytes:
        return b"" if self.settings.no_cache else cache_key(query, values)

    def _known(self, key: bytes) -> Result | None:
        known = self.cache.get(key) if key else None
        if known is not None:
            self.cache.counts.hits += 1
        return known

    def _fresh(self, key: bytes, result: Result) -> Result:
        counts = self.cache.counts
        if key and self.cache.get(key) is result:
            counts.pending += 1  # another session's query brought it
            return result
        counts.misses += 1
        if key:
            self.cache.put(key, result)
        return result

    def _fault(self, error: Exception) -> DatasourceError:
        self.cache.counts.misses += 1
        return DatasourceError(f"datasource {self.name}: {error}")

    def flush(self) -> int:
        """Forget all results; how many there were."""
        return self.cache.flush()

    def close(self) -> None:
        """Close the connections in a native thread, where closing may take its time, and let the threads end."""
        self._is_closed = True
        self._pool.submit(self._backends.close)
        self._pool.close()


class Datasources:
    """All Datasources of a configuration.

    Args:
        by_name: each counted by its `users`.
        is_enabled: what ``ds_core { enabled }`` says.
    """

    def __init__(self, by_name: Mapping[str, Datasource], is_enabled: bool = True) -> None:
        self._by_name = by_name
        self._is_enabled = is_enabled
        for datasource in by_name.values():
            datasource.users += 1

    @classmethod
    def build(
        cls, configuration: Configuration, old: Datasources | None, mailbox: HubMailbox, clock: Clock
    ) -> Datasources:
        """Those of a configuration; where a stanza says what it said before, the one that runs.

        Args:
            configuration: checked.
            old: of the running configuration.
            mailbox: brings results of native threads to the hub.
            clock: for the caches.

        Raises:
            ConfigError: something that this machine lacks, with the place of the setting.
        """
        made: dict[str, Datasource] = {}
        for view in configuration.stanzas("datasource"):
            settings = Settings.of(view, configuration)
            _check_requirements(view, settings)
            known = old._by_name.get(settings.name) if old is not None else None
            if known is not None and known.settings == settings:
                made[settings.name] = known
            else:
                made[settings.name] = Datasource(settings, mailbox, clock)
        return cls(made, all(view[DS_CORE] for view in configuration.stanzas("ds_core")))

    def get(self, name: str) -> Datasource:
        """The Datasource of that name. Raises DatasourceError when the configuration has none, or ds_core is off."""
        if not self._is_enabled:
            raise DatasourceError("ds_core is not enabled")
        found = self._by_name.get(name)
        if found is None:
            raise DatasourceError(f"there is no datasource '{name}'")
        return found

    def query(self, name: str, query: str, values: Mapping[str, str | None]) -> Result:
        """Ask a Datasource. Blocks the green thread. Raises DatasourceError."""
        return self.get(name).query(query, values)

    def __iter__(self) -> Iterator[Datasource]:
        return iter(self._by_name.values())

    def release(self) -> None:
        """Another configuration has taken over: what that one doesn't use is closed."""
        for datasource in self._by_name.values():
            datasource.users -= 1
            if not datasource.users:
                datasource.close()


def _check_requirements(view: View, settings: Settings) -> None:
    for uri in settings.uris:
        missing = split_uri(uri)[0].requirement()
        if missing:
            setting = view.origin(URI).setting
            where = f"{setting.value.span}: " if setting is not None else ""
            scheme = uri.partition(":")[0]
            raise ConfigError(f"{where}error: datasource '{settings.name}' uses {scheme}, which needs: {missing}")
