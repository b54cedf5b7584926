"""XFORWARD: an upstream server passes on, for the log and for policy, where it has a message from.

Unlike XCLIENT nothing is decided by it: the attributes become connection variables (``xforward_addr`` …), which hold
until the next XFORWARD says otherwise. Postfix's smtp(8) sends it (smtp_send_xforward_command = yes).

Source: Postfix XFORWARD_README.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gsmtp.core.reply import BAD_SEQUENCE, OK, Reply, reply
from gsmtp.smtp.events import Ask, Event
from gsmtp.smtp.extension import Extension, Offer, register
from gsmtp.smtp.state import REAL_STATES, Row, State
from gsmtp.smtp.verbs import Verb
from gsmtp.smtp.xtext import decode_xtext

if TYPE_CHECKING:
    from gsmtp.smtp.driver import Driver
    from gsmtp.smtp.machine import Machine

ATTRIBUTES: Final = ("NAME", "ADDR", "PORT", "PROTO", "HELO", "IDENT", "SOURCE")
_MOST_VALUE: Final = 255
_UNAVAILABLE: Final = "[UNAVAILABLE]"

_NO_ATTRIBUTES = reply(501, "5.5.4 XFORWARD needs attribute=value")
_BAD_VALUE = reply(501, "5.5.4 bad XFORWARD attribute value")


def parse(argument: str) -> dict[str, str] | Reply:
    """The variables that a command sets, "" for what is not known; or the refusal."""
    found = {}
    for word in argument.split():
        attribute, equals, text = word.partition("=")
        name = attribute.upper() if attribute.isascii() else ""
        if not equals or not text:
            return _NO_ATTRIBUTES
        if name not in ATTRIBUTES:
            return reply(501, "5.5.4 unknown XFORWARD attribute")
        value = decode_xtext(text) if len(text) <= _MOST_VALUE else None
        if value is None:
            return _BAD_VALUE
        found[f"xforward_{name.lower()}"] = "" if value.upper() == _UNAVAILABLE else value
    return found or _NO_ATTRIBUTES


def _xforward(session: Machine, argument: str, line: str) -> Event | None:
    variables = parse(argument)
    if isinstance(variables, Reply):
        return session.refuse(variables)

    def serve(driver: Driver) -> Reply:
        driver.conn.update(variables)
        return OK

    return Ask(serve)


def _ehlo(offer: Offer) -> str:
    return " ".join(ATTRIBUTES)


_ROW: Final[Row] = {state: state if state in (State.START, State.GREETED) else BAD_SEQUENCE for state in REAL_STATES}

XFORWARD = register(Extension("XFORWARD", ehlo=_ehlo, verbs=(Verb("XFORWARD", _xforward, _ROW),)), __name__)
