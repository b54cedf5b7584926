"""The options of starting and stopping."""

from __future__ import annotations

from gsmtp.config import kinds
from gsmtp.config.option import GLOBAL, Option, declare

DRAIN_TIME: Option[int] = declare(
    Option(
        name="Drain_Time",
        kind=kinds.seconds,
        default=4,
        scopes=GLOBAL,
        unit="seconds",
        doc="How long transactions under way may go on after TERM before their connections are closed. Procfile "
        "runners kill about 5 seconds after TERM.",
        source="gsmtp",
        ours=True,
    )
)
