"""XSETCONTEXT: a trusted peer sets connection variables, whatever they were.

Dangerous where it is offered to the wrong ones: ``can_relay=true`` is a variable too, and ``__bypass_NAME`` another.
Source: reference/esmtp-listener.md section 9.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gsmtp.core.reply import OK, Reply, reply
from gsmtp.smtp.events import Ask, Event
from gsmtp.smtp.extension import Extension, register
from gsmtp.smtp.state import stays
from gsmtp.smtp.verbs import Verb
from gsmtp.smtp.xtext import decode_xtext

if TYPE_CHECKING:
    from gsmtp.smtp.driver import Driver
    from gsmtp.smtp.machine import Machine

_SYNTAX = reply(501, "5.5.4 XSETCONTEXT needs name=value, the value in xtext")


def parse(argument: str) -> dict[str, str] | None:
    """The variables, or None when the argument isn't ``name=xtext`` once or several times."""
    found = {}
    for word in argument.split():
        name, equals, text = word.partition("=")
        value = decode_xtext(text)
        if not name or not name.isascii() or not equals or value is None:
            return None
        found[name] = value
    return found or None


def _xsetcontext(session: Machine, argument: str, line: str) -> Event | None:
    variables = parse(argument)
    if variables is None:
        return session.refuse(_SYNTAX)

    def serve(driver: Driver) -> Reply:
        driver.conn.update(variables)
        return OK

    return Ask(serve)


XSETCONTEXT = register(Extension("XSETCONTEXT", verbs=(Verb("XSETCONTEXT", _xsetcontext, stays()),)), __name__)
