"""Which way mail for a domain goes."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from gsmtp.core.errors import DeliveryError
from gsmtp.delivery.hops import Hop, parse_gateway, parse_routes, spread
from gsmtp.delivery.options import BASEDIR, RETRY_INTERVAL
from gsmtp.delivery.router import Router
from tests.delivery.kit import Settings, configuration


@pytest.mark.parametrize(
    ("text", "hop", "shown"),
    [
        ("10.0.0.20", Hop("10.0.0.20", 25), "10.0.0.20:25"),
        ("10.0.0.20:2525", Hop("10.0.0.20", 2525), "10.0.0.20:2525"),
        ("mail.example.com", Hop("mail.example.com", 25), "mail.example.com:25"),
        ("mail.example.com:26", Hop("mail.example.com", 26), "mail.example.com:26"),
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
        ("__mx__", "not served"),
        ("smtp://h?type=mx", "not served"),
        ("lmtp://h", "scheme"),
        ("smtp://h?pref=x", "pref"),
        ("smtp://h?port=0", "port"),
        ("smtp://h?colour=red", "colour"),
        ("smtp://", "host"),
    ],
)
def test_routes_that_are_not_served_say_so(item: str, says: str) -> None:
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
    with pytest.raises(DeliveryError):
        router.route("example.com")


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


def test_no_route_says_what_is_missing_and_is_temporary() -> None:
    with pytest.raises(DeliveryError) as caught:
        Router(configuration()).route("example.com")
    assert caught.value.temporary
    assert str(caught.value) == (
        '451 4.4.4 [internal] no route for "example.com": no maildir stanza has it in domains, and neither '
        'Domain "example.com" nor the global scope sets gateway or routes (MX records are not looked up yet)'
    )


def test_a_route_that_is_not_served_is_temporary_too() -> None:
    with pytest.raises(DeliveryError, match=r"^451 4\.3\.5 \[internal\] route __mx__ is not served yet") as caught:
        Router(configuration({"example.com": {"Routes": ("__mx__",)}})).route("example.com")
    assert caught.value.temporary
