"""CHUNKING: the message in chunks of announced length, BDAT instead of DATA (RFC 3030 section 2).

A refused BDAT has its chunk behind it all the same: it is read and thrown away before the refusal is sent, or its
octets would be taken for commands. Where the length can't be read, or BDAT isn't offered, the session ends for the same
reason.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gsmtp.core.reply import BDAT_ARGUMENTS, Reply
from gsmtp.smtp.events import Event
from gsmtp.smtp.extension import Extension, register
from gsmtp.smtp.state import BDAT_ROW
from gsmtp.smtp.verbs import Verb

if TYPE_CHECKING:
    from gsmtp.smtp.machine import Machine

_ARGUMENT = re.compile(r"[ \t]*([0-9]{1,20})(?:[ \t]+([!-~ \t]*?))?[ \t]*")


def _bdat(session: Machine, argument: str, line: str) -> Event | None:
    parsed = _parse(session, argument)
    if parsed is None:
        return None
    size_bytes, is_last, fault = parsed
    return session.begin_chunk(size_bytes, is_last, fault)


def _bdat_refused(session: Machine, argument: str, refusal: Reply) -> None:
    parsed = _parse(session, argument)
    if parsed is not None:
        session.begin_chunk(parsed[0], parsed[1], refusal)


def _parse(session: Machine, argument: str) -> tuple[int, bool, Reply | None] | None:
    """The length, whether it is the last chunk, and what is wrong; None after the session ended over it."""
    match = _ARGUMENT.fullmatch(argument)
    if match is None:
        session.answer(BDAT_ARGUMENTS.closing())
        return None
    word = (match[2] or "").upper()
    return int(match[1]), word == "LAST", None if word in ("", "LAST") else BDAT_ARGUMENTS


CHUNKING = register(
    Extension(
        "CHUNKING",
        verbs=(Verb("BDAT", _bdat, BDAT_ROW, needs_greeting=True, run_refused=_bdat_refused, carries_data=True),),
    ),
    __name__,
)
