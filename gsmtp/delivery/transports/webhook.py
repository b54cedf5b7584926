"""Hands mail to a web application: a signed POST for each message, raw or taken apart as JSON.

    webhook "crm" {
      domain = ( "crm.example.com" )
      url    = "https://crm.example.com/mail"
      secret = ( "file:/etc/gsmtp/crm.secret" )
    }

What goes over the wire is in docs/transports.md; how it gets there in `delivery.receiver`. Secrets and authorities are
read when a configuration is loaded, before the server gives up its rights.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gsmtp.config import kinds
from gsmtp.config.diagnostics import Problems
from gsmtp.config.module import declare_module
from gsmtp.config.option import Option, declare
from gsmtp.config.stanza import Name
from gsmtp.config.tree import Array, Scope, Setting
from gsmtp.config.view import View
from gsmtp.core.domains import DomainPatterns
from gsmtp.core.errors import ConfigError
from gsmtp.delivery.circuit import Circuit, CircuitLimits
from gsmtp.delivery.transport import Job, Native, Outcome, Tools, Transport, transport
from gsmtp.delivery.url import parse_url

if TYPE_CHECKING:
    from gevent.ssl import SSLContext

    from gsmtp.delivery.receiver import Receiver

_WEBHOOK = ("webhook",)
_SHORT_SECRET = 16
FILE = "file:"

ENABLED = declare_module(
    "webhook",
    "Hands mail of its domains to a web application: a signed POST for each message.",
    Name.REQUIRED,
    needs={
        "domain": 'domain = ( "example.com" )',
        "url": 'url = "https://app.example.com/mail"',
        "secret": 'secret = ( "file:/etc/gsmtp/webhook.secret" )',
    },
    ours=True,
)

DOMAIN: Option[DomainPatterns] = declare(
    Option(
        name="Domain",
        aliases=("Domains",),
        kind=kinds.domain_patterns,
        default=DomainPatterns(),
        scopes=_WEBHOOK,
        doc="Domains whose mail goes to the receiver, in the patterns of Relay_Domains. Where several stanzas have a "
        "domain, the first one gets its mail.",
        ours=True,
        source="gsmtp",
    )
)


def _examine_url(value: str, setting: Setting, scope: Scope, problems: Problems) -> None:
    try:
        target = parse_url(value)
    except ValueError as error:
        problems.error(
            setting.value.span,
            f"value '{value}' is not valid for option '{setting.spelled}': it {error}",
            hint='write it out: url = "https://app.example.com/mail"',
            code="bad-value",
        )
        return
    if not target.is_tls and not target.is_local:
        problems.warning(
            setting.value.span,
            f"mail goes to {target.authority} in clear text: a signature keeps nobody from reading",
            hint="use https",
            code="clear-text",
        )


URL: Option[str] = declare(
    Option(
        name="URL",
        kind=kinds.word,
        default="",
        scopes=_WEBHOOK,
        doc="Where messages are posted. https is verified by Tls_CA; redirects are not followed, proxies of the "
        "environment not used.",
        ours=True,
        source="gsmtp",
        examine=_examine_url,
    )
)

FORMAT: Option[str] = declare(
    Option(
        name="Format",
        kind=kinds.enumeration("raw", "json"),
        default="raw",
        scopes=_WEBHOOK,
        doc="``raw``: the message as it is (message/rfc822), its envelope in header fields. ``json``: envelope, "
        "addresses, subject, text, HTML, attachments and all fields in one object.",
        ours=True,
        source="gsmtp",
    )
)


def _examine_secret(value: tuple[str, ...], setting: Setting, scope: Scope, problems: Problems) -> None:
    items = setting.value.items if isinstance(setting.value, Array) else (setting.value,)
    for text, item in zip(value, items, strict=True):
        if not text:
            problems.error(
                item.span, "an empty secret signs nothing", hint="make one: openssl rand -hex 32", code="bad-value"
            )
        elif not text.startswith(FILE) and len(text) < _SHORT_SECRET:
            problems.warning(
                item.span,
                f"a secret of {len(text)} characters can be guessed",
                hint="make one: openssl rand -hex 32",
                code="weak-secret",
            )


SECRET: Option[tuple[str, ...]] = declare(
    Option(
        name="Secret",
        kind=kinds.strings,
        default=(),
        scopes=_WEBHOOK,
        doc="Keys of the signatures (HMAC-SHA256): a text, or ``file:`` and the path of a file that holds it; white "
        "space at the file's end doesn't count. With several each request carries a signature by each, so that a key "
        "can be changed without a gap.",
        ours=True,
        source="gsmtp",
        examine=_examine_secret,
    )
)

TIMEOUT: Option[int] = declare(
    Option(
        name="Timeout",
        kind=kinds.integer_between(1),
        default=60,
        scopes=_WEBHOOK,
        unit="seconds",
        doc="How long a request may take from connecting to the end of the answer.",
        ours=True,
        source="gsmtp",
    )
)

CONNECT_TIMEOUT: Option[int] = declare(
    Option(
        name="Connect_Timeout",
        kind=kinds.integer_between(1),
        default=10,
        scopes=_WEBHOOK,
        unit="seconds",
        doc="How long connecting may take, name look-up and TLS included; never longer than Timeout.",
        ours=True,
        source="gsmtp",
    )
)

CONCURRENCY: Option[int] = declare(
    Option(
        name="Concurrency",
        kind=kinds.integer_between(1),
        default=8,
        scopes=_WEBHOOK,
        doc="Requests at one time at the most.",
        ours=True,
        source="gsmtp",
    )
)

TLS_CA: Option[str] = declare(
    Option(
        name="TLS_CA",
        kind=kinds.path,
        default="",
        scopes=_WEBHOOK,
        doc="A file with the certificates (PEM) of the authorities that are trusted; empty for those of the system.",
        ours=True,
        source="gsmtp",
    )
)

JSON_MAX_MESSAGE_SIZE: Option[int] = declare(
    Option(
        name="JSON_Max_Message_Size",
        kind=kinds.size,
        default=10_485_760,
        scopes=_WEBHOOK,
        unit="bytes",
        doc="Messages above this size go in the raw form, Format notwithstanding: taking one apart costs "
        "several times its size in memory. 0 for no limit.",
        ours=True,
        source="gsmtp",
    )
)

CIRCUIT_FAILURES: Option[int] = declare(
    Option(
        name="Circuit_Failures",
        kind=kinds.count,
        default=5,
        scopes=_WEBHOOK,
        doc="After so many failures in a row (no connection, no answer in time, 5xx) the receiver is left alone for a "
        "pause, in which messages wait in the queue without a connection. 0: never.",
        ours=True,
        source="gsmtp",
    )
)

CIRCUIT_PAUSE: Option[float] = declare(
    Option(
        name="Circuit_Pause",
        kind=kinds.number,
        default=5.0,
        scopes=_WEBHOOK,
        unit="seconds",
        doc="The first pause; then one request probes. Each probe that fails doubles it.",
        ours=True,
        source="gsmtp",
    )
)

CIRCUIT_MAX_PAUSE: Option[float] = declare(
    Option(
        name="Circuit_Max_Pause",
        kind=kinds.number,
        default=300.0,
        scopes=_WEBHOOK,
        unit="seconds",
        doc="The longest pause.",
        ours=True,
        source="gsmtp",
    )
)


@dataclass(frozen=True, slots=True)
class _Files:
    """What was read for a stanza when it was loaded."""

    names: tuple[str, ...]
    secrets: tuple[bytes, ...]
    context: SSLContext | None


_read: dict[str, _Files] = {}
"""By stanza; those of a load that failed later are replaced by the next one's."""


@transport("webhook")
class WebhookTransport(Transport):
    """Posts to the receivers of all webhook stanzas.

    Args:
        tools: of the process.
    """

    stanza = "webhook"
    order = 40
    keeps_refused = True

    def __init__(self, tools: Tools) -> None:
        super().__init__(tools)
        self._receivers: dict[str, Receiver] = {}
        self._circuits: dict[str, Circuit] = {}

    @classmethod
    def takes(cls, view: View, domain: str) -> bool:
        """Domain says."""
        return bool(view[ENABLED] and view[DOMAIN].matches(domain))

    @classmethod
    def most_at_once(cls, view: View) -> int:
        """Concurrency."""
        return view[CONCURRENCY]

    @classmethod
    def examine(cls, view: View, native: Native) -> None:
        """Read the secrets and the authorities. Raises ConfigError."""
        if view[ENABLED]:
            _read[_title(view)] = native.call(_files, view)

    def configure(self, views: Sequence[View]) -> None:
        """Make a receiver of each stanza; their circuits stay as they are."""
        self._receivers = {_title(view): self._make(view) for view in views if view[ENABLED]}
        urls = {view[URL] for view in views}
        self._circuits = {url: circuit for url, circuit in self._circuits.items() if url in urls}

    def deliver(self, job: Job) -> list[Outcome]:
        """See `Transport.deliver`."""
        receiver = self._receivers.get(_title(job.view))
        return (receiver or self._make(job.view)).deliver(job)

    def _make(self, view: View) -> Receiver:
        from gsmtp.delivery.receiver import Receiver, Settings

        files = _read.get(_title(view))
        if files is None or files.names != _names(view):  # nobody examined it: a test, or a stanza that is gone
            files = _read[_title(view)] = _files(view)
        settings = Settings(
            name=view.chain[0].spelled or "",
            target=parse_url(view[URL]),
            is_json=view[FORMAT] == "json",
            secrets=files.secrets,
            timeout_s=view[TIMEOUT],
            connect_timeout_s=view[CONNECT_TIMEOUT],
            json_bytes=view[JSON_MAX_MESSAGE_SIZE],
            circuit=CircuitLimits(view[CIRCUIT_FAILURES], view[CIRCUIT_PAUSE], view[CIRCUIT_MAX_PAUSE]),
            context=files.context,
        )
        circuit = self._circuits.setdefault(view[URL], Circuit(time.monotonic))
        return Receiver(settings, circuit, self.tools)


def _title(view: View) -> str:
    return str(view.chain[0]).lower()


def _names(view: View) -> tuple[str, ...]:
    return (view[URL], view[TLS_CA], *view[SECRET])


def _files(view: View) -> _Files:
    from gsmtp.delivery.http_client import tls_context

    context = None
    if parse_url(view[URL]).is_tls:
        try:
            context = tls_context(view[TLS_CA])
        except OSError as error:  # SSLError is one, too
            what = f"the authorities in {view[TLS_CA]} can't be used: {error.strerror or error}"
            raise _problem(view, TLS_CA, what) from error
    return _Files(_names(view), tuple(_secret(view, text) for text in view[SECRET]), context)


def _secret(view: View, text: str) -> bytes:
    if not text.startswith(FILE):
        return text.encode("utf-8", "surrogateescape")
    path = text.removeprefix(FILE)
    try:
        with open(path, "rb") as file:
            secret = file.read(65_536).rstrip()
    except OSError as error:
        raise _problem(view, SECRET, f"the secret's file {path} can't be read: {error.strerror}") from error
    if not secret:
        raise _problem(view, SECRET, f"the secret's file {path} is empty")
    return secret


def _problem(view: View, option: Option[str] | Option[tuple[str, ...]], what: str) -> ConfigError:
    setting = view.origin(option).setting
    span = setting.value.span if setting is not None else view.chain[0].span
    return ConfigError(f"{span}: error: {what}")
