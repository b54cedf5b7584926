"""STARTTLS: go on under TLS (RFC 3207). What followed the command in clear is the driver's to judge."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gsmtp.core.reply import BAD_SEQUENCE, NO_PARAMETERS
from gsmtp.smtp.events import Event, StartTls
from gsmtp.smtp.extension import Extension, Offer, register
from gsmtp.smtp.state import Row, State
from gsmtp.smtp.tls_options import offers_starttls
from gsmtp.smtp.verbs import Verb

if TYPE_CHECKING:
    from gsmtp.smtp.machine import Machine

_ROW: Row = {
    # RFC 3207 section 4 wants it after EHLO, which offered it.
    State.START: BAD_SEQUENCE,
    State.GREETED: State.GREETED,
    State.MAIL: BAD_SEQUENCE,
    State.RCPT: BAD_SEQUENCE,
    State.CHUNKS: BAD_SEQUENCE,
    State.CHUNKS_FAILED: BAD_SEQUENCE,
}


def _offered(offer: Offer) -> bool:
    return offers_starttls(offer.view)


def _lines(offer: Offer) -> tuple[str, ...]:
    """Not offered once it is on (RFC 3207 section 4.2); the verb stays known and answers 503."""
    return () if offer.is_tls else ("STARTTLS",)


def _starttls(session: Machine, argument: str, line: str) -> Event | None:
    if session.tls_cipher or not session.esmtp:  # HELO has offered nothing
        return session.refuse(BAD_SEQUENCE)
    if argument.strip():
        return session.refuse(NO_PARAMETERS)
    return StartTls(session.pending_bytes)


STARTTLS = register(
    Extension(
        "STARTTLS",
        is_offered=_offered,
        lines=_lines,
        verbs=(Verb("STARTTLS", _starttls, _ROW, ends_pipelining=True, is_junk=True),),
    ),
    __name__,
)
