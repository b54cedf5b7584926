"""Endpoints and networks: every form, which mean the same, and what is said about the rest."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gsmtp.core.address import Endpoint, parse_network

ENDPOINTS = [
    (":25", ("inet", "0.0.0.0", 25), "0.0.0.0:25"),
    ("*:25", ("inet", "0.0.0.0", 25), "0.0.0.0:25"),
    ("0.0.0.0:25", ("inet", "0.0.0.0", 25), "0.0.0.0:25"),
    ("127.0.0.1:2525", ("inet", "127.0.0.1", 2525), "127.0.0.1:2525"),
    ("127.0.0.1:0", ("inet", "127.0.0.1", 0), "127.0.0.1:0"),
    ("10.1.2.3:65535", ("inet", "10.1.2.3", 65535), "10.1.2.3:65535"),
    ("[*]:25", ("inet6", "::", 25), "[::]:25"),
    ("[::]:25", ("inet6", "::", 25), "[::]:25"),
    ("[::1]:25", ("inet6", "::1", 25), "[::1]:25"),
    ("[0:0:0:0:0:0:0:1]:25", ("inet6", "::1", 25), "[::1]:25"),
    ("[2001:DB8::A]:25", ("inet6", "2001:db8::a", 25), "[2001:db8::a]:25"),
    ("[::192.168.0.1]:25", ("inet6", "::c0a8:1", 25), "[::c0a8:1]:25"),
    ("[::C0A8:1]:25", ("inet6", "::c0a8:1", 25), "[::c0a8:1]:25"),
    ("/run/gsmtp/inject.sock", ("unix", "/run/gsmtp/inject.sock", 0), "/run/gsmtp/inject.sock"),
    ("/a b:25", ("unix", "/a b:25", 0), "/a b:25"),
]

BAD_ENDPOINTS = [
    ("25", "a port needs a colon before it; write ':25' (any IPv4 address) or '127.0.0.1:25'"),
    ("localhost:25", "'localhost' is a host name, an address is expected"),
    ("mx.example.com:smtp", "'smtp' is not a port; a number from 0 to 65535 is expected"),
    ("", "an address and a port are expected"),
    ("*", "an address and a port are expected"),
    ("10.0.0.1", "no port; write '10.0.0.1:25'"),
    ("10.0.0.1:", "no port after ':'; write '10.0.0.1:25'"),
    ("10.0.0.1:65536", "'65536' is not a port; a number from 0 to 65535 is expected"),
    ("10.0.0.1:-1", "'-1' is not a port; a number from 0 to 65535 is expected"),
    ("10.0.0.1:\u0662\u0665", "'\u0662\u0665' is not a port; a number from 0 to 65535 is expected"),
    ("10.0.0.256:25", "'10.0.0.256' is not an IPv4 address"),
    ("10.0.0:25", "'10.0.0' is not an IPv4 address"),
    ("::1", "an IPv6 address needs brackets and a port; write '[::1]:25'"),
    ("fd00:0:0:0:0:0:0:1:25", "an IPv6 address needs brackets; write '[fd00:0:0:0:0:0:0:1]:25'"),
    ("[::1]", "no port after ']'; write '[::1]:25'"),
    ("[::1:25", "'[' without ']'"),
    ("[::g]:25", "'::g' is not an IPv6 address"),
    ("[10.0.0.1]:25", "brackets are for IPv6; write '10.0.0.1:25'"),
    ("run/gsmtp.sock", "'run/gsmtp.sock' is no address and port"),
    ("/" + "x" * 107, "the path of a Unix socket has at most 107 bytes"),
    ("/a\0b", "the path of a Unix socket holds no NUL"),
]


@pytest.mark.parametrize(("text", "fields", "canonical"), ENDPOINTS)
def test_endpoint_forms(text: str, fields: tuple[str, str, int], canonical: str) -> None:
    """Every documented form is read, and its canonical text means the same."""
    endpoint = Endpoint.parse(text)
    assert (endpoint.family, endpoint.host, endpoint.port) == fields
    assert str(endpoint) == canonical
    assert Endpoint.parse(canonical) == endpoint


@pytest.mark.parametrize(("text", "message"), BAD_ENDPOINTS)
def test_endpoint_mistakes(text: str, message: str) -> None:
    """What is no endpoint is refused with a text that says what to write."""
    with pytest.raises(ValueError, match=r".") as caught:
        Endpoint.parse(text)
    assert str(caught.value).startswith(message)


@given(st.text(max_size=12))
def test_any_text_is_an_endpoint_or_a_value_error(text: str) -> None:
    """No text raises anything else, and what is read is stable."""
    try:
        endpoint = Endpoint.parse(text)
    except ValueError as error:
        assert str(error)  # noqa: PT017
        return
    assert Endpoint.parse(str(endpoint)) == endpoint


NETWORKS = [
    ("10.1.2.3", "10.1.2.3/32"),
    ("10.0.0.1/8", "10.0.0.0/8"),
    ("10.0.0.0/32", "10.0.0.0/32"),
    ("0.0.0.0/0", "0.0.0.0/0"),
    ("::1", "::1/128"),
    ("fd82:7796:815b:af9d::", "fd82:7796:815b:af9d::/128"),
    ("fd82:7796::1/32", "fd82:7796::/32"),
    ("[fd00::1]", "fd00::1/128"),
    ("[fd00::1]/16", "fd00::/16"),
    ("::192.168.0.1", "::c0a8:1/128"),
]


@pytest.mark.parametrize(("text", "network"), NETWORKS)
def test_networks(text: str, network: str) -> None:
    """Addresses are /32 and /128, host bits are cleared, brackets are tolerated."""
    assert parse_network(text) == ip_network(network)


def test_the_ipv4_universe_holds_no_ipv6_client() -> None:
    """``0.0.0.0/0`` matches every IPv4 client and no other."""
    assert ip_address("203.0.113.9") in parse_network("0.0.0.0/0")
    assert ip_address("::1") not in parse_network("0.0.0.0/0")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("localhost", "'localhost' is no address or network; write '10.0.0.0/8', '10.1.2.3' or 'fd00::/8'"),
        ("10.0.0.0/33", "'/33' is not a mask; a number from 0 to 32 is expected"),
        ("fd00::/129", "'/129' is not a mask; a number from 0 to 128 is expected"),
        ("10.0.0.0/", "'/' is not a mask; a number from 0 to 32 is expected"),
        ("", "'' is no address or network; write '10.0.0.0/8', '10.1.2.3' or 'fd00::/8'"),
        ("10.0.0.1:25", "'10.0.0.1:25' is no address or network; write '10.0.0.0/8', '10.1.2.3' or 'fd00::/8'"),
    ],
)
def test_network_mistakes(text: str, message: str) -> None:
    """What is no network is refused with a text that says what to write."""
    with pytest.raises(ValueError, match=r".") as caught:
        parse_network(text)
    assert str(caught.value) == message
