"""Connects to a host by name, which the server's own resolver looks up: the system's has few threads, which wait."""

from __future__ import annotations

import socket as names
import time

from gsmtp.delivery.hops import is_address
from gsmtp.delivery.resolve import HopResolver, Unresolved
from gsmtp.delivery.transport import Connect, HopSocket


class ByName:
    """See `delivery.transport.Connect`. Tries a name's addresses one after the other.

    Args:
        connect: to an address.
        resolver: finds addresses.
    """

    def __init__(self, connect: Connect, resolver: HopResolver) -> None:
        self._connect = connect
        self._resolver = resolver

    def __call__(self, host: str, port: int, timeout_s: float, /, source: str = "") -> HopSocket:
        """Connect within so many seconds, of which each address gets its part.

        Raises:
            OSError: the last address's trouble; `socket.gaierror` when there is none.
        """
        if is_address(host):
            return self._connect(host, port, timeout_s, source)
        end = time.monotonic() + timeout_s
        try:
            found = self._resolver.host_addresses(host)
        except Unresolved as error:
            raise names.gaierror(names.EAI_NONAME, error.detail) from error
        while True:
            ip = found.pop(0)
            try:
                return self._connect(ip, port, max(end - time.monotonic(), 0.001) / (len(found) + 1), source)
            except OSError:
                if not found:
                    raise
