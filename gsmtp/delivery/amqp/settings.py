"""What an amqp stanza says, as values: broker URLs taken apart, and all that a publisher has to know."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import unquote, urlsplit

_PORTS = {"amqp": 5672, "amqps": 5671}
BROKER_LIMIT_BYTES = 16 << 20
"""The largest message that RabbitMQ 4 takes unless it is told otherwise (``max_message_size``)."""


@dataclass(frozen=True, slots=True)
class Broker:
    """One node of a broker.

    Args:
        host: name or address.
        port: TCP.
        uses_tls: whether TLS comes first.
        user: to log in as.
        password: likewise.
        vhost: the virtual host.
    """

    host: str
    port: int
    uses_tls: bool = False
    user: str = "guest"
    password: str = field(default="guest", repr=False)
    vhost: str = "/"

    def __str__(self) -> str:
        """For logs: never the password."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_url(text: str) -> Broker:
    """Take an AMQP URI apart.

    Raises ValueError with a text that doesn't quote the URL: there may be a password in it.

    >>> str(parse_url("amqps://mail:secret@rabbit1.example/prod"))
    'rabbit1.example:5671'

    Source: RabbitMQ's AMQP 0-9-1 URI specification.
    """
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError("expected an address such as amqp://user:password@host:5672/vhost") from None
    if parts.scheme not in _PORTS:
        raise ValueError("expected an address that begins with amqp:// or amqps://")
    if not parts.hostname:
        raise ValueError("expected a host behind amqp://")
    if parts.query or parts.fragment:
        raise ValueError("no parameters are taken behind the virtual host: there are options for them")
    path = parts.path.removeprefix("/")
    if "/" in path:
        raise ValueError("expected one virtual host; a / in its name is written %2F")
    return Broker(
        host=parts.hostname,
        port=port or _PORTS[parts.scheme],
        uses_tls=parts.scheme == "amqps",
        user=unquote(parts.username) if parts.username is not None else "guest",
        password=unquote(parts.password) if parts.password is not None else "guest",
        vhost=unquote(path) or "/",
    )


@dataclass(frozen=True, slots=True)
class Settings:
    """What a publisher has to know; equal ones share their connection over a reload.

    Args:
        name: of the stanza.
        brokers: the nodes.
        exchange: "" for the default one.
        routing_key: of all messages.
        confirm_s: how long a message may wait for its confirm.
        connect_s: how long connecting to one node may take.
        heartbeat_s: AMQP's.
        claim_path: the shared directory, "" for none.
        claim_bytes: the largest message that is published whole where there is one.
        tls_ca: file of authorities, "" for the system's.
    """

    name: str
    brokers: tuple[Broker, ...]
    exchange: str = ""
    routing_key: str = ""
    confirm_s: float = 30.0
    connect_s: float = 5.0
    heartbeat_s: int = 10
    claim_path: str = ""
    claim_bytes: int = 1 << 20
    tls_ca: str = ""

    @property
    def is_private(self) -> bool:
        """Whether nobody on the way can read the mail: TLS, or a broker on this machine (RFC 8689 section 4.1)."""
        return all(broker.uses_tls or _is_loopback(broker.host) for broker in self.brokers)

    @property
    def hop(self) -> str:
        """How logs name the place that mail goes to."""
        return f"amqp {self.name}"


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
