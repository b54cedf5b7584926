"""Next hops: how `Gateway` and the items of `Routes` are written, and in which order hops are tried. Pure functions.

Which addresses a hop comes to is found out when mail goes there (`delivery/resolve.py`).
Source: reference/policy-and-context.md section 5.
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from itertools import groupby
from urllib.parse import parse_qsl


class Lookup(StrEnum):
    """How a hop's name becomes addresses."""

    ADDRESS = "a"
    """A host of the configuration: its addresses."""
    GATEWAY = "gateway"
    """A host of the configuration: its MX records, then its addresses."""
    MX = "mx"
    """A recipient's domain: its MX records, and its addresses where it has none (RFC 5321 section 5.1)."""


@dataclass(frozen=True, slots=True)
class Hop:
    """A host, or a domain's hosts, to hand mail to.

    Args:
        host: name or IP address, an IPv6 address without brackets.
        port: 1 to 65,535.
        preference: lower ones are tried first; equal ones share the load.
        lookup: what is looked up for a name.
    """

    host: str
    port: int
    preference: int = 0
    lookup: Lookup = Lookup.ADDRESS

    def __str__(self) -> str:
        place = f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
        return f"mx:{place}" if self.lookup is Lookup.MX else place


def parse_gateway(text: str, default_port: int) -> Hop:
    """A hop from ``host``, ``192.0.2.1``, ``host:port``, ``[2001:db8::1]:port`` or ``2001:db8::1``.

    A name in brackets (``[host]:port``) has its addresses looked up alone, any other its MX records first. Raises
    ValueError with a text that says what is wrong.
    """
    host, port = _host_and_port(text.strip())
    is_plain = text.strip().startswith("[") or is_address(host)
    return Hop(host, default_port if port is None else port, 0, Lookup.ADDRESS if is_plain else Lookup.GATEWAY)


def parse_target(text: str) -> Hop:
    """A hop from ``192.0.2.1:25`` or ``[2001:db8::1]:25``, as static_routes names its server. Raises ValueError."""
    hop = parse_gateway(text, 25)
    if not is_address(hop.host):
        raise ValueError(f"'{hop.host}' is not an IP address")
    return hop


def domain_hop(domain: str, port: int, preference: int = 0) -> Hop:
    """The hop for a recipient's domain itself: its MX hosts, or the address of ``[192.0.2.1]`` and ``[IPv6:…]``.

    Raises ValueError for a literal that is no address (RFC 5321 section 4.1.3).
    """
    if not domain.startswith("["):
        return Hop(domain, port, preference, Lookup.MX)
    host = domain[1:].removesuffix("]")
    host = host[5:] if host[:5].lower() == "ipv6:" else host
    if not is_address(host):
        raise ValueError(f"'{domain}' is not an address that mail can be sent to")
    return Hop(host, port, preference, Lookup.MX)


@lru_cache(maxsize=1024)
def is_address(host: str) -> bool:
    """Whether a host is an IP address."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def parse_routes(items: Sequence[str], default_port: int, domain: str = "") -> tuple[Hop, ...]:
    """The hops of a `Routes` list, in the order in which they are to be tried.

    An item without ``pref`` comes right after the item before it. ``ttl`` is read and needs nothing: how long a name's
    addresses are kept is DNS's to say. ``__mx__`` stands for the hosts of `domain`, the recipients', and for nothing
    where that is "". Raises ValueError for an item that can't be read.
    """
    hops: list[Hop] = []
    preference = -1
    for item in items:
        hop, preference = _route(item.strip(), default_port, preference + 1, domain)
        if hop.host:
            hops.append(hop)
    return tuple(sorted(hops, key=lambda hop: hop.preference))


def spread(hops: Sequence[Hop], chooser: random.Random) -> list[Hop]:
    """The hops by preference, those of equal preference in random order."""
    if len(hops) < 2:
        return list(hops)
    ordered: list[Hop] = []
    for _, group in groupby(sorted(hops, key=lambda hop: hop.preference), key=lambda hop: hop.preference):
        equals = list(group)
        chooser.shuffle(equals)
        ordered += equals
    return ordered


def _route(item: str, default_port: int, preference: int, domain: str) -> tuple[Hop, int]:
    scheme, separator, rest = item.partition("://")
    if not separator:
        return _to(item, default_port, preference, Lookup.ADDRESS, domain), preference
    if scheme.lower() != "smtp":
        raise ValueError(f"scheme {scheme}:// is not known; expected smtp://")
    place, _, query = rest.partition("?")
    port, lookup = default_port, Lookup.ADDRESS
    for key, value in parse_qsl(query, keep_blank_values=True):
        match key.lower():
            case "pref":
                preference = _number("pref", value, 0, 65535)
            case "port":
                port = _number("port", value, 1, 65535)
            case "ttl":
                _number("ttl", value, 0, 2**31)
            case "type" if value.lower() == "a":
                lookup = Lookup.ADDRESS
            case "type" if value.lower() == "mx":
                lookup = Lookup.GATEWAY
            case _:
                raise ValueError(f"{key}={value} is not known; expected pref, ttl, port, type=a or type=mx")
    return _to(place.removesuffix("/"), port, preference, lookup, domain), preference


def _to(place: str, default_port: int, preference: int, lookup: Lookup, domain: str) -> Hop:
    """The hop of one item, with host "" for what leads nowhere."""
    host, port = _host_and_port(place)
    port = default_port if port is None else port
    if host.lower() == "__mx__":
        return domain_hop(domain, port, preference)
    return Hop(host, port, preference, Lookup.ADDRESS if is_address(host) else lookup)


def _number(key: str, value: str, low: int, high: int) -> int:
    if not (value.isascii() and value.isdecimal() and low <= int(value[:12]) <= high):
        raise ValueError(f"{key} must be a number from {low} to {high}")
    return int(value)


def _host_and_port(text: str) -> tuple[str, int | None]:
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError(f"'{text}' is not [address]:port")
        port_text = rest[1:] if rest else None
    elif text.count(":") == 1:
        host, _, port_text = text.partition(":")
    else:
        host, port_text = text, None
    if not host or any(character.isspace() or character in "/@?,;" for character in host):
        raise ValueError(f"'{text}' is not a host name or an address")
    return host, None if port_text is None else _number("port", port_text, 1, 65535)
