"""The options that limit how much goes out at a time, and in a time.

Source: reference/policy-and-context.md section 5, reference/scopes-and-fallback.md section 1.
"""

from __future__ import annotations

from gsmtp.config import kinds
from gsmtp.config.kinds import Kind, Rate
from gsmtp.config.option import GLOBAL, OUTBOUND, Option, declare
from gsmtp.config.tree import Value

MAX_OUTBOUND_CONNECTIONS: Option[int] = declare(
    Option(
        name="Max_Outbound_Connections",
        kind=kinds.integer_between(1),
        default=32,
        scopes=(*OUTBOUND, "host"),
        doc="Connections at one time for one domain; domains that share their next hops share them.",
        source="Momentum: max_outbound_connections",
    )
)

SERVER_MAX_OUTBOUND_CONNECTIONS: Option[int] = declare(
    Option(
        name="Server_Max_Outbound_Connections",
        kind=kinds.integer_between(1),
        default=20000,
        scopes=("binding", "binding_group", "global"),
        doc="Connections at one time for all domains together, idle ones included; in a Binding or Binding_Group for "
        "the mail that goes out by it.",
        source="Momentum: server_max_outbound_connections",
    )
)

SERVER_RESERVE_OUTBOUND_CONNECTIONS: Option[int] = declare(
    Option(
        name="Server_Reserve_Outbound_Connections",
        kind=kinds.count,
        default=200,
        scopes=GLOBAL,
        doc="How many of Server_Max_Outbound_Connections only destinations may use for which nothing is under way "
        "yet; a tenth of it at the most.",
        source="Momentum: server_reserve_outbound_connections",
    )
)


def _optional_count(value: Value) -> int | None:
    return kinds.integer_between(1).parse(value) if kinds.scalar_text(value) else None


SCOPE_MAX_OUTBOUND_CONNECTIONS: Option[int | None] = declare(
    Option(
        name="Scope_Max_Outbound_Connections",
        kind=Kind(
            "integer",
            _optional_count,
            'a whole number not below 1, or "" for no limit',
            show=lambda value: str(value) if value is not None else '""',
        ),
        default=None,
        scopes=OUTBOUND,
        doc="Connections at one time for all mail together that falls back to the scope which sets it. "
        "Empty: no limit.",
        source="Momentum: scope_max_outbound_connections",
    )
)

MAX_RECIPIENTS_PER_BATCH: Option[int] = declare(
    Option(
        name="Max_Recipients_Per_Batch",
        kind=kinds.integer_between(1),
        default=100,
        scopes=OUTBOUND,
        doc="Recipients of a message in one transaction; more of them make more transactions. 100 is what every "
        "server has to take.",
        source="RFC 5321 section 4.5.3.1.8",
    )
)


def _optional_rate(value: Value) -> Rate | None:
    return kinds.rate.parse(value) if kinds.scalar_text(value) else None


_OPTIONAL_RATE: Kind[Rate | None] = Kind(
    "rate",
    _optional_rate,
    kinds.rate.describe + ', or "" for no limit',
    show=lambda value: kinds.rate.show(value) if value is not None else '""',
)


def _throttle(name: str, what: str) -> Option[Rate | None]:
    return declare(
        Option(
            name=name,
            kind=_OPTIONAL_RATE,
            default=None,
            scopes=OUTBOUND,
            doc=f'{what}, as "N" a second or "N/S" in S seconds; what is beyond that waits in the queue. All mail that '
            "falls back to the scope which sets it shares one allowance. Empty: no limit.",
            source=f"Momentum: {name.lower()}",
        )
    )


OUTBOUND_THROTTLE_MESSAGES = _throttle("Outbound_Throttle_Messages", "Transactions begun")
OUTBOUND_THROTTLE_CONNECTIONS = _throttle("Outbound_Throttle_Connections", "Connections opened")
