"""``inbound_audit show ip``: what the module inbound_audit has counted for a client or network.

Source: reference/console-and-logs.md section 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gsmtp.control.command import CommandError, Output, gathered
from gsmtp.control.parts import Parts, Row
from gsmtp.policy import audit

if TYPE_CHECKING:
    from gsmtp.control.console import Console


def _counted(console: Console, words: Sequence[str]) -> list[Row]:
    if len(words) != 1:
        raise CommandError("inbound_audit show ip wants an address or a network, such as 192.0.2.0/24")
    running = audit.current()
    if running is None:
        raise CommandError("the configuration has no inbound_audit stanza")
    rows = []
    for kind in audit.KINDS:
        for seconds, windows in running.monitors:
            for back in range(windows):
                try:
                    count = running.count(kind, str(words[0]), seconds, back)
                except ValueError as error:
                    raise CommandError(str(error)) from None
                rows.append({"kind": kind, "seconds": seconds, "back": back, "count": count})
    return rows


@gathered(
    "inbound_audit show ip",
    _counted,
    syntax="inbound_audit show ip ADDRESS[/LENGTH]",
    help="Shows connections, receptions and rejections of a client or network in each window: seconds/windows back.",
)
def show_ip(console: Console, words: Sequence[str], parts: Parts) -> Output:
    """One line a kind and window."""
    counts = [sum(row["count"] for row in same) for same in zip(*parts.values, strict=True)]
    rows = [{**row, "count": count} for row, count in zip(parts.values[0], counts, strict=True)]
    lines = (f"{str(row['kind']).capitalize()} {row['seconds']}/{row['back']}: {row['count']}" for row in rows)
    return Output(tuple(lines), {"network": str(words[0]), "counts": rows})
