"""The options of mail that goes by MX records: which hosts, which never, and what follows when look-ups fail.

Source: reference/policy-and-context.md sections 4 (static_routes) and 5, reference/options.csv.
"""

from __future__ import annotations

from gsmtp.config import kinds
from gsmtp.config.diagnostics import Problems
from gsmtp.config.module import declare_module
from gsmtp.config.option import GLOBAL, Option, declare
from gsmtp.config.tree import Scope, Setting
from gsmtp.core.address import Network
from gsmtp.delivery.hops import parse_target

USE_IPV6: Option[bool] = declare(
    Option(
        name="Use_IPv6",
        kind=kinds.boolean,
        default=False,
        scopes=GLOBAL,
        doc="Whether AAAA records are looked up, so that mail goes over IPv6 too. IPv6 addresses that the "
        "configuration names are used in any case.",
        source="Momentum: use_ipv6",
    )
)

PROHIBITED_HOSTS: Option[tuple[Network, ...]] = declare(
    Option(
        name="Prohibited_Hosts",
        kind=kinds.networks,
        default=(),
        scopes=GLOBAL,
        doc="Networks that mail is never delivered to because DNS or an address literal says so: with no other host it "
        "fails with ``551 5.4.6``. Addresses that Gateway or Routes name are not concerned.",
        source="Momentum: prohibited_hosts",
    )
)

SKIP_HOSTS: Option[tuple[Network, ...]] = declare(
    Option(
        name="Skip_Hosts",
        kind=kinds.networks,
        default=(),
        scopes=GLOBAL,
        doc="Networks that are passed over in what DNS says; with no other host the mail waits.",
        source="Momentum: skip_hosts",
    )
)

ONLY_USE_BEST_MX_FOR_RELAY_DOMAINS: Option[bool] = declare(
    Option(
        name="Only_Use_Best_MX_For_Relay_Domains",
        kind=kinds.boolean,
        default=True,
        scopes=GLOBAL,
        doc="Whether mail for the global scope's Relay_Domains and Bounce_Domains goes to MX hosts of the lowest "
        "preference only.",
        source="Momentum: only_use_best_mx_for_relay_domains",
    )
)

MX_FAILURES_FALLBACK_TO_A: Option[int] = declare(
    Option(
        name="MX_Failures_Fallback_To_A",
        kind=kinds.count,
        default=0,
        scopes=("domain", "global"),
        doc="After so many failed look-ups of a domain's MX records in a row its address is used instead; 0 means "
        "never. Momentum's default is 3; the standard has mail wait, since the address may be anybody's web server.",
        source="RFC 5321 section 5.1",
    )
)

HOST_FAILURE_RETRY: Option[int] = declare(
    Option(
        name="Host_Failure_Retry",
        kind=kinds.seconds,
        default=120,
        scopes=("domain", "global"),
        unit="seconds",
        doc="How long an address that can't be reached is left alone at the most: the first time for 1 s, then for "
        "twice as long each time. 0 means not at all.",
        source="Momentum: host_failure_retry",
    )
)

STATIC_ROUTES_ENABLED: Option[bool] = declare_module(
    "static_routes", "Sends all mail that no stanza of a transport takes to one server, before Routes and Gateway."
)


def _examine_target(value: str, setting: Setting, scope: Scope, problems: Problems) -> None:
    """An address with a port, as documented."""
    try:
        parse_target(value)
    except ValueError as error:
        problems.error(
            setting.value.span,
            f"value '{value}' is not valid for option '{setting.spelled}': {error}",
            hint='write target = "10.0.0.20:25" or "[2001:db8::1]:25"',
            code="bad-value",
        )


TARGET: Option[str] = declare(
    Option(
        name="Target",
        kind=kinds.word,
        default="",
        scopes=("static_routes",),
        doc="Address and port of the server; without one the stanza does nothing.",
        source="Momentum: static_routes module",
        examine=_examine_target,
    )
)
