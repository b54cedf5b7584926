"""The header by which a proxy says for whom it connects: the PROXY protocol, versions 1 and 2. No I/O.

A `HeaderReader` takes the first bytes of a connection and gives a `ProxyHeader`, what followed it, or a `ProxyFault`.
Nothing of a header is used before all of it is there, and whatever isn't exactly a header is a fault at its first
wrong byte, so that a client that speaks something else is noticed at once.

Source: HAProxy's proxy-protocol.txt, sections 2.1 and 2.2; RFC 4960 appendix B (CRC32c).
"""

from __future__ import annotations

import ipaddress
import re
import struct
from dataclasses import dataclass
from typing import Final

LONGEST_V1: Final = 107
"""Bytes of a version 1 line with its CR LF, the worst case of the specification."""

LONGEST_V2: Final = 4096
"""Bytes of a version 2 header that are taken. The length field could say 65,551; real ones stay below one segment."""

_V1_PREFIX: Final = b"PROXY "
_V2_SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
_V2_FIXED: Final = 16
_V1_LINE = re.compile(
    r"PROXY (TCP4|TCP6) ([0-9A-Fa-f:.]+) ([0-9A-Fa-f:.]+) (0|[1-9]\d{0,4}) (0|[1-9]\d{0,4})", re.ASCII
)
_V1_UNKNOWN: Final = b"PROXY UNKNOWN"
_MOST_PORT: Final = 65535

_LOCAL, _PROXY = 0, 1
_INET, _INET6, _UNIX = 1, 2, 3
_ADDRESS_BYTES: Final = {_INET: 12, _INET6: 36, _UNIX: 216}
_STREAM, _DATAGRAM = 1, 2

_ALPN, _AUTHORITY, _CRC32C, _UNIQUE_ID, _TLS = 0x01, 0x02, 0x03, 0x05, 0x20
_TLS_VERSION, _TLS_CN, _TLS_CIPHER = 0x21, 0x22, 0x23
_CLIENT_TLS, _CLIENT_CERT_CONN, _CLIENT_CERT_SESSION = 0x01, 0x02, 0x04
_MOST_UNIQUE_ID: Final = 128


class ProxyFault(Exception):
    """What came is no valid header; the text is for the log. The connection is to be closed."""


@dataclass(frozen=True, slots=True)
class ProxyTls:
    """What the proxy tells of the client's TLS, which it has ended itself (PP2_TYPE_SSL).

    Args:
        version: e.g. ``"TLSv1.3"``.
        cipher: the suite, "" when not told.
        client_cn: common name of the client's certificate, "" without one.
        is_verified: whether a certificate was shown and verified by the proxy.
    """

    version: str
    cipher: str = ""
    client_cn: str = ""
    is_verified: bool = False


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """One header.

    Args:
        version: 1 or 2.
        has_addresses: False when the connection's own addresses hold: the proxy speaks for itself (LOCAL), or doesn't
            know (UNKNOWN, UNSPEC), or the client came by what has no IP address.
        client_ip: the client's address, IPv4 also where it came as ``::ffff:192.0.2.1``.
        client_port: its port.
        local_ip: the address that the client connected to.
        local_port: its port.
        tls: the client's TLS, None when it used none or the proxy didn't say.
        authority: the host name that the client asked for (SNI), "" when not told.
        alpn: the application protocol, b"" when not told.
        unique_id: the proxy's own id of the connection, b"" when not told.
    """

    version: int
    has_addresses: bool = False
    client_ip: str = ""
    client_port: int = 0
    local_ip: str = ""
    local_port: int = 0
    tls: ProxyTls | None = None
    authority: str = ""
    alpn: bytes = b""
    unique_id: bytes = b""


class HeaderReader:
    """Reads one header.

    Args:
        versions: those that are taken.

    Attributes:
        rest: what followed the header, once `feed` has given it.
    """

    __slots__ = ("_data", "_prefixes", "rest")

    def __init__(self, versions: frozenset[int] = frozenset((1, 2))) -> None:
        known = ((1, _V1_PREFIX), (2, _V2_SIGNATURE))
        self._prefixes = tuple(prefix for version, prefix in known if version in versions)
        self._data = b""
        self.rest = b""

    def feed(self, data: bytes) -> ProxyHeader | None:
        """Take bytes; the header when all of it is there, else None.

        Raises:
            ProxyFault: it is none.
        """
        self._data += data
        have = self._data
        if not any(have.startswith(prefix) or prefix.startswith(have) for prefix in self._prefixes):
            raise ProxyFault("not a PROXY header")
        if have.startswith(_V1_PREFIX):
            return self._line()
        return self._binary() if len(have) >= _V2_FIXED else None

    def _line(self) -> ProxyHeader | None:
        end = self._data.find(b"\r\n", 0, LONGEST_V1)
        if end < 0:
            if len(self._data) >= LONGEST_V1:
                raise ProxyFault(f"no CR LF in the first {LONGEST_V1} bytes of a version 1 header")
            return None
        line, self.rest = self._data[:end], self._data[end + 2 :]
        if line == _V1_UNKNOWN or line.startswith(_V1_UNKNOWN + b" "):
            return ProxyHeader(1)
        match = _V1_LINE.fullmatch(line.decode("latin-1"))
        if match is None:
            raise ProxyFault("malformed version 1 header")
        family, client, local, client_port, local_port = match.groups()
        return ProxyHeader(
            1,
            True,
            _read_address(family, client),
            _read_port(client_port),
            _read_address(family, local),
            _read_port(local_port),
        )

    def _binary(self) -> ProxyHeader | None:
        version_command, family_protocol, length = struct.unpack_from("!BBH", self._data, len(_V2_SIGNATURE))
        version, command = divmod(version_command, 16)
        if version != 2:
            raise ProxyFault(f"binary header of version {version}")
        if command not in (_LOCAL, _PROXY):
            raise ProxyFault(f"unknown command {command}")
        end = _V2_FIXED + length
        if end > LONGEST_V2:
            raise ProxyFault(f"a header of {end} bytes is too long")
        if len(self._data) < end:
            return None
        header, self.rest = self._data[:end], self._data[end:]
        if command == _LOCAL:
            return ProxyHeader(2)
        return _read_binary(header, *divmod(family_protocol, 16))


def _read_address(family: str, text: str) -> str:
    try:
        if family == "TCP4":
            return str(ipaddress.IPv4Address(text))
        return _ipv6_text(ipaddress.IPv6Address(text))
    except ValueError:
        raise ProxyFault(f"{text} is no {family} address") from None


def _ipv6_text(address: ipaddress.IPv6Address) -> str:
    return str(address.ipv4_mapped or address)


def _read_port(text: str) -> int:
    port = int(text)
    if port > _MOST_PORT:
        raise ProxyFault(f"{text} is no port")
    return port


def _read_binary(header: bytes, family: int, protocol: int) -> ProxyHeader:
    """A whole version 2 header of the command PROXY."""
    if family > _UNIX or protocol > _DATAGRAM:
        raise ProxyFault(f"unknown address family {family} or protocol {protocol}")
    at = _V2_FIXED
    size = _ADDRESS_BYTES.get(family, 0)
    if len(header) < at + size:
        raise ProxyFault("the addresses of a version 2 header are cut off")
    if not family:
        # What follows an unspecified family has no known length, so no TLVs can be found in it.
        return ProxyHeader(2)
    vectors = dict(_vectors(header, at + size))
    _check_sum(header, vectors)
    tls = _read_tls(vectors[_TLS][1]) if _TLS in vectors else None
    names = (tls, _text(vectors, _AUTHORITY), _value(vectors, _ALPN), _value(vectors, _UNIQUE_ID))
    if len(names[3]) > _MOST_UNIQUE_ID:
        raise ProxyFault("the unique id is too long")
    if protocol != _STREAM or family == _UNIX:
        return ProxyHeader(2, False, "", 0, "", 0, *names)
    if family == _INET:
        client, local, client_port, local_port = struct.unpack_from("!4s4sHH", header, at)
        addresses = str(ipaddress.IPv4Address(client)), str(ipaddress.IPv4Address(local))
    else:
        client, local, client_port, local_port = struct.unpack_from("!16s16sHH", header, at)
        addresses = _ipv6_text(ipaddress.IPv6Address(client)), _ipv6_text(ipaddress.IPv6Address(local))
    return ProxyHeader(2, True, addresses[0], client_port, addresses[1], local_port, *names)


Vector = tuple[int, bytes]
"""Where the value of a type-length-value vector begins, and the value."""


def _vectors(data: bytes, at: int) -> list[tuple[int, Vector]]:
    found = []
    while at < len(data):
        if at + 3 > len(data):
            raise ProxyFault("a type-length-value vector is cut off")
        kind, length = struct.unpack_from("!BH", data, at)
        at += 3
        if at + length > len(data):
            raise ProxyFault("a type-length-value vector is cut off")
        found.append((kind, (at, data[at : at + length])))
        at += length
    return found


def _value(vectors: dict[int, Vector], kind: int) -> bytes:
    return vectors[kind][1] if kind in vectors else b""


def _text(vectors: dict[int, Vector], kind: int) -> str:
    """The value as text that may stand in a log or a context variable; "" for one that may not."""
    try:
        text = _value(vectors, kind).decode()
    except UnicodeDecodeError:
        return ""
    return text if text.isprintable() else ""


def _read_tls(value: bytes) -> ProxyTls | None:
    if len(value) < 5:
        raise ProxyFault("the TLS vector is cut off")
    client, verify = struct.unpack_from("!BI", value)
    if not client & _CLIENT_TLS:
        return None
    vectors = dict(_vectors(value, 5))
    has_certificate = bool(client & (_CLIENT_CERT_CONN | _CLIENT_CERT_SESSION))
    return ProxyTls(
        _text(vectors, _TLS_VERSION),
        _text(vectors, _TLS_CIPHER),
        _text(vectors, _TLS_CN),
        has_certificate and not verify,
    )


def _check_sum(header: bytes, vectors: dict[int, Vector]) -> None:
    if _CRC32C not in vectors:
        return
    at, value = vectors[_CRC32C]
    if len(value) != 4:
        raise ProxyFault("the checksum has not four bytes")
    if crc32c(header[:at] + bytes(4) + header[at + 4 :]) != int.from_bytes(value):
        raise ProxyFault("the checksum is wrong")


def _crc_table() -> tuple[int, ...]:
    table = []
    for number in range(256):
        for _ in range(8):
            number = number >> 1 ^ (0x82F63B78 if number & 1 else 0)
        table.append(number)
    return tuple(table)


_CRC_TABLE: Final = _crc_table()


def crc32c(data: bytes) -> int:
    """The Castagnoli checksum (RFC 4960 appendix B)."""
    crc = 0xFFFFFFFF
    for octet in data:
        crc = crc >> 8 ^ _CRC_TABLE[(crc ^ octet) & 0xFF]
    return crc ^ 0xFFFFFFFF
