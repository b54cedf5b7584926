"""``mailq``, ``active``, ``delayed``, ``domain`` and ``domain all``: how much waits for whom, and what became of it.

Active is what is due by now, delayed what is due later; what is held or a dead letter is neither (``queue summary``).
Source: reference/console-and-logs.md section 4.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from gsmtp.control.command import CommandError, Output, command
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


@command(
    "mailq",
    syntax=_MAILQ,
    help="Recipients that are due (AQ) and delayed (DQ) by binding and domain: the NUMBER (20) pairs with the most.",
)
def mailq(console: Console, words: Sequence[str]) -> Output:
    """The largest ones, in the order of groups, bindings and domains."""
    domains, bindings, limit = _wanted(words)
    found = [
        one
        for one in waiting(console, with_bindings=True)
        if (not domains or one.domain in domains) and (not bindings or (one.binding or DEFAULT) in bindings)
    ]
    largest = heapq.nlargest(limit, found, key=lambda one: one.active + one.delayed)
    names = console.operations.configuration.binding_names
    rows = sorted(
        (names(one.binding).group, one.binding or DEFAULT, one.domain, one.active, one.delayed) for one in largest
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


def _row(console: Console, one: Waiting, connections: Counter[str]) -> dict[str, object]:
    delivered, failed = console.operations.delivery.domain_counts.of(one.domain)
    return {
        "domain": one.domain,
        "connections": connections[one.domain],
        "active": one.active,
        "delayed": one.delayed,
        "delivered": delivered,
        "failed": failed,
    }


def _line(row: dict[str, object]) -> str:
    return (
        f"Domain: {row['domain'] or '(none)':>30}  C: {row['connections']:2}  A: {row['active']:6}  "
        f"D: {row['delayed']:5}  S:{row['delivered']:6}"
    )


def _totals(console: Console, found: Sequence[Waiting], connections: Counter[str]) -> tuple[int, int, int, int]:
    active, delayed = sum(one.active for one in found), sum(one.delayed for one in found)
    return connections.total(), active, delayed, console.operations.delivery.stats().delivered


def _above(console: Console, words: Sequence[str], what: str) -> Output:
    threshold = str(words[0]) if words else "0"
    if len(words) > 1 or not threshold.isdigit():
        raise CommandError(f"a number is expected: {what} [THRESHOLD]")
    found = sorted(waiting(console), key=lambda one: one.domain)
    connections = _connections()
    large = [one for one in found if getattr(one, what) > int(threshold)]
    total = _totals(console, found, connections)

    def lines() -> Iterator[str]:
        for one in large:
            yield _line(_row(console, one, connections))
        yield "{:>38}  C: {:2}  A: {:6}  D: {:5}  S:{:6}".format("Total:", *total)

    return Output(lines(), (_row(console, one, connections) for one in large))


@command(
    "active",
    syntax="active [THRESHOLD]",
    help="Domains for which more than THRESHOLD (0) recipients are due: connections, active, delayed, sent.",
)
def active(console: Console, words: Sequence[str]) -> Output:
    """One line a domain, and the totals of all domains."""
    return _above(console, words, "active")


@command(
    "delayed",
    syntax="delayed [THRESHOLD]",
    help="Domains for which more than THRESHOLD (0) recipients are delayed: connections, active, delayed, sent.",
)
def delayed(console: Console, words: Sequence[str]) -> Output:
    """One line a domain, and the totals of all domains."""
    return _above(console, words, "delayed")


@command("domain all", help="All domains for which anything waits: connections, active, delayed, sent.")
def domain_all(console: Console, words: Sequence[str]) -> Output:
    """One line a domain, and the totals."""
    if words:
        raise CommandError("domain all takes no words")
    found = sorted(waiting(console), key=lambda one: one.domain)
    connections = _connections()
    total = _totals(console, found, connections)

    def lines() -> Iterator[str]:
        yield "Domain summary:"
        for one in found:
            yield _line(_row(console, one, connections))
        yield "Totals: C: {:3}  A: {:6}  D: {:5}  S:{:6}".format(*total)

    return Output(lines(), (_row(console, one, connections) for one in found))


# --- one domain


@command(
    "domain",
    syntax="domain DOMAIN",
    help="Where mail for a domain goes, how much waits for it, what became of the rest since the start, and the "
    "connections that served it last.",
)
def domain(console: Console, words: Sequence[str]) -> Output:
    """All that is known of it."""
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
    lines = [
        f"Domain '{name}' {row['route']}",
        "Queue:",
        f"        Active:{found.active:11}",
        f"        Delayed:{found.delayed:10}",
        f"Deliveries:{row['delivered']:10}",
        f"Failures:{row['failed']:12}",
        f"Active Connections: {len(connections)}",
    ]
    data = []
    for number, connection in enumerate(sorted(connections, key=lambda one: one.descriptor), 1):
        client = connection.client
        state = "idle" if client.is_ready else _STAGES.get(STAGES.get(client.step, Stage.UNKNOWN), "unknown")
        lines.append(f"[{number:2}] FD: {connection.descriptor:6}  IP: {client.remote:>15}  State: {state}")
        data.append({"fd": connection.descriptor, "ip": client.remote, "state": state})
    return Output(tuple(lines), {**row, "connections": data})


def _way(console: Console, name: str) -> tuple[str, list[str]]:
    try:
        route = console.operations.delivery.route(name)
    except DeliveryError as error:
        return f"goes nowhere: {error}", []
    hops = [str(hop) for hop in route.hops]
    return f"goes by {route.transport}" + (f" to {', '.join(hops)}" if hops else ""), hops
