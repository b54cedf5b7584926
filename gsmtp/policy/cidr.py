"""Tables of networks for policy: ``cidr.query("blocked", conn.client_ip)`` gives the value of the longest prefix.

Tables are defined in ``cidrdb { CIDR_Table "blocked" { … } }`` (`policy.modules.cidrdb`), or by a script's `init` with
`define`. Source: reference/policy-and-context.md section 4 (cidrdb); the format of files is rbldnsd's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address, summarize_address_range

from gsmtp.core.address import Network, parse_network

Entry = tuple[Network, str | None]
"""A network and its value; None takes the network out of wider ones (``!`` in rbldnsd's files)."""

LISTED = "127.0.0.2"
"""The value of an entry for which a file or query names none."""


class Table:
    """Networks and values.

    Args:
        default: the value where no network matches, None for none.
        interpolate: whether ``$`` in a value stands for the address that was asked for.
    """

    def __init__(self, default: str | None = None, *, interpolate: bool = False) -> None:
        self._default = default
        self._interpolate = interpolate
        self._by_length: dict[tuple[int, int], dict[int, str | None]] = {}
        self._order: list[tuple[int, int]] = []
        self.entries = 0

    def fill(self, entries: Iterable[Entry]) -> None:
        """Hold these networks, and no others. Safe in a native thread: queries see all of it or nothing."""
        by_length: dict[tuple[int, int], dict[int, str | None]] = {}
        for network, value in entries:
            shift = network.max_prefixlen - network.prefixlen
            by_length.setdefault((network.version, shift), {})[int(network.network_address) >> shift] = value
        self.take(by_length)

    def take(self, by_length: dict[tuple[int, int], dict[int, str | None]]) -> None:
        """Hold what `compiled` made."""
        self._by_length, self._order = by_length, sorted(by_length)
        self.entries = sum(len(one) for one in by_length.values())

    def add(self, network: str, value: str = LISTED) -> None:
        """Add a network. Raises ValueError when it is none."""
        parsed = parse_network(network)
        shift = parsed.max_prefixlen - parsed.prefixlen
        self._by_length.setdefault((parsed.version, shift), {})[int(parsed.network_address) >> shift] = value
        self._order = sorted(self._by_length)
        self.entries += 1

    def query(self, address: str) -> str | None:
        """The value of the longest prefix that holds an address, else the default. Raises ValueError for no address."""
        parsed = _address(address)
        bits, version = int(parsed), parsed.version
        for key in self._order:
            if key[0] == version:
                table = self._by_length[key]
                found = bits >> key[1]
                if found in table:
                    return self._shown(table[found], address)
        return self._shown(self._default, address)

    def _shown(self, value: str | None, address: str) -> str | None:
        if value is None:
            value = self._default
        if value is None:
            return None
        return value.replace("$", address) if self._interpolate else value


def _address(text: str) -> IPv4Address | IPv6Address:
    address = ip_address(text.partition("%")[0])
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def compiled(entries: Iterable[Entry]) -> dict[tuple[int, int], dict[int, str | None]]:
    """Entries as `Table.take` wants them; for native threads, where a large list takes its time."""
    table = Table()
    table.fill(entries)
    return table._by_length


# --- rbldnsd's files ------------------------------------------------------------------------------


def read_rbldnsd(path: str, *, text: bool = False) -> list[Entry]:
    """The entries of a file. Raises OSError, ValueError with the line's number.

    Args:
        path: of the file.
        text: whether values are the texts (TXT) instead of the addresses (A).
    """
    with open(path, encoding="utf-8", errors="replace") as file:
        return list(parse_rbldnsd(file, text=text))


def parse_rbldnsd(lines: Iterable[str], *, text: bool = False) -> Iterator[Entry]:
    """The entries of a file's lines. Raises ValueError.

    A line is ``NETWORK[:A[:TXT]]``; ``:A:TXT`` alone sets what lines without a value have. Networks are addresses,
    prefixes, the first one to three numbers of an address, and ranges (``192.0.2.1-9``); behind an IPv6 network a blank
    goes before the colon. ``!`` takes a network out.
    """
    values = (LISTED, "")
    for number, line in enumerate(lines, 1):
        line = line.strip()
        if not line or line[0] in "#;$":
            continue
        try:
            if line.startswith(":"):
                values = _values(line, values)
                continue
            excluded = line.startswith("!")
            name, rest = _split(line.removeprefix("!").strip())
            value = None if excluded else _values(rest, values)[int(text)]
            for network in _networks(name):
                yield network, value
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None


def _split(line: str) -> tuple[str, str]:
    """The network of a line, and the rest: ``:A:TXT``, or a text alone."""
    name, _, rest = line.partition(" ")
    if not _is_ipv6(name):
        name, colon, value = line.partition(":")
        name, _, text = name.strip().partition(" ")
        rest = f":{value}" if colon and not text else f"{text}{colon}{value}"
    return name, rest.strip()


def _is_ipv6(text: str) -> bool:
    try:
        return ip_address(text.partition("/")[0]).version == 6
    except ValueError:
        return False


def _values(rest: str, default: tuple[str, str]) -> tuple[str, str]:
    """Address and text of ``:A:TXT`` or of a text alone. Raises ValueError."""
    if not rest.startswith(":"):
        return default[0], rest or default[1]
    address, _, text = rest[1:].partition(":")
    address = address.strip()
    if address.isdigit():
        address = f"127.0.0.{int(address)}"
    if address:
        ip_address(address)
    return address or default[0], text.strip() or default[1]


def _networks(name: str) -> Iterator[Network]:
    first, dash, last = name.partition("-")
    if dash:
        start = _whole(first, "0")
        kept = first.split(".")[: -len(last.split("."))]
        end = _whole(".".join([*kept, last]), "255")
        yield from summarize_address_range(IPv4Address(start), IPv4Address(end))
        return
    if ":" not in name and "/" not in name and name.count(".") < 3:
        yield parse_network(f"{_whole(name, '0')}/{8 * (name.count('.') + 1)}")
        return
    if ":" not in name and "/" in name:
        address, _, length = name.partition("/")
        name = f"{_whole(address, '0')}/{length}"
    yield parse_network(name)


def _whole(name: str, fill: str) -> str:
    parts = name.split(".")
    return ".".join([*parts, *[fill] * (4 - len(parts))])


# --- by name --------------------------------------------------------------------------------------

_defined: dict[str, Table] = {}
_served: list[Mapping[str, Table]] = []
"""The tables of configurations, the newest last; two while a reload is under way."""


def define(name: str, *, default: str | None = None, interpolate: bool = False) -> Table:
    """A table that a script fills itself (Momentum's type ``empty``); made anew when it was there."""
    table = _defined[name] = Table(default, interpolate=interpolate)
    return table


def query(name: str, address: str) -> str | None:
    """What a table says of an address. Raises KeyError for a table that nobody defined, ValueError for no address."""
    return table(name).query(address)


def table(name: str) -> Table:
    """The table of that name. Raises KeyError."""
    for tables in reversed(_served):
        if name in tables:
            return tables[name]
    return _defined[name]


def serve(tables: Mapping[str, Table]) -> None:
    """Let the tables of a configuration be found."""
    _served.append(tables)


def withdraw(tables: Mapping[str, Table]) -> None:
    """The configuration is gone."""
    _served[:] = [one for one in _served if one is not tables]
