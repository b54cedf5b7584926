"""The options and stanzas of handing mail on: where to, how often, how long, and into which Maildir.

Source: reference/policy-and-context.md sections 4 and 5.
"""

from __future__ import annotations

from gsmtp.config import kinds
from gsmtp.config.diagnostics import Problems
from gsmtp.config.kinds import Kind
from gsmtp.config.option import OUTBOUND, Option, declare
from gsmtp.config.stanza import Name, Stanza, declare_stanza
from gsmtp.config.tree import Array, Scope, Setting, Value
from gsmtp.core.domains import DomainPatterns
from gsmtp.delivery.hops import parse_gateway, parse_routes

# --- where to -------------------------------------------------------------------------------------


def _examine_gateway(value: str, setting: Setting, scope: Scope, problems: Problems) -> None:
    """Refuse what is no host; nothing at all is how a domain is taken off the global gateway."""
    if not value:
        return
    try:
        parse_gateway(value, 25)
    except ValueError as error:
        problems.error(
            setting.value.span,
            f"value '{value}' is not valid for option '{setting.spelled}': {error}",
            hint="write a host name or an address, with a port where it isn't the usual one: 10.0.0.20:24",
            code="bad-value",
        )


def _examine_routes(value: tuple[str, ...], setting: Setting, scope: Scope, problems: Problems) -> None:
    """Judge route by route, each at its place."""
    items = setting.value.items if isinstance(setting.value, Array) else (setting.value,)
    for text, item in zip(value, items, strict=True):
        try:
            parse_routes((text,), 25)
        except ValueError as error:
            problems.error(
                item.span,
                f"value '{text}' is not valid for option '{setting.spelled}': {error}",
                hint="write a host name, an address, or smtp://host?pref=10&port=24",
                code="bad-value",
            )


GATEWAY: Option[str] = declare(
    Option(
        name="Gateway",
        kind=kinds.word,
        default="",
        scopes=OUTBOUND,
        doc="Host name, address or ``[v6]:port`` to which mail of the domain is sent instead of to its MX; in the "
        "global scope the smarthost for everything. A name's MX records are tried first, those of ``[name]`` are not.",
        source="Momentum: gateway",
        examine=_examine_gateway,
    )
)

ROUTES: Option[tuple[str, ...]] = declare(
    Option(
        name="Routes",
        kind=kinds.strings,
        default=(),
        scopes=("domain", "global"),
        doc="Hosts in the order they are tried: a name, an address, ``__mx__`` for the domain's own MX hosts, or "
        "``smtp://host?pref=10&port=24``, with ``&type=mx`` for the MX hosts of a name; equal pref shares the load. "
        "Supplants Gateway.",
        source="Momentum: routes",
        examine=_examine_routes,
    )
)


def _delivery_method(value: Value) -> str:
    text = kinds.scalar_text(value).upper()
    if text in ("ESMTP", "SMTP", "LMTP"):
        return text
    if text in ("ECSTREAM", "APN", "GCM", "MM7", "HTTP", "XMPP"):
        raise ValueError("gsmtp does not serve this method; expected ESMTP, SMTP or LMTP")
    raise ValueError("expected ESMTP, SMTP or LMTP")


DELIVERY_METHOD: Option[str] = declare(
    Option(
        name="Delivery_Method",
        kind=Kind("one of ESMTP, SMTP, LMTP", _delivery_method, "ESMTP, SMTP or LMTP"),
        default="ESMTP",
        scopes=OUTBOUND,
        doc="The protocol spoken to the next host: EHLO, HELO alone, or LHLO with a reply for each recipient.",
        source="RFC 2033",
    )
)

REMOTE_SMTP_PORT: Option[int] = declare(
    Option(
        name="Remote_SMTP_Port",
        kind=kinds.port,
        default=25,
        scopes=OUTBOUND,
        doc="Port for ESMTP and SMTP where the route or gateway names none.",
        source="Momentum: remote_smtp_port",
    )
)

LMTP_PORT: Option[int] = declare(
    Option(
        name="LMTP_Port",
        kind=kinds.port,
        default=2003,
        scopes=OUTBOUND,
        doc="Port for LMTP where the route or gateway names none.",
        source="Momentum: lmtp_port",
    )
)

EHLO_HOSTNAME: Option[str] = declare(
    Option(
        name="EHLO_Hostname",
        kind=kinds.word,
        default="__hostname__",
        scopes=OUTBOUND,
        doc="Name said in EHLO; ``__hostname__`` is Hostname, ``__message__`` the domain of the envelope sender.",
        source="Momentum: ehlo_hostname",
    )
)

# --- how often, how long --------------------------------------------------------------------------

RETRY_INTERVAL: Option[int] = declare(
    Option(
        name="Retry_Interval",
        kind=kinds.integer_between(1),
        default=1200,
        scopes=OUTBOUND,
        unit="seconds",
        doc="Wait before the first retry; doubled each time.",
        source="RFC 5321 section 4.5.4.1",
    )
)

MAX_RETRY_INTERVAL: Option[int] = declare(
    Option(
        name="Max_Retry_Interval",
        kind=kinds.integer_between(1),
        default=43200,
        scopes=OUTBOUND,
        unit="seconds",
        doc="Longest wait between two tries.",
        source="Momentum: max_retry_interval",
    )
)

MAX_RETRIES: Option[str | int] = declare(
    Option(
        name="Max_Retries",
        kind=kinds.words_or_integer(("auto", "none"), 0),
        default="auto",
        scopes=OUTBOUND,
        doc="Tries after the first before the message fails. ``auto`` and ``none``: Message_Expiration alone decides.",
        source="Momentum: max_retries",
    )
)

MESSAGE_EXPIRATION: Option[int] = declare(
    Option(
        name="Message_Expiration",
        kind=kinds.seconds,
        default=86400,
        scopes=OUTBOUND,
        unit="seconds",
        doc="How long delivery is tried; then ``554 5.4.7 [internal] exceeded max time without delivery``.",
        source="RFC 5321 section 4.5.4.1",
    )
)

NEVER_RETRY: Option[bool] = declare(
    Option(
        name="Never_Retry",
        kind=kinds.boolean,
        default=False,
        scopes=OUTBOUND,
        doc="Whether a message fails at its first transient error.",
        source="Momentum: never_retry",
    )
)

SUSPEND_DELIVERY: Option[bool] = declare(
    Option(
        name="Suspend_Delivery",
        kind=kinds.boolean,
        default=False,
        scopes=OUTBOUND,
        doc="Whether mail of the domain waits in the queue until this is false again.",
        source="Momentum: suspend_delivery",
    )
)

# --- connections ----------------------------------------------------------------------------------

MAX_DELIVERIES_PER_CONNECTION: Option[int] = declare(
    Option(
        name="Max_Deliveries_Per_Connection",
        kind=kinds.count,
        default=0,
        scopes=OUTBOUND,
        doc="Messages sent over one connection before a new one is made; 0 means no limit.",
        source="Momentum: max_deliveries_per_connection",
    )
)


def _timeout(name: str, default: int, what: str, source: str) -> Option[int]:
    return declare(
        Option(
            name=name,
            kind=kinds.integer_between(1),
            default=default,
            scopes=OUTBOUND,
            unit="seconds",
            doc=f"How long {what} may take as a client. Reception is limited by Idle_Time alone.",
            source=source,
        )
    )


CONNECT_TIMEOUT = _timeout("Connect_Timeout", 300, "connecting and the banner", "RFC 5321 section 4.5.3.2.1")
EHLO_TIMEOUT = _timeout("EHLO_Timeout", 300, "the reply to EHLO or LHLO", "Momentum: ehlo_timeout")
MAILFROM_TIMEOUT = _timeout("MailFrom_Timeout", 300, "the reply to MAIL FROM", "RFC 5321 section 4.5.3.2.2")
RCPTTO_TIMEOUT = _timeout("RcptTo_Timeout", 300, "the reply to RCPT TO", "RFC 5321 section 4.5.3.2.3")
BODY_TIMEOUT = _timeout("Body_Timeout", 600, "sending the body and its reply", "RFC 5321 section 4.5.3.2.6")
RSET_TIMEOUT = _timeout("RSET_Timeout", 30, "the reply to RSET", "Momentum: rset_timeout")

IDLE_TIMEOUT: Option[int] = declare(
    Option(
        name="Idle_Timeout",
        kind=kinds.seconds,
        default=5,
        scopes=OUTBOUND,
        unit="seconds",
        doc="How long a connection is kept for the next message; 0 closes it at once.",
        source="Momentum: idle_timeout",
    )
)

# --- maildir --------------------------------------------------------------------------------------

MAILDIR = declare_stanza(
    Stanza(
        word="maildir",
        name=Name.OPTIONAL,
        inside=("global",),
        doc="Stores mail of its domains in Maildirs below a directory.",
    )
)

_MAILDIR = ("maildir",)

BASEDIR: Option[str] = declare(
    Option(
        name="Basedir",
        kind=kinds.path,
        default="",
        scopes=_MAILDIR,
        doc="Directory below which the Maildirs are. Must be set.",
        source="Momentum: maildir module",
    )
)

DOMAINS: Option[DomainPatterns] = declare(
    Option(
        name="Domains",
        aliases=("Domain",),
        kind=kinds.domain_patterns,
        default=DomainPatterns(),
        scopes=_MAILDIR,
        doc="Domains whose mail is stored here, in the patterns of Relay_Domains.",
        source="Momentum: maildir module",
    )
)

ALL_DOMAINS: Option[bool] = declare(
    Option(
        name="All_Domains",
        kind=kinds.boolean,
        default=False,
        scopes=_MAILDIR,
        doc="Whether mail of every domain is stored here.",
        source="Momentum: maildir module",
    )
)

CREATE_USERS: Option[bool] = declare(
    Option(
        name="Create_Users",
        aliases=("CreateUsers",),
        kind=kinds.boolean,
        default=True,
        scopes=_MAILDIR,
        doc="Whether a Maildir that doesn't exist is made; otherwise its mail fails with ``550 5.1.1``. Momentum "
        "names no default; ours is what its sample shows.",
        source="Momentum: maildir module",
    )
)

DOMAIN_IN_PATH: Option[bool] = declare(
    Option(
        name="Domain_In_Path",
        kind=kinds.boolean,
        default=True,
        scopes=_MAILDIR,
        doc="Whether a mailbox is ``Basedir/domain/user`` or ``Basedir/user``. Momentum names no default; ours is "
        "what its sample shows.",
        source="Momentum: maildir module",
    )
)

DIRMODE: Option[int] = declare(
    Option(
        name="DirMode",
        kind=kinds.mode,
        default=0o775,
        scopes=_MAILDIR,
        doc="Permission bits of directories that are made.",
        source="Momentum: maildir module",
    )
)

FILEMODE: Option[int] = declare(
    Option(
        name="FileMode",
        kind=kinds.mode,
        default=0o664,
        scopes=_MAILDIR,
        doc="Permission bits of message files.",
        source="Momentum: maildir module",
    )
)

ENABLED: Option[bool] = declare(
    Option(
        name="Enabled",
        kind=kinds.boolean,
        default=True,
        scopes=_MAILDIR,
        doc="Whether the module takes part in routing.",
        source="Momentum: options common to modules",
    )
)

DEBUG_LEVEL: Option[str] = declare(
    Option(
        name="Debug_Level",
        kind=kinds.enumeration("DEBUG", "INFO", "NOTICE", "WARNING", "ERROR", "CRITICAL"),
        default="ERROR",
        scopes=_MAILDIR,
        doc="Lowest level of the module's messages that are logged.",
        source="Momentum: options common to modules",
        unserved="it has no messages of its own: what becomes of mail is always logged",
    )
)
