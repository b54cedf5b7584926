"""The options of the client's side: TLS to the next host, XCLIENT, the source address.

TLS_Certificate, TLS_Key, TLS_Ciphers and TLS_Protocols are those of the server's side (`gsmtp.smtp.tls_options`).
Source: reference/policy-and-context.md section 5, reference/scopes-and-fallback.md section 4.
"""

from __future__ import annotations

import ipaddress

from gsmtp.config import kinds
from gsmtp.config.kinds import Kind
from gsmtp.config.option import OUTBOUND, Option, declare
from gsmtp.config.tree import Value
from gsmtp.smtp.tls_options import PATH_OR_NONE

_USES = ("no", "ifavailable", "required")
_BINDINGS = ("binding", "binding_group", "global")

TLS: Option[str] = declare(
    Option(
        name="TLS",
        kind=kinds.enumeration(*_USES),
        default="no",
        scopes=OUTBOUND,
        doc="Whether STARTTLS is used with the next host: never, where it is offered, or always; ``required`` lets "
        "mail wait where it isn't offered.",
        source="RFC 3207",
    )
)

TLS_VERIFY: Option[str] = declare(
    Option(
        name="TLS_Verify",
        kind=kinds.enumeration("no", "ca", "host", "optional"),
        default="no",
        scopes=OUTBOUND,
        doc="What of the next host's certificate must hold: nothing, an issuer of TLS_CA, or (``host``) its name too: "
        "the MX host's, or the gateway's. ``optional`` verifies as ``host`` does, tells the outcome in the log, and "
        "hands on in any case.",
        source="Momentum: tls_verify",
    )
)

TLS_CA: Option[str] = declare(
    Option(
        name="TLS_CA",
        kind=PATH_OR_NONE,
        default="",
        scopes=OUTBOUND,
        doc="PEM file of the issuers that TLS_Verify trusts; by default those of the system. Read anew by each reload.",
        source="Momentum: tls_ca",
    )
)

TLS_IFAVAILABLE_FALLBACK: Option[bool] = declare(
    Option(
        name="TLS_IfAvailable_Fallback",
        kind=kinds.boolean,
        default=True,
        scopes=OUTBOUND,
        doc="Whether, under ``TLS = ifavailable``, a next host with which TLS fails gets the mail in clear, over a new "
        "connection; else the mail waits.",
        source="Momentum: tls_ifavailable_fallback",
    )
)

XCLIENT: Option[str] = declare(
    Option(
        name="XCLIENT",
        kind=kinds.enumeration(*_USES),
        default="no",
        scopes=OUTBOUND,
        doc="Whether the next host is told by XCLIENT from which client a message came (address, port, HELO, "
        "protocol): never, where it is offered, or always; ``required`` lets mail wait where it isn't.",
        source="Momentum: xclient; Postfix XCLIENT_README",
    )
)


def _address(value: Value) -> str:
    text = kinds.scalar_text(value).strip("[]")
    if not text:
        return ""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ValueError("expected an IPv4 or IPv6 address of this machine") from None


BIND_ADDRESS: Option[str] = declare(
    Option(
        name="Bind_Address",
        kind=Kind("address", _address, "an IPv4 or IPv6 address of this machine"),
        default="",
        scopes=_BINDINGS,
        doc="Address from which connections to next hosts are made; hosts' addresses of the other family are passed "
        "over. By default the system chooses.",
        source="Momentum: bind_address",
    )
)
