"""XDUMPCONTEXT: show a trusted peer the context variables of its connection and of its message.

Source: reference/esmtp-listener.md section 9.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gsmtp.core.reply import NO_PARAMETERS, Reply
from gsmtp.smtp.events import Ask, Event
from gsmtp.smtp.extension import Extension, register
from gsmtp.smtp.state import stays
from gsmtp.smtp.verbs import Verb

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gsmtp.smtp.driver import Driver
    from gsmtp.smtp.machine import Machine


def _lines(title: str, variables: Mapping[str, str]) -> list[str]:
    return [f"[{title}] {_one_line(name)} {_one_line(value)}" for name, value in sorted(variables.items())]


def _one_line(text: str) -> str:
    """Without what would end a line of the reply."""
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)


def _dump(driver: Driver) -> Reply:
    mess = driver.mess if driver.session.in_transaction else {}
    lines = (*_lines("connection", driver.conn), *_lines("message", mess), "XDUMPCONTEXT complete")
    return Reply(250, "", lines)


def _xdumpcontext(session: Machine, argument: str, line: str) -> Event | None:
    if argument.strip():
        return session.refuse(NO_PARAMETERS)
    return Ask(_dump)


XDUMPCONTEXT = register(Extension("XDUMPCONTEXT", verbs=(Verb("XDUMPCONTEXT", _xdumpcontext, stays()),)), __name__)
