"""Endpoints that sockets listen on, and networks that clients come from.

Which forms an endpoint may have, which of them mean the same socket, and what is said about one that can't be read.
No host names: an endpoint is an address (reference/config-language.md sections 12.1 and 12.2).
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Literal

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Family = Literal["inet", "inet6", "unix"]

_FORMS = "write ':25', '127.0.0.1:25', '[*]:25', '[::1]:25' or '/path/of/a/socket'"
_SUN_PATH_BYTES = 107  # sizeof(sun_path) on Linux less its NUL, unix(7)
_PORT = re.compile(r"[0-9]{1,5}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a socket listens, or where one connects to.

    Two texts that mean the same socket give equal endpoints: ``:25`` and ``*:25``, ``[*]:25`` and ``[::]:25``.

    Args:
        family: ``"inet"``, ``"inet6"`` or ``"unix"``.
        host: the address in canonical form without brackets (``0.0.0.0`` and ``::`` for any), or the socket's path.
        port: 0 to 65,535, 0 for one that the kernel picks; always 0 for a Unix socket.
    """

    family: Family
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Endpoint:
        """Read ``:25``, ``*:25``, ``10.1.2.3:25``, ``[*]:25``, ``[::1]:25`` or ``/path``.

        Raises:
            ValueError: its text says what is wrong and what to write, without naming the option or stanza.

        Source: reference/config-language.md section 12.1.
        """
        if text.startswith("/"):
            if len(text.encode("utf-8", "surrogateescape")) > _SUN_PATH_BYTES:
                raise ValueError(f"the path of a Unix socket has at most {_SUN_PATH_BYTES} bytes")
            if "\0" in text:
                raise ValueError("the path of a Unix socket holds no NUL")
            return cls("unix", text, 0)
        if text.startswith("["):
            return cls._parse_bracketed(text)
        host, colon, port = text.rpartition(":")
        if not colon:
            raise ValueError(_explain_no_colon(text))
        if ":" in host:
            raise ValueError(_explain_bare_ipv6(text, host))
        number = _parse_port(port, text)
        if host in ("", "*"):
            return cls("inet", "0.0.0.0", number)  # noqa: S104
        try:
            return cls("inet", str(ipaddress.IPv4Address(host)), number)
        except ValueError:
            pass
        if re.fullmatch(r"[0-9.]+", host):
            raise ValueError(f"'{host}' is not an IPv4 address")
        raise ValueError(f"'{host}' is a host name, an address is expected; {_FORMS}")

    @classmethod
    def _parse_bracketed(cls, text: str) -> Endpoint:
        host, bracket, rest = text[1:].partition("]")
        if not bracket:
            raise ValueError(f"'[' without ']'; {_FORMS}")
        if not rest.startswith(":"):
            raise ValueError(f"no port after ']'; write '[{host}]:25'")
        number = _parse_port(rest[1:], text)
        if host == "*":
            return cls("inet6", "::", number)
        try:
            return cls("inet6", str(ipaddress.IPv6Address(host)), number)
        except ValueError:
            pass
        if re.fullmatch(r"[0-9.]+", host):
            raise ValueError(f"brackets are for IPv6; write '{host}:{number}'")
        raise ValueError(f"'{host}' is not an IPv6 address")

    def __str__(self) -> str:
        """The canonical text, which `parse` reads back: ``0.0.0.0:25``, ``[::1]:25`` or ``/path``."""
        if self.family == "unix":
            return self.host
        if self.family == "inet6":
            return f"[{self.host}]:{self.port}"
        return f"{self.host}:{self.port}"


def _parse_port(text: str, whole: str) -> int:
    if not text:
        raise ValueError(f"no port after ':'; write '{whole}25'")
    if not _PORT.fullmatch(text) or int(text) > 65535:
        raise ValueError(f"'{text}' is not a port; a number from 0 to 65535 is expected")
    return int(text)


def _explain_no_colon(text: str) -> str:
    if text.isascii() and text.isdigit():
        return f"a port needs a colon before it; write ':{text}' (any IPv4 address) or '127.0.0.1:{text}'"
    if not text or text == "*":
        return f"an address and a port are expected; {_FORMS}"
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return f"'{text}' is no address and port; {_FORMS}"
    return f"no port; write '{text}:25'"


def _explain_bare_ipv6(text: str, host: str) -> str:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        pass
    else:
        return f"an IPv6 address needs brackets and a port; write '[{text}]:25'"
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        return f"'{host}' is not an address; {_FORMS}"
    return f"an IPv6 address needs brackets; write '[{host}]:{text.rpartition(':')[2]}'"


def parse_network(text: str) -> Network:
    """Read the address or CIDR of a Peer stanza or of `relay_hosts`.

    An address without a mask is a /32 or /128, also one that ends in ``::``; host bits beyond the mask are cleared;
    ``[…]`` around an IPv6 address is tolerated. ``0.0.0.0/0`` holds no IPv6 address.

    Raises:
        ValueError: its text says what is wrong and what to write.

    Source: reference/config-language.md section 12.2.
    """
    bare = text
    if text.startswith("["):
        inner, bracket, mask = text[1:].partition("]")
        if bracket and ":" in inner and (not mask or mask.startswith("/")):
            bare = inner + mask
    address, slash, mask = bare.partition("/")
    try:
        host = ipaddress.ip_address(address)
    except ValueError:
        raise ValueError(f"'{text}' is no address or network; write '10.0.0.0/8', '10.1.2.3' or 'fd00::/8'") from None
    if not slash:
        return ipaddress.ip_network(host)
    try:
        return ipaddress.ip_network(f"{address}/{mask}", strict=False)
    except ValueError:
        longest = 32 if host.version == 4 else 128
        raise ValueError(f"'/{mask}' is not a mask; a number from 0 to {longest} is expected") from None
