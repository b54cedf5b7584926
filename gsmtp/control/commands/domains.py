"""``mailq``, ``active``, ``delayed``, ``domain`` and ``domain all``: how much waits for whom, and what became of it.

Active is what is due by now, delayed what is due later; what is held or a dead letter is neither (``queue summary``).
Source: reference/console-and-logs.md section 4.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from gsmtp.control.command import CommandError, Output, gathered
from gsmtp.control.parts import Part, Parts, Row, by, grouped, mark, total
from gsmtp.control.queue_counts import waiting
from gsmtp.core.domains import normal_domain
from gsmtp.core.errors import DeliveryError
from gsmtp.core.stages import Stage

if TYPE_CHECKING:
    from gsmtp.control.console import Console
    from gsmtp.spool.domains import Waiting

DEFAULT: Final = "default"
"""What the binding of mail that has none is called, and its group."""
_MAILQ: Final = "mailq [--domain DOMAIN ...] [--binding BINDING ...] [--limit NUMBER]"
_OPTIONS: Final = {"--domain": "domain", "-d": "domain", "--binding": "binding", "-b": "binding", "--limit": "limit",
                   "-l": "limit"}  # fmt: skip
_MAILQ_ROW: Final = "{:<27} {:>30} {:>7} {:>7}"
_STAGES: Final = {
    Stage.READING_BANNER: "reading BANNER",
    Stage.DURING_EHLO: "during EHLO",
    Stage.DURING_STARTTLS: "during STARTTLS",
    Stage.TLS_HANDSHAKE: "handshaking TLS",
    Stage.DURING_XCLIENT: "during XCLIENT",
    Stage.IDLE: "idle",
    Stage.DURING_MAIL: "during MAIL FROM",
    Stage.DURING_RCPT: "during RCPT TO",
    Stage.DURING_DATA: "during DATA",
    Stage.SENDING_BODY: "sending BODY",
    Stage.READING_CONFIRMATION: "reading confirmation",
    Stage.DURING_RSET: "during RSET",
}
"""As the logs call them (reference/console-and-logs.md section 5.1)."""


# --- mailq


def _pairs(console: Console, words: Sequence[str]) -> Iterator[Row]:
    """What waits by domain and binding, in that order."""
    domains, bindings, _ = _wanted(words)
    found = [
        one
        for one in waiting(console, with_bindings=True)
        if (not domains or one.domain in domains) and (not bindings or (one.binding or DEFAULT) in bindings)
    ]
    for one in sorted(found, key=lambda one: (one.domain, one.binding)):
        yield {"domain": one.domain, "binding": one.binding, "aq": one.active, "dq": one.delayed}


@gathered(
    "mailq",
    _pairs,
    syntax=_MAILQ,
    help="Recipients that are due (AQ) and delayed (DQ) by binding and domain: the NUMBER (20) pairs with the most.",
)
def mailq(console: Console, words: Sequence[str], parts: Parts) -> Output:
    """The largest ones, in the order of groups, bindings and domains."""
    _, _, limit = _wanted(words)
    found = (total(rows) for rows in grouped(parts.merged(by("domain", "binding")), "domain", "binding"))
    largest = heapq.nlargest(limit, found, key=lambda one: one["aq"] + one["dq"])
    names = console.operations.configuration.binding_names
    rows = sorted(
        (names(one["binding"]).group, one["binding"] or DEFAULT, one["domain"], one["aq"], one["dq"]) for one in largest
    )
    lines = [_MAILQ_ROW.format("Group/Binding", "Domain", "AQ", "DQ"), "-" * 74]
    lines += [_MAILQ_ROW.format(f"{group}/{binding}", *more) for group, binding, *more in rows]
    keys = ("group", "binding", "domain", "aq", "dq")
    return Output(tuple(lines), [dict(zip(keys, row, strict=True)) for row in rows])


def _wanted(words: Sequence[str]) -> tuple[set[str], set[str], int]:
    given: dict[str, list[str]] = {"domain": [], "binding": [], "limit": ["20"]}
    rest = iter(words)
    for word in rest:
        key, is_joined, value = str(word).partition("=")
        if key.lower() not in _OPTIONS:
            raise CommandError(f"'{word}' is not expected: {_MAILQ}")
        value = value if is_joined else str(next(rest, ""))
        if not value:
            raise CommandError(f"'{word}' of what? {_MAILQ}")
        given[_OPTIONS[key.lower()]].append(value)
    if not given["limit"][-1].isdigit() or not int(given["limit"][-1]):
        raise CommandError(f"'{given['limit'][-1]}' is no limit: a number from 1 on is expected")
    return {normal_domain(one) for one in given["domain"]}, set(given["binding"]), int(given["limit"][-1])


# --- active, delayed, domain all


def _connections() -> Counter[str]:
    """Open connections by the domain that they last served."""
    from gsmtp.delivery.connection import CONNECTIONS

    return Counter(connection.domain for connection in CONNECTIONS if connection.descriptor >= 0)


def _row(console: Console, one: Waiting, connections: Counter[str]) -> Row:
    delivered, failed = console.operations.delivery.domain_counts.of(one.domain)
    return {
        "domain": one.domain,
        "connections": connections[one.domain],
        "active": one.active,
        "delayed": one.delayed,
        "delivered": delivered,
        "failed": failed,
    }


def _line(row: Row) -> str:
    return (
        f"Domain: {row['domain'] or '(none)':>30}  C: {row['connections']:2}  A: {row['active']:6}  "
        f"D: {row['delayed']:5}  S:{row['delivered']:6}"
    )


def _by_domain(console: Console, words: Sequence[str]) -> Iterator[Row]:
    """First connections and deliveries in all, then a row a domain for which anything waits, by name."""
    found = sorted(waiting(console), key=lambda one: one.domain)
    connections = _connections()
    yield {"connections": connections.total(), "delivered": console.operations.delivery.stats().delivered}
    for one in found:
        yield _row(console, one, connections)


class _Listing:
    """The rows of all processes, and the sums of those that were given out, shown or not."""

    def __init__(self, parts: Parts) -> None:
        self.totals = total(next(part.data) for part in parts.found) | {"active": 0, "delayed": 0}
        self._rows = grouped(parts.merged(by("domain")), "domain")

    def __iter__(self) -> Iterator[Row]:
        for rows in self._rows:
            row = total(rows)
            self.totals["active"] += row["active"]
            self.totals["delayed"] += row["delayed"]
            yield row

    def last_line(self, shape: str) -> str:
        return shape.format(*(self.totals[key] for key in ("connections", "active", "delayed", "delivered")))


def _above(words: Sequence[str], what: str, parts: Parts) -> Output:
    threshold = _threshold(words, what)
    listing = _Listing(parts)
    large = (row for row in listing if row[what] > threshold)

    def lines() -> Iterator[str]:
        yield from map(_line, large)
        yield listing.last_line("{:>38}".format("Total:") + "  C: {:2}  A: {:6}  D: {:5}  S:{:6}")

    return Output(lines(), large)


def _threshold(words: Sequence[str], what: str) -> int:
    threshold = str(words[0]) if words else "0"
    if len(words) > 1 or not threshold.isdigit():
        raise CommandError(f"a number is expected: {what} [THRESHOLD]")
    return int(threshold)


@gathered(
    "active",
    _by_domain,
    syntax="active [THRESHOLD]",
    help="Domains for which more than THRESHOLD (0) recipients are due: connections, active, delayed, sent.",
)
def active(console: Console, words: Sequence[str], parts: Parts) -> Output:
    """One line a domain, and the totals of all domains."""
    return _above(words, "active", parts)


@gathered(
    "delayed",
    _by_domain,
    syntax="delayed [THRESHOLD]",
    help="Domains for which more than THRESHOLD (0) recipients are delayed: connections, active, delayed, sent.",
)
def delayed(console: Console, words: Sequence[str], parts: Parts) -> Output:
    """One line a domain, and the totals of all domains."""
    return _above(words, "delayed", parts)


@gathered("domain all", _by_domain, help="All domains for which anything waits: connections, active, delayed, sent.")
def domain_all(console: Console, words: Sequence[str], parts: Parts) -> Output:
    """One line a domain, and the totals."""
    if words:
        raise CommandError("domain all takes no words")
    listing = _Listing(parts)

    def lines() -> Iterator[str]:
        yield "Domain summary:"
        yield from map(_line, listing)
        yield listing.last_line("Totals: C: {:3}  A: {:6}  D: {:5}  S:{:6}")

    return Output(lines(), iter(listing))


# --- one domain


def _known(console: Console, words: Sequence[str]) -> Row:
    """All that this process knows of a domain."""
    from gsmtp.delivery.connection import CONNECTIONS
    from gsmtp.delivery.steps import STAGES
    from gsmtp.spool.domains import Waiting

    if len(words) != 1:
        raise CommandError("one domain is expected: domain DOMAIN")
    name = normal_domain(str(words[0]))
    found = next((one for one in waiting(console) if one.domain == name), Waiting(name, "", 0, 0))
    connections = [one for one in CONNECTIONS if one.domain == name and one.descriptor >= 0]
    row = _row(console, found, Counter({name: len(connections)}))
    row["route"], row["hops"] = _way(console, name)
    row["open"] = []
    for connection in sorted(connections, key=lambda one: one.descriptor):
        client = connection.client
        state = "idle" if client.is_ready else _STAGES.get(STAGES.get(client.step, Stage.UNKNOWN), "unknown")
        row["open"].append({"fd": connection.descriptor, "ip": client.remote, "state": state})
    return row


@gathered(
    "domain",
    _known,
    syntax="domain DOMAIN",
    help="Where mail for a domain goes, how much waits for it, what became of the rest since the start, and the "
    "connections that served it last.",
)
def domain(console: Console, words: Sequence[str], parts: Parts) -> Output:
    """All that is known of it."""
    opened = Parts([Part(one.slot, one.data.pop("open")) for one in parts.found], parts.has_workers)
    row = total(parts.values)
    connections = list(opened.marked())
    lines = [
        f"Domain '{row['domain']}' {row['route']}",
        "Queue:",
        f"        Active:{row['active']:11}",
        f"        Delayed:{row['delayed']:10}",
        f"Deliveries:{row['delivered']:10}",
        f"Failures:{row['failed']:12}",
        f"Active Connections: {len(connections)}",
    ]
    for number, one in enumerate(connections, 1):
        lines.append(f"[{number:2}] FD: {one['fd']:6}  IP: {one['ip']:>15}  State: {one['state']}{mark(one)}")
    return Output(tuple(lines), {**row, "connections": connections})


def _way(console: Console, name: str) -> tuple[str, list[str]]:
    try:
        route = console.operations.delivery.route(name)
    except DeliveryError as error:
        return f"goes nowhere: {error}", []
    hops = [str(hop) for hop in route.hops]
    return f"goes by {route.transport}" + (f" to {', '.join(hops)}" if hops else ""), hops
