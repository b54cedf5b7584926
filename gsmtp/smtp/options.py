"""The options that the SMTP machine reads: greeting, extensions, limits, addresses and message format.

Source: reference/esmtp-listener.md sections 3, 5, 7, 9 and 10.
"""

from __future__ import annotations

from gsmtp.config import kinds
from gsmtp.config.diagnostics import Problems
from gsmtp.config.kinds import Kind
from gsmtp.config.option import GLOBAL, INBOUND, INBOUND_GLOBAL, MESSAGE, Option, declare
from gsmtp.config.suggest import did_you_mean
from gsmtp.config.tree import Array, Scope, Setting, Value
from gsmtp.sasl.mechanism import load_mechanisms

# --- names in greetings ---------------------------------------------------------------------------

HOSTNAME: Option[str] = declare(
    Option(
        name="Hostname",
        kind=kinds.word,
        default="",
        scopes=GLOBAL,
        doc="Name of this host wherever one is said. Empty: what the system calls itself.",
        source="Momentum: hostname",
    )
)

BANNER_HOSTNAME: Option[str] = declare(
    Option(
        name="Banner_Hostname",
        kind=kinds.word,
        default="",
        scopes=INBOUND,
        doc="Host name in the 220 banner, the EHLO reply and the 221 line. Empty: Hostname.",
        source="Momentum: banner_hostname",
    )
)

RECEIVED_HOSTNAME: Option[str] = declare(
    Option(
        name="Received_Hostname",
        kind=kinds.word,
        default="",
        scopes=INBOUND,
        doc="Host name in the Received field that is added. Empty: Hostname.",
        source="RFC 5321 section 4.4",
    )
)


def _banner(value: Value) -> str:
    text = kinds.scalar_text(value)
    if not text:
        return text
    lines = text.replace("\r\n", "\n").rstrip("\n").split("\n")
    last = len(lines) - 1
    for number, line in enumerate(lines):
        if any(ord(character) < 32 or ord(character) == 127 for character in line):
            raise ValueError("control characters are not allowed in a banner")
        if line[:3] != "220":
            raise ValueError('a banner must begin with 220, as in "220 mx.example.com ESMTP"')
        if number < last and line[3:4] != "-":
            raise ValueError(r'in a banner of several lines each but the last begins with 220-, as in "220-a\r\n220 b"')
        if number == last and line[3:4] not in ("", " "):
            raise ValueError("the last line of a banner begins with 220 and a blank")
    return "\r\n".join(lines)


BANNER_KIND: Kind[str] = Kind("banner", _banner, 'text that begins with 220; several lines as "220-a\\r\\n220 b"')

STATIC_BANNER: Option[str] = declare(
    Option(
        name="Static_Banner",
        kind=BANNER_KIND,
        default="",
        scopes=INBOUND,
        doc="The whole banner, sent as it is and a line end. Empty: ``220 <Banner_Hostname> ESMTP gsmtp <date>``.",
        source="RFC 5321 section 4.2",
    )
)

CONTEXT: Option[dict[str, str]] = declare(
    Option(
        name="Context",
        kind=kinds.dictionary,
        default={},
        scopes=INBOUND,
        doc="Names and values put into the connection's context at connect. Those of all scopes that apply are merged; "
        "the narrower scope's win.",
        source="Momentum: context",
        merges=True,
    )
)

# --- extensions -----------------------------------------------------------------------------------

ALWAYS_EXTENSIONS = ("PIPELINING", "8BITMIME", "SIZE")
"""Offered whether or not they are listed (reference/esmtp-listener.md section 9)."""

UNSERVED_EXTENSIONS = {
    "DELIVERBY": "delivery is never timed by the sender (RFC 2852)",
}
"""Known names that are not offered, and why; the first word of an item is looked up."""

_SPELLINGS = {"ENHANCEDSTATUSCODE": "ENHANCEDSTATUSCODES"}


def _extensions(value: Value) -> tuple[str, ...]:
    words = (word.replace("AUTH=", "AUTH ", 1) for word in kinds.keywords.parse(value))
    return tuple(dict.fromkeys(_SPELLINGS.get(word, word) for word in words))


def _examine_mechanisms(names: list[str], item: Value, problems: Problems) -> None:
    known = [mechanism.name for mechanism in load_mechanisms()]
    if not names:
        problems.error(item.span, "AUTH names no mechanism", hint='e.g. "AUTH PLAIN LOGIN"', code="unknown-mechanism")
    for name in names:
        if name not in known:
            problems.error(
                item.span,
                f"unknown SASL mechanism '{name}'",
                hint=did_you_mean(name, known) or f"there are {', '.join(sorted(known))}",
                code="unknown-mechanism",
            )


def _served() -> tuple[str, ...]:
    """The keywords of all extensions; each is a file of `smtp/ext`, which may need options of this module."""
    from gsmtp.smtp.extension import load_extensions

    return tuple(extension.keyword for extension in load_extensions())


def _examine_extensions(names: tuple[str, ...], setting: Setting, scope: Scope, problems: Problems) -> None:
    items = setting.value.items if isinstance(setting.value, Array) else (setting.value,)
    for item in items:
        for name in _extensions(item):
            first = name.split(" ", 1)[0] if name else ""
            if first == "AUTH":
                _examine_mechanisms(name.split(" ")[1:], item, problems)
                continue
            if name in _served():
                continue
            if first in UNSERVED_EXTENSIONS:
                problems.warning(
                    item.span,
                    f"SMTP extension {name} is not served: {UNSERVED_EXTENSIONS[first]}",
                    code="not-served",
                )
                continue
            problems.error(
                item.span,
                f"unknown SMTP extension '{name}' in {setting.spelled}",
                hint=did_you_mean(name, (*_served(), *UNSERVED_EXTENSIONS)),
                code="unknown-extension",
            )


SMTP_EXTENSIONS: Option[tuple[str, ...]] = declare(
    Option(
        name="SMTP_Extensions",
        kind=Kind("list of SMTP extensions", _extensions, "a list of keywords, AUTH with mechanisms behind it"),
        default=(),
        scopes=INBOUND,
        doc="Extensions offered in EHLO beside PIPELINING, 8BITMIME and SIZE, which always are. "
        "The list of the narrowest scope that sets one is used alone.",
        source="RFC 5321 section 2.2",
        examine=_examine_extensions,
    )
)

REQUIRE_EHLO: Option[bool] = declare(
    Option(
        name="Require_EHLO",
        kind=kinds.boolean,
        default=False,
        scopes=INBOUND_GLOBAL,
        doc="Whether MAIL, RCPT, DATA, VRFY and EXPN are refused with 550 5.5.1 until the client has said EHLO or "
        "HELO.",
        source="RFC 5321 section 4.1.4",
    )
)

# --- addresses ------------------------------------------------------------------------------------

ALLOW_IP_LITERAL: Option[bool] = declare(
    Option(
        name="Allow_IP_Literal",
        kind=kinds.boolean,
        default=True,
        scopes=INBOUND_GLOBAL,
        doc="Whether addresses such as ``user@[192.0.2.1]`` are taken; otherwise they get 501.",
        source="RFC 5321 section 4.1.3",
    )
)

ALLOW_NULL_ENVELOPE_SENDER: Option[bool] = declare(
    Option(
        name="Allow_Null_Envelope_Sender",
        kind=kinds.boolean,
        default=True,
        scopes=INBOUND_GLOBAL,
        doc="Whether ``MAIL FROM:<>`` is taken. Refusing it (550 5.7.1) refuses all bounces.",
        source="RFC 5321 section 4.5.5",
    )
)

ALLOW_TRAILING_WHITESPACE_IN_COMMANDS: Option[bool] = declare(
    Option(
        name="Allow_Trailing_Whitespace_In_Commands",
        kind=kinds.boolean,
        default=False,
        scopes=INBOUND_GLOBAL,
        doc="Whether blanks inside the angle brackets around an address, after the colon, and at the end of a command "
        "are ignored; otherwise they get 501.",
        source="Momentum: allow_trailing_whitespace_in_commands",
    )
)

RFC2821_ALLOW_WHITESPACE_IN_ENVELOPE: Option[bool] = declare(
    Option(
        name="RFC2821_Allow_Whitespace_In_Envelope",
        kind=kinds.boolean,
        default=False,
        scopes=MESSAGE,
        doc="Whether blanks after the colon and before the end of a command are ignored.",
        source="Momentum: rfc2821_allow_whitespace_in_envelope",
    )
)

RFC2821_PEDANTIC_ADDRESS_RULES: Option[bool] = declare(
    Option(
        name="RFC2821_Pedantic_Address_Rules",
        kind=kinds.boolean,
        default=True,
        scopes=MESSAGE,
        doc="Whether addresses must follow the grammar. If false, dots may stand anywhere in a local part "
        "(``a..b@example.com``) and the angle brackets may be missing.",
        source="RFC 5321 section 4.1.2",
    )
)

DOMAIN_FOR_UNQUALIFIED_RECIPIENT_ADDRESSES: Option[str] = declare(
    Option(
        name="Domain_For_Unqualified_Recipient_Addresses",
        kind=kinds.word,
        default="",
        scopes=INBOUND_GLOBAL,
        doc="Domain added to recipients without one. Empty: only ``<postmaster>`` may come without.",
        source="RFC 5321 section 4.5.1",
    )
)

DOMAIN_FOR_UNQUALIFIED_SENDER_ADDRESS: Option[str] = declare(
    Option(
        name="Domain_For_Unqualified_Sender_Address",
        kind=kinds.word,
        default="",
        scopes=INBOUND_GLOBAL,
        doc="Domain added to a sender without one. Empty: such senders get 501.",
        source="Momentum: domain_for_unqualified_sender_address",
    )
)

# --- limits ---------------------------------------------------------------------------------------

MAX_MESSAGE_SIZE: Option[int] = declare(
    Option(
        name="Max_Message_Size",
        kind=kinds.size,
        default=0,
        scopes=INBOUND,
        unit="bytes",
        doc="Largest message accepted (552 5.3.4 beyond); 0 means no limit. Offered as SIZE in EHLO.",
        source="RFC 1870 section 3",
    )
)

MAX_RECIPIENTS_PER_MESSAGE: Option[int] = declare(
    Option(
        name="Max_Recipients_Per_Message",
        kind=kinds.count,
        default=0,
        scopes=INBOUND,
        doc="Recipients accepted in one transaction; further ones get 452 4.5.3. 0 means no limit.",
        source="RFC 5321 section 4.5.3.1.10",
    )
)

MAX_RECIPIENTS_PER_CONNECTION: Option[int] = declare(
    Option(
        name="Max_Recipients_Per_Connection",
        kind=kinds.count,
        default=0,
        scopes=(*INBOUND_GLOBAL, "binding", "binding_group", "domain"),
        doc="RCPT TO commands in one session; the next gets 421 4.5.3 and the connection is closed. As a client: in "
        "one connection, before a new one is made; a message for more goes over several. 0 means no limit.",
        source="Momentum: max_recipients_per_connection",
    )
)

MAX_RECEPTIONS_PER_CONNECTION: Option[int] = declare(
    Option(
        name="Max_Receptions_Per_Connection",
        kind=kinds.count,
        default=0,
        scopes=INBOUND_GLOBAL,
        doc="Messages accepted in one session; the next MAIL FROM gets 421 4.5.3 and the connection is closed. "
        "0 means no limit.",
        source="Momentum: max_receptions_per_connection",
    )
)

MAX_JUNK_COMMANDS: Option[int] = declare(
    Option(
        name="Max_Junk_Commands",
        kind=kinds.count,
        default=100,
        scopes=INBOUND_GLOBAL,
        doc="Commands that bring no transaction forward (NOOP, RSET, unknown or refused ones …) since the last "
        "accepted message; beyond it comes 421 4.7.0 and the connection is closed. 0 means no limit.",
        ours=True,
    )
)

MAX_COMMAND_LENGTH: Option[int] = declare(
    Option(
        name="Max_Command_Length",
        kind=kinds.integer_between(512, 65536),
        default=2048,
        scopes=INBOUND_GLOBAL,
        unit="octets",
        doc="Longest command line taken, its CR LF included; longer ones get 500 5.5.2. The RFCs ask for 512 and "
        "what the extensions' parameters add.",
        source="RFC 5321 section 4.5.3.1.4",
        ours=True,
    )
)
