"""What the tests of delivery share: configurations from dictionaries, envelopes, tools for transports."""

from __future__ import annotations

import importlib
import socket
import time
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from gsmtp.config.scopes import Configuration
from gsmtp.config.tree import Array, Scalar, Scope, Setting, Tree, Value
from gsmtp.core.envelope import Envelope, Recipient
from gsmtp.delivery.pool import ConnectionPool, HopHealth
from gsmtp.delivery.resolve import HopResolver
from gsmtp.delivery.transport import Connect, Tools
from gsmtp.runtime.dns_answers import Answer, LookupFailed
from gsmtp.spool.base import StoredBody

for _name in ("smtp", "lmtp", "maildir"):
    importlib.import_module(f"gsmtp.delivery.transports.{_name}")  # as the application loads plug-ins

T = TypeVar("T")
Settings = dict[str, object]
NOWHERE = Scope("global").span


def _value(value: object) -> Value:
    if isinstance(value, tuple):
        return Array(tuple(Scalar(str(item), True) for item in value))
    return Scalar(str(value).lower() if isinstance(value, bool) else str(value), True)


def _fill(scope: Scope, settings: Settings) -> Scope:
    for name, value in settings.items():
        scope.settings[name.lower()] = Setting(name.lower(), name, _value(value), NOWHERE)
    return scope


def configuration(
    domains: dict[str, Settings] | None = None,
    maildirs: dict[str, Settings] | None = None,
    everywhere: Settings | None = None,
    *,
    stanzas: dict[str, dict[str, Settings]] | None = None,
) -> Configuration:
    """A configuration with ``Domain "…" { }``, ``maildir "…" { }`` and other `stanzas` by name, and global settings."""
    root = _fill(Scope("global"), everywhere or {})
    for kind, named in {"domain": domains or {}, "maildir": maildirs or {}, **(stanzas or {})}.items():
        for name, settings in named.items():
            root.children[(kind, name.lower())] = _fill(Scope(kind, name.lower(), name, root), settings)
    return Configuration(Tree(root))


def envelope(*addresses: str, message_id: str = "00/01-00042-00000001", **more: Any) -> Envelope:
    """An envelope from from@example.net, received at the start of 2025."""
    recipients = [Recipient(address, address.rpartition("@")[2].lower()) for address in addresses]
    fields = {"reverse_path": "from@example.net", "received_wall": 1_735_689_600.0, "recipients": recipients, **more}
    return Envelope(message_id, "00/01-00042-00000000", **fields)


def stored(data: bytes) -> StoredBody:
    """A small body."""
    return StoredBody(len(data), data, "")


class Inline:
    """Stands for native threads: runs jobs in the caller."""

    def __init__(self) -> None:
        self.jobs = 0

    def call(self, function: Callable[..., T], *args: Any) -> T:
        """Run it."""
        self.jobs += 1
        return function(*args)


def plain_connect(host: str, port: int, timeout_s: float, /, source: str = "") -> socket.socket:
    """Connect an ordinary blocking socket."""
    return socket.create_connection((host, port), timeout_s, (source, 0) if source else None)


class Names:
    """Stands for DNS: knows what a test put in, and asks nobody.

    Args:
        known: answers by name: addresses, or one that is to be raised.
    """

    def __init__(self, known: dict[str, Answer | LookupFailed] | None = None) -> None:
        self.known = known or {}

    def exchanges(self, name: str) -> Answer:
        """MX records."""
        found = self.known.get(name, LookupFailed(f"MX of {name}: this test has no name server"))
        if isinstance(found, LookupFailed):
            raise found
        return found if found.exchanges or not found.exists else Answer(exists=True)

    def addresses(self, name: str, *, ipv6: bool) -> Answer:
        """IP addresses; ``localhost`` is known."""
        if name == "localhost":
            return Answer(exists=True, addresses=("127.0.0.1",))
        found = self.known.get(name, LookupFailed(f"A of {name}: this test has no name server"))
        if isinstance(found, LookupFailed):
            raise found
        return Answer(found.exists, tuple(ip for ip in found.addresses if ipv6 or ":" not in ip))

    def is_local(self, name: str) -> bool:
        """Only the loopback."""
        return name == "localhost"

    def candidates(self, name: str) -> tuple[str, ...]:
        """The name itself."""
        return (name,)

    def ask_ahead(self, hosts: Iterable[str], *, ipv6: bool) -> None:
        """Nothing to do."""


def resolver(known: dict[str, Answer | LookupFailed] | None = None) -> HopResolver:
    """One that asks nobody."""
    return HopResolver(Names(known), "host.example")


def tools(connect: Connect = plain_connect, mono: Callable[[], float] = time.monotonic) -> Tools:
    """Tools on blocking sockets, for a transport in the test's own thread."""
    return Tools(Inline(), connect, ConnectionPool(mono), HopHealth(mono), "host.example", resolver())
