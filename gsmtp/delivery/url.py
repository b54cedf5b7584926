"""Which URLs webhooks may have, and where one leads. Source: RFC 3986, RFC 9110 section 4.2."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Target:
    """Where a URL leads.

    Args:
        is_tls: https.
        host: name or address, without brackets, in ASCII.
        port: of it.
        path: path and query, as they stand in the request.
        authority: for the Host field.
    """

    is_tls: bool
    host: str
    port: int
    path: str
    authority: str

    @property
    def is_local(self) -> bool:
        """Whether what is sent there stays on this host."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


def parse_url(url: str) -> Target:
    """Take a URL apart. Raises ValueError with a reason that completes "it …"."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https"):
        raise ValueError("must begin with https:// or http://")
    if not parts.hostname:
        raise ValueError("names no host")
    if parts.username is not None or parts.password is not None:
        raise ValueError("holds a user or a password: requests are signed instead")
    if parts.fragment:
        raise ValueError("holds a fragment (#…), which is never sent")
    if not url.isascii():
        raise ValueError("must be ASCII: xn--… for the host, %XX for the rest")
    if any(character <= " " or character == "\x7f" for character in url):
        raise ValueError("holds a space or a control character: write %XX")
    is_tls = parts.scheme == "https"
    port = parts.port  # raises ValueError for one out of range
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(
        is_tls, parts.hostname, port or (443 if is_tls else 80), path, host if port is None else f"{host}:{port}"
    )
