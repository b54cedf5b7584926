"""The PROXY header as a machine: what is taken, what is refused, and that it never depends on how bytes are cut."""

from __future__ import annotations

import ipaddress
import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gsmtp.proxyproto import LONGEST_V2, HeaderReader, ProxyFault, ProxyHeader, ProxyTls, crc32c

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
V4 = (
    ipaddress.IPv4Address("192.0.2.7").packed + ipaddress.IPv4Address("198.51.100.1").packed + struct.pack("!HH", 9, 25)
)


def v2(payload: bytes, *, command: int = 0x21, family: int = 0x11, length: int | None = None) -> bytes:
    size = len(payload) if length is None else length
    return SIGNATURE + struct.pack("!BBH", command, family, size) + payload


def tlv(kind: int, value: bytes) -> bytes:
    return struct.pack("!BH", kind, len(value)) + value


def read(data: bytes) -> tuple[ProxyHeader | None, bytes]:
    reader = HeaderReader()
    return reader.feed(data), reader.rest


V1_GOOD = {
    b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 25\r\n": ProxyHeader(1, True, "192.0.2.7", 56324, "198.51.100.1", 25),
    b"PROXY TCP6 2001:DB8::7 2001:db8::1 0 65535\r\n": ProxyHeader(1, True, "2001:db8::7", 0, "2001:db8::1", 65535),
    b"PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2\r\n": ProxyHeader(1, True, "192.0.2.7", 1, "::1", 2),
    b"PROXY UNKNOWN\r\n": ProxyHeader(1),
    b"PROXY UNKNOWN whatever may stand here\r\n": ProxyHeader(1),
    b"PROXY UNKNOWN " + b"f" * 91 + b"\r\n": ProxyHeader(1),
}


@pytest.mark.parametrize("data", V1_GOOD)
def test_a_version_1_line_is_read_and_what_follows_is_kept(data: bytes) -> None:
    assert read(data + b"EHLO x\r\n") == (V1_GOOD[data], b"EHLO x\r\n")


@pytest.mark.parametrize(
    "data",
    [
        b"EHLO client.example\r\n",
        b"GET / HTTP/1.1\r\n",
        b"\x16\x03\x01\x02\x00",
        b"PROXY\tTCP4 1.2.3.4 1.2.3.4 1 2\r\n",
        b"proxy TCP4 1.2.3.4 1.2.3.4 1 2\r\n",
        b"PROXY  TCP4 1.2.3.4 1.2.3.4 1 2\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n",
        b"PROXY TCP4 1.2.3.04 1.2.3.4 1 2\r\n",
        b"PROXY TCP4 1.2.3.256 1.2.3.4 1 2\r\n",
        b"PROXY TCP4 ::1 ::1 1 2\r\n",
        b"PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n",
        b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
        b"PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n",
        b"PROXY UNKNOWNX\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n" + b"x" * 100,
        b"PROXY UNKNOWN " + b"f" * 92 + b"\r\n",
    ],
)
def test_what_is_no_version_1_line_is_a_fault(data: bytes) -> None:
    with pytest.raises(ProxyFault):
        read(data)


def test_the_first_wrong_byte_is_a_fault_already() -> None:
    for data in (b"E", b"PROXZ", b"\r\n\r\nQ", b"\x16"):
        with pytest.raises(ProxyFault):
            read(data)


def test_only_the_versions_that_are_asked_for_are_taken() -> None:
    line, binary = next(iter(V1_GOOD)), v2(V4)
    assert HeaderReader(frozenset((1,))).feed(line) is not None
    assert HeaderReader(frozenset((2,))).feed(binary) is not None
    for versions, data in ((1, binary), (2, line)):
        with pytest.raises(ProxyFault):
            HeaderReader(frozenset((versions,))).feed(data)


def test_a_version_2_header_over_ipv4_and_ipv6() -> None:
    assert read(v2(V4) + b"x") == (ProxyHeader(2, True, "192.0.2.7", 9, "198.51.100.1", 25), b"x")
    six = ipaddress.IPv6Address("2001:db8::7").packed + ipaddress.IPv6Address("::1").packed + struct.pack("!HH", 1, 2)
    assert read(v2(six, family=0x21))[0] == ProxyHeader(2, True, "2001:db8::7", 1, "::1", 2)
    mapped = ipaddress.IPv6Address("::ffff:192.0.2.7").packed * 2 + struct.pack("!HH", 1, 2)
    assert read(v2(mapped, family=0x21))[0] == ProxyHeader(2, True, "192.0.2.7", 1, "192.0.2.7", 2)


@pytest.mark.parametrize(
    "data",
    [
        v2(b"", command=0x20, family=0x00),
        v2(V4, command=0x20),
        v2(b"anything", command=0x20, family=0xFF),
        v2(b"", family=0x00),
        v2(b"\x07rubbish", family=0x00),
        v2(V4, family=0x12),
        v2(bytes(216), family=0x31),
    ],
)
def test_where_no_address_is_told_the_connections_own_hold(data: bytes) -> None:
    assert read(data + b"rest") == (ProxyHeader(2), b"rest")


@pytest.mark.parametrize(
    "data",
    [
        v2(V4, command=0x11),
        v2(V4, command=0x22),
        v2(V4, family=0x41),
        v2(V4, family=0x13),
        v2(V4[:11]),
        v2(V4, family=0x21),
        v2(V4 + b"\x04\x00"),
        v2(V4 + b"\x04\x00\x05abcd"),
        v2(V4 + tlv(0x03, b"abc")),
        v2(V4 + tlv(0x03, b"abcd")),
        v2(V4 + tlv(0x20, b"\x01\x00\x00")),
        v2(V4 + tlv(0x20, b"\x01\x00\x00\x00\x00\x21\x00\x09T")),
        v2(V4 + tlv(0x05, b"i" * 129)),
        v2(b"", length=LONGEST_V2 - 15),
    ],
)
def test_what_is_no_version_2_header_is_a_fault(data: bytes) -> None:
    with pytest.raises(ProxyFault):
        read(data)


def test_the_vectors_tell_of_tls_names_and_ids() -> None:
    inner = tlv(0x21, b"TLSv1.3") + tlv(0x23, b"TLS_AES_256_GCM_SHA384") + tlv(0x22, "k\xf6nig.example".encode())
    vectors = (
        tlv(0x04, b"padding")
        + tlv(0x02, b"mx.example.com")
        + tlv(0x01, b"smtp")
        + tlv(0x05, b"\x00\x01id")
        + tlv(0xE0, b"\xff own")
        + tlv(0x20, b"\x03" + bytes(4) + inner)
    )
    header, _ = read(v2(V4 + vectors))
    assert header is not None
    assert header.tls == ProxyTls("TLSv1.3", "TLS_AES_256_GCM_SHA384", "k\xf6nig.example", True)
    assert (header.authority, header.alpn, header.unique_id) == ("mx.example.com", b"smtp", b"\x00\x01id")


@pytest.mark.parametrize(
    ("flags", "verify", "expected"),
    [
        (0x00, 0, None),
        (0x01, 0, ProxyTls("TLSv1.2")),
        (0x03, 0, ProxyTls("TLSv1.2", is_verified=True)),
        (0x05, 0, ProxyTls("TLSv1.2", is_verified=True)),
        (0x03, 18, ProxyTls("TLSv1.2")),
    ],
)
def test_a_certificate_counts_only_if_it_was_shown_and_verified(
    flags: int, verify: int, expected: ProxyTls | None
) -> None:
    value = struct.pack("!BI", flags, verify) + tlv(0x21, b"TLSv1.2")
    header, _ = read(v2(V4 + tlv(0x20, value)))
    assert header is not None
    assert header.tls == expected


def test_text_that_could_break_a_log_line_is_dropped() -> None:
    header, _ = read(v2(V4 + tlv(0x02, b"evil\r\nname")))
    assert header is not None
    assert header.authority == ""


def test_the_checksum_is_that_of_the_specification_and_is_verified() -> None:
    assert crc32c(b"123456789") == 0xE3069283
    blank = v2(V4 + tlv(0x03, bytes(4)))
    good = blank[:-4] + crc32c(blank).to_bytes(4)
    assert read(good)[0] == ProxyHeader(2, True, "192.0.2.7", 9, "198.51.100.1", 25)
    kind = len(good) - 7  # without its type there is no checksum
    for place in set(range(16, len(good))) - {kind}:
        damaged = bytearray(good)
        damaged[place] ^= 0x40
        try:
            assert read(bytes(damaged))[0] != read(good)[0], place
        except ProxyFault:
            pass


@given(
    st.integers(0, 2**32), st.sampled_from([*V1_GOOD, v2(V4), v2(V4 + tlv(0x02, b"a")), v2(bytes(216), family=0x31)])
)
def test_a_header_reads_the_same_however_it_is_cut(seed: int, data: bytes) -> None:
    source = random.Random(seed)
    reader = HeaderReader()
    text = data + b"rest"
    at, header = 0, None
    while header is None and at < len(text):
        step = source.randint(1, 7)
        header = reader.feed(text[at : at + step])
        at += step
    assert (header, reader.rest + text[at:]) == read(text)


@given(
    st.binary(max_size=300),
    st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE, SIGNATURE + b"\x21\x11\x00\x20"]),
)
def test_no_bytes_make_it_fail_otherwise(data: bytes, begin: bytes) -> None:
    try:
        header, rest = read(begin + data)
    except ProxyFault:
        return
    assert header is None or (begin + data).endswith(rest)
