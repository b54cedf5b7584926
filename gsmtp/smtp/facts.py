"""What the machine is told about a connection."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Facts:
    """What is known about the connection.

    Args:
        client_ip: the peer's address, "" when it has none.
        client_port: its port.
        local_ip: our end's address.
        local_port: our end's port.
        endpoint: the Listen stanza's instance name.
        connection_id: as `core.ids` makes them.
        hostname: what the system calls itself, where no option says it.
    """

    client_ip: str
    client_port: int
    local_ip: str
    local_port: int
    endpoint: str
    connection_id: str
    hostname: str
