"""``show inbound`` and ``count``: who is connected, and from where.

Source: reference/console-and-logs.md section 4.
"""

from __future__ import annotations

import socket
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Final

from gsmtp.config.suggest import did_you_mean
from gsmtp.control.command import CommandError, Output, gathered
from gsmtp.control.parts import Parts, Row, mark, total
from gsmtp.control.reconfigure import off_the_hub
from gsmtp.core.address import parse_network

if TYPE_CHECKING:
    from gsmtp.control.console import Console
    from gsmtp.server.connection import Connection

HANDLER: Final = "esmtp_message_factory"
_FAMILIES: Final[dict[int, str]] = {socket.AF_INET: "IPv4", socket.AF_INET6: "IPv6", socket.AF_UNIX: "Unix"}
_SERVICES: Final = ("SMTP", "Control")
_COUNT: Final = "count SERVICE [BITS | BITS-BITS | NETWORK]"


def _row(connection: Connection, now_mono: float) -> Row:
    facts = connection.facts
    family = _FAMILIES.get(connection.family, "?")
    is_unix = family == "Unix" and not facts.client_port
    return {
        "fd": connection.descriptor,
        "handler": HANDLER,
        "family": family if is_unix or family != "Unix" else "IPv6" if ":" in facts.client_ip else "IPv4",
        "client": facts.endpoint if is_unix else connection.client,
        "session": facts.connection_id,
        "state": connection.session.state_name,
        "seconds": round(max(now_mono - connection.since_mono, 0.0), 3),
        "floating": connection.is_floating,
        "user": connection.session.auth_user or None,
        "tls": connection.session.tls_cipher or None,
    }


def _line(row: Row) -> str:
    floating = "  [floating]" if row["floating"] else ""
    return (
        f"{row['fd']}: [inbound/{row['handler']}] {row['family']} {row['client']} {row['state']} "
        f"(for {row['seconds']:.3f}s){floating}{mark(row)}"
    )


def _rows(console: Console) -> Iterator[Row]:
    for connection in sorted(console.operations.service.connections, key=lambda one: one.descriptor):
        if not connection.is_closed:  # it may have gone while those before it were sent
            yield _row(connection, time.monotonic())


def _sessions(console: Console, words: Sequence[str]) -> Iterator[Row]:
    if words:
        raise CommandError("show inbound takes no words")
    return _rows(console)


@gathered(
    "show inbound",
    _sessions,
    help="One line a session for mail: descriptor, client, state, how long it has been silent. [floating]: a hook, a "
    "store or the disk is at work for it.",
)
def show_inbound(console: Console, words: Sequence[str], parts: Parts) -> Output:
    """All sessions, made while they are sent."""
    rows = parts.marked()
    return Output(map(_line, rows), rows)


def _clients(console: Console, words: Sequence[str]) -> Row:
    """Sessions by address; those of the console are where that is."""
    if not 1 <= len(words) <= 2:
        raise CommandError(f"a service is expected: {_COUNT}")
    service = str(words[0])
    if service == "SMTP":
        return Counter(one.facts.client_ip or "127.0.0.1" for one in console.operations.service.connections)
    if service == "Control":
        return Counter(seat.client_ip or "127.0.0.1" for seat in console.host.seats)
    hint = did_you_mean(service, _SERVICES) or f"there is: {', '.join(_SERVICES)}"
    raise CommandError(f"unknown service '{service}'; {hint}")


@gathered(
    "count",
    _clients,
    syntax=_COUNT,
    help="Sessions by network: with BITS one line for each network of that prefix length that has any, with NETWORK "
    "their number in it. SERVICE is SMTP or Control.",
    here_too=True,
)
def count(console: Console, words: Sequence[str], parts: Parts) -> Output:
    """Count the clients of a service."""
    service = str(words[0])
    addresses = total(parts.values)
    if len(words) == 1:
        return _total(sum(addresses.values()), service, None)
    what = str(words[1])
    low, _, high = what.partition("-")
    if low.isdigit() and (not high or high.isdigit()):
        return off_the_hub(console.operations, tally, service, addresses, int(low), int(high or low))
    try:
        network = parse_network(what)
    except ValueError as error:
        raise CommandError(f"'{what}' is neither a prefix length nor a network: {error}") from None
    inside = (number for one, number in addresses.items() if ip_address(one) in network)
    return _total(sum(inside), service, str(network))


def _total(number: int, service: str, network: str | None) -> Output:
    line = f"{number} session{'' if number == 1 else 's'}"
    return Output((line,), {"service": service, "network": network, "sessions": number})


def tally(service: str, by_address: Mapping[str, int], low: int, high: int) -> Output:
    """Sessions by network. Runs in a native thread."""
    if not 0 <= low <= high <= 128:
        raise CommandError("a prefix length is 0 to 128, and the lower one comes first")
    lines = [f"Displaying '{service}' from /{low} to /{high}"]
    data = []
    for bits in range(low, high + 1):
        found: Counter[str] = Counter()
        for text, number in by_address.items():
            address = ip_address(text)
            if bits <= address.max_prefixlen:
                found[str(ip_network((address, bits), strict=False))] += number
        for network, number in sorted(found.items(), key=lambda one: (-one[1], one[0])):
            lines.append(f"{number:7} {network:>44}")
            data.append({"network": network, "sessions": number})
    return Output(tuple(lines), data)
