"""The options of who may send what: relaying, blackholed recipients.

Source: reference/esmtp-listener.md section 6.
"""

from __future__ import annotations

from gsmtp.config import kinds
from gsmtp.config.diagnostics import Problems
from gsmtp.config.kinds import Kind, Network
from gsmtp.config.option import INBOUND, INBOUND_GLOBAL, MESSAGE, OUTBOUND, Option, declare
from gsmtp.config.tree import Scope, Setting, Value
from gsmtp.core.domains import DomainPatterns

_OPEN_RELAY_HINT = "an open relay is found and abused within hours; keep it to networks you trust"


def _examine_domains(value: DomainPatterns, setting: Setting, scope: Scope, problems: Problems) -> None:
    if value.matches_all:
        problems.warning(
            setting.value.span,
            f"{setting.spelled} holds '*': every client may send to every domain",
            hint=_OPEN_RELAY_HINT,
            code="open-relay",
        )


RELAY_DOMAINS: Option[DomainPatterns] = declare(
    Option(
        name="Relay_Domains",
        kind=kinds.domain_patterns,
        default=DomainPatterns(),
        scopes=MESSAGE,
        doc="Domains for which mail is taken from anyone. ``example.com`` is that domain alone, ``*.example.com`` all "
        "below it, ``*example.com`` all that end so. To vary it by socket or client, attach a Pathway.",
        source="Momentum: relay_domains",
        examine=_examine_domains,
    )
)

BOUNCE_DOMAINS: Option[DomainPatterns] = declare(
    Option(
        name="Bounce_Domains",
        kind=kinds.domain_patterns,
        default=DomainPatterns(),
        scopes=MESSAGE,
        doc="Domains for which mail is taken from anyone, as Relay_Domains. Bounces sent to them are not evaluated.",
        source="Momentum: bounce_domains",
        examine=_examine_domains,
    )
)


def _examine_relay_hosts(value: tuple[Network, ...], setting: Setting, scope: Scope, problems: Problems) -> None:
    everyone = next((network for network in value if network.prefixlen == 0), None)
    if everyone is not None and scope.kind != "peer":
        problems.warning(
            setting.value.span,
            f"{setting.spelled} holds {everyone}: every such client may send to every domain",
            hint=_OPEN_RELAY_HINT,
            code="open-relay",
        )


RELAY_HOSTS: Option[tuple[Network, ...]] = declare(
    Option(
        name="Relay_Hosts",
        kind=kinds.networks,
        default=(),
        scopes=INBOUND_GLOBAL,
        doc="Clients (addresses and CIDR blocks) that may send to any domain, and need no login. A narrower scope's "
        "list replaces a wider one's.",
        source="Momentum: relay_hosts",
        examine=_examine_relay_hosts,
    )
)


OPEN_RELAY: Option[bool] = declare(
    Option(
        name="Open_Relay",
        kind=kinds.boolean,
        default=False,
        scopes=INBOUND,
        doc="Whether any recipient is taken, without login. Made for Peer stanzas.",
        source="Momentum: open_relay",
    )
)


def _examine_sending(value: DomainPatterns, setting: Setting, scope: Scope, problems: Problems) -> None:
    if not len(value):
        problems.warning(
            setting.value.span,
            f"{setting.spelled} is an empty list: no sender may relay by it",
            hint="in version 2 it meant every sender; use Open_Relay = true in a Peer for that",
            code="empty-list",
        )
    _examine_domains(value, setting, scope, problems)


RELAY_FOR_SENDING_DOMAINS: Option[DomainPatterns] = declare(
    Option(
        name="Relay_For_Sending_Domains",
        kind=kinds.domain_patterns,
        default=DomainPatterns(),
        scopes=INBOUND,
        doc="Any recipient is taken when the domain of MAIL FROM matches. A sender is easily forged: use it in a Peer "
        "stanza.",
        source="Momentum: relay_for_sending_domains",
        examine=_examine_sending,
    )
)


def _blackhole(value: Value) -> str:
    text = kinds.scalar_text(value).lower()
    if text in ("inline", "internal"):
        return text
    if text in kinds.BOOLEAN_WORDS:
        return "inline" if kinds.BOOLEAN_WORDS[text] else "false"
    raise ValueError("expected false, true, inline or internal")


BLACKHOLE: Option[str] = declare(
    Option(
        name="Blackhole",
        kind=Kind(
            "one of false, true, inline, internal", _blackhole, "false, true (the same as inline), inline or internal"
        ),
        default="false",
        scopes=OUTBOUND,
        doc="What becomes of recipients of the domain: ``inline`` refuses them with 551 5.7.1, ``internal`` takes "
        "the mail, logs it and drops it.",
        source="Momentum: blackhole",
    )
)
