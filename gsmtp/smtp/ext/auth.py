"""AUTH: a SASL exchange over SMTP (RFC 4954).

The verb begins an exchange of `gsmtp.sasl`; its lines go to the mechanism, what it needs of a store comes out as a
`Credentials` event, how it ends as `AuthEnd`. Nothing that a client sends here is put into an event, a reply or a log.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Final

from gsmtp.core.reply import (
    AUTH_CANCELLED,
    AUTH_NO_ENCRYPTION,
    AUTH_NO_INITIAL,
    AUTH_NOT_BASE64,
    AUTH_SYNTAX,
    AUTH_UNKNOWN,
    BAD_SEQUENCE,
    MAIL_SYNTAX,
    Reply,
)
from gsmtp.sasl.mechanism import Challenge, Mechanism, Setting, load_mechanisms
from gsmtp.sasl.need import Answer
from gsmtp.sasl.scram import decode
from gsmtp.smtp.abnf import is_xtext
from gsmtp.smtp.auth_options import (
    ALWAYS_ALLOW,
    ALWAYS_DENY,
    AUTH_PARAMETERS,
    AUTH_REQUIRES_TLS,
    ENABLE_AUTHENTICATION,
)
from gsmtp.smtp.events import AuthEnd, Credentials, Event
from gsmtp.smtp.extension import Extension, Offer, register
from gsmtp.smtp.options import SMTP_EXTENSIONS
from gsmtp.smtp.state import REAL_STATES, Row, State
from gsmtp.smtp.verbs import Verb

if TYPE_CHECKING:
    from gsmtp.config.view import View
    from gsmtp.smtp.machine import Machine
    from gsmtp.smtp.profile import Profile
    from gsmtp.smtp.transaction import Transaction

LONGEST_LINE: Final = 12_288
"""Octets of a line of an exchange and of the command itself, CR LF included (RFC 4954 section 4)."""

_MOST_SUBMITTER: Final = 500
"""What AUTH= may add to MAIL (RFC 4954 section 3)."""

# --- what is offered


def listed_mechanisms(view: View) -> list[str]:
    """The mechanisms that `SMTP_Extensions` names, in upper case and in order; several items are joined."""
    items = (item.split(" ") for item in view[SMTP_EXTENSIONS])
    return list(dict.fromkeys(word for first, *words in items if first == "AUTH" for word in words))


def is_usable(mechanism: Mechanism, view: View) -> bool:
    """Whether the options give a mechanism what it needs (reference/esmtp-listener.md section 11.1)."""
    if not mechanism.option or view[ALWAYS_DENY] or view[ALWAYS_ALLOW]:
        return True
    option = AUTH_PARAMETERS.get(mechanism.option)
    return option is not None and any(key.lower() == "uri" for key in view[option])


def parameters_of(mechanism: Mechanism, view: View) -> dict[str, str]:
    """The parameters of a mechanism, keys in lower case."""
    option = AUTH_PARAMETERS.get(mechanism.option)
    return {key.lower(): value for key, value in view[option].items()} if option is not None else {}


def offered_mechanisms(offer: Offer) -> list[Mechanism]:
    """The mechanisms that this client may use now."""
    view = offer.view
    if not view[ENABLE_AUTHENTICATION] and view.origin(ENABLE_AUTHENTICATION).setting is not None:
        return []
    known = load_mechanisms()
    found = (known.get(name) for name in listed_mechanisms(view))
    return [one for one in found if one is not None and is_usable(one, view) and _missing(one, offer) is None]


def _missing(mechanism: Mechanism, offer: Offer) -> Reply | None:
    """Why the state of the connection doesn't allow a mechanism, or None."""
    if mechanism.is_cleartext and not offer.is_tls and offer.view[AUTH_REQUIRES_TLS]:
        return AUTH_NO_ENCRYPTION
    if mechanism.needs_binding and not offer.channel_bindings:
        return AUTH_UNKNOWN
    return AUTH_UNKNOWN if mechanism.needs_certificate and not offer.has_certificate else None


def _is_offered(offer: Offer) -> bool:
    return bool(offered_mechanisms(offer))


def _lines(offer: Offer) -> tuple[str, ...]:
    names = " ".join(mechanism.name for mechanism in offered_mechanisms(offer))
    return f"AUTH={names}", f"AUTH {names}"


# --- the exchange


class AuthExchange:
    """One AUTH command from its line to its outcome.

    Args:
        session: whose lines it takes.
        mechanism: that the client asked for.
        setting: for the mechanism.

    Attributes:
        mechanism: that the client asked for.
        user: as claimed, "" as long as that isn't known.
    """

    __slots__ = ("_run", "_session", "mechanism", "user")

    def __init__(self, session: Machine, mechanism: Mechanism, setting: Setting) -> None:
        self._session = session
        self._run = mechanism.run(setting)
        self.mechanism = mechanism
        self.user = ""

    def begin(self, initial: bytes | None) -> Event | None:
        """Start it, with the initial response where there is one."""
        step = next(self._run)
        if initial is not None:
            return self._go_on(initial)
        assert isinstance(step, Challenge)
        return self._challenge(step)

    def take(self, line: bytes) -> Event | None:
        """A line of the client."""
        session = self._session
        if line == b"*":
            session.take_lines(None)
            return session.refuse(AUTH_CANCELLED)
        response = _decoded(line)
        if response is None:
            session.take_lines(None)
            return session.refuse(AUTH_NOT_BASE64)
        return self._go_on(response)

    def answered(self, answer: Answer) -> Event | None:
        """The store has answered."""
        return self._go_on(answer)

    def _go_on(self, value: bytes | Answer) -> Event | None:
        try:
            step = self._run.send(value)
        except StopIteration as stop:
            outcome = stop.value
            self._session.take_lines(None)
            return AuthEnd(self.mechanism.name, outcome.user, outcome.status, outcome.reason)
        if isinstance(step, Challenge):
            return self._challenge(step)
        self.user = step.user
        return Credentials(self.mechanism.name, step)

    def _challenge(self, challenge: Challenge) -> Event | None:
        self._session.take_lines(self.take, LONGEST_LINE)
        return self._session.answer(Reply(334, "", (base64.b64encode(challenge.data).decode(),)))


def _decoded(line: bytes) -> bytes | None:
    try:
        return decode(line)
    except ValueError:
        return None


def _auth(session: Machine, argument: str, line: str) -> Event | None:
    if session.is_authenticated or not session.esmtp:
        return session.refuse(BAD_SEQUENCE)
    name, _, initial_text = argument.strip().partition(" ")
    if not name or " " in initial_text or not name.isascii():
        return session.refuse(AUTH_SYNTAX)
    offer = session.offer
    mechanism = load_mechanisms().get(name)
    offered = offered_mechanisms(offer)
    if mechanism is None or mechanism not in offered:
        is_listed = mechanism is not None and mechanism.name in listed_mechanisms(offer.view)
        missing = _missing(mechanism, offer) if mechanism is not None and is_listed else None
        return session.refuse(missing or AUTH_UNKNOWN)
    initial: bytes | None = None
    if initial_text:
        if not mechanism.is_client_first:
            return session.refuse(AUTH_NO_INITIAL)
        initial = b"" if initial_text == "=" else _decoded(initial_text.encode("utf-8", "surrogateescape"))
        if initial is None:
            return session.refuse(AUTH_NOT_BASE64)
    hostname = session.profile.hostname
    setting = Setting(
        hostname,
        parameters_of(mechanism, offer.view).get("realm") or hostname,
        channel_bindings=session.channel_bindings,
        offered=frozenset(one.name for one in offered),
        certified_user=session.certified_user,
    )
    session.exchange = exchange = AuthExchange(session, mechanism, setting)
    return exchange.begin(initial)


# --- AUTH= of MAIL


def _submitter(value: str | None, transaction: Transaction, profile: Profile) -> Reply | None:
    """Read AUTH=: ``<>`` or a mailbox in xtext (RFC 4954 section 5). Whether it is believed is the driver's matter."""
    if not value or len(value) > _MOST_SUBMITTER or not (value == "<>" or is_xtext(value)):
        return MAIL_SYNTAX
    transaction.submitter = value
    return None


_ROW: Final[Row] = {state: state if state is State.GREETED else BAD_SEQUENCE for state in REAL_STATES}

AUTH = register(
    Extension(
        "AUTH",
        is_offered=_is_offered,
        lines=_lines,
        mail={"AUTH": _submitter},
        verbs=(Verb("AUTH", _auth, _ROW, needs_greeting=True, ends_pipelining=True),),
        longest_command=LONGEST_LINE,
    ),
    __name__,
)
