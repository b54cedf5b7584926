"""The options of failed and delayed mail: who is told what, and what is kept.

Source: reference/policy-and-context.md sections 4 and 5.
"""

from __future__ import annotations

from gsmtp.config import kinds
from gsmtp.config.kinds import Kind
from gsmtp.config.module import declare_module
from gsmtp.config.option import OUTBOUND, Option, declare
from gsmtp.config.stanza import Name
from gsmtp.config.tree import Value

AUTO, BOUNCE, KEEP, DROP = "auto", "bounce", "keep", "drop"
"""Values of Failure_Action."""

NONE, HEADERS, ALL = "none", "headers", "all"
"""Values of Bounces_Inline_Original."""

KEEPING_STANZAS = ("maildir", "webhook", "amqp", "python")
"""Stanzas of transports that may say for themselves what becomes of failed mail."""

FAILURE_ACTION: Option[str] = declare(
    Option(
        name="Failure_Action",
        kind=kinds.enumeration(AUTO, BOUNCE, KEEP, DROP),
        default=AUTO,
        scopes=(*OUTBOUND, *KEEPING_STANZAS),
        doc="What becomes of mail that failed for good. ``bounce`` tells its sender, ``keep`` leaves a dead letter in "
        "the queue, ``drop`` does nothing but log it. ``auto`` keeps what a webhook, RabbitMQ or a handler in Python "
        "has refused, and bounces everything else. What is set in a transport's stanza comes before the domain's.",
        ours=True,
        source="gsmtp",
    )
)

GENERATE_BOUNCES: Option[bool] = declare(
    Option(
        name="Generate_Bounces",
        kind=kinds.boolean,
        default=True,
        scopes=OUTBOUND,
        doc="Whether senders are told of mail that failed for good. With false it stays in the queue as a dead letter "
        "instead, unless Failure_Action says drop.",
        source="Momentum: generate_bounces",
    )
)

BOUNCES_INLINE_ORIGINAL: Option[str] = declare(
    Option(
        name="Bounces_Inline_Original",
        kind=kinds.enumeration(NONE, HEADERS, ALL),
        default=HEADERS,
        scopes=OUTBOUND,
        doc="What of a message goes back with its bounce. RET of the client (DSN) comes first; notices that nothing "
        "failed never return more than header fields; nor do those of messages over 1 MiB.",
        source="Momentum: bounces_inline_original",
    )
)


def _address(value: Value) -> str:
    text = kinds.word.parse(value)
    local, at, domain = text.rpartition("@")
    if text and not (at and local and domain and not set(text) & set("<>,;")):
        raise ValueError("expected an address such as postmaster@example.com")
    return text


_ADDRESS: Kind[str] = Kind("address", _address, "an address such as postmaster@example.com")

MAILERDAEMON: Option[str] = declare(
    Option(
        name="MailerDaemon",
        kind=_ADDRESS,
        default="",
        scopes=OUTBOUND,
        doc="Address in From of bounces; by default ``mailer-daemon@`` and Hostname. Their envelope sender is ``<>``.",
        source="Momentum: mailerdaemon",
    )
)

MDN_FAILURES_NOTIFY: Option[str] = declare(
    Option(
        name="MDN_Failures_Notify",
        kind=_ADDRESS,
        default="",
        scopes=OUTBOUND,
        doc="Who is told of failed mail that has the null sender, bounces above all. By default it is dropped, with "
        "a line in the log; so is a notice to this address that fails itself.",
        source="Momentum: mdn_failures_notify",
    )
)

NEVER_ATTEMPT_EXPIRED_MESSAGES: Option[bool] = declare(
    Option(
        name="Never_Attempt_Expired_Messages",
        kind=kinds.boolean,
        default=False,
        scopes=OUTBOUND,
        doc="Whether a message that has expired when its turn comes fails without a last try: ``554 5.4.5 [internal] "
        "Delivery not attempted (message expired)``.",
        source="Momentum: never_attempt_expired_messages",
    )
)

GENERATE_DELAY_DSN: Option[bool] = declare(
    Option(
        name="Generate_Delay_DSN",
        kind=kinds.boolean,
        default=False,
        scopes=OUTBOUND,
        doc="Whether senders are told of mail that waits long. NOTIFY of the client (DSN) may decline it.",
        source="Momentum: generate_delay_dsn",
    )
)

DELAY_DSN_RETRY_INTERVAL: Option[int] = declare(
    Option(
        name="Delay_DSN_Retry_Interval",
        kind=kinds.integer_between(1),
        default=3600,
        scopes=OUTBOUND,
        unit="seconds",
        doc="How long after its reception the first notice of a message's delay is due; the wait is doubled for each "
        "further one. Notices are sent when a try has failed.",
        source="Momentum: delay_dsn_retry_interval",
    )
)

DELAY_DSN_MAX_RETRY_INTERVAL: Option[int] = declare(
    Option(
        name="Delay_DSN_Max_Retry_Interval",
        kind=kinds.integer_between(1),
        default=43200,
        scopes=OUTBOUND,
        unit="seconds",
        doc="Longest wait between two notices of delay.",
        source="Momentum: delay_dsn_max_retry_interval",
    )
)

DELAY_DSN_ENABLED = declare_module(
    "delay_dsn", "Notices of delay; Generate_Delay_DSN switches them on, with or without this stanza.", Name.NONE
)
