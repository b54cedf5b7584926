"""Which way mail for a domain goes."""

from __future__ import annotations

import logging
import random
from collections import Counter

import pytest

from gsmtp.core.errors import DeliveryError
from gsmtp.delivery.hops import Hop, Lookup, domain_hop, parse_gateway, parse_routes, parse_target, spread
from gsmtp.delivery.options import BASEDIR, RETRY_INTERVAL
from gsmtp.delivery.router import Router
from tests.config_meaning.loading import compiled, messages
from tests.delivery.kit import Settings, configuration


@pytest.mark.parametrize(
    ("text", "hop", "shown"),
    [
        ("10.0.0.20", Hop("10.0.0.20", 25), "10.0.0.20:25"),
        ("10.0.0.20:2525", Hop("10.0.0.20", 2525), "10.0.0.20:2525"),
        ("mail.example.com", Hop("mail.example.com", 25, 0, Lookup.GATEWAY), "mail.example.com:25"),
        ("mail.example.com:26", Hop("mail.example.com", 26, 0, Lookup.GATEWAY), "mail.example.com:26"),
        ("[mail.example.com]:26", Hop("mail.example.com", 26), "mail.example.com:26"),
        ("[2001:db8::1]:24", Hop("2001:db8::1", 24), "[2001:db8::1]:24"),
        ("[2001:db8::1]", Hop("2001:db8::1", 25), "[2001:db8::1]:25"),
        ("2001:db8::1", Hop("2001:db8::1", 25), "[2001:db8::1]:25"),
        ("[10.0.0.20]:24", Hop("10.0.0.20", 24), "10.0.0.20:24"),
    ],
)
def test_the_forms_of_gateway(text: str, hop: Hop, shown: str) -> None:
    assert parse_gateway(text, 25) == hop
    assert str(hop) == shown


@pytest.mark.parametrize(
    "text", ["", ":25", "host:", "host:0", "host:65536", "host:x", "[::1", "[::1]24", "a b", "u@h"]
)
def test_what_is_no_gateway(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_gateway(text, 25)


def test_routes_stand_in_listed_order_unless_pref_says_otherwise() -> None:
    assert parse_routes(("a.example", "10.0.0.1", "[::1]:26"), 25) == (
        Hop("a.example", 25, 0),
        Hop("10.0.0.1", 25, 1),
        Hop("::1", 26, 2),
    )
    items = ("smtp://a?pref=20&port=24", "smtp://b?pref=10&ttl=300&type=a", "c", "smtp://[::1]:27?pref=10")
    assert parse_routes(items, 25) == (
        Hop("b", 25, 10),
        Hop("::1", 27, 10),
        Hop("c", 25, 11),
        Hop("a", 24, 20),
    )


@pytest.mark.parametrize(
    ("item", "says"),
    [
        ("lmtp://h", "scheme"),
        ("smtp://h?type=txt", "type"),
        ("smtp://h?pref=x", "pref"),
        ("smtp://h?port=0", "port"),
        ("smtp://h?colour=red", "colour"),
        ("smtp://", "host"),
    ],
)
def test_what_is_no_route(item: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_routes((item,), 25)


def test_equal_preference_shares_the_load_and_later_ones_stay_later() -> None:
    hops = parse_routes(("smtp://a?pref=1", "smtp://b?pref=1", "smtp://c?pref=2"), 25)
    chooser = random.Random(1)
    orders = Counter("".join(hop.host for hop in spread(hops, chooser)) for _ in range(1000))
    assert set(orders) == {"abc", "bac"}
    assert min(orders.values()) > 400


def test_a_maildir_stanza_comes_before_routes_and_gateway() -> None:
    conf = configuration(
        {"example.org": {"Gateway": "10.0.0.1"}},
        {"local": {"Basedir": "/m", "Domains": ("example.org", "*.example.org")}},
    )
    router = Router(conf)
    route = router.route("example.org")
    assert (route.transport, route.hops, route.key) == ("maildir", (), "maildir local")
    assert route.view[BASEDIR] == "/m"
    assert router.route("sub.example.org").transport == "maildir"
    assert router.route("example.com").transport == "smtp"


def test_all_domains_takes_everything_even_a_bare_postmaster() -> None:
    router = Router(configuration(maildirs={"m": {"Basedir": "/m", "All_Domains": True}}))
    assert router.route("any.example").transport == "maildir"
    assert router.route("").transport == "maildir"


def test_a_maildir_that_is_switched_off_takes_nothing() -> None:
    conf = configuration(
        {"example.org": {"Gateway": "10.0.0.1"}},
        {"m": {"Basedir": "/m", "All_Domains": True, "Enabled": False}},
    )
    assert Router(conf).route("example.org").transport == "smtp"


def test_routes_supplant_the_gateway() -> None:
    conf = configuration({"example.com": {"Routes": ("10.0.0.1", "10.0.0.2"), "Gateway": "10.9.9.9"}})
    route = Router(conf).route("example.com")
    assert route.hops == (Hop("10.0.0.1", 25, 0), Hop("10.0.0.2", 25, 1))
    assert route.key == "esmtp 10.0.0.1:25,10.0.0.2:25"


@pytest.mark.parametrize(
    ("settings", "transport", "key"),
    [
        ({"Gateway": "10.0.0.20"}, "smtp", "esmtp 10.0.0.20:25"),
        ({"Gateway": "10.0.0.20", "Remote_SMTP_Port": 2525}, "smtp", "esmtp 10.0.0.20:2525"),
        ({"Gateway": "10.0.0.20", "Delivery_Method": "SMTP", "LMTP_Port": 24}, "smtp", "smtp 10.0.0.20:25"),
        ({"Gateway": "10.0.0.20", "Delivery_Method": "LMTP"}, "lmtp", "lmtp 10.0.0.20:2003"),
        ({"Gateway": "10.0.0.20", "Delivery_Method": "LMTP", "LMTP_Port": 24}, "lmtp", "lmtp 10.0.0.20:24"),
        ({"Gateway": "[::1]:99", "Delivery_Method": "lmtp", "LMTP_Port": 24}, "lmtp", "lmtp [::1]:99"),
    ],
)
def test_method_and_port(settings: Settings, transport: str, key: str) -> None:
    route = Router(configuration({"example.com": settings})).route("example.com")
    assert (route.transport, route.key) == (transport, key)


def test_a_global_gateway_is_for_everybody() -> None:
    router = Router(configuration(everywhere={"Gateway": "smart.example"}))
    assert router.route("a.example").key == router.route("b.example").key == "esmtp smart.example:25"


def test_options_are_looked_up_by_domain_then_gateway_then_global() -> None:
    conf = configuration(
        {
            "example.com": {"Gateway": "10.0.0.20", "Retry_Interval": 300},
            "10.0.0.20": {"Retry_Interval": 60, "Delivery_Method": "LMTP"},
            "other.example": {"Gateway": "10.0.0.20"},
        },
        everywhere={"Remote_SMTP_Port": 26},
    )
    router = Router(conf)
    route = router.route("example.com")
    assert route.view[RETRY_INTERVAL] == 300
    assert route.transport == "lmtp"
    assert router.route("other.example").view[RETRY_INTERVAL] == 60


def test_mail_without_any_route_goes_by_mx_and_each_domain_has_a_lane() -> None:
    router = Router(configuration({"a.example": {"Remote_SMTP_Port": 2525}}))
    route = router.route("a.example")
    assert (route.transport, route.key, route.gateway) == ("smtp", "esmtp mx:a.example:2525", "")
    assert route.hops == (Hop("a.example", 2525, 0, Lookup.MX),)
    assert router.route("b.example").key == "esmtp mx:b.example:25"


def test_an_empty_gateway_takes_a_domain_off_the_smarthost() -> None:
    router = Router(configuration({"a.example": {"Gateway": ""}}, everywhere={"Gateway": "10.0.0.1"}))
    assert router.route("a.example").key == "esmtp mx:a.example:25"
    assert router.route("b.example").key == "esmtp 10.0.0.1:25"


@pytest.mark.parametrize(
    ("domain", "host"), [("[192.0.2.1]", "192.0.2.1"), ("[IPv6:2001:db8::1]", "2001:db8::1"), ("[::1]", "::1")]
)
def test_an_address_literal_is_where_its_mail_goes(domain: str, host: str) -> None:
    assert domain_hop(domain, 25) == Hop(host, 25, 0, Lookup.MX)
    assert Router(configuration()).route(domain).hops == (Hop(host, 25, 0, Lookup.MX),)


def test_a_literal_that_is_no_address_is_named() -> None:
    with pytest.raises(DeliveryError, match=r"^451 4\.3\.5 \[internal\] '\[nonsense\]' is not an address"):
        Router(configuration()).route("[nonsense]")


def test_an_address_without_a_domain_has_no_mx() -> None:
    with pytest.raises(DeliveryError, match=r"^451 4\.4\.4 \[internal\] no route for an address") as caught:
        Router(configuration()).route("")
    assert caught.value.temporary
    with pytest.raises(DeliveryError, match="no route"):
        Router(configuration(everywhere={"Routes": ("__mx__",)})).route("")
    assert Router(configuration(everywhere={"Gateway": "10.0.0.1"})).route("").key == "esmtp 10.0.0.1:25"


def test_mx_in_routes_is_the_recipients_own_domain() -> None:
    conf = configuration(
        everywhere={"Routes": ("smtp://10.0.0.1?pref=1", "__mx__", "smtp://hub.example?type=mx&port=26")}
    )
    router = Router(conf)
    assert router.route("a.example").hops == (
        Hop("10.0.0.1", 25, 1),
        Hop("a.example", 25, 2, Lookup.MX),
        Hop("hub.example", 26, 3, Lookup.GATEWAY),
    )
    assert router.route("b.example").key == "esmtp 10.0.0.1:25,mx:b.example:25,hub.example:26"


def test_static_routes_takes_what_no_maildir_takes() -> None:
    conf = configuration(
        {"example.com": {"Gateway": "10.0.0.1", "Retry_Interval": 7}},
        {"m": {"Basedir": "/m", "Domains": ("local.example",)}},
        {"Routes": ("10.0.0.2",)},
        stanzas={"static_routes": {"": {"Target": "10.0.0.9:2525"}}},
    )
    router = Router(conf)
    assert router.route("local.example").transport == "maildir"
    assert router.route("example.com").key == router.route("b.example").key == "esmtp 10.0.0.9:2525"
    assert router.route("example.com").view[RETRY_INTERVAL] == 7


@pytest.mark.parametrize("settings", [{}, {"Target": "10.0.0.9:25", "Enabled": False}], ids=str)
def test_static_routes_without_target_or_switched_off_does_nothing(settings: Settings) -> None:
    conf = configuration(stanzas={"static_routes": {"": settings}})
    assert Router(conf).route("a.example").key == "esmtp mx:a.example:25"


def test_the_forms_of_a_target() -> None:
    assert parse_target("192.0.2.1:2525") == Hop("192.0.2.1", 2525)
    assert parse_target("[2001:db8::1]:2525") == Hop("2001:db8::1", 2525)
    with pytest.raises(ValueError, match="not an IP address"):
        parse_target("mail.example:25")


def test_regular_expressions_of_domain_stanzas_route_what_they_match() -> None:
    conf = configuration(
        {
            "/^mail[0-9]+\\.example$/": {"Gateway": "10.0.0.1"},
            "mail7.example": {"Gateway": "10.0.0.7"},
            "/\\.example$/": {"Routes": ("10.0.0.2",)},
        }
    )
    router = Router(conf)
    assert router.route("mail1.other.example").key == "esmtp 10.0.0.2:25"
    assert router.route("mail7.example").key == "esmtp 10.0.0.2:25", "routes of a wider scope supplant the gateway"
    assert router.route("mail1.test").key == "esmtp mx:mail1.test:25"


def test_a_binding_that_is_not_configured_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    router = Router(compiled('gateway = "10.0.0.1"\nBinding "b" { }'))
    with caplog.at_level(logging.WARNING, "gsmtp.delivery"):
        for binding in ("", "default", "b", "gone", "gone", "other"):
            for domain in ("a.example", "b.example"):
                router.route(domain, binding)
    assert [record.getMessage() for record in caplog.records] == [
        "binding 'gone' isn't configured: its mail goes by the default binding",
        "binding 'other' isn't configured: its mail goes by the default binding",
    ]


def test_a_domain_that_another_stanza_takes_is_told() -> None:
    stanzas = """maildir "in" { basedir = "/var/mail" domains = ( "a.example" "b.example" ) }
webhook "crm" { domain = ( "A.example" "b.example" "*.c.example" ) url = "http://127.0.0.1/"
  secret = ( "file:/etc/gsmtp/crm.secret" ) }
python "x" { domain = ( "x.c.example" "d.example" "*" ) handler = "app:incoming" }
python "off" { enabled = false domain = ( "a.example" ) handler = "app:incoming" }
"""
    hint = "mail for a domain goes to one stanza only: name it in that one alone"
    assert messages(stanzas) == [
        '2:1: warning: webhook "crm" never gets the mail for a.example and 1 more: maildir "in" is asked first '
        f"[{hint}]",
        f'4:1: warning: python "x" never gets the mail for x.c.example: webhook "crm" is asked first [{hint}]',
    ]
