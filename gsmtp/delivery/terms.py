"""What is asked of a connection to a next hop beside carrying mail: TLS, XCLIENT, BDAT. Values without I/O."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from gsmtp.core.envelope import Envelope


class Use(StrEnum):
    """Whether an extension is made use of; the values of `TLS` and `XCLIENT`."""

    NO = "no"
    IFAVAILABLE = "ifavailable"
    REQUIRED = "required"


@dataclass(frozen=True, slots=True)
class Identity:
    """The client from whom a message came, as XCLIENT tells it; "" for what isn't known.

    Args:
        address: IP address.
        port: of its end.
        name: by DNS.
        helo: what it called itself.
        protocol: SMTP or ESMTP.
    """

    address: str = ""
    port: str = ""
    name: str = ""
    helo: str = ""
    protocol: str = ""

    @classmethod
    def of(cls, envelope: Envelope) -> Identity:
        """Whoever sent a message; nobody for one of our own."""
        address, _, port = envelope.client_address.rpartition(":")
        protocol = "ESMTP" if "E" in envelope.protocol.upper() or "UTF8" in envelope.protocol.upper() else "SMTP"
        return cls(address.strip("[]"), port, "", envelope.helo, protocol if envelope.helo else "")


@dataclass(frozen=True, slots=True)
class Terms:
    """What is asked of one connection.

    Args:
        tls: whether STARTTLS is to be used.
        xclient: likewise XCLIENT.
        identity: what XCLIENT tells.
        uses_chunking: whether text goes by BDAT where the hop offers it; binary messages do in any case.
    """

    tls: Use = Use.NO
    xclient: Use = Use.NO
    identity: Identity = Identity()
    uses_chunking: bool = True
