"""Looks names up in DNS under gevent: cached, each question asked once at a time, never longer than its deadline.

dnspython reads and writes the wire format (`dns_wire`), the sockets are gevent's (`dns_exchange`): a look-up waits in
its green thread and the hub goes on. The system's resolver is never asked.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import gevent
from gevent.event import AsyncResult
from gevent.lock import BoundedSemaphore

from gsmtp.config.view import View
from gsmtp.core.domains import normal_domain
from gsmtp.runtime.dns_answers import NO_SUCH_NAME, Answer, LookupFailed, RecordType
from gsmtp.runtime.dns_cache import Cache, Key
from gsmtp.runtime.dns_exchange import Native, NoReply, ask, shown
from gsmtp.runtime.dns_options import (
    DNS_CACHE_PURGE_INTERVAL,
    DNS_DEADLINE,
    DNS_FALLBACK_TO_TCP,
    DNS_SERVERS,
    MAX_DNS_TTL,
    MIN_DNS_TTL,
    RESOLV_CONF,
)
from gsmtp.runtime.dns_sources import Place, Sources, SourcesError, read_sources
from gsmtp.runtime.dns_wire import Found, Question, UselessReply

log = logging.getLogger("gsmtp.dns")

_MOST_AT_ONCE = 500
"""Questions under way at a time: each has a socket."""
_MOST_ALIASES = 8
_SOURCES_S = 10.0
"""How often resolv.conf and the hosts file are read anew."""
_AVOIDED_S = 30.0
"""How long a server that didn't answer is asked after the others."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The options of look-ups; times in seconds.

    Args:
        servers: of DNS_Servers, () for those of resolv.conf.
        resolv_conf: path, "" for the system's.
        deadline_s: a look-up takes no longer.
        tcp: whether what is cut off is asked for over TCP.
        min_ttl_s: answers are kept that long at least.
        max_ttl_s: and that long at the most.
        purge_interval_s: how often what is over is thrown out.
    """

    servers: tuple[str, ...] = ()
    resolv_conf: str = ""
    deadline_s: float = 30.0
    tcp: bool = True
    min_ttl_s: float = 0.0
    max_ttl_s: float = 4_294_967_295.0
    purge_interval_s: float = 60.0

    @classmethod
    def of(cls, view: View) -> Settings:
        """Those of a configuration's global scope."""
        return cls(
            view[DNS_SERVERS],
            view[RESOLV_CONF],
            float(view[DNS_DEADLINE]),
            view[DNS_FALLBACK_TO_TCP],
            float(view[MIN_DNS_TTL]),
            float(view[MAX_DNS_TTL]),
            float(view[DNS_CACHE_PURGE_INTERVAL]),
        )


@dataclass(frozen=True, slots=True)
class DnsCounts:
    """What was asked of servers since the start, and what is being asked.

    Args:
        a: questions for addresses (A and AAAA).
        mx: questions for MX records.
        pending: look-ups under way.
    """

    a: int = 0
    mx: int = 0
    pending: int = 0


class Resolver:
    """Looks names up. Its methods wait in the calling green thread; any number may call at a time.

    Args:
        settings: the options.
        native: reads resolv.conf and the hosts file, and takes long replies apart.
        mono: a monotonic clock in seconds.
    """

    def __init__(self, settings: Settings, native: Native, mono: Callable[[], float] = time.monotonic) -> None:
        self._native = native
        self._mono = mono
        self._settings = settings
        self._cache = self._new_cache()
        self._pending: dict[Key, AsyncResult[Answer | LookupFailed]] = {}
        self._workers: set[gevent.Greenlet[..., None]] = set()
        self._slots = BoundedSemaphore(_MOST_AT_ONCE)
        self._sources: Sources | None = None
        self._sources_mono = 0.0
        self._reading = BoundedSemaphore(1)
        self._avoided: dict[Place, float] = {}
        self._asked = {RecordType.A: 0, RecordType.AAAA: 0, RecordType.MX: 0}

    def _new_cache(self) -> Cache:
        settings = self._settings
        return Cache(settings.min_ttl_s, settings.max_ttl_s, settings.purge_interval_s)

    def configure(self, settings: Settings) -> None:
        """Follow other settings from now on; what is known stays unless they changed. Doesn't block."""
        if settings == self._settings:
            return
        self._settings = settings
        self._cache = self._new_cache()
        self._pending = {}
        self._sources = None
        self._avoided.clear()

    @property
    def counts(self) -> DnsCounts:
        """For the console."""
        asked = self._asked
        return DnsCounts(asked[RecordType.A] + asked[RecordType.AAAA], asked[RecordType.MX], len(self._pending))

    def close(self) -> None:
        """Cut off what is under way. Doesn't wait."""
        for worker in list(self._workers):
            worker.kill(block=False)

    # What is asked.

    def exchanges(self, name: str) -> Answer:
        """The MX records of a domain, by preference. Raises LookupFailed."""
        return self._look_up(name, RecordType.MX)

    def addresses(self, name: str, *, ipv6: bool) -> Answer:
        """The addresses of a host, IPv6 first where it is asked for: of the hosts file, or of DNS.

        Raises:
            LookupFailed: one of the look-ups failed, and the other found nothing.
        """
        sources = self._known()
        local = _of_hosts(sources, name, ipv6=ipv6)
        if local is not None and sources.hosts_first:
            return local
        kinds = (RecordType.AAAA, RecordType.A) if ipv6 else (RecordType.A,)
        self._start(name, kinds)
        found: list[str] = []
        exists = False
        trouble: LookupFailed | None = None
        for kind in kinds:
            try:
                answer = self._look_up(name, kind)
            except LookupFailed as error:
                trouble = error
                continue
            found += answer.addresses
            exists = exists or answer.exists
        if found:
            return Answer(exists=True, addresses=tuple(found))
        if local is not None:
            return local
        if trouble is not None:
            raise trouble
        return Answer(exists=exists)

    def is_local(self, name: str) -> bool:
        """Whether the hosts file has the name (and goes first), so that DNS isn't asked. Raises LookupFailed."""
        sources = self._known()
        return sources.hosts_first and normal_domain(name) in sources.hosts

    def candidates(self, name: str) -> tuple[str, ...]:
        """The names that a host's name from a configuration may stand for: one without a dot is completed first with
        the domains of ``search``, as resolv.conf(5) has it. Raises LookupFailed.
        """
        if "." in name:
            return (name,)
        sources = self._known()
        if normal_domain(name) in sources.hosts:
            return (name,)
        return (*(f"{name}.{domain}" for domain in sources.search), name)

    def ask_ahead(self, hosts: Iterable[str], *, ipv6: bool) -> None:
        """Start to look up the addresses of hosts that are about to be asked for, all at a time. Doesn't wait."""
        kinds = (RecordType.AAAA, RecordType.A) if ipv6 else (RecordType.A,)
        for host in hosts:
            self._start(host, kinds)

    # How it is asked.

    def _known(self) -> Sources:
        """Servers and hosts; the files are read in a native thread now and then. Raises LookupFailed."""
        while True:
            settings, sources = self._settings, self._sources
            if sources is not None and (self._mono() - self._sources_mono < _SOURCES_S or self._reading.locked()):
                return sources
            with self._reading:
                if self._sources is not sources or settings is not self._settings:
                    continue  # somebody else has read them meanwhile, or they are of other settings
                try:
                    read = self._native.call(read_sources, settings.servers, settings.resolv_conf)
                except SourcesError as error:
                    raise LookupFailed(str(error)) from error
                if settings is self._settings:
                    self._sources, self._sources_mono = read, self._mono()
                    return read

    def _start(self, name: str, kinds: Iterable[RecordType]) -> None:
        now = self._mono()
        for kind in kinds:
            key = (normal_domain(name), kind)
            if key not in self._pending and self._cache.get(key, now) is None:
                self._spawn(key)

    def _look_up(self, name: str, kind: RecordType) -> Answer:
        """From the cache, from a look-up that is under way, or by one. Raises LookupFailed."""
        key = (normal_domain(name), kind)
        outcome = self._cache.get(key, self._mono())
        if outcome is None:
            result = self._pending.get(key)
            if result is None:
                result = self._spawn(key)
            outcome = result.get() or LookupFailed("no outcome")  # a look-up ends at its deadline
        if isinstance(outcome, LookupFailed):
            raise LookupFailed(outcome.reason, outcome.failures)
        return outcome

    def _spawn(self, key: Key) -> AsyncResult[Answer | LookupFailed]:
        """Look up in a green thread of its own: who waits for it may be killed, and the others must not notice."""
        result: AsyncResult[Answer | LookupFailed] = AsyncResult()
        self._pending[key] = result
        worker = gevent.Greenlet(self._work, key, result, self._cache)
        self._workers.add(worker)
        worker.link(lambda _: self._ended(key, result, None))  # for one that is killed before it ran
        worker.link(self._workers.discard)
        worker.start()
        return result

    def _ended(
        self, key: Key, result: AsyncResult[Answer | LookupFailed], outcome: Answer | LookupFailed | None
    ) -> None:
        if self._pending.get(key) is result:
            del self._pending[key]
        if not result.ready():
            result.set(outcome or LookupFailed("the look-up was cut off"))

    def _work(self, key: Key, result: AsyncResult[Answer | LookupFailed], cache: Cache) -> None:
        outcome: Answer | LookupFailed | None = None
        deadline_s = self._settings.deadline_s
        try:
            with gevent.Timeout(
                deadline_s, LookupFailed(f"no answer for {key[1]} of {key[0]} within {deadline_s:g} s")
            ):
                answer = self._resolve(*key)
            cache.put_answer(key, answer, self._mono())
            outcome = answer
        except LookupFailed as error:
            outcome = cache.put_failure(key, error.reason, self._mono())
        except gevent.GreenletExit:
            pass
        except Exception as error:
            log.exception("looking up %s of %s broke", key[1], key[0])
            outcome = cache.put_failure(key, f"{type(error).__name__} in the look-up, see the log", self._mono())
        finally:
            self._ended(key, result, outcome)

    def _resolve(self, name: str, kind: RecordType) -> Answer:
        """Ask, and follow aliases that a server left to us."""
        ttl_s = float("inf")
        seen = {name}
        for _ in range(_MOST_ALIASES):
            try:
                Question(name, kind)
            except ValueError:
                return NO_SUCH_NAME  # no server could have it
            found = self._ask_servers(name, kind)
            answer = found.answer
            if answer is not None:
                return Answer(answer.exists, answer.addresses, answer.exchanges, min(ttl_s, answer.ttl_s))
            ttl_s = min(ttl_s, found.ttl_s)
            name = found.alias
            if name in seen:
                break
            seen.add(name)
        raise LookupFailed(f"{name} is an alias in a circle, or at the end of too many")

    def _ask_servers(self, name: str, kind: RecordType) -> Found:
        """One server after the other, in rounds; those that didn't answer lately come last."""
        sources = self._known()
        self._asked[kind] += 1
        tries = len(sources.servers) * sources.attempts
        try_s = min(sources.try_s, 0.95 * self._settings.deadline_s / tries)  # so that the trouble can be named
        trouble = "no name server"
        for _ in range(sources.attempts):
            now = self._mono()
            for server in sorted(sources.servers, key=lambda one: self._avoided.get(one, 0.0) > now):
                try:
                    with self._slots:
                        end = self._mono() + try_s
                        found = ask(server, name, kind, end, self._mono, self._native, tcp=self._settings.tcp)
                except NoReply as error:
                    trouble = str(error)
                    self._avoided[server] = self._mono() + _AVOIDED_S
                except UselessReply as error:
                    trouble = f"{error.reason} from {shown(server)}"
                else:
                    self._avoided.pop(server, None)
                    return found
        raise LookupFailed(f"{kind} of {name}: {trouble}")


def _of_hosts(sources: Sources, name: str, *, ipv6: bool) -> Answer | None:
    """What the hosts file says. Where IPv6 isn't used, IPv6 addresses count only when there are no others."""
    listed = sources.hosts.get(normal_domain(name))
    if not listed:
        return None
    wanted = tuple(address for address in listed if ipv6 or ":" not in address)
    return Answer(exists=True, addresses=wanted or listed)
