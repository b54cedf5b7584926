"""Nested Peers, pathways and context, over real sockets: each client sees the values that the chain gives it.

Source: reference/scopes-and-fallback.md sections 2, 4 and 6.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.support.inprocess import Client, Running

Serve = Callable[[str], Running]

MAIL = b"MAIL FROM:<a@example.net>"
ELSEWHERE = b"RCPT TO:<x@elsewhere.example>"


def size_of(client: Client) -> int:
    """The SIZE in EHLO's reply."""
    match = re.search(rb"SIZE ?(\d*)", client.say(b"EHLO x"))
    assert match is not None
    return int(match[1] or 0)


def may_relay(client: Client) -> bool:
    assert client.code(MAIL) == 250
    found = client.code(ELSEWHERE) == 250
    assert client.code(b"RSET") == 250
    return found


def arrive(server: Running, source: str, number: int = 0) -> tuple[Client, bytes]:
    """A client from an address, and its banner."""
    client = server.client(number, source)
    return client, client.reply()


def context_of(client: Client) -> dict[str, str]:
    lines = client.say(b"XDUMPCONTEXT").decode().splitlines()[:-1]
    return dict(line.split(" ", 2)[1:] for line in lines)


TWO_CONTAINERS = """
esmtp_listener {
  max_message_size = 1000
  peer "127.0.0.0/8"  { max_message_size = 8000  open_relay = true }
  peer "127.1.0.0/16" { max_message_size = 16000 }
  listen "127.0.0.1:0" { peer "127.1.2.3" { max_message_size = 99000 } }
  listen "127.0.0.2:0" { max_message_size = 50000 }
  listen "[::1]:0" { }
}
"""


@pytest.mark.parametrize(
    ("source", "number", "size", "relays"),
    [
        ("127.9.9.9", 0, 8000, True),
        ("127.1.7.7", 0, 16000, True),
        ("127.1.2.3", 0, 99000, True),
        ("127.1.7.7", 1, 50000, True),
        ("::1", 2, 1000, False),
    ],
)
def test_worked_example_2(serve: Serve, source: str, number: int, size: int, relays: bool) -> None:
    """reference/scopes-and-fallback.md section 6, with 127/8 for 10/8."""
    client, _ = arrive(serve(TWO_CONTAINERS), source, number)
    assert size_of(client) == size
    assert may_relay(client) is relays


NESTED = """
esmtp_listener {
  listen "127.0.0.1:0" {
    smtp_extensions = ( XDUMPCONTEXT )
    banner_hostname = all.example
    context = [ all = "listen"  who = "listen" ]
    peer "127.0.0.0/8"   { max_message_size = 8  context = [ eight = "8"  who = "8" ] }
    peer "127.16.0.0/12" { max_recipients_per_message = 1 }
    peer "127.16.0.0/16" { banner_hostname = sixteen.example  context = [ sixteen = "16"  who = "16" ] }
    peer "127.16.1.0/24" { max_message_size = 24  require_ehlo = true }
    peer "127.16.1.128/25" { open_relay = true }
    peer "127.16.1.200"  { banner_hostname = one.example  context = [ who = "32" ]  max_recipients_per_message = 2 }
    peer "127.16.1.201"  { smtp_extensions = ( )  open_relay = false }
  }
}
"""


@pytest.mark.parametrize(
    ("source", "host", "size", "relays", "recipients", "ehlo", "who", "names"),
    [
        ("127.0.0.9", "all.example", 8, False, 3, False, "8", "all eight who"),
        ("127.17.0.1", "all.example", 8, False, 1, False, "8", "all eight who"),
        ("127.16.9.9", "sixteen.example", 8, False, 1, False, "16", "all eight sixteen who"),
        ("127.16.1.1", "sixteen.example", 24, False, 1, True, "16", "all eight sixteen who"),
        ("127.16.1.129", "sixteen.example", 24, True, 1, True, "16", "all eight sixteen who"),
        ("127.16.1.200", "one.example", 24, True, 2, True, "32", "all eight sixteen who"),
        ("127.16.1.201", "sixteen.example", 24, False, 1, True, "", ""),
    ],
)
def test_each_option_comes_from_the_longest_prefix_that_sets_it(
    serve: Serve, source: str, host: str, size: int, relays: bool, recipients: int, ehlo: bool, who: str, names: str
) -> None:
    client, banner = arrive(serve(NESTED), source)
    assert banner.split(b" ")[1].decode() == host
    assert (client.code(MAIL) == 550) is ehlo
    client.code(b"RSET")
    assert size_of(client) == size
    assert may_relay(client) is relays
    client.code(MAIL)
    taken = 0
    while taken < 3 and client.code(b"RCPT TO:<u%d@example.com>" % taken) == 250:
        taken += 1
    assert taken == recipients
    client.code(b"RSET")
    if not who:
        assert client.say(b"XDUMPCONTEXT") == b"500 5.5.2 unrecognized command\r\n"
        return
    context = context_of(client)
    assert {name for name in ("all", "eight", "sixteen", "who") if name in context} == set(names.split())
    assert context["who"] == who


def test_many_clients_at_once_each_have_their_own(serve: Serve) -> None:
    """250 addresses, a Peer for every one: no cache may mix them up, in any order."""
    peers = "".join(f'peer "127.77.0.{n}" {{ max_message_size = {1000 + n} }}\n' for n in range(1, 251))
    server = serve(f'match_cache_size = 16\nesmtp_listener {{ listen "127.0.0.1:0" {{ {peers} }} }}')
    clients = [(n, arrive(server, f"127.77.0.{n}")[0]) for n in range(1, 251)]
    assert [(n, size_of(client)) for n, client in clients] == [(n, 1000 + n) for n, _ in clients]
    again = [(n, size_of(arrive(server, f"127.77.0.{n}")[0])) for n in range(250, 0, -1)]
    assert again == [(n, 1000 + n) for n in range(250, 0, -1)]


def test_ipv6_peers(serve: Serve) -> None:
    conf = """
    esmtp_listener { listen "[::1]:0" {
        peer "::/0" { max_message_size = 10 banner_hostname = any.example }
        peer "::/64" { max_message_size = 64 }
        peer "::1" { max_recipients_per_message = 1 }
        peer "0.0.0.0/0" { banner_hostname = four.example }
    } }
    """
    client, banner = arrive(serve(conf), "::1")
    assert banner.startswith(b"220 any.example ")
    assert size_of(client) == 64


PATHWAYS = """
inbound_throttle_messages = ""
Pathway "trusted" {
  require_ehlo = false  open_relay = true  max_message_size = 9000  context = [ from = "trusted"  p = "1" ]
}
Pathway_Group "g" {
  max_message_size = 4000
  context = [ group = "g"  p = "g" ]
  Pathway "grouped" { banner_hostname = grouped.example }
  Pathway "own" { banner_hostname = own.example  max_message_size = 30 }
}
Pathway "grouped" { banner_hostname = other.example  max_recipients_per_message = 1 }
relay_domains = ( "example.com" )
Pathway "partners" { relay_domains = ( "example.org" ) }
esmtp_listener {
  smtp_extensions = ( XDUMPCONTEXT )
  listen "127.0.0.1:0" {
    require_ehlo = true
    peer "127.1.0.0/16" { pathway = "trusted" }
    peer "127.2.0.0/16" { pathway = "grouped" }
    peer "127.3.0.0/16" { pathway = "own" }
    peer "127.4.0.0/16" { pathway = "partners" }
    peer "127.1.1.0/24" { context = [ p = "peer" ] max_message_size = 77 }
  }
}
"""


def test_a_pathway_set_in_a_peer(serve: Serve) -> None:
    """reference/scopes-and-fallback.md section 6, example 6: the Listen is above the pathway."""
    server = serve(PATHWAYS)
    client, _ = arrive(server, "127.1.0.1")
    assert client.code(MAIL) == 550, "require_ehlo of the Listen"
    assert size_of(client) == 9000
    assert may_relay(client)
    context = context_of(client)
    assert (context["pathway"], context["from"], context["p"]) == ("trusted", "trusted", "1")
    client, _ = arrive(server, "127.1.1.1")
    assert size_of(client) == 77
    assert context_of(client)["p"] == "peer", "the narrower scope's keys win"
    assert context_of(client)["from"] == "trusted"


def test_a_pathway_of_a_group(serve: Serve) -> None:
    """Example 4: the one in the group, then the global one of that name, then the group."""
    server = serve(PATHWAYS)
    client, banner = arrive(server, "127.2.0.1")
    assert banner.startswith(b"220 grouped.example ")
    assert size_of(client) == 4000
    client.code(MAIL)
    assert [client.code(b"RCPT TO:<%d@example.com>" % n) for n in range(2)] == [250, 452], "the global one's"
    assert context_of(client)["group"] == "g"
    client, banner = arrive(server, "127.3.0.1")
    assert banner.startswith(b"220 own.example ")
    assert size_of(client) == 30


def test_arrays_of_a_pathway_replace_the_global_ones(serve: Serve) -> None:
    server = serve(PATHWAYS)
    client, _ = arrive(server, "127.4.0.1")
    client.code(b"EHLO x")
    client.code(MAIL)
    assert client.code(b"RCPT TO:<b@example.org>") == 250
    assert client.code(b"RCPT TO:<b@example.com>") == 550
    assert context_of(client)["pathway"] == "partners"


def test_without_a_pathway_it_is_default(serve: Serve) -> None:
    server = serve('Pathway "default" { max_message_size = 5 }\n' + PATHWAYS)
    client, _ = arrive(server, "127.9.0.1")
    assert size_of(client) == 5
    assert context_of(client)["pathway"] == "default"


def test_an_empty_list_ends_the_fallback(serve: Serve) -> None:
    """Example 8."""
    conf = """
    relay_hosts = ( "127.0.0.0/8" )
    esmtp_listener { listen "127.0.0.1:0" { peer "127.5.0.0/16" { relay_hosts = ( ) } } }
    """
    server = serve(conf)
    assert may_relay(arrive(server, "127.4.0.1")[0])
    assert not may_relay(arrive(server, "127.5.0.1")[0])


def test_a_unix_socket_s_clients_are_127_0_0_1(serve: Serve, tmp_path: object) -> None:
    conf = f"""
    esmtp_listener {{ listen "{tmp_path}/smtp" {{
        peer "127.0.0.1" {{ banner_hostname = local.example }}
    }} }}
    """
    server = serve(conf)
    assert server.client().reply().startswith(b"220 local.example ")
