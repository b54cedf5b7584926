"""What a next hop with certain extensions can be told of a message, and how MAIL and RCPT say it. Pure functions.

A message with 8-bit text goes to a hop without 8BITMIME, and one with UTF-8 headers but ASCII addresses to a hop
without SMTPUTF8, as it is: nothing is converted.

Sources: RFC 1870 (SIZE), RFC 6152 (8BITMIME), RFC 3030 (BINARYMIME), RFC 6531 (SMTPUTF8), RFC 3461 (DSN), RFC 6710
(MT-PRIORITY), RFC 8689 (REQUIRETLS), Postfix's XCLIENT_README.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from gsmtp.core.envelope import Envelope, Recipient
from gsmtp.delivery.terms import Identity

_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")

Extensions = Mapping[str, str]
"""What EHLO or LHLO offered: keyword in upper case to its parameters."""

_MOST_XCLIENT = 255
"""Of a value; the whole line has 512 bytes at the most (XCLIENT_README)."""


def cannot_send(envelope: Envelope, size_bytes: int, extensions: Extensions) -> str:
    """Why a message of that size can't go to the hop at all, as a reply text; or ""."""
    if _has_controls(envelope.reverse_path):
        return "553 5.1.7 [internal] the reverse-path holds control characters"
    if not envelope.reverse_path.isascii() and "SMTPUTF8" not in extensions:
        return "553 5.6.7 [internal] next hop takes no internationalised sender address (SMTPUTF8)"
    if envelope.body == "BINARYMIME" and not {"BINARYMIME", "CHUNKING"} <= extensions.keys():
        return "554 5.6.1 [internal] next hop takes no binary messages (BINARYMIME)"
    limit = extensions.get("SIZE", "")
    if limit.isdecimal() and 0 < int(limit) < size_bytes:
        return f"552 5.3.4 [internal] message of {size_bytes} bytes is over the next hop's limit of {int(limit)}"
    return ""


def cannot_address(address: str, extensions: Extensions) -> str:
    """Why a recipient can't be named to the hop, as a reply text; or ""."""
    if _has_controls(address):
        return "553 5.1.3 [internal] the recipient address holds control characters"
    if not address.isascii() and "SMTPUTF8" not in extensions:
        return "553 5.6.7 [internal] next hop takes no internationalised recipient address (SMTPUTF8)"
    return ""


def mail_command(envelope: Envelope, size_bytes: int, extensions: Extensions) -> bytes:
    """The MAIL line with the parameters that the hop knows."""
    words = [f"MAIL FROM:<{envelope.reverse_path}>"]
    if "SIZE" in extensions:
        words.append(f"SIZE={size_bytes}")
    if envelope.body in ("8BITMIME", "BINARYMIME") and envelope.body in extensions:
        words.append(f"BODY={envelope.body}")
    if envelope.smtputf8 and "SMTPUTF8" in extensions:
        words.append("SMTPUTF8")
    if "DSN" in extensions:
        if envelope.ret:
            words.append(f"RET={envelope.ret}")
        if _is_parameter(envelope.envid):
            words.append(f"ENVID={envelope.envid}")
    if envelope.requires_tls and "REQUIRETLS" in extensions:
        words.append("REQUIRETLS")
    if envelope.priority and "MT-PRIORITY" in extensions:
        words.append(f"MT-PRIORITY={envelope.priority}")
    return _line(words)


def rcpt_command(recipient: Recipient, extensions: Extensions) -> bytes:
    """The RCPT line with the parameters that the hop knows."""
    words = [f"RCPT TO:<{recipient.address}>"]
    if "DSN" in extensions:
        if recipient.notify:
            words.append(f"NOTIFY={','.join(recipient.notify)}")
        if _is_parameter(recipient.orcpt) and (recipient.orcpt.isascii() or "SMTPUTF8" in extensions):
            words.append(f"ORCPT={recipient.orcpt}")
    return _line(words)


def xclient_command(identity: Identity, offered: str) -> bytes:
    """The XCLIENT line with the attributes that the hop offers, of those that say who the client is."""
    known = set(offered.upper().split())
    address = f"IPV6:{identity.address}" if ":" in identity.address else identity.address
    values = {
        "NAME": identity.name,
        "ADDR": address,
        "PORT": identity.port,
        "PROTO": identity.protocol,
        "HELO": identity.helo if len(identity.helo) <= _MOST_XCLIENT else "",
    }
    words = ["XCLIENT"]
    for name, value in values.items():
        if name in known and (value or name not in ("PORT", "PROTO")):
            words.append(f"{name}={_xtext(value) or '[UNAVAILABLE]'}")
    return _line(words)


def _xtext(text: str) -> str:
    """RFC 3461 section 4: all but printable ASCII without + and = as +XX; in UTF-8."""
    raw = text.encode("utf-8", "surrogateescape")
    return "".join(chr(byte) if 33 <= byte <= 126 and byte not in b"+=" else f"+{byte:02X}" for byte in raw)


def _line(words: list[str]) -> bytes:
    return " ".join(words).encode("utf-8", "surrogateescape") + b"\r\n"


def _has_controls(text: str) -> bool:
    return _CONTROLS.search(text) is not None


def _is_parameter(value: str) -> bool:
    """Whether a DSN value may be passed on: one word, as RFC 5321's esmtp-value."""
    return bool(value) and not _has_controls(value) and " " not in value
