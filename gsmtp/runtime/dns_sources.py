"""Whom to ask, and what needs no asking: DNS_Servers, resolv.conf and the hosts file. Blocking, pure functions.

Source: Momentum's resolv_conf (a part of resolv.conf(5), and ``lookup``), hosts(5), RFC 6761 section 6.3 (localhost).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

RESOLV_CONF = "/etc/resolv.conf"
HOSTS = "/etc/hosts"
DNS_PORT = 53
_MOST_SERVERS = 8
_MOST_SEARCHED = 6

Place = tuple[str, int]
"""IP address and port."""


class SourcesError(Exception):
    """The file that was named can't be read."""


@dataclass(frozen=True, slots=True)
class Sources:
    """What look-ups start from.

    Args:
        servers: asked in this order.
        search: domains that complete names without a dot.
        try_s: seconds that one server may take.
        attempts: rounds through the servers.
        hosts: addresses by name (lower case).
        hosts_first: whether the hosts file is looked into before the servers are asked, or after.
    """

    servers: tuple[Place, ...]
    search: tuple[str, ...] = ()
    try_s: float = 5.0
    attempts: int = 2
    hosts: dict[str, tuple[str, ...]] = field(default_factory=dict)
    hosts_first: bool = True


def parse_server(text: str) -> Place:
    """A name server from ``192.0.2.1``, ``192.0.2.1:5353``, ``2001:db8::1`` or ``[2001:db8::1]:5353``.

    Raises ValueError with a text that says what is wrong.
    """
    host, port = text.strip(), str(DNS_PORT)
    if host.startswith("["):
        host, bracket, rest = host[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError(f"'{text}' is not [address]:port")
        port = rest[1:] if rest else port
    elif host.count(":") == 1:
        host, _, port = host.partition(":")
    if not (port.isascii() and port.isdecimal() and 1 <= int(port[:6]) <= 65535):
        raise ValueError(f"'{text}' has no port from 1 to 65535")
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        raise ValueError(f"'{text}' is not the IP address of a name server") from None
    return host, int(port)


def read_sources(servers: Sequence[str], resolv_conf: str) -> Sources:
    """What the options and the system's files say now.

    Args:
        servers: of DNS_Servers, () for those of resolv.conf.
        resolv_conf: path, "" for the system's, which is left alone when `servers` are named.

    Raises:
        SourcesError: a `resolv_conf` that was named can't be read.
    """
    lines: list[str] = []
    if resolv_conf or not servers:
        try:
            lines = _lines(resolv_conf or RESOLV_CONF)
        except OSError as error:
            if resolv_conf:
                raise SourcesError(f"{resolv_conf}: {error.strerror or error}") from error
    found = parse_resolv_conf(lines)
    places = tuple(parse_server(one) for one in servers) or found.servers
    try:
        hosts = parse_hosts(_lines(HOSTS))
    except OSError:
        hosts = parse_hosts(())
    return Sources(places, found.search, found.try_s, found.attempts, hosts, found.hosts_first)


def parse_resolv_conf(lines: Iterable[str]) -> Sources:
    """Servers, search list and options; lines that mean nothing to us are passed over, as resolv.conf(5) has it."""
    servers: list[Place] = []
    search: tuple[str, ...] = ()
    try_s, attempts, hosts_first = 5.0, 2, True
    for line in lines:
        words = line.split()
        match words[:1]:
            case ["nameserver"] if len(words) > 1:
                try:
                    servers.append(parse_server(words[1]))
                except ValueError:
                    continue
            case ["search" | "domain"]:
                search = tuple(word.strip(".").lower() for word in words[1:] if word.strip("."))
            case ["lookup"] if len(words) > 1:
                hosts_first = not words[1].startswith("b")
            case ["options"]:
                for word in words[1:]:
                    name, _, value = word.partition(":")
                    if not value.isdecimal():
                        continue
                    if name in ("timeout", "retrans"):
                        try_s = float(min(max(int(value), 1), 30))
                    elif name in ("attempts", "retry"):
                        attempts = min(max(int(value), 1), 5)
    places = tuple(servers[:_MOST_SERVERS]) or (("127.0.0.1", DNS_PORT),)
    return Sources(places, search[:_MOST_SEARCHED], try_s, attempts, {}, hosts_first)


def parse_hosts(lines: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Addresses by name. ``localhost`` is the loopback, whether the file has it or not."""
    hosts: dict[str, tuple[str, ...]] = {}
    for line in lines:
        words = line.partition("#")[0].split()
        if len(words) < 2:
            continue
        try:
            address = str(ipaddress.ip_address(words[0]))
        except ValueError:
            continue
        for word in words[1:]:
            name = word.rstrip(".").lower()
            if address not in hosts.get(name, ()):
                hosts[name] = (*hosts.get(name, ()), address)
    hosts.setdefault("localhost", ("127.0.0.1", "::1"))
    return hosts


def _lines(path: str) -> list[str]:
    lines = Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    return [line for line in lines if not line.lstrip().startswith(("#", ";"))]
