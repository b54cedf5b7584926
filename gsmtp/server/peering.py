"""Socket addresses as the session and the records name them."""

from __future__ import annotations

from typing import Any

from gsmtp.config.view import View
from gsmtp.core.records import Peering
from gsmtp.smtp.facts import Facts


def name_of(address: Any) -> tuple[str, int]:
    """IP and port of a socket address; a Unix-socket peer counts as 127.0.0.1 port 0."""
    if isinstance(address, tuple):
        return address[0].partition("%")[0], address[1]
    return "127.0.0.1", 0


def address_text(ip: str, port: int) -> str:
    """``ip:port``, IPv6 in brackets."""
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


def peering_of(facts: Facts, view: View, *, is_unix: bool = False) -> Peering:
    """Both ends of a session; a Unix socket's have no address."""
    return Peering(
        facts.connection_id,
        "" if is_unix else address_text(facts.client_ip, facts.client_port),
        "" if is_unix else address_text(facts.local_ip, facts.local_port),
        facts.endpoint,
        view.pathway,
        view.group,
    )
