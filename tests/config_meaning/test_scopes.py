"""Which value holds: the worked examples of reference/scopes-and-fallback.md, and what they leave open."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest

from gsmtp.config.option import Option
from gsmtp.config.pools import PREDEFINED_POOLS
from gsmtp.config.scopes import CHAIN, Configuration, compile_tree
from gsmtp.config.view import View
from gsmtp.core.clock import FixedClock
from gsmtp.delivery.options import BASEDIR, DELIVERY_METHOD, GATEWAY, LMTP_PORT
from gsmtp.policy.options import OPEN_RELAY, RELAY_DOMAINS, RELAY_HOSTS
from gsmtp.runtime.options import CONCURRENCY
from gsmtp.server.options import IDLE_TIME
from gsmtp.smtp.format_options import (
    RFC2822_LONE_LF_IN_BODY,
)
from gsmtp.smtp.options import (
    BANNER_HOSTNAME,
    CONTEXT,
    MAX_MESSAGE_SIZE,
    REQUIRE_EHLO,
)
from tests.config_meaning.loading import compiled, listen, messages


def view(configuration: Configuration, name: str, client: str = "192.0.2.1") -> View:
    return configuration.view_for(listen(configuration, name), client)


def test_example_1_listen_falls_back_to_listener() -> None:
    configuration = compiled("""
        ESMTP_Listener {
          idle_time = 300
          Listen ":25"  { }
          Listen ":587" { idle_time = 60 }
        }
    """)
    assert view(configuration, ":25")[IDLE_TIME] == 300
    assert view(configuration, ":587")[IDLE_TIME] == 60


EXAMPLE_2 = """
    ESMTP_Listener {
      max_message_size = 1000
      Peer "10.0.0.0/8"  { max_message_size = 8000  open_relay = true }
      Peer "10.1.0.0/16" { max_message_size = 16000 }
      Listen ":25"  { Peer "10.1.2.3" { max_message_size = 99000 } }
      Listen ":587" { max_message_size = 50000 }
    }
"""


@pytest.mark.parametrize(
    ("client", "name", "size", "relay"),
    [
        ("192.0.2.1", ":25", 1000, False),
        ("10.9.9.9", ":25", 8000, True),
        ("10.1.7.7", ":25", 16000, True),
        ("10.1.2.3", ":25", 99000, True),
        ("10.1.7.7", ":587", 50000, True),
        ("::ffff:10.1.2.3", ":25", 99000, True),
    ],
)
def test_example_2_peers_in_two_containers(client: str, name: str, size: int, relay: bool) -> None:
    found = view(compiled(EXAMPLE_2), name, client)
    assert (found[MAX_MESSAGE_SIZE], found[OPEN_RELAY]) == (size, relay)


def test_example_2_warns_that_the_listen_hides_the_peers_value() -> None:
    hidden = [one for one in messages(EXAMPLE_2) if "goes before" in one]
    assert hidden == [
        '7:19: warning: max_message_size of Listen ":587" goes before the listener\'s Peer "10.0.0.0/8" '
        '[to let the Peer win, put it into a Peer stanza of Listen ":587"]'
    ]


EXAMPLE_3 = """
    rfc2822_lone_lf_in_body = "ignore"
    Pathway "partners" {
      rfc2822_lone_lf_in_body = "pedantic"
      relay_domains = ( "example.net" )
      idle_time = 600
    }
    relay_domains = ( "example.com" )
    ESMTP_Listener {
      %s
      Listen ":25"   { }
      Listen ":2525" { pathway = "partners" }
    }
"""


def test_example_3_pathway() -> None:
    configuration = compiled(EXAMPLE_3 % "idle_time = 300")
    plain, partners = view(configuration, ":25"), view(configuration, ":2525")
    assert (plain[RFC2822_LONE_LF_IN_BODY], partners[RFC2822_LONE_LF_IN_BODY]) == ("ignore", "pedantic")
    assert plain[RELAY_DOMAINS].patterns == ("example.com",)
    assert partners[RELAY_DOMAINS].patterns == ("example.net",)
    assert (plain[IDLE_TIME], partners[IDLE_TIME]) == (300, 300)
    assert (plain.pathway, partners.pathway) == ("default", "partners")


def test_example_3_the_pathways_value_acts_once_the_listener_sets_none() -> None:
    assert view(compiled(EXAMPLE_3 % ""), ":2525")[IDLE_TIME] == 600


EXAMPLE_4 = """
    Pathway_Group "g" {
      idle_time = 400
      Pathway "p1" { banner_hostname = "one.example.com" }
      Pathway "p2" { banner_hostname = "two.example.com"  idle_time = 30 }
    }
    Pathway "p1" { banner_hostname = "other.example.com"  max_message_size = 5000 }
    ESMTP_Listener {
      Listen ":25"  { pathway = "p1" }
      Listen ":587" { pathway = "p2" }
    }
"""


def test_example_4_pathway_group() -> None:
    configuration = compiled(EXAMPLE_4)
    first, second = view(configuration, ":25"), view(configuration, ":587")
    assert (first[BANNER_HOSTNAME], first[MAX_MESSAGE_SIZE], first[IDLE_TIME]) == ("one.example.com", 5000, 400)
    assert (second[BANNER_HOSTNAME], second[MAX_MESSAGE_SIZE], second[IDLE_TIME]) == ("two.example.com", 0, 30)
    assert (first.pathway, first.group) == ("p1", "g")


def test_example_4_warns_about_the_double_name() -> None:
    assert (
        "7:1: warning: pathway 'p1' is defined in Pathway_Group \"g\" too "
        "[both apply: the one in the group first, then this one]"
    ) in messages(EXAMPLE_4)


def test_example_5_implicit_default_pathway() -> None:
    configuration = compiled("""
        Pathway "default" { idle_time = 77 }
        ESMTP_Listener { Listen ":25" { } }
    """)
    found = view(configuration, ":25")
    assert (found[IDLE_TIME], found.pathway, found.group) == (77, "default", "default")
    bare = view(compiled('ESMTP_Listener { Listen ":25" { } }'), ":25")
    assert (bare[IDLE_TIME], bare.pathway, bare.group) == (300, "default", "default")


def test_example_6_pathway_set_in_a_peer() -> None:
    configuration = compiled("""
        Pathway "trusted" { require_ehlo = false  open_relay = true  max_message_size = 9000 }
        ESMTP_Listener {
          Listen ":25" {
            require_ehlo = true
            Peer "10.0.0.0/8" { pathway = "trusted" }
          }
        }
    """)
    inside, outside = view(configuration, ":25", "10.1.1.1"), view(configuration, ":25", "192.0.2.1")
    assert (inside[OPEN_RELAY], inside[MAX_MESSAGE_SIZE], inside[REQUIRE_EHLO]) == (True, 9000, True)
    assert (outside[OPEN_RELAY], outside[MAX_MESSAGE_SIZE], outside[REQUIRE_EHLO]) == (False, 0, True)
    assert (inside.pathway, outside.pathway) == ("trusted", "default")


def test_example_7_unknown_pathway() -> None:
    assert messages("""
        Pathway "partners" { }
        ESMTP_Listener { Listen ":25" { pathway = "partner" } }
    """) == ["3:43: error: pathway 'partner' of Listen \":25\" is not defined [did you mean 'partners'?]"]


def test_example_8_empty_array_stops_the_fallback() -> None:
    configuration = compiled("""
        relay_hosts = ( "10.0.0.0/8" )
        ESMTP_Listener { Listen ":587" { relay_hosts = () }  Listen ":25" { } }
    """)
    assert view(configuration, ":587")[RELAY_HOSTS] == ()
    assert view(configuration, ":25")[RELAY_HOSTS] == (ip_network("10.0.0.0/8"),)


def test_context_is_merged_from_all_scopes() -> None:
    configuration = compiled("""
        ESMTP_Listener {
          context = [ a = listener  b = listener ]
          Peer "10.0.0.0/8" { context = [ c = wide  d = wide ] }
          Listen ":25" {
            Peer "0.0.0.0/0" { context = [ b = everyone ] }
            Peer "10.1.1.1"  { context = [ d = narrow ] }
          }
        }
    """)
    assert view(configuration, ":25", "10.1.1.1")[CONTEXT] == {
        "a": "listener",
        "b": "everyone",
        "c": "wide",
        "d": "narrow",
    }
    assert view(configuration, ":25", "192.0.2.1")[CONTEXT] == {"a": "listener", "b": "everyone"}
    assert view(configuration, ":25", "2001:db8::1")[CONTEXT] == {"a": "listener", "b": "listener"}


def test_unix_clients_match_as_the_loopback_address() -> None:
    configuration = compiled("""
        ESMTP_Listener { Listen "/run/x.sock" { Peer "127.0.0.0/8" { idle_time = 5 } } }
    """)
    assert view(configuration, "/run/x.sock", "")[IDLE_TIME] == 5


def test_ipv6_peers() -> None:
    configuration = compiled("""
        ESMTP_Listener {
          Peer "2001:db8::/32"   { idle_time = 32 }
          Peer "2001:db8:1::/48" { idle_time = 48 }
          Peer "::/0"            { idle_time = 1 }
          Listen "[*]:25" { }
        }
    """)
    clients = ("2001:db8::1", "2001:db8:1::1", "fe80::1%eth0", "192.0.2.1")
    assert [view(configuration, "[*]:25", client)[IDLE_TIME] for client in clients] == [32, 48, 1, 300]


def test_many_peers_cost_no_more_than_few() -> None:
    """One look-up for each prefix length, not one for each stanza."""
    peers = "\n".join(f'Peer "10.{n // 256}.{n % 256}.0/24" {{ idle_time = {n + 1} }}' for n in range(5000))
    configuration = compiled(f'ESMTP_Listener {{\n{peers}\nListen ":25" {{ }}\n}}')
    socket = configuration.listens[0]
    assert configuration.view_for(socket, "10.19.135.9")[IDLE_TIME] == 5000
    assert configuration.view_for(socket, "10.200.0.1")[IDLE_TIME] == 300
    assert len(socket.listener_peers._tables) == 1


def test_clients_that_match_the_same_stanzas_share_a_view() -> None:
    configuration = compiled(EXAMPLE_2)
    assert view(configuration, ":25", "10.9.9.9") is view(configuration, ":25", "10.8.8.8")
    assert view(configuration, ":25", "10.9.9.9") is not view(configuration, ":25", "10.1.7.7")


def test_the_cache_is_bounded_and_expires() -> None:
    source = compiled('match_cache_size = 2 match_cache_life = 10 ESMTP_Listener { Listen ":25" { } }').tree
    clock = FixedClock()
    configuration = compile_tree(source, clock=clock)
    for number in range(10):
        configuration.view_for(configuration.listens[0], f"192.0.2.{number}")
    assert len(configuration._cache) == 2
    assert configuration._cache.get((configuration.listens[0], "192.0.2.9")) is not None
    clock.advance(10)
    assert configuration._cache.get((configuration.listens[0], "192.0.2.9")) is None


def test_a_hook_may_choose_another_pathway() -> None:
    configuration = compiled("""
        Pathway "slow" { idle_time = 900 }
        ESMTP_Listener { Listen ":25" { } }
    """)
    socket = configuration.listens[0]
    assert configuration.view_for(socket, "192.0.2.1", pathway="slow")[IDLE_TIME] == 900
    assert configuration.view_for(socket, "192.0.2.1")[IDLE_TIME] == 300


def test_listens_say_what_is_to_be_opened() -> None:
    configuration = compiled("""
        ESMTP_Listener {
          Listen ":25"  { }
          Listen ":587" { Enable = "false" }
          Listen ":465" { Use_SSL = true }
          Listen "[::192.168.0.1]:25" { }
        }
        Control_Listener { Listen "/run/control" { } }
    """)
    assert [(one.name, str(one.endpoint), one.is_enabled) for one in configuration.listens] == [
        (":25", "0.0.0.0:25", True),
        (":587", "0.0.0.0:587", False),
        (":465", "0.0.0.0:465", True),
        ("[::192.168.0.1]:25", "[::c0a8:1]:25", True),
    ]


DOMAINS = r"""
    delivery_method = "ESMTP"
    Domain "/[.]example[.]com$/" { gateway = "10.0.0.9" delivery_method = "LMTP" }
    Domain "a.example.com" { gateway = "10.0.0.1" }
    Domain "/^a[.]/" { gateway = "10.0.0.2" lmtp_port = 24 }
"""


def test_domains_exact_then_regexes_in_file_order_then_global() -> None:
    configuration = compiled(DOMAINS)
    exact = configuration.domain_view("A.Example.COM.")
    assert (exact[GATEWAY], exact[DELIVERY_METHOD], exact[LMTP_PORT]) == ("10.0.0.1", "LMTP", 24)
    assert configuration.domain_view("b.example.com")[GATEWAY] == "10.0.0.9"
    assert configuration.domain_view("a.example.org")[GATEWAY] == "10.0.0.2"
    other = configuration.domain_view("example.org")
    assert (other[GATEWAY], other[DELIVERY_METHOD]) == ("", "ESMTP")


def test_a_million_domains_keep_no_view_each() -> None:
    configuration = compiled(DOMAINS)
    for number in range(1000):
        configuration.domain_view(f"d{number}.example.org")
    assert len(configuration._views) < 10


def test_modules_have_their_own_options_alone() -> None:
    configuration = compiled("""
        maildir "one" { basedir = "/a"  domains = ( "example.com" ) }
        maildir "two" { basedir = "/b"  domain = "example.net" }
    """)
    found = configuration.stanzas("maildir")
    assert [(one.chain[0].spelled, one[BASEDIR]) for one in found] == [("one", "/a"), ("two", "/b")]


def test_pools_are_matched_without_case() -> None:
    configuration = compiled('ThreadPool "Accept-Pool" { Concurrency = 4 } ThreadPool io { Concurrency = 9 }')
    pool = configuration.threadpool("accept-pool")
    io = configuration.threadpool("IO")
    assert pool is not None
    assert io is not None
    assert (pool[CONCURRENCY], io[CONCURRENCY]) == (4, 9)
    assert configuration.threadpool("CPU") is None
    assert PREDEFINED_POOLS["IO"].concurrency == 50
    assert PREDEFINED_POOLS["Unlink"].backlog == 100


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ("", ""),
        ('Pool_Name = "known" Concurrency = 2', ""),
        ('Pool_Name = "known"', ""),
        ("Concurrency = 0", ""),
        ('Concurrency = 1 Event_Loop = "e"', ""),
        ('Pool_Name = "cpu"', ""),
        ('Pool_Name = "gone" Concurrency = 2', 'ThreadPool "gone" of listen ":25" is not defined: the IO pool is used'),
        ("Concurrency = 2", 'listen ":25" sets Concurrency and names no Pool_Name: the IO pool is used'),
    ],
)
def test_the_critical_line_about_a_missing_pool(options: str, line: str) -> None:
    configuration = compiled(f"""
        ThreadPool known {{ Concurrency = 4 }}
        EventLoop e {{ Concurrency = 1 }}
        ESMTP_Listener {{ Listen ":25" {{ {options} }} }}
    """)
    assert configuration.pool_problem(configuration.listens[0]).lower() == line.lower()


def test_the_chain_is_one_table() -> None:
    assert [words for words, _ in CHAIN] == [
        "Peers of the Listen, longest prefix first",
        "Listen",
        "Peers of the listener, longest prefix first",
        "listener",
        "Pathway, the one inside a group first",
        "Pathway_Group of the Pathway",
        "global",
    ]


def test_a_warm_view_reads_nothing_again(monkeypatch: pytest.MonkeyPatch) -> None:
    found = view(compiled(EXAMPLE_2), ":25", "10.1.7.7")
    assert found[MAX_MESSAGE_SIZE] == 16000

    def fail(self: View, option: Option[Any]) -> Any:
        raise AssertionError("resolved twice")

    monkeypatch.setattr(View, "origin", fail)
    assert found[MAX_MESSAGE_SIZE] == 16000


def test_a_view_knows_its_generation() -> None:
    configuration = compiled(EXAMPLE_2)
    assert (configuration.generation, view(configuration, ":25").generation) == (7, 7)
