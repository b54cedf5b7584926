"""The verbs of RFC 5321: one row each, with what it does when its turn is legal.

A handler reads the argument and either returns the event that the driver has to answer, or answers alone: syntax and
limits, and the verbs that no policy can change. Words of the client never become names of anything: they are looked up
in the table, and what isn't there is unrecognized.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from gsmtp.core.envelope import Recipient
from gsmtp.core.reply import (
    BATCH_LIMIT,
    CANNOT_VERIFY,
    CONNECTION_RECIPIENT_LIMIT,
    DATA_ARGUMENT,
    HELP,
    INVALID_EHLO,
    INVALID_HELO,
    MAIL_SYNTAX,
    MESSAGE_RECIPIENT_LIMIT,
    NO_PARAMETERS,
    NOT_IMPLEMENTED,
    NULL_SENDER_DENIED,
    OK,
    RCPT_SYNTAX,
    RESET_OK,
    RSET_ARGUMENTS,
    SMTPUTF8_NEEDED,
    UNKNOWN_PARAMETER,
    VRFY_ARGUMENT,
    Reply,
)
from gsmtp.smtp.abnf import is_greeting_name
from gsmtp.smtp.events import BodyStart, Event, Greeting, Mail, Rcpt
from gsmtp.smtp.parser import parse_mail, parse_rcpt
from gsmtp.smtp.state import DATA_ROW, GREETING_ROW, MAIL_ROW, RCPT_ROW, RESET_ROW, Row, stays
from gsmtp.smtp.transaction import Transaction

if TYPE_CHECKING:
    from gsmtp.smtp.machine import Machine

T = TypeVar("T")
C = TypeVar("C")
Parameters = Sequence[tuple[str, str | None]]
Run = Callable[["Machine", str, str], "Event | None"]
"""Takes the session, the argument (what follows the first blank) and the whole line; octets that aren't UTF-8 are
surrogates."""


@dataclass(frozen=True, slots=True)
class Verb:
    """One command.

    Args:
        name: upper case.
        run: what it does where it is legal.
        row: where it is legal and where it leads.
        needs_greeting: whether `Require_EHLO` refuses it before EHLO or HELO.
        ends_pipelining: whether a client must wait for its answer before it sends more (RFC 2920 section 3.1).
        is_junk: whether it counts against `Max_Junk_Commands` although it was answered positively.
        run_refused: what it does instead of answering with the refusal that its row gives (BDAT has to read its
            chunk first).
        carries_data: whether data that is no command follows its line: where the verb isn't offered the session has
            to end, or the data would be taken for commands.
    """

    name: str
    run: Run
    row: Row
    needs_greeting: bool = False
    ends_pipelining: bool = False
    is_junk: bool = False
    run_refused: Callable[[Machine, str, Reply], None] | None = None
    carries_data: bool = False


FOREIGN: Final = frozenset(("GET", "POST", "PUT", "HEAD", "OPTIONS", "CONNECT", "DELETE", "PATCH"))
"""First words of other protocols: a browser that was led to our port must not have its lines executed."""


_DATA_STARTS: Final = BodyStart(False)


def _ehlo(session: Machine, argument: str, line: str) -> Event | None:
    name = argument.strip()
    if not is_greeting_name(name):
        return session.refuse(INVALID_EHLO)
    return Greeting("EHLO", name, line)


def _helo(session: Machine, argument: str, line: str) -> Event | None:
    name = argument.strip()
    if not is_greeting_name(name):
        return session.refuse(INVALID_HELO)
    return Greeting("HELO", name, line)


def _mail(session: Machine, argument: str, line: str) -> Event | None:
    if session.outdated is not None:
        return session.limit(session.outdated)
    profile = session.profile
    if profile.most_receptions and session.messages >= profile.most_receptions:
        return session.limit(BATCH_LIMIT)
    path = parse_mail(argument, profile.addresses)
    if path is None:
        return session.refuse(MAIL_SYNTAX)
    if not path.address and not profile.allows_null_sender:
        return session.refuse(NULL_SENDER_DENIED)
    transaction = Transaction(path.address, path.domain, path.original)
    if path.parameters:
        if _has_repeated(path.parameters):
            return session.refuse(MAIL_SYNTAX)
        refusal = _read_parameters(path.parameters, profile.mail_parameters, transaction, profile)
        if refusal is not None:
            return session.refuse(refusal)
    if not path.is_ascii and not transaction.smtputf8:
        return session.refuse(SMTPUTF8_NEEDED if profile.has_smtputf8 else MAIL_SYNTAX)
    session.candidate = transaction
    return Mail(path.address, path.domain, transaction.size, line)


def _read_parameters(
    parameters: Parameters, known: Mapping[str, Callable[[str | None, T, C], Reply | None]], subject: T, context: C
) -> Reply | None:
    """Let the extensions read the parameters of MAIL or RCPT into what they are of; None, or the refusal.

    Args:
        parameters: keywords in upper case with their values, each keyword once.
        known: readers by keyword.
        subject: the transaction or the recipient.
        context: what the readers need to know besides.
    """
    for keyword, value in parameters:
        read = known.get(keyword)
        if read is None:
            return UNKNOWN_PARAMETER
        refusal = read(value, subject, context)
        if refusal is not None:
            return refusal
    return None


def _has_repeated(parameters: Parameters) -> bool:
    return len({keyword for keyword, _ in parameters}) != len(parameters)


def _rcpt(session: Machine, argument: str, line: str) -> Event | None:
    profile = session.profile
    transaction = session.transaction
    path = parse_rcpt(argument, profile.addresses)
    if path is None:
        return session.refuse(RCPT_SYNTAX)
    if not path.is_ascii and not transaction.smtputf8:
        return session.refuse(SMTPUTF8_NEEDED if profile.has_smtputf8 else RCPT_SYNTAX)
    recipient = Recipient(path.address, path.domain, path.original)
    if path.parameters:
        if _has_repeated(path.parameters):
            return session.refuse(RCPT_SYNTAX)
        refusal = _read_parameters(path.parameters, profile.rcpt_parameters, recipient, transaction)
        if refusal is not None:
            return session.refuse(refusal)
    if profile.most_recipients_a_session and session.rcpt_commands >= profile.most_recipients_a_session:
        return session.limit(CONNECTION_RECIPIENT_LIMIT)
    if profile.most_recipients and len(transaction.recipients) >= profile.most_recipients:
        # No junk: RFC 5321 section 4.5.3.1.10 tells the client to send what was accepted and come again.
        return session.limit(MESSAGE_RECIPIENT_LIMIT)
    session.rcpt_commands += 1
    return Rcpt(recipient, line)


def _data(session: Machine, argument: str, line: str) -> Event | None:
    if argument.strip():
        return session.refuse(DATA_ARGUMENT)
    for ask in session.profile.at_data:
        refusal = ask(session.transaction)
        if refusal is not None:
            return session.refuse(refusal)
    return _DATA_STARTS


def _rset(session: Machine, argument: str, line: str) -> Event | None:
    if argument.strip():
        return session.refuse(RSET_ARGUMENTS)
    session.end_transaction()
    if session.outdated is not None:
        return session.limit(session.outdated)
    return session.answer_junk(RESET_OK)


def _quit(session: Machine, argument: str, line: str) -> Event | None:
    if argument.strip():
        return session.refuse(NO_PARAMETERS)
    return session.say_goodbye()


def _noop(session: Machine, argument: str, line: str) -> Event | None:
    return session.answer_junk(OK)


def _help(session: Machine, argument: str, line: str) -> Event | None:
    return session.answer_junk(HELP)


def _vrfy(session: Machine, argument: str, line: str) -> Event | None:
    if not argument.strip():
        return session.refuse(VRFY_ARGUMENT)
    # Telling who exists serves nobody but those who collect addresses (RFC 5321 section 7.3).
    return session.answer_junk(CANNOT_VERIFY)


def _expn(session: Machine, argument: str, line: str) -> Event | None:
    return session.refuse(NOT_IMPLEMENTED)


VERBS: Final[tuple[Verb, ...]] = (
    Verb("EHLO", _ehlo, GREETING_ROW, ends_pipelining=True, is_junk=True),
    Verb("HELO", _helo, GREETING_ROW, ends_pipelining=True, is_junk=True),
    Verb("MAIL", _mail, MAIL_ROW, needs_greeting=True),
    Verb("RCPT", _rcpt, RCPT_ROW, needs_greeting=True),
    Verb("DATA", _data, DATA_ROW, needs_greeting=True, ends_pipelining=True),
    Verb("RSET", _rset, RESET_ROW, is_junk=True),
    Verb("NOOP", _noop, stays(), ends_pipelining=True, is_junk=True),
    Verb("QUIT", _quit, stays(), ends_pipelining=True),
    Verb("VRFY", _vrfy, stays(), needs_greeting=True, ends_pipelining=True, is_junk=True),
    Verb("EXPN", _expn, stays(), needs_greeting=True, ends_pipelining=True, is_junk=True),
    Verb("HELP", _help, stays(), is_junk=True),
)
