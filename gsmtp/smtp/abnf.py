"""Which texts are domains, local parts, address literals and xtext (RFC 5321 section 4.1.2 and its relatives).

Every pattern is linear: no nested repetition can match one text in two ways. Texts that came in 8-bit have been decoded
from UTF-8 before they get here; whether non-ASCII is allowed at all is the caller's question (SMTPUTF8).
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from functools import cache, lru_cache
from typing import Final

LOCAL_PART_OCTETS: Final = 64
DOMAIN_OCTETS: Final = 255
PATH_OCTETS: Final = 256
"""RFC 5321 section 4.5.3.1; a path counts its angle brackets and its source route."""

_LABEL_OCTETS: Final = 63  # RFC 1035 section 2.3.4

# C1 controls and the Unicode line separators are left out: nothing may start a new line in a log or a header.
_UTF8: Final = "\u00a0-\u2027\u202a-\ud7ff\ue000-\U0010ffff"
_ATEXT: Final = rf"A-Za-z0-9!#$%&'*+/=?^_`{{|}}~{_UTF8}-"
# The underscore is no LDH character but stands in enough real host names to be taken.
_ASCII_DOMAIN: Final = re.compile(
    r"[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?(?:\.[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?)*"
)
_IPV4: Final = re.compile(r"(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?:\.(?!\Z)|\Z)){4}", re.ASCII)
_XTEXT: Final = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*")
# What clients call themselves: real ones send underscores and more; what could break out of the comment in Received
# or out of a log field can't be in it.
_GREETING_NAME: Final = re.compile(r"[A-Za-z0-9\[][A-Za-z0-9._:%/+=~\[\]-]*")


# Classes of so many characters take milliseconds to compile: `gsmtp check` starts without them.
@cache
def _dot_string() -> re.Pattern[str]:
    return re.compile(rf"[{_ATEXT}]+(?:\.[{_ATEXT}]+)*")


@cache
def _loose_dot_string() -> re.Pattern[str]:
    return re.compile(rf"[{_ATEXT}.]+")


@cache
def _quoted_string() -> re.Pattern[str]:
    return re.compile(rf'"(?:[ !#-\[\]-~{_UTF8}]|\\[ -~])*"')


@cache
def _utf8_xtext() -> re.Pattern[str]:
    return re.compile(rf"(?:[!-*,-<>-~{_UTF8}]|\+[0-9A-F]{{2}})*")


def is_local_part(text: str, *, pedantic: bool) -> bool:
    """Whether `text` is a Local-part: a dot-string or a quoted string of at most 64 octets.

    Args:
        text: everything before the at-sign.
        pedantic: False also takes dots at the ends and several in a row (`RFC2821_Pedantic_Address_Rules`).
    """
    if len(text.encode()) > LOCAL_PART_OCTETS:
        return False
    if text.startswith('"'):
        return _quoted_string().fullmatch(text) is not None
    return (_dot_string() if pedantic else _loose_dot_string()).fullmatch(text) is not None


@lru_cache(maxsize=4096)
def canonical_domain(text: str) -> str:
    """The form in which a domain is compared: A-labels in lower case, without a trailing dot.

    A label that isn't what it seems (full-width letters, a full-width dot, a code point that another one stands for)
    is no U-label, so it can't turn into a name that somebody relays for.

    Args:
        text: the domain as sent, no address literal.

    Returns:
        "" when `text` is no domain.

    Source: RFC 5890 section 2.3.2.1, RFC 6531 section 3.3.
    """
    text = text.removesuffix(".")
    if text.isascii():
        text = text.lower()
    else:
        text = ".".join(_a_label(label) for label in text.split("."))
    if len(text) > DOMAIN_OCTETS or _ASCII_DOMAIN.fullmatch(text) is None:
        return ""
    if any(len(label) > _LABEL_OCTETS for label in text.split(".")):
        return ""
    return text


def _a_label(label: str) -> str:
    # Compared before it is made lower case: the Kelvin sign's lower case is the letter k.
    if unicodedata.normalize("NFKC", label) != label:
        return ""
    label = label.lower()
    if label.isascii():
        return label
    if not all(character == "-" or unicodedata.category(character)[0] in "LMN" for character in label):
        return ""
    return "xn--" + unicodedata.normalize("NFC", label).encode("punycode").decode("ascii")


def is_address_literal(text: str) -> bool:
    """Whether `text`, with its square brackets, is an IPv4 or IPv6 literal.

    Source: RFC 5321 section 4.1.3.
    """
    if not (text.startswith("[") and text.endswith("]") and text.isascii()):
        return False
    inside = text[1:-1]
    if inside[:5].upper() == "IPV6:":
        try:
            return "%" not in inside and bool(ipaddress.IPv6Address(inside[5:]))
        except ValueError:
            return False
    return _IPV4.fullmatch(inside) is not None


def is_greeting_name(text: str) -> bool:
    """Whether `text` may follow EHLO or HELO: one word that could be a host name or a literal, at most 255 octets."""
    return len(text) <= DOMAIN_OCTETS and _GREETING_NAME.fullmatch(text) is not None


def is_xtext(text: str, *, utf8: bool = False) -> bool:
    """Whether `text` is xtext (RFC 3461 section 4), or may with `utf8` hold raw UTF-8 (RFC 6533 section 3)."""
    return (_utf8_xtext() if utf8 else _XTEXT).fullmatch(text) is not None
