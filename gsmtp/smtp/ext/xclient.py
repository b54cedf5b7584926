"""XCLIENT: a trusted peer says for which client it speaks, and the session begins anew for that one.

What a client's address decides (Peers, pathway, context, relaying) is found anew, and with it whether XCLIENT is
offered: a proxy that passes on what its client says must not lend it its trust. Limits of sessions and TLS stay with
the socket.

Source: Postfix XCLIENT_README; reference/scopes-and-fallback.md section 5.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from gsmtp.core.reply import BAD_SEQUENCE, Reply, reply
from gsmtp.smtp.abnf import canonical_domain, is_greeting_name, is_xtext
from gsmtp.smtp.auth_options import ALWAYS_DENY
from gsmtp.smtp.events import Ask, Event
from gsmtp.smtp.extension import Extension, Offer, register
from gsmtp.smtp.state import REAL_STATES, Row, State
from gsmtp.smtp.verbs import Verb
from gsmtp.smtp.xtext import decode_xtext

if TYPE_CHECKING:
    from collections.abc import Callable

    from gsmtp.smtp.driver import Driver
    from gsmtp.smtp.machine import Machine

ATTRIBUTES: Final = "NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT"

NO_ADDRESS: Final = "0.0.0.0"  # noqa: S104 - nothing is bound
"""Stands for a client whose address is not known: it matches no network but that of all addresses."""

_MOST_VALUE: Final = 255
_UNKNOWN: Final = ("[UNAVAILABLE]", "[TEMPUNAVAIL]")
_MECHANISM: Final = "XCLIENT"

_NO_ATTRIBUTES = reply(501, "5.5.4 XCLIENT needs attribute=value")
_TOO_LONG = reply(501, "5.5.4 XCLIENT attribute value too long")
_BAD_VALUE = reply(501, "5.5.4 XCLIENT attribute value is no xtext")


@dataclass(slots=True)
class Override:
    """What one XCLIENT command says; None for what it doesn't speak of.

    Args:
        name: the client's host name, "" when it has none.
        address: its IP address, or `NO_ADDRESS`.
        port: its port, 0 when it isn't known.
        protocol: ``"SMTP"`` or ``"ESMTP"``.
        helo: what it called itself, "" when it didn't.
        login: who it has logged in as, "" when it hasn't.
        local: the address that it connected to, or `NO_ADDRESS`.
        local_port: the port.
    """

    name: str | None = None
    address: str | None = None
    port: int | None = None
    protocol: str | None = None
    helo: str | None = None
    login: str | None = None
    local: str | None = None
    local_port: int | None = None


def read_address(value: str) -> str | None:
    """An address as XCLIENT writes it, ``IPV6:`` before one of version 6; None when it is none."""
    is_prefixed = value[:5].upper() == "IPV6:"
    try:
        address = ipaddress.ip_address(value[5:] if is_prefixed else value)
    except ValueError:
        return None
    if "%" in value or (is_prefixed and address.version == 4):
        return None
    return str(getattr(address, "ipv4_mapped", None) or address)


def _as_it_is(text: str) -> str | None:
    """What peers send that don't encode values, as Postfix before 2.3 did."""
    return text if text.isascii() and text.isprintable() else None


def _address(value: str) -> str | None:
    return NO_ADDRESS if not value else read_address(value)


def _port(value: str) -> int | None:
    if not value:
        return 0
    number = int(value) if value.isascii() and value.isdigit() and len(value) <= 5 else -1
    return number if 0 <= number <= 65535 else None


def _name(value: str) -> str | None:
    return value if not value or canonical_domain(value) else None


def _helo(value: str) -> str | None:
    return value if not value or is_greeting_name(value) else None


def _protocol(value: str) -> str | None:
    word = value.upper()
    return word if word in ("SMTP", "ESMTP") else None


_READERS: Final[dict[str, tuple[str, Callable[[str], str | int | None]]]] = {
    "NAME": ("name", _name),
    "ADDR": ("address", _address),
    "PORT": ("port", _port),
    "PROTO": ("protocol", _protocol),
    "HELO": ("helo", _helo),
    "LOGIN": ("login", lambda value: value),
    "DESTADDR": ("local", _address),
    "DESTPORT": ("local_port", _port),
}
"""By attribute: where its value goes and how it is read. "" is what stands for a value that isn't known."""


def parse(argument: str) -> Override | Reply:
    """Read the attributes, or give the refusal."""
    words = argument.split()
    if not words:
        return _NO_ATTRIBUTES
    override = Override()
    for word in words:
        attribute, equals, text = word.partition("=")
        if not equals or not text:
            return _NO_ATTRIBUTES
        place, read = _READERS.get(attribute.upper(), ("", None)) if attribute.isascii() else ("", None)
        if read is None:
            return reply(501, "5.5.4 unknown XCLIENT attribute")
        if len(text) > _MOST_VALUE:
            return _TOO_LONG
        decoded = decode_xtext(text) if is_xtext(text) else _as_it_is(text)
        if decoded is None:
            return _BAD_VALUE
        value = read("" if decoded.upper() in _UNKNOWN else decoded)
        if value is None:
            return reply(501, f"5.5.4 bad XCLIENT {attribute.upper()} syntax")
        setattr(override, place, value)
    return override


def apply(session: Machine, override: Override, driver: Driver) -> None:
    """Begin anew as the client that the peer speaks for.

    Attributes of earlier commands hold on where this one doesn't speak of them; a greeting and a login don't.
    """
    facts = session.facts
    driver.session.begin_again()
    for name in ("ehlo_string", "ehlo_domain", "auth_name", "auth_status", "auth_user"):
        driver.conn.pop(name, None)
    driver.move_client(
        replace(
            facts,
            client_ip=override.address or facts.client_ip,
            client_port=facts.client_port if override.port is None else override.port,
            local_ip=override.local or facts.local_ip,
            local_port=facts.local_port if override.local_port is None else override.local_port,
        )
    )
    if override.name is not None:
        driver.conn["xclient_name"] = override.name
    if override.login:
        _log_in(session, override.login, driver)
    if override.helo:
        driver.session.assume_greeting(override.helo, is_esmtp=override.protocol != "SMTP")
        driver.conn["ehlo_domain"] = override.helo


def _log_in(session: Machine, user: str, driver: Driver) -> None:
    """Believe a login that the peer has checked, unless nobody may log in here."""
    if session.view[ALWAYS_DENY]:
        return
    session.is_authenticated = True
    session.auth_user = user
    session.auth_mechanism = _MECHANISM
    driver.conn.update(auth_name=_MECHANISM, auth_status="pass", auth_user=user, can_relay="true")


def _xclient(session: Machine, argument: str, line: str) -> Event | None:
    override = parse(argument)
    if isinstance(override, Reply):
        return session.refuse(override)
    return Ask(lambda driver: apply(session, override, driver))


def _ehlo(offer: Offer) -> str:
    return ATTRIBUTES


_ROW: Final[Row] = {state: state if state in (State.START, State.GREETED) else BAD_SEQUENCE for state in REAL_STATES}

XCLIENT = register(
    Extension("XCLIENT", ehlo=_ehlo, verbs=(Verb("XCLIENT", _xclient, _ROW, ends_pipelining=True),)), __name__
)
