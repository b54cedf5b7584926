"""XCLIENT, XREMOTEIP, XSETCONTEXT and XDUMPCONTEXT in a whole server: what they change, what stays, who is trusted."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

import pytest

from tests.support.inprocess import Client, Running

Serve = Callable[[str], Running]

CONF = """
esmtp_listener {
  listen "127.0.0.1:0" {
    peer "127.0.0.0/8" {
      smtp_extensions = ( XCLIENT XFORWARD XREMOTEIP XSETCONTEXT XDUMPCONTEXT )
      context = [ peer = "proxy"  shared = "proxy" ]  open_relay = true
    }
    peer "192.0.2.0/24" { banner_hostname = clients.example  context = [ net = "clients"  shared = "clients" ] }
    peer "192.0.2.128/25" { smtp_extensions = ( XDUMPCONTEXT ) listener_sessions = 1 }
    peer "198.51.100.0/24" { open_relay = true  smtp_extensions = ( XCLIENT XDUMPCONTEXT ) }
    peer "203.0.113.0/24" { always_deny = true smtp_extensions = ( XDUMPCONTEXT ) }
  }
}
"""
MAIL = b"MAIL FROM:<a@example.net>"
ELSEWHERE = b"RCPT TO:<x@elsewhere.example>"
NO_SUCH = b"500 5.5.2 unrecognized command\r\n"


def context_of(client: Client) -> dict[str, str]:
    lines = client.say(b"XDUMPCONTEXT").decode().splitlines()
    assert lines[-1] == "250 XDUMPCONTEXT complete"
    return {
        f"{kind} {name}" if kind != "[connection]" else name: value
        for kind, name, value in (line[4:].split(" ", 2) for line in lines[:-1])
    }


@pytest.fixture
def server(serve: Serve) -> Running:
    return serve(CONF)


def test_xclient_makes_it_another_client(server: Running) -> None:
    client = server.client().greet()
    assert context_of(client)["can_relay"] == "true"
    assert client.say(b"XCLIENT ADDR=192.0.2.130 PORT=4711 NAME=far.example").startswith(b"220 clients.example ")
    assert client.say(b"EHLO x").startswith(b"250-clients.example says EHLO to 192.0.2.130\r\n")
    assert context_of(client) == {
        "connection_message_count": "0",
        "ehlo_domain": "x",
        "ehlo_string": "EHLO x",
        "net": "clients",
        "pathway": "default",
        "shared": "clients",
        "xclient_name": "far.example",
    }
    client.code(MAIL)
    assert client.say(ELSEWHERE) == b"550 5.7.1 relaying denied\r\n"
    assert "client=192.0.2.130:4711" in str(server.log)


def test_its_own_commands_do_not_have_the_proxys_trust(server: Running) -> None:
    client = server.client().greet()
    client.send(b"XCLIENT ADDR=192.0.2.1\r\nXCLIENT ADDR=127.0.0.1\r\nXSETCONTEXT can_relay=true\r\nXREMOTEIP ::1\r\n")
    assert client.reply().startswith(b"220 clients.example ")
    assert [client.reply() for _ in range(3)] == [NO_SUCH] * 3
    assert b"X" not in client.say(b"EHLO y").replace(b"EHLO", b"").upper().split(b"192.0.2.1")[1]


def test_one_trusted_peer_may_speak_for_another(server: Running) -> None:
    client = server.client().greet()
    assert client.code(b"XCLIENT ADDR=198.51.100.1") == 220
    assert client.code(b"XCLIENT ADDR=198.51.100.2") == 220
    assert client.code(b"XCLIENT ADDR=192.0.2.1") == 220
    assert client.say(b"XCLIENT ADDR=198.51.100.2") == NO_SUCH


def test_an_unknown_address_is_in_no_network(server: Running) -> None:
    client = server.client().greet()
    assert client.code(b"XCLIENT ADDR=[UNAVAILABLE]") == 220
    assert client.say(b"EHLO x").startswith(b"250-mx.example.com says EHLO to 0.0.0.0\r\n")
    client.code(MAIL)
    assert client.code(ELSEWHERE) == 550


def test_a_login_that_the_proxy_has_seen_may_relay(server: Running) -> None:
    client = server.client().greet()
    assert client.code(b"XCLIENT ADDR=192.0.2.130 LOGIN=tim+40example.com HELO=far.example PROTO=ESMTP") == 220
    found = context_of(client)
    assert (found["auth_user"], found["auth_status"], found["auth_name"]) == ("tim@example.com", "pass", "XCLIENT")
    assert found["can_relay"] == "true"
    assert client.transaction(recipient=b"x@elsewhere.example").startswith(b"250 ")
    database = sqlite3.connect(server.path.parent / "spool" / "spool.db")
    body = database.execute("SELECT body FROM message").fetchone()[0]
    assert b"Received: from [192.0.2.130] " in body
    assert b"helo=far.example" in body
    assert b"with ESMTPA\r\n" in body


def test_no_login_where_nobody_may_log_in(server: Running) -> None:
    client = server.client().greet()
    assert client.code(b"XCLIENT ADDR=203.0.113.1 LOGIN=tim") == 220
    client.code(b"EHLO x")
    client.code(MAIL)
    assert client.code(ELSEWHERE) == 550


def test_a_login_ends_with_the_next_xclient(server: Running) -> None:
    client = server.client().greet()
    assert client.code(b"XCLIENT ADDR=198.51.100.1 LOGIN=tim") == 220
    assert context_of(client)["auth_user"] == "tim"
    assert client.code(b"XCLIENT ADDR=192.0.2.130") == 220
    found = context_of(client)
    assert not {"auth_user", "auth_name", "auth_status", "can_relay"} & set(found)


def test_limits_of_sessions_stay_with_the_socket(server: Running) -> None:
    """reference/scopes-and-fallback.md section 5."""
    clients = [server.client().greet() for _ in range(3)]
    assert [client.code(b"XCLIENT ADDR=192.0.2.130") for client in clients] == [220] * 3
    assert [client.code(b"NOOP") for client in clients] == [250] * 3


def test_xremoteip_moves_and_what_is_open_goes_on(server: Running) -> None:
    client = server.client().greet()
    assert client.code(MAIL) == 250
    assert client.code(ELSEWHERE) == 250, "the proxy may relay"
    assert client.say(b"XREMOTEIP 192.0.2.130") == b"250 OK\r\n"
    assert client.code(b"RCPT TO:<y@elsewhere.example>") == 550, "that client may not"
    found = context_of(client)
    assert (found["shared"], found["net"]) == ("clients", "clients")
    assert "peer" not in found
    assert found["[message] mailfrom_domain"] == "example.net"
    assert found["[message] pathway"] == "default", "a message begins with the pathway of its session"
    assert client.say(b"EHLO x").startswith(b"250-clients.example says EHLO to 192.0.2.130\r\n")


def test_xsetcontext_overrides_what_was_there(server: Running) -> None:
    client = server.client().greet()
    assert client.code(b"XSETCONTEXT shared=mine+20+2B note=1") == 250
    found = context_of(client)
    assert (found["shared"], found["note"], found["peer"]) == ("mine +", "1", "proxy")
    assert client.code(b"XSETCONTEXT can_relay=false") == 250
    client.code(MAIL)
    assert client.code(ELSEWHERE) == 550


def test_what_was_set_by_hand_stays_when_the_client_moves(server: Running) -> None:
    client = server.client().greet()
    client.code(b"XSETCONTEXT peer=set note=1")
    client.code(b"XREMOTEIP 192.0.2.130")
    found = context_of(client)
    assert (found["peer"], found["note"]) == ("set", "1")


def test_others_are_offered_nothing_of_the_kind(serve: Serve) -> None:
    server = serve(CONF.replace('peer "127.0.0.0/8"', 'peer "127.0.0.1"'))
    client = server.client(source="127.0.0.2").greet()
    for line in (b"XCLIENT ADDR=192.0.2.1", b"XFORWARD ADDR=1.2.3.4", b"XREMOTEIP ::1", b"XSETCONTEXT a=b"):
        assert client.say(line) == NO_SUCH
    assert client.say(b"XDUMPCONTEXT") == NO_SUCH
