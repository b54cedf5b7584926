"""``summary`` and ``summary reset``: the numbers that one looks at first.

Source: reference/console-and-logs.md sections 4.1 and 6.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from gsmtp.control.command import CommandError, Output, gathered
from gsmtp.control.parts import Parts, Row, total
from gsmtp.control.queue_counts import queued
from gsmtp.control.statistics import counts, own

if TYPE_CHECKING:
    from gsmtp.control.console import Console

_ROWS: Final = (
    ("outbound_concurrency", "Outbound Concurrency", 8, ""),
    ("inbound_concurrency", "Inbound Concurrency", 9, ""),
    ("active_domains", "Active Domains", 8, ""),
    ("active_queue", "Active Queue Size", 7, ""),
    ("delayed_queue", "Delayed Queue Size", 7, ""),
    ("destaged_queue", "Destaged Queue Size", 7, ""),
    ("total_queue", "Total Queue Size", 7, ""),
    ("dns_a_queries", "DNS A Queries", 7, ""),
    ("dns_mx_queries", "DNS MX Queries", 7, ""),
    ("pending_dns_queries", "Pending DNS Queries", 4, ""),
    ("query_rate", "Query Rate", 7, " queries/second"),
    ("delivered", "Successfully Delivered Messages", 7, ""),
    ("failed", "Failed Messages", 7, ""),
    ("rejected", "Rejected Messages", 7, ""),
    ("received", "Received Messages", 7, ""),
    ("delivery_rate", "Delivery Rate", 7, " messages/second"),
    ("reception_rate", "Reception Rate", 7, " messages/second"),
    ("since_reset_s", "Statistics Last Reset", 7, " seconds"),
    ("uptime_s", "Uptime", 7, " seconds"),
)
"""Key, label, width and unit, as the documented sample has them."""


def _now(console: Console, words: Sequence[str]) -> Row:
    """The numbers of this process as they are now, and beside them what it counted since the last reset."""
    if words:
        raise CommandError(f"'{' '.join(words)}' is too much: summary [reset]")
    operations = console.operations
    stats = operations.delivery.stats()
    try:
        active, delayed = queued(console)
    except CommandError:  # all the other numbers are wanted more than ever then
        active, delayed = stats.active + stats.waiting, stats.delayed
    return {
        "outbound_concurrency": stats.active,
        "inbound_concurrency": len(operations.service.connections),
        "active_domains": operations.delivery.active_destinations,
        "active_queue": active,
        "delayed_queue": delayed,
        "pending_dns_queries": operations.delivery.dns.pending,
        "counted": own(operations),
    }


def numbers(console: Console, found: Row) -> dict[str, int | float]:
    """All numbers of the table by key, of those that were counted."""
    passed_s = max(time.monotonic() - console.host.statistics.since_mono, 0.001)
    return {
        **found,
        "destaged_queue": 0,
        "total_queue": found["active_queue"] + found["delayed_queue"],
        "query_rate": round((found["dns_a_queries"] + found["dns_mx_queries"]) / passed_s, 2),
        "delivery_rate": round(found["delivered"] / passed_s, 2),
        "reception_rate": round(found["received"] / passed_s, 2),
        "since_reset_s": int(passed_s),
        "uptime_s": int(time.time() - console.operations.started_wall),
    }


def table(found: dict[str, int | float]) -> tuple[str, ...]:
    """The documented lines.

    >>> table({**dict.fromkeys((key for key, *_ in _ROWS), 0), "query_rate": 0.36})[11]
    '        Query Rate:   0.36 queries/second'
    """
    lines = ["Summary Statistics"]
    for key, label, width, unit in _ROWS:
        value = found[key]
        text = f"{value:.2f}" if key.endswith("_rate") else str(value)
        lines.append(f"        {label}:{text:>{width}}{unit}")
    return tuple(lines)


@gathered(
    "summary",
    _now,
    help="Sessions, queue, and what was received, delivered, refused and failed since the last reset.",
)
def summary(console: Console, words: Sequence[str], parts: Parts) -> Output:
    """The table. A domain that several workers have mail for counts once for each in Active Domains."""
    found = numbers(console, {**total(parts.values), **_counted(console, parts)})
    return Output(table(found), {key: found[key] for key, *_ in _ROWS})


def _counted(console: Console, parts: Parts) -> dict[str, int]:
    """What was counted since the reset, with what workers had counted that are gone."""
    statistics = console.host.statistics
    for part in parts.found:
        counted = part.data["counted"]
        statistics.note(part.slot, counted["pid"], counted["since"])
    return statistics.together()


def _reset(console: Console, words: Sequence[str]) -> Row:
    if words:
        raise CommandError("summary reset takes no words")
    console.host.statistics.reset(counts(console.operations))
    return {}


@gathered("summary reset", _reset, help="Counts messages and DNS queries from now on.", changes=True)
def reset(console: Console, words: Sequence[str], parts: Parts) -> Output:
    """Forget what was counted."""
    if parts.has_workers:
        console.host.statistics.reset({})
    return Output(("statistics cleared.",), {"cleared": True})
