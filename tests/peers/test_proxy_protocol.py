"""Proxy_Protocol over real sockets: who must send a header, what holds after it, and what happens without."""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Callable

import pytest

from gsmtp.proxyproto import crc32c
from tests.support.inprocess import Client, Running

Serve = Callable[[str], Running]

CONF = """
esmtp_listener {
  smtp_extensions = ( XDUMPCONTEXT )
  listen "127.0.0.1:0" {
    peer "127.0.0.0/24" { proxy_protocol = any  context = [ proxy = "yes" ]  open_relay = true }
    peer "192.0.2.0/24" { banner_hostname = clients.example  context = [ net = "clients" ] }
    peer "192.0.2.7" { max_message_size = 1000 }
    peer "2001:db8::/32" { banner_hostname = six.example }
  }
}
"""
LINE = b"PROXY TCP4 192.0.2.7 198.51.100.1 40111 25\r\n"


def binary(client: str, local: str, *vectors: tuple[int, bytes], command: int = 0x21, checksum: bool = False) -> bytes:
    """A version 2 header."""
    ends = ipaddress.ip_address(client), ipaddress.ip_address(local)
    family = 0x11 if ends[0].version == 4 else 0x21
    payload = ends[0].packed + ends[1].packed + struct.pack("!HH", 40111, 25)
    payload += b"".join(struct.pack("!BH", kind, len(value)) + value for kind, value in vectors)
    if checksum:
        payload += b"\x03\x00\x04" + bytes(4)
    header = b"\r\n\r\n\x00\r\nQUIT\n" + struct.pack("!BBH", command, family, len(payload)) + payload
    return header[:-4] + crc32c(header).to_bytes(4) if checksum else header


def begin(server: Running, header: bytes, source: str = "127.0.0.1") -> Client:
    client = server.client(source=source)
    client.send(header)
    return client


def context_of(client: Client) -> dict[str, str]:
    """The connection variables, as XDUMPCONTEXT shows them."""
    lines = client.say(b"XDUMPCONTEXT").decode().splitlines()
    assert lines[-1] == "250 XDUMPCONTEXT complete"
    found = {}
    for line in lines[:-1]:
        assert line.startswith(("250-[connection] ", "250-[message] "))
        _, name, value = line.split(" ", 2)
        found[name] = value
    return found


@pytest.mark.parametrize(
    ("header", "banner", "whom"),
    [
        (LINE, b"clients.example", b"192.0.2.7"),
        (b"PROXY TCP6 2001:db8::7 2001:db8::1 40111 25\r\n", b"six.example", b"2001:db8::7"),
        (b"PROXY TCP6 ::ffff:192.0.2.7 ::1 40111 25\r\n", b"clients.example", b"192.0.2.7"),
        (b"PROXY UNKNOWN\r\n", b"mx.example.com", b"127.0.0.1"),
        (binary("192.0.2.9", "198.51.100.1"), b"clients.example", b"192.0.2.9"),
        (binary("192.0.2.9", "198.51.100.1", checksum=True), b"clients.example", b"192.0.2.9"),
        (binary("2001:db8::7", "2001:db8::1", (4, b"pad")), b"six.example", b"2001:db8::7"),
        (binary("192.0.2.9", "198.51.100.1", command=0x20), b"mx.example.com", b"127.0.0.1"),
    ],
)
def test_the_header_says_who_the_client_is(serve: Serve, header: bytes, banner: bytes, whom: bytes) -> None:
    client = begin(serve(CONF), header)
    assert client.reply().startswith(b"220 " + banner + b" ")
    assert client.say(b"EHLO x").startswith(b"250-" + banner + b" says EHLO to " + whom + b"\r\n")


def test_peers_context_relay_and_limits_are_those_of_the_client(serve: Serve) -> None:
    server = serve(CONF)
    client = begin(server, LINE).greet()
    found = context_of(client)
    assert found["net"] == "clients"
    assert found["proxy_protocol"] == "v1"
    assert found["proxy_address"].startswith("127.0.0.1:")
    assert "proxy" not in found, "the proxy's own context must not stay"
    assert "can_relay" not in found, "the proxy's own right to relay must not stay"
    assert b"\r\n250-SIZE 1000\r\n" in client.say(b"EHLO x")
    client.code(b"MAIL FROM:<a@example.net>")
    assert client.say(b"RCPT TO:<x@elsewhere.example>") == b"550 5.7.1 relaying denied\r\n"
    client.code(b"RSET")
    assert client.transaction().startswith(b"250 ")
    log = str(server.log)
    assert "client=192.0.2.7:40111" in log


def test_the_received_field_names_the_client(serve: Serve) -> None:
    import sqlite3

    server = serve(CONF)
    assert begin(server, LINE).greet().transaction().startswith(b"250 ")
    body = sqlite3.connect(server.path.parent / "spool" / "spool.db").execute("SELECT body FROM message").fetchone()[0]
    assert b"Received: from [192.0.2.7] ([192.0.2.7:40111] helo=client.example)\r\n" in body


def test_what_the_proxy_tells_of_tls_becomes_context(serve: Serve) -> None:
    inner = b"\x21\x00\x07TLSv1.3\x23\x00\x16TLS_AES_128_GCM_SHA256\x22\x00\x05alice"
    header = binary(
        "192.0.2.7", "198.51.100.1", (0x20, b"\x03" + bytes(4) + inner), (2, b"mx.example.com"), (5, b"\x00\xff")
    )
    found = context_of(begin(serve(CONF), header).greet())
    assert {name: value for name, value in found.items() if name.startswith("proxy_")} == {
        "proxy_protocol": "v2",
        "proxy_address": found["proxy_address"],
        "proxy_authority": "mx.example.com",
        "proxy_unique_id": "00ff",
        "proxy_tls": "TLSv1.3",
        "proxy_tls_cipher": "TLS_AES_128_GCM_SHA256",
        "proxy_tls_client_cn": "alice",
        "proxy_tls_client_verified": "yes",
    }
    assert "tls" not in found, "this connection has no TLS"


@pytest.mark.parametrize(
    "header",
    [
        b"EHLO client.example\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x00\xa5",
        b"PROXY TCP4 999.0.0.1 1.2.3.4 1 2\r\n",
        b"PROXY TCP4 " + b"1" * 200,
        binary("192.0.2.7", "198.51.100.1", checksum=True)[:-1] + b"\x00",
        binary("192.0.2.7", "198.51.100.1", command=0x2F),
    ],
)
def test_without_a_good_header_the_connection_is_closed_and_that_is_logged(serve: Serve, header: bytes) -> None:
    server = serve(CONF)
    client = begin(server, header)
    assert client.is_closed()
    server.wait_for(lambda: server.sessions == 0)
    assert "no PROXY header" in str(server.log)
    assert "client=127.0.0.1:" in str(server.log)


def test_a_header_cut_off_by_the_peers_close_is_logged(serve: Serve) -> None:
    server = serve(CONF)
    begin(server, LINE[:20]).close()
    server.wait_for(lambda: "closed before its header was whole" in str(server.log))


def test_a_header_must_come_in_time(serve: Serve) -> None:
    server = serve(CONF.replace("proxy_protocol = any", "proxy_protocol = any idle_time = 1"))
    client = begin(server, LINE[:20])
    assert client.is_closed()
    assert "it took too long" in str(server.log)


def test_commands_behind_the_header_are_served_in_order(serve: Serve) -> None:
    client = begin(serve(CONF), LINE + b"HELO x\r\nNOOP\r\n")
    assert [client.reply()[:3] for _ in range(3)] == [b"220", b"250", b"250"]


def test_a_header_byte_by_byte(serve: Serve) -> None:
    client = serve(CONF).client(source="127.0.0.1")
    for octet in LINE:
        client.send(bytes((octet,)))
    assert client.reply().startswith(b"220 clients.example ")


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_only_the_version_that_is_asked_for_is_taken(serve: Serve, version: str) -> None:
    server = serve(CONF.replace("= any", f"= {version}"))
    good, bad = (LINE, binary("192.0.2.7", "198.51.100.1"))[:: 1 if version == "v1" else -1]
    assert begin(server, good).reply().startswith(b"220 clients.example ")
    assert begin(server, bad).is_closed()


def test_from_others_a_header_is_a_command_like_any(serve: Serve) -> None:
    server = serve(CONF)
    client = server.client(source="127.0.1.1")
    assert client.reply().startswith(b"220 mx.example.com ")
    assert client.say(LINE.rstrip()) == b"500 5.5.2 unrecognized command\r\n"
    assert client.say(b"EHLO x").startswith(b"250-mx.example.com says EHLO to 127.0.1.1\r\n")


def test_from_others_a_binary_header_ends_the_session(serve: Serve) -> None:
    server = serve(CONF)
    client = begin(server, binary("192.0.2.7", "198.51.100.1"), source="127.0.1.1")
    assert client.reply().startswith(b"220 mx.example.com ")
    assert client.reply()[:3] == b"500"


def test_only_the_outermost_header_counts(serve: Serve) -> None:
    server = serve(CONF)
    client = begin(server, b"PROXY TCP4 127.0.0.9 127.0.0.1 1 2\r\n" + LINE)
    assert client.reply().startswith(b"220 mx.example.com ")
    assert client.reply() == b"500 5.5.2 unrecognized command\r\n"


def test_limits_of_sessions_are_the_clients_not_the_proxys(serve: Serve) -> None:
    conf = """
    esmtp_listener { listen "127.0.0.1:0" {
        peer "127.0.0.0/8" { proxy_protocol = v1 }
        peer "192.0.2.7" { listener_sessions = 1 }
    } }
    """
    server = serve(conf)
    first = begin(server, LINE).greet()
    other = begin(server, b"PROXY TCP4 192.0.2.8 198.51.100.1 1 25\r\n")
    assert other.reply().startswith(b"220 ")
    second = begin(server, LINE)
    assert second.reply() == b"421 4.4.5 Service unavailable, concurrency limit reached\r\n"
    assert second.is_closed()
    second.close()
    first.code(b"QUIT")
    first.close()
    server.wait_for(lambda: server.sessions == 1)
    assert begin(server, LINE).reply().startswith(b"220 ")
    assert "concurrency limit" in str(server.log)
    other.close()


def test_limits_of_sessions_hold_for_those_who_have_sent_no_header_too(serve: Serve) -> None:
    server = serve(CONF.replace("proxy_protocol = any", "proxy_protocol = any listener_sessions = 1"))
    waiting = begin(server, b"PROXY ")
    server.wait_for(lambda: server.sessions == 1)
    second = server.client()
    assert second.reply().startswith(b"421 4.4.5 ")
    waiting.send(LINE[6:])
    assert waiting.reply().startswith(b"220 ")
    assert begin(server, LINE).reply().startswith(b"220 "), "the proxy's own count is free again"


def test_a_server_that_stops_does_not_wait_for_headers(serve: Serve) -> None:
    server = serve(CONF)
    client = begin(server, b"PROXY ")
    server.wait_for(lambda: server.sessions == 1)
    server.supervisor.stop()
    assert client.is_closed()


def test_a_reload_before_the_header_holds_for_the_session(serve: Serve) -> None:
    server = serve(CONF)
    client = begin(server, LINE[:10])
    server.wait_for(lambda: server.sessions == 1)
    server.reconfigure(server.path.read_text().replace("clients.example", "new.example"))
    client.send(LINE[10:])
    assert client.reply().startswith(b"220 new.example ")
    assert client.code(b"HELO x") == 250
    assert client.code(b"MAIL FROM:<a@example.net>") == 250


def test_a_unix_socket_takes_headers_too(serve: Serve, tmp_path: object) -> None:
    conf = f"""
    esmtp_listener {{ listen "{tmp_path}/s" {{
        proxy_protocol = v2
        peer "192.0.2.7" {{ banner_hostname = seven.example }}
    }} }}
    """
    server = serve(conf)
    client = server.client()
    client.send(binary("192.0.2.7", "198.51.100.1"))
    assert client.reply().startswith(b"220 seven.example ")
    client.code(b"QUIT")
    server.wait_for(lambda: "client=192.0.2.7:40111" in str(server.log))
