"""The options of the spool: where messages are kept, and how surely.

Source: reference/esmtp-listener.md section 10.
"""

from __future__ import annotations

from gsmtp.config import kinds
from gsmtp.config.diagnostics import Problems
from gsmtp.config.option import GLOBAL, Option, declare
from gsmtp.config.tree import Scope, Setting

SPOOLBASE: Option[str] = declare(
    Option(
        name="Spoolbase",
        kind=kinds.path,
        default="/var/spool/gsmtp",
        scopes=GLOBAL,
        dynamic=False,
        doc="Directory of the spool.",
        source="Momentum: spoolbase",
    )
)

SPOOL_MODE: Option[int] = declare(
    Option(
        name="Spool_Mode",
        kind=kinds.mode,
        default=0o640,
        scopes=GLOBAL,
        dynamic=False,
        doc="Permission bits of new files in the spool.",
        source="Momentum: spool_mode",
    )
)


def _examine_fsync(value: bool, setting: Setting, scope: Scope, problems: Problems) -> None:
    if not value:
        problems.warning(
            setting.span,
            "Force_Fsync is false: a power cut may lose messages that were answered with 250",
            hint="leave it away; commits are shared by the messages that wait together, so syncing costs little",
            code="unsafe-spool",
        )


FORCE_FSYNC: Option[bool] = declare(
    Option(
        name="Force_Fsync",
        kind=kinds.boolean,
        default=True,
        scopes=GLOBAL,
        dynamic=False,
        doc="Whether a message is synced to disk before its 250. Momentum's default is false; ours is true.",
        source="RFC 5321 section 6.1",
        examine=_examine_fsync,
    )
)

LARGE_MESSAGE_THRESHOLD: Option[int] = declare(
    Option(
        name="Large_Message_Threshold",
        kind=kinds.size,
        default=131072,
        scopes=GLOBAL,
        dynamic=False,
        unit="bytes",
        doc="Bodies above this size are streamed to a file of their own and never held in memory whole.",
        source="Momentum: large_message_threshold",
    )
)

IN_DOUBT: Option[str] = declare(
    Option(
        name="In_Doubt",
        kind=kinds.enumeration("retry", "hold"),
        default="retry",
        scopes=GLOBAL,
        dynamic=False,
        doc="What the next start does with recipients whose hand-off a crash cut off between the last byte and the "
        "noted answer: ``retry`` may deliver a second time, ``hold`` sets them aside until somebody has looked "
        "(`gsmtp queue release`).",
        source="RFC 1047",
        ours=True,
    )
)

SPOOL_RESERVE: Option[int] = declare(
    Option(
        name="Spool_Reserve",
        kind=kinds.size,
        default=16 * 1024 * 1024,
        scopes=GLOBAL,
        dynamic=False,
        unit="bytes",
        doc="Bytes kept free on the spool's file system: with less, MAIL FROM gets 452 4.3.1 until there is room "
        "again.",
        source="RFC 1870 section 6.1",
        ours=True,
    )
)
