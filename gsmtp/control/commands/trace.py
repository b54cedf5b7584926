"""``trace inbound add``, ``list`` and ``remove``: what both sides of a session said, into a file.

Source: reference/console-and-logs.md section 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gsmtp.control.command import CommandError, Output, command, gathered
from gsmtp.control.parts import Parts, Row
from gsmtp.control.trace_files import open_file
from gsmtp.control.trace_workers import spread
from gsmtp.core.address import parse_network

if TYPE_CHECKING:
    from gsmtp.control.console import Console

_ADD = "trace inbound add NETWORK|* FILE"


@command(
    "trace inbound add",
    syntax=_ADD,
    help="Writes the sessions that begin from now on and come from a network (* for all) to a file on the server. What "
    "is said under TLS is written in clear; passwords and AUTH lines are masked.",
)
def add(console: Console, words: Sequence[str]) -> Output:
    """Register a trace."""
    if len(words) != 2:
        raise CommandError(f"a network and a file are expected: {_ADD}")
    where, path = str(words[0]), str(words[1])
    try:
        network = None if where == "*" else parse_network(where)
    except ValueError as error:
        raise CommandError(f"'{where}' is no network: {error}") from None
    traces = console.host.traces
    tracer = traces.add(network, path, open_file(console, path))
    console.operations.service.make_session = traces.make_session
    return spread(console, Output((f"Registered inbound tracer #{tracer.number}",), {"id": tracer.number}))


def _written(console: Console, words: Sequence[str]) -> list[Row]:
    if words:
        raise CommandError("trace inbound list takes no words")
    return [{"id": tracer.number, "bytes": tracer.written} for tracer in console.host.traces.tracers.values()]


@gathered("trace inbound list", _written, help="The traces that are written.")
def list_traces(console: Console, words: Sequence[str], parts: Parts) -> Output:
    """Two lines each: network, and file with the bytes that were written."""
    lines: list[str] = []
    data = []
    for tracer in console.host.traces.tracers.values():
        network = "*" if tracer.network is None else str(tracer.network)
        written = sum(row["bytes"] for rows in parts.values for row in rows if row["id"] == tracer.number)
        lines += [f"[{tracer.number:6}]  network: {network}", f"             file: {tracer.path} @ {written}"]
        data.append({"id": tracer.number, "network": network, "file": tracer.path, "bytes": written})
    return Output(tuple(lines), data)


@command("trace inbound remove", syntax="trace inbound remove ID", help="Ends a trace and closes its file.")
def remove(console: Console, words: Sequence[str]) -> Output:
    """End one."""
    if len(words) != 1 or not str(words[0]).isdigit():
        raise CommandError("the number of a trace is expected: trace inbound remove ID")
    number = int(words[0])
    traces = console.host.traces
    if traces.remove(number) is None:
        raise CommandError(f"there is no inbound tracer #{number}")
    console.operations.service.make_session = traces.make_session
    return spread(console, Output((f"Removed inbound tracer #{number}",), {"id": number}))
