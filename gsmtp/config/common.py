"""Options that the configuration layer itself acts on, and helpers for declarations in every room.

`Pathway`, `Enable` and `Use_SSL` decide how views are chained and which sockets are to be opened, `Match_Cache_*`
bounds the views' cache. The rooms that serve them import them from here.
"""

from __future__ import annotations

from gsmtp.config import kinds
from gsmtp.config.diagnostics import Problems
from gsmtp.config.option import GLOBAL, INBOUND, SOCKET, Option, declare
from gsmtp.config.tree import Scope, Setting

PATHWAY: Option[str] = declare(
    Option(
        name="Pathway",
        kind=kinds.line,
        default="default",
        scopes=("esmtp_listener", "listen", "peer"),
        doc="Attaches the Pathway stanza of that name: its options apply where listener, Listen and Peer set none.",
        source="Momentum: pathway",
    )
)

ENABLE: Option[bool] = declare(
    Option(
        name="Enable",
        kind=kinds.boolean,
        default=True,
        scopes=SOCKET,
        doc="Whether the socket is opened. A reload that sets it to false closes the socket and leaves its sessions "
        "alone.",
        source="Momentum: enable",
    )
)

TLS_LATER = "TLS is not served yet: STARTTLS is not offered and no socket speaks TLS"


def _examine_use_ssl(value: bool, setting: Setting, scope: Scope, problems: Problems) -> None:
    if value:
        what = f"{scope} would speak clear text and is not opened" if scope.kind == "listen" else "it has no effect"
        problems.warning(
            setting.span,
            f"Use_SSL is not served yet: {what}",
            hint="put a TLS proxy in front, or take Use_SSL away to serve clear text",
            code="not-served",
        )


USE_SSL: Option[bool] = declare(
    Option(
        name="Use_SSL",
        kind=kinds.boolean,
        default=False,
        scopes=INBOUND,
        doc="TLS from the first byte (port 465). Not served yet: a Listen for which it is true is not opened.",
        dynamic="socket",
        source="RFC 8314 section 3.3",
        unserved=TLS_LATER,
        examine=_examine_use_ssl,
    )
)

MATCH_CACHE_SIZE: Option[int] = declare(
    Option(
        name="Match_Cache_Size",
        kind=kinds.integer_between(1),
        default=16384,
        scopes=GLOBAL,
        doc="How many clients' resolved options (Peer matches) are remembered for each socket.",
        source="Momentum: match_cache_size",
    )
)

MATCH_CACHE_LIFE: Option[int] = declare(
    Option(
        name="Match_Cache_Life",
        kind=kinds.seconds,
        default=0,
        scopes=GLOBAL,
        unit="seconds",
        doc="How long a remembered Peer match is used; 0 means as long as the configuration lives.",
        source="Momentum: match_cache_life",
    )
)
