"""ENHANCEDSTATUSCODES: codes such as 5.7.1 in the text of replies (RFC 2034, RFC 3463).

Momentum's refusals carry theirs in any case; those of success (2.x.x) appear when the extension was offered in an EHLO.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gsmtp.smtp.extension import Extension, register

if TYPE_CHECKING:
    from gsmtp.smtp.machine import Machine


def _switch_on(session: Machine) -> None:
    session.is_enhanced = True


ENHANCEDSTATUSCODES = register(Extension("ENHANCEDSTATUSCODES", at_greeting=_switch_on), __name__)
