"""``trace smtp add``, ``list`` and ``remove``: what is said to next hops, into a file.

Source: reference/console-and-logs.md section 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from gsmtp.control.command import CommandError, Output, command, gathered
from gsmtp.control.parts import Parts, Row
from gsmtp.control.trace_files import open_file
from gsmtp.control.trace_workers import spread
from gsmtp.core.domains import normal_domain

if TYPE_CHECKING:
    from gsmtp.control.console import Console

_ADD: Final = "trace smtp add BINDING|* DOMAIN|* FILE"
_NO_BINDING: Final = "default"


@command(
    "trace smtp add",
    syntax=_ADD,
    help="Writes the SMTP and LMTP deliveries that begin from now on, by a binding and to a domain (* for all), to a "
    "file on the server, in clear under TLS too. The binding 'default' is for mail that has none.",
)
def add(console: Console, words: Sequence[str]) -> Output:
    """Register a trace."""
    if len(words) != 3:
        raise CommandError(f"a binding, a domain and a file are expected: {_ADD}")
    binding, domain, path = (str(word) for word in words)
    file = open_file(console, path)
    tracer = console.host.outbound_traces.add(
        None if binding == "*" else "" if binding == _NO_BINDING else binding,
        None if domain == "*" else normal_domain(domain),
        path,
        file,
    )
    return spread(console, Output((f"Registered smtp tracer #{tracer.number}",), {"id": tracer.number}))


def _written(console: Console, words: Sequence[str]) -> list[Row]:
    if words:
        raise CommandError("trace smtp list takes no words")
    return [{"id": tracer.number, "bytes": tracer.written} for tracer in console.host.outbound_traces.tracers.values()]


@gathered("trace smtp list", _written, help="The traces of deliveries that are written.")
def list_traces(console: Console, words: Sequence[str], parts: Parts) -> Output:
    """Three lines each: binding, domain, and file with the bytes that were written."""
    lines: list[str] = []
    data = []
    for tracer in console.host.outbound_traces.tracers.values():
        binding = "*" if tracer.binding is None else tracer.binding or _NO_BINDING
        domain = "*" if tracer.domain is None else tracer.domain
        written = sum(row["bytes"] for rows in parts.values for row in rows if row["id"] == tracer.number)
        lines += [
            f"[{tracer.number:6}]  binding: {binding}",
            f"           domain: {domain}",
            f"             file: {tracer.path} @ {written}",
        ]
        one = {"id": tracer.number, "binding": binding, "domain": domain}
        data.append({**one, "file": tracer.path, "bytes": written})
    return Output(tuple(lines), data)


@command("trace smtp remove", syntax="trace smtp remove ID", help="Ends a trace of deliveries and closes its file.")
def remove(console: Console, words: Sequence[str]) -> Output:
    """End one."""
    if len(words) != 1 or not str(words[0]).isdigit():
        raise CommandError("the number of a trace is expected: trace smtp remove ID")
    number = int(words[0])
    if console.host.outbound_traces.remove(number) is None:
        raise CommandError(f"there is no smtp tracer #{number}")
    return spread(console, Output((f"Removed smtp tracer #{number}",), {"id": number}))
