"""What the machine needs to know of one view, worked out once: offered extensions, tables, limits, prepared bytes.

A profile is immutable. Sessions with the same view share one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from gsmtp.config.view import View
from gsmtp.core.reply import HELO_NEEDED, Reply
from gsmtp.smtp.extension import (
    AtData,
    AtGreeting,
    Extension,
    MailParameter,
    Offer,
    RcptParameter,
    load_extensions,
)
from gsmtp.smtp.format_options import (
    RFC2822_DATE_HEADER,
    RFC2822_LONE_LF_IN_BODY,
    RFC2822_LONE_LF_IN_HEADERS,
    RFC2822_MAX_LINE_LENGTH,
    RFC2822_MAX_LINE_LENGTH_POLICY,
    RFC2822_MESSAGEID_HEADER,
    RFC2822_MISSING_HEADERS,
    RFC2822_TRACE_HEADERS,
)
from gsmtp.smtp.message import MessageRules
from gsmtp.smtp.options import (
    ALLOW_IP_LITERAL,
    ALLOW_NULL_ENVELOPE_SENDER,
    ALLOW_TRAILING_WHITESPACE_IN_COMMANDS,
    BANNER_HOSTNAME,
    DOMAIN_FOR_UNQUALIFIED_RECIPIENT_ADDRESSES,
    DOMAIN_FOR_UNQUALIFIED_SENDER_ADDRESS,
    HOSTNAME,
    MAX_COMMAND_LENGTH,
    MAX_JUNK_COMMANDS,
    MAX_MESSAGE_SIZE,
    MAX_RECEPTIONS_PER_CONNECTION,
    MAX_RECIPIENTS_PER_CONNECTION,
    MAX_RECIPIENTS_PER_MESSAGE,
    RECEIVED_HOSTNAME,
    REQUIRE_EHLO,
    RFC2821_ALLOW_WHITESPACE_IN_ENVELOPE,
    RFC2821_PEDANTIC_ADDRESS_RULES,
    SMTP_EXTENSIONS,
    STATIC_BANNER,
)
from gsmtp.smtp.parser import AddressRules
from gsmtp.smtp.state import REAL_STATES, State
from gsmtp.smtp.verbs import VERBS, Verb

_LINE_OCTETS: Final = 998
"""RFC 5322 section 2.1.1, CR LF not counted."""


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """A verb in a state: what happens.

    Args:
        verb: the row of the verb table.
        target: the state behind a positive answer; the present one where `refusal` is set.
        refusal: the reply when the verb may not come now, else None.
    """

    verb: Verb
    target: State
    refusal: Reply | None


@dataclass(frozen=True, slots=True, eq=False)
class Profile:
    """One view as the machine reads it.

    Attributes:
        offer: what it was made for.
        hostname: in the banner, the EHLO reply and the 221 line.
        static_banner: the whole banner, "" when it is made anew.
        offered: keywords of the extensions that are offered.
        ehlo_lines: the EHLO reply behind its first line; never empty, for some extensions are always offered.
        steps: by state, then by verb in upper case.
        diverting: verbs that carry data and aren't offered.
        mail_parameters: by keyword.
        rcpt_parameters: by keyword.
        at_greeting: hooks of the extensions.
        at_data: hooks of the extensions.
        has_smtputf8: whether SMTPUTF8 is offered.
        addresses: options for addresses.
        message: options for messages.
        allows_null_sender: `Allow_Null_Envelope_Sender`.
        longest_command: octets, CR LF included.
        most_junk: junk commands, 0 for any number; likewise the three that follow.
        most_receptions: messages in a session.
        most_recipients: in a transaction.
        most_recipients_a_session: RCPT commands in a session.
    """

    offer: Offer
    hostname: str
    static_banner: str
    offered: frozenset[str]
    ehlo_lines: bytes
    steps: dict[State, dict[str, Step]]
    diverting: frozenset[str]
    mail_parameters: dict[str, MailParameter]
    rcpt_parameters: dict[str, RcptParameter]
    at_greeting: tuple[AtGreeting, ...]
    at_data: tuple[AtData, ...]
    has_smtputf8: bool
    addresses: AddressRules
    message: MessageRules
    allows_null_sender: bool
    longest_command: int
    most_junk: int
    most_receptions: int
    most_recipients: int
    most_recipients_a_session: int


_MOST_PROFILES: Final = 1024
_profiles: dict[tuple[Offer, str], Profile] = {}
_first: dict[tuple[View, str], Profile] = {}


def profile_for(offer: Offer, hostname: str) -> Profile:
    """The profile for an offer, made when it is first asked for.

    Those of an older configuration are forgotten when a newer one shows up: a kept view would keep its whole tree.

    Args:
        offer: the view, and what else the EHLO reply depends on.
        hostname: what the system calls itself, where no option says it.
    """
    key = (offer, hostname)
    profile = _profiles.get(key)
    if profile is None:
        profile = _make(offer, hostname)
        is_older = bool(_profiles) and next(iter(_profiles))[0].view.generation != offer.view.generation
        if is_older or len(_profiles) >= _MOST_PROFILES:
            _profiles.clear()
            _first.clear()
        _profiles[key] = profile
    return profile


def first_profile(view: View, hostname: str) -> Profile:
    """`profile_for` a session that begins: all but the view is as it is by default."""
    profile = _first.get((view, hostname))
    if profile is None:
        profile = profile_for(Offer(view), hostname)
        _first[(view, hostname)] = profile
    return profile


def _make(offer: Offer, hostname: str) -> Profile:
    view = offer.view
    hostname = view[HOSTNAME] or hostname
    extensions = _offered(offer)
    offered = frozenset(extension.keyword for extension in extensions)
    verbs = (*VERBS, *(verb for extension in extensions for verb in extension.verbs))
    names = {verb.name for verb in verbs}
    return Profile(
        offer=offer,
        hostname=view[BANNER_HOSTNAME] or hostname,
        static_banner=view[STATIC_BANNER],
        offered=offered,
        ehlo_lines=_ehlo_lines(offer, extensions),
        steps=_steps(verbs, view[REQUIRE_EHLO]),
        diverting=frozenset(
            verb.name
            for extension in load_extensions()
            for verb in extension.verbs
            if verb.carries_data and verb.name not in names
        ),
        mail_parameters={word: read for extension in extensions for word, read in extension.mail.items()},
        rcpt_parameters={word: read for extension in extensions for word, read in extension.rcpt.items()},
        at_greeting=tuple(extension.at_greeting for extension in extensions if extension.at_greeting),
        at_data=tuple(extension.at_data for extension in extensions if extension.at_data),
        has_smtputf8="SMTPUTF8" in offered,
        addresses=_address_rules(view),
        message=_message_rules(view, hostname),
        allows_null_sender=view[ALLOW_NULL_ENVELOPE_SENDER],
        longest_command=max(view[MAX_COMMAND_LENGTH], *(extension.longest_command for extension in extensions)),
        most_junk=view[MAX_JUNK_COMMANDS],
        most_receptions=view[MAX_RECEPTIONS_PER_CONNECTION],
        most_recipients=view[MAX_RECIPIENTS_PER_MESSAGE],
        most_recipients_a_session=view[MAX_RECIPIENTS_PER_CONNECTION],
    )


def _offered(offer: Offer) -> list[Extension]:
    """Extensions in the order of the EHLO reply: those that always are, then as `SMTP_Extensions` lists them."""
    known = load_extensions()
    words = [word.split(" ", 1)[0].upper() for word in offer.view[SMTP_EXTENSIONS]]
    always = sorted(extension.keyword for extension in known if extension.is_always_offered)
    listed = [
        extension
        for word in dict.fromkeys([*always, *words, *sorted(offer.added)])
        if (extension := known.get(word)) is not None
        and extension.keyword not in offer.removed
        and (extension.is_offered is None or extension.is_offered(offer))
    ]
    while True:
        # Leaving one out may take away what another one requires.
        keywords = {extension.keyword for extension in listed}
        kept = [extension for extension in listed if keywords.issuperset(extension.requires)]
        if len(kept) == len(listed):
            return kept
        listed = kept


def _ehlo_lines(offer: Offer, extensions: list[Extension]) -> bytes:
    lines: list[str] = []
    for extension in extensions:
        if extension.lines is not None:
            lines.extend(extension.lines(offer))
            continue
        text = extension.ehlo(offer) if extension.ehlo else ""
        lines.append(f"{extension.keyword} {text}" if text else extension.keyword)
    last = lines.pop()
    return "".join([*(f"250-{line}\r\n" for line in lines), f"250 {last}\r\n"]).encode()


def _steps(verbs: tuple[Verb, ...], requires_greeting: bool) -> dict[State, dict[str, Step]]:
    steps: dict[State, dict[str, Step]] = {}
    for state in REAL_STATES:
        row = steps[state] = {}
        for verb in verbs:
            outcome = verb.row[state]
            if requires_greeting and verb.needs_greeting and state is State.START:
                outcome = HELO_NEEDED
            if isinstance(outcome, Reply):
                row[verb.name] = Step(verb, state, outcome)
            else:
                row[verb.name] = Step(verb, outcome, None)
    return steps


def _address_rules(view: View) -> AddressRules:
    return AddressRules(
        is_pedantic=view[RFC2821_PEDANTIC_ADDRESS_RULES],
        may_be_literal=view[ALLOW_IP_LITERAL],
        has_inner_blanks=view[ALLOW_TRAILING_WHITESPACE_IN_COMMANDS],
        has_blanks=view[ALLOW_TRAILING_WHITESPACE_IN_COMMANDS] or view[RFC2821_ALLOW_WHITESPACE_IN_ENVELOPE],
        sender_domain=view[DOMAIN_FOR_UNQUALIFIED_SENDER_ADDRESS],
        recipient_domain=view[DOMAIN_FOR_UNQUALIFIED_RECIPIENT_ADDRESSES],
    )


def _message_rules(view: View, hostname: str) -> MessageRules:
    length = view[RFC2822_MAX_LINE_LENGTH]
    policy = view[RFC2822_MAX_LINE_LENGTH_POLICY]
    # A number is the limit and leaves the mode to the policy; a word is the mode unless there is a policy
    # (reference/esmtp-listener.md section 10.1).
    mode = policy if isinstance(length, int) or policy != "none" else length
    return MessageRules(
        max_size=view[MAX_MESSAGE_SIZE],
        fix_header=view[RFC2822_LONE_LF_IN_HEADERS] == "fix",
        lone_in_body=view[RFC2822_LONE_LF_IN_BODY],
        line_limit=0 if mode in ("none", "ignore") else length if isinstance(length, int) else _LINE_OCTETS,
        fix_lines=mode == "fix",
        date=view[RFC2822_DATE_HEADER],
        add_message_id=view[RFC2822_MESSAGEID_HEADER] == "ifneeded",
        may_be_headerless=view[RFC2822_MISSING_HEADERS] == "allow",
        adds_trace=view[RFC2822_TRACE_HEADERS],
        hostname=view[RECEIVED_HOSTNAME] or hostname,
    )
