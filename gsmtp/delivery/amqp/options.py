"""The ``amqp "name" { … }`` stanza and its options: which mail goes to RabbitMQ, where that is, and who answers for it.

Declared here for `gsmtp.delivery.transports.amqp`, without pika and without gevent.
"""

from __future__ import annotations

from gsmtp.config import kinds
from gsmtp.config.crosscheck import late_rule
from gsmtp.config.diagnostics import Problems
from gsmtp.config.option import Option, declare
from gsmtp.config.scopes import Configuration
from gsmtp.config.stanza import Name, Stanza, declare_stanza
from gsmtp.config.tree import Array, Scope, Setting
from gsmtp.core.domains import DomainPatterns
from gsmtp.delivery.amqp.settings import parse_url

_SCOPES = ("amqp",)
_SHORT_BYTES = 255
_SOURCE = "gsmtp"

declare_stanza(
    Stanza(
        word="amqp",
        name=Name.REQUIRED,
        inside=("global",),
        doc="Publishes mail of its domains to RabbitMQ, with publisher confirms (docs/transports.md).",
        ours=True,
        needs={
            "domain": 'domain = ( "example.com" )',
            "url": 'url = ( "amqp://user:password@10.0.0.11" "amqp://user:password@10.0.0.12" )',
        },
    )
)


def _examine_urls(value: tuple[str, ...], setting: Setting, scope: Scope, problems: Problems) -> None:
    """Judge URL by URL, each at its place."""
    items = setting.value.items if isinstance(setting.value, Array) else (setting.value,)
    for text, item in zip(value, items, strict=True):
        try:
            parse_url(text)
        except ValueError as error:
            problems.error(
                item.span,
                f"value is not valid for option '{setting.spelled}': {error}",
                hint="write amqp://user:password@host:5672/vhost or amqps://…; the virtual host / is left out",
                code="bad-value",
            )


def _examine_short(value: str, setting: Setting, scope: Scope, problems: Problems) -> None:
    """AMQP's short strings: names of exchanges and routing keys."""
    if len(value.encode("utf-8", "surrogateescape")) > _SHORT_BYTES:
        problems.error(
            setting.value.span,
            f"the value of '{setting.spelled}' is longer than the {_SHORT_BYTES} bytes that AMQP allows",
            code="bad-value",
        )


ENABLED: Option[bool] = declare(
    Option(
        name="Enabled",
        kind=kinds.boolean,
        default=True,
        scopes=_SCOPES,
        doc="Whether the stanza takes mail.",
        source=_SOURCE,
        ours=True,
    )
)

DOMAIN: Option[DomainPatterns] = declare(
    Option(
        name="Domain",
        aliases=("Domains",),
        kind=kinds.domain_patterns,
        default=DomainPatterns(),
        scopes=_SCOPES,
        doc="Domains whose mail is published, in the patterns of Relay_Domains.",
        source=_SOURCE,
        ours=True,
    )
)

URL: Option[tuple[str, ...]] = declare(
    Option(
        name="URL",
        kind=kinds.strings,
        default=(),
        scopes=_SCOPES,
        doc="The broker: ``amqp://user:password@host:5672/vhost``, ``amqps://`` with TLS (port 5671); one for each "
        "node of a cluster. Any of them is used; when it is lost, the next.",
        source=_SOURCE,
        ours=True,
        examine=_examine_urls,
    )
)

EXCHANGE: Option[str] = declare(
    Option(
        name="Exchange",
        kind=kinds.line,
        default="",
        scopes=_SCOPES,
        doc="The exchange to publish to, which must exist. Empty for the default exchange, where Routing_Key is the "
        "name of the queue.",
        source=_SOURCE,
        ours=True,
        examine=_examine_short,
    )
)

ROUTING_KEY: Option[str] = declare(
    Option(
        name="Routing_Key",
        kind=kinds.line,
        default="",
        scopes=_SCOPES,
        doc="The routing key of all messages.",
        source=_SOURCE,
        ours=True,
        examine=_examine_short,
    )
)

MODE: Option[str] = declare(
    Option(
        name="Mode",
        kind=kinds.enumeration("confirm", "spool"),
        default="spool",
        scopes=_SCOPES,
        doc="``spool``: 250 when the message is in the local spool, published afterwards with retries. ``confirm``: "
        "250 when the broker has confirmed it, and nothing is kept here; a message that also has recipients elsewhere "
        "goes through the spool.",
        source=_SOURCE,
        ours=True,
    )
)


def _seconds(name: str, default: int, doc: str) -> Option[int]:
    return declare(
        Option(
            name=name,
            kind=kinds.integer_between(1),
            default=default,
            scopes=_SCOPES,
            unit="seconds",
            doc=doc,
            source=_SOURCE,
            ours=True,
        )
    )


CONFIRM_TIMEOUT = _seconds(
    "Confirm_Timeout",
    30,
    "How long a message may wait for its confirm, a lost connection and a broker that takes nothing (alarm) included; "
    "then it has failed for now.",
)
CONNECT_TIMEOUT = _seconds("Connect_Timeout", 5, "How long connecting and logging in to one node may take.")
HEARTBEAT = _seconds("Heartbeat", 10, "A connection on which nothing came for about twice as long is given up.")

CONCURRENCY: Option[int] = declare(
    Option(
        name="Concurrency",
        kind=kinds.integer_between(1, 10_000),
        default=100,
        scopes=_SCOPES,
        doc="Messages of the spool that are published and not confirmed yet, at the most.",
        source=_SOURCE,
        ours=True,
    )
)

CLAIM_CHECK_PATH: Option[str] = declare(
    Option(
        name="Claim_Check_Path",
        kind=kinds.path,
        default="",
        scopes=_SCOPES,
        doc="A directory that all nodes and consumers share. Messages above Claim_Check_Size are stored there, and the "
        "broker gets their name, size and SHA-256. Without one, such messages are published whole up to 16 MiB (the "
        "limit of RabbitMQ 4), and larger ones are refused.",
        source=_SOURCE,
        ours=True,
    )
)

CLAIM_CHECK_SIZE: Option[int] = declare(
    Option(
        name="Claim_Check_Size",
        kind=kinds.size,
        default=1 << 20,
        scopes=_SCOPES,
        unit="bytes",
        doc="The largest message that is published whole where there is a Claim_Check_Path.",
        source=_SOURCE,
        ours=True,
    )
)

TLS_CA: Option[str] = declare(
    Option(
        name="TLS_CA",
        kind=kinds.path,
        default="",
        scopes=_SCOPES,
        doc="File of the authorities that certificates of ``amqps://`` brokers are checked against; empty for the "
        "system's.",
        source=_SOURCE,
        ours=True,
    )
)


@late_rule
def check_targets(configuration: Configuration, problems: Problems) -> None:
    """The default exchange has no messages without a queue's name."""
    for view in configuration.stanzas("amqp"):
        if view[ENABLED] and not view[EXCHANGE] and not view[ROUTING_KEY]:
            scope = view.chain[0]
            problems.error(
                scope.span,
                f"{scope} has neither exchange nor routing_key: the default exchange needs the name of a queue",
                hint='write exchange = "mail", or routing_key = "the-queue"',
                code="missing-option",
            )
