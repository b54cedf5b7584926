"""Next hops: how `Gateway` and the items of `Routes` are written, and in which order hops are tried. Pure functions.

Source: reference/policy-and-context.md section 5.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from urllib.parse import parse_qsl


@dataclass(frozen=True, slots=True)
class Hop:
    """A host to hand mail to.

    Args:
        host: name or IP address, an IPv6 address without brackets.
        port: 1 to 65,535.
        preference: lower ones are tried first; equal ones share the load.
    """

    host: str
    port: int
    preference: int = 0

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class NotServedError(ValueError):
    """A route that Momentum documents and gsmtp doesn't serve."""


def parse_gateway(text: str, default_port: int) -> Hop:
    """A hop from ``host``, ``192.0.2.1``, ``host:port``, ``[2001:db8::1]:port`` or ``2001:db8::1``.

    Raises ValueError with a text that says what is wrong.
    """
    host, port = _host_and_port(text.strip())
    return Hop(host, default_port if port is None else port)


def parse_routes(items: Sequence[str], default_port: int) -> tuple[Hop, ...]:
    """The hops of a `Routes` list, in the order in which they are to be tried.

    An item without ``pref`` comes right after the item before it. ``ttl`` is read and needs nothing: names are looked
    up anew for each connection. Raises ValueError for an item that can't be read, NotServedError for one that is not
    served.
    """
    hops: list[Hop] = []
    preference = -1
    for item in items:
        hop, preference = _route(item.strip(), default_port, preference + 1)
        hops.append(hop)
    return tuple(sorted(hops, key=lambda hop: hop.preference))


def spread(hops: Sequence[Hop], chooser: random.Random) -> list[Hop]:
    """The hops by preference, those of equal preference in random order."""
    ordered: list[Hop] = []
    for _, group in groupby(sorted(hops, key=lambda hop: hop.preference), key=lambda hop: hop.preference):
        equals = list(group)
        chooser.shuffle(equals)
        ordered += equals
    return ordered


def _route(item: str, default_port: int, preference: int) -> tuple[Hop, int]:
    if item.lower() == "__mx__":
        raise NotServedError("route __mx__ is not served yet: MX records are not looked up")
    scheme, separator, rest = item.partition("://")
    if not separator:
        host, port = _host_and_port(item)
        return Hop(host, default_port if port is None else port, preference), preference
    if scheme.lower() != "smtp":
        raise ValueError(f"scheme {scheme}:// is not known; expected smtp://")
    place, _, query = rest.partition("?")
    host, port = _host_and_port(place.removesuffix("/"))
    for key, value in parse_qsl(query, keep_blank_values=True):
        match key.lower():
            case "pref":
                preference = _number("pref", value, 0, 65535)
            case "port":
                port = _number("port", value, 1, 65535)
            case "ttl":
                _number("ttl", value, 0, 2**31)
            case "type" if value.lower() == "a":
                pass
            case "type" if value.lower() == "mx":
                raise NotServedError(f"route '{item}': type=mx is not served yet: MX records are not looked up")
            case _:
                raise ValueError(f"{key}={value} is not known; expected pref, ttl, port or type=a")
    return Hop(host, default_port if port is None else port, preference), preference


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
