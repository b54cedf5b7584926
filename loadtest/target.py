"""Which server a load test may be pointed at: one on this machine, unless somebody says that another one is meant."""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit

_SCHEMES = {"smtp": "", "smtps": "implicit", "smtp+starttls": "starttls"}


def target(url: str) -> tuple[str, int, str]:
    """Host, port and TLS mode of ``smtp://host:port``. Raises ValueError for anything else."""
    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES or not parts.hostname:
        raise ValueError(f"--host {url!r} is none of {', '.join(f'{name}://HOST:PORT' for name in _SCHEMES)}")
    return parts.hostname, parts.port or (465 if parts.scheme == "smtps" else 25), _SCHEMES[parts.scheme]


def is_loopback(host: str) -> bool:
    """Whether all addresses of a host are this machine's own."""
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(host, None)}
    except OSError:
        return False
    return bool(found) and all(ipaddress.ip_address(address).is_loopback for address in found)


def check_target(url: str, allow_remote: bool) -> tuple[str, int, str]:
    """`target`, refused when it is another machine and nobody said that this is meant. Raises ValueError."""
    host, port, mode = target(url)
    if not allow_remote and not is_loopback(host):
        raise ValueError(
            f"{host} is not this machine. A load test of somebody else's server is an attack; for a server of your "
            "own say --allow-remote"
        )
    return host, port, mode
