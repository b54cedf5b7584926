"""``show outbound``: the connections to next hops, those that wait for the next message too.

Source: reference/console-and-logs.md section 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gsmtp.control.command import CommandError, Output, gathered
from gsmtp.control.parts import Parts, Row, mark

if TYPE_CHECKING:
    from gsmtp.control.console import Console


def _connections(console: Console, words: Sequence[str]) -> list[Row]:
    from gsmtp.delivery.connection import CONNECTIONS

    if words:
        raise CommandError("show outbound takes no words")
    data = []
    for connection in sorted(CONNECTIONS, key=lambda one: one.descriptor):
        remote = connection.client.remote
        if connection.descriptor >= 0:
            data.append(
                {
                    "fd": connection.descriptor,
                    "handler": connection.client.mode.value.lower(),
                    "host": str(connection.hop),
                    "family": "IPv6" if ":" in remote else "IPv4",
                    "address": remote,
                }
            )
    return data


@gathered(
    "show outbound",
    _connections,
    help="One line a connection to a next hop: descriptor, protocol, hop and its address.",
)
def show_outbound(console: Console, words: Sequence[str], parts: Parts) -> Output:
    """All that are open."""
    rows = list(parts.marked())
    lines = (
        f"{one['fd']}: [outbound/{one['handler']}] {one['host']} {one['family']} {one['address']}{mark(one)}"
        for one in rows
    )
    return Output(tuple(lines), rows)
