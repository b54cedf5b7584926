"""The options of DNS look-ups: whom to ask, how long, and how long answers are kept.

Source: reference/options.csv; Momentum: resolv_conf, dns_fallback_to_tcp, min_dns_ttl, max_dns_ttl.
"""

from __future__ import annotations

from gsmtp.config import kinds
from gsmtp.config.diagnostics import Problems
from gsmtp.config.option import GLOBAL, Option, declare
from gsmtp.config.tree import Array, Scope, Setting
from gsmtp.runtime.dns_sources import parse_server


def _examine_servers(value: tuple[str, ...], setting: Setting, scope: Scope, problems: Problems) -> None:
    """Judge server by server, each at its place."""
    items = setting.value.items if isinstance(setting.value, Array) else (setting.value,)
    for text, item in zip(value, items, strict=True):
        try:
            parse_server(text)
        except ValueError as error:
            problems.error(
                item.span,
                f"value '{text}' is not valid for option '{setting.spelled}': {error}",
                hint='write ( "192.0.2.53" "192.0.2.54:5353" "[2001:db8::53]:5353" )',
                code="bad-value",
            )


DNS_SERVERS: Option[tuple[str, ...]] = declare(
    Option(
        name="DNS_Servers",
        kind=kinds.strings,
        default=(),
        scopes=GLOBAL,
        doc="Name servers by IP address, with a port where it isn't 53, in the order they are asked. Without them "
        "those of Resolv_Conf are asked.",
        source="gsmtp",
        ours=True,
        examine=_examine_servers,
    )
)

RESOLV_CONF: Option[str] = declare(
    Option(
        name="Resolv_Conf",
        kind=kinds.path,
        default="",
        scopes=GLOBAL,
        doc="File in the form of resolv.conf(5) to use instead of /etc/resolv.conf: nameserver, search, options "
        "timeout and attempts, and ``lookup bf`` to ask the servers before the hosts file. Read anew when it changes.",
        source="Momentum: resolv_conf",
    )
)

DNS_DEADLINE: Option[int] = declare(
    Option(
        name="DNS_Deadline",
        kind=kinds.integer_between(1, 300),
        default=30,
        scopes=GLOBAL,
        unit="seconds",
        doc="How long one look-up may take, all tries with all servers together; then its mail waits for its next try.",
        source="gsmtp",
        ours=True,
    )
)

DNS_FALLBACK_TO_TCP: Option[bool] = declare(
    Option(
        name="DNS_Fallback_To_TCP",
        kind=kinds.boolean,
        default=True,
        scopes=GLOBAL,
        doc="Whether an answer that doesn't fit into a datagram is asked for again over TCP. Momentum's default is "
        "false, which goes on with half an answer.",
        source="RFC 7766 section 5",
    )
)

MIN_DNS_TTL: Option[int] = declare(
    Option(
        name="Min_DNS_TTL",
        kind=kinds.seconds,
        default=0,
        scopes=GLOBAL,
        unit="seconds",
        doc="Answers are kept that long at least, whatever their TTL.",
        source="Momentum: min_dns_ttl",
    )
)

MAX_DNS_TTL: Option[int] = declare(
    Option(
        name="Max_DNS_TTL",
        kind=kinds.seconds,
        default=4294967295,
        scopes=GLOBAL,
        unit="seconds",
        doc="Answers are kept that long at the most, whatever their TTL.",
        source="Momentum: max_dns_ttl",
    )
)

DNS_CACHE_PURGE_INTERVAL: Option[int] = declare(
    Option(
        name="DNS_Cache_Purge_Interval",
        kind=kinds.integer_between(1),
        default=60,
        scopes=GLOBAL,
        unit="seconds",
        doc="How often answers whose time is over are thrown out. The 20,000 used last are kept at the most.",
        source="Momentum: dns_cache_purge_interval",
    )
)
