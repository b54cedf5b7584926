"""Traces with workers: the parent knows which there are, and each worker writes them.

A worker is always told of all traces, so what it missed it learns with the next one, and one that replaces another when
it begins to serve. All of them append to one file, whole lines at a time.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Final

from gsmtp.control.command import Output
from gsmtp.control.options import TRACE_SMTP_MODE
from gsmtp.core.address import parse_network
from gsmtp.core.errors import ConfigError, GsmtpError

if TYPE_CHECKING:
    from gsmtp.control.console import Console
    from gsmtp.control.host import Host
    from gsmtp.control.operations import Operations
    from gsmtp.control.trace_files import TraceFile

QUESTION: Final = "traces"


def wanted(host: Host) -> dict[str, list[list[Any]]]:
    """All traces, for `follow`."""
    return {
        "inbound": [
            [one.number, one.path, None if one.network is None else str(one.network)]
            for one in host.traces.tracers.values()
        ],
        "smtp": [[one.number, one.path, one.binding, one.domain] for one in host.outbound_traces.tracers.values()],
    }


def spread(console: Console, output: Output) -> Output:
    """Tell the workers, if there are any, and say who wasn't reached. Blocks."""
    from gsmtp.control.parts import Parts

    workers = console.operations.workers
    if workers is None:
        return output
    answers = workers.ask_all(QUESTION, wanted(console.host))  # one that is being replaced is told when it serves
    reason = Parts((), missing={one.slot: one.error for one in answers if one.error and one.pid}).reason()
    if not reason:
        return output
    return dataclasses.replace(output, remark=f"not done everywhere: {reason}", is_whole=False)


def follow(operations: Operations, traces: dict[str, list[list[Any]]]) -> None:
    """Write just these traces from now on. Raises GsmtpError with those that can't be written left out."""
    inbound, outbound = operations.host.traces, operations.host.outbound_traces
    for number in set(inbound.tracers) - {one[0] for one in traces["inbound"]}:
        inbound.remove(number)
    for number in set(outbound.tracers) - {one[0] for one in traces["smtp"]}:
        outbound.remove(number)
    failed: list[str] = []
    for number, path, network in traces["inbound"]:
        if number not in inbound.tracers and (file := _opened(operations, path, failed)) is not None:
            inbound.add(None if network is None else parse_network(network), path, file, number=number)
    for number, path, binding, domain in traces["smtp"]:
        if number not in outbound.tracers and (file := _opened(operations, path, failed)) is not None:
            outbound.add(binding, domain, path, file, number=number)
    operations.service.make_session = inbound.make_session
    if failed:
        raise GsmtpError("; ".join(failed))


def _opened(operations: Operations, path: str, failed: list[str]) -> TraceFile | None:
    try:
        return operations.open_log(path, operations.configuration.view[TRACE_SMTP_MODE])
    except ConfigError as error:
        failed.append(str(error))
        return None
