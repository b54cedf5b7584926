"""Which addresses a hop comes to: preference, spread, loops, null MX, prohibited hosts, and what is temporary."""

from __future__ import annotations

import random
import socket
from collections import Counter

import pytest

from gsmtp.app import wiring
from gsmtp.config.view import View
from gsmtp.core.address import Endpoint
from gsmtp.delivery.hops import Hop, Lookup, parse_gateway
from gsmtp.delivery.resolve import Address, HopResolver, Unresolved, is_local_address
from gsmtp.runtime.dns_answers import NO_SUCH_NAME, Answer, Exchange, LookupFailed
from tests.delivery.kit import Names, Settings, configuration

wiring.load()

Known = dict[str, Answer | LookupFailed]
DOMAIN = Hop("example.com", 25, 0, Lookup.MX)


def mx(*exchanges: tuple[int, str]) -> Answer:
    """MX records."""
    return Answer(exists=True, exchanges=tuple(Exchange(preference, host) for preference, host in exchanges))


def at(*addresses: str) -> Answer:
    """Addresses."""
    return Answer(exists=True, addresses=addresses)


def options(everywhere: Settings | None = None, domains: dict[str, Settings] | None = None) -> View:
    """The options for mail to example.com."""
    return configuration(domains, everywhere=everywhere).domain_view("example.com")


def resolving(known: Known, seed: int = 1, here: str = "") -> HopResolver:
    """A resolver that knows these names; `here` is this machine's address."""
    return HopResolver(Names(known), "our-name.example", random.Random(seed), lambda ip: ip == here)


def ips(known: Known, hop: Hop = DOMAIN, everywhere: Settings | None = None) -> list[str]:
    """The addresses in order."""
    return [address.ip for address in resolving(known).addresses(hop, options(everywhere))]


def refusal(known: Known, hop: Hop = DOMAIN, everywhere: Settings | None = None) -> tuple[str, bool]:
    """Why there is none, and whether that is temporary."""
    with pytest.raises(Unresolved) as caught:
        resolving(known).addresses(hop, options(everywhere))
    return str(caught.value), caught.value.temporary


def test_mx_hosts_by_preference_with_name_port_and_preference() -> None:
    known: Known = {
        "example.com": mx((20, "b.example"), (10, "a.example")),
        "a.example": at("192.0.2.1"),
        "b.example": at("192.0.2.2"),
    }
    hop = Hop("example.com", 2525, 0, Lookup.MX)
    found = resolving(known).addresses(hop, options())
    assert found == [Address("a.example", "192.0.2.1", 2525, 10), Address("b.example", "192.0.2.2", 2525, 20)]
    assert str(found[0]) == "a.example[192.0.2.1]:2525"


def test_equal_preference_is_spread_evenly() -> None:
    hosts = ("a.example", "b.example", "c.example")
    known: Known = {"example.com": mx(*((10, host) for host in hosts), (20, "late.example"))}
    known |= {host: at(f"192.0.2.{number}") for number, host in enumerate((*hosts, "late.example"))}
    resolver = resolving(known, seed=7)
    orders = Counter(tuple(one.name for one in resolver.addresses(DOMAIN, options())) for _ in range(1200))
    assert all(order[3] == "late.example" for order in orders)
    assert len(orders) == 6
    assert min(orders.values()) > 150


def test_a_hosts_addresses_are_spread_too() -> None:
    known: Known = {"example.com": at("192.0.2.1", "192.0.2.2")}
    resolver = resolving(known, seed=3)
    first = Counter(resolver.addresses(DOMAIN, options())[0].ip for _ in range(400))
    assert min(first["192.0.2.1"], first["192.0.2.2"]) > 150


def test_ipv6_goes_first_where_it_is_used() -> None:
    known: Known = {"example.com": mx((10, "a.example")), "a.example": at("192.0.2.1", "2001:db8::1")}
    assert ips(known) == ["192.0.2.1"]
    assert ips(known, everywhere={"Use_IPv6": True}) == ["2001:db8::1", "192.0.2.1"]
    address = resolving(known).addresses(DOMAIN, options({"Use_IPv6": True}))[0]
    assert str(address) == "a.example[2001:db8::1]:25"


def test_without_mx_the_domains_own_address_counts() -> None:
    assert ips({"example.com": at("192.0.2.1")}) == ["192.0.2.1"]


def test_without_mx_and_address_mail_waits() -> None:
    assert refusal({"example.com": Answer(exists=True)}) == (
        "454 4.4.4 [internal] no MX or A for domain: example.com: example.com has no address",
        True,
    )


def test_a_domain_that_does_not_exist_is_refused_for_good() -> None:
    assert refusal({"example.com": NO_SUCH_NAME}) == (
        "554 5.4.4 [internal] Domain Lookup Failed: example.com does not exist",
        False,
    )


def test_a_failed_look_up_is_temporary() -> None:
    assert refusal({"example.com": LookupFailed("SERVFAIL from 192.0.2.53:53")}) == (
        "454 4.4.4 [internal] no MX or A for domain: SERVFAIL from 192.0.2.53:53",
        True,
    )


def test_null_mx_is_refused_for_good_and_only_when_it_stands_alone() -> None:
    known: Known = {"example.com": mx((0, ""))}
    assert refusal(known) == ("550 5.4.4 [internal] NULL MX domain does not accept mail: example.com", False)
    known = {"example.com": mx((0, ""), (10, "a.example")), "a.example": at("192.0.2.1")}
    assert ips(known) == ["192.0.2.1"]


@pytest.mark.parametrize("broken", [NO_SUCH_NAME, Answer(exists=True), LookupFailed("no reply")], ids=str)
def test_an_mx_host_without_an_address_makes_way_for_the_next(broken: Answer | LookupFailed) -> None:
    known: Known = {"example.com": mx((10, "a.example"), (20, "b.example")), "a.example": broken}
    assert ips({**known, "b.example": at("192.0.2.2")}) == ["192.0.2.2"]
    text, temporary = refusal({**known, "b.example": Answer(exists=True)})
    assert text.startswith("454 4.4.4 [internal] no MX or A for domain: example.com: ")
    assert temporary


@pytest.mark.parametrize("own", ["our-name.example", "configured.example"])
def test_our_own_name_ends_the_list_there(own: str) -> None:
    hosts = {"a.example": at("192.0.2.1"), own: at("192.0.2.9"), "c.example": at("192.0.2.3")}
    known: Known = {"example.com": mx((10, "a.example"), (20, own), (20, "c.example"), (30, "d.example")), **hosts}
    assert ips(known, everywhere={"Hostname": "Configured.example"}) == ["192.0.2.1"]


def test_mail_of_which_we_are_the_best_mx_is_refused_for_good() -> None:
    known: Known = {"example.com": mx((10, "our-name.example"), (20, "b.example")), "b.example": at("192.0.2.2")}
    assert refusal(known) == (
        "554 5.4.6 [internal] mail loops back to this host: example.com has this server as its best MX",
        False,
    )


@pytest.mark.parametrize(
    ("listen", "is_own"),
    [("192.0.2.9:25", True), (":25", True), ("192.0.2.9:26", False), (":26", False), ("192.0.2.8:25", False)],
)
def test_our_own_address_and_port_end_the_list_there(listen: str, is_own: bool) -> None:
    hosts = {"a.example": at("192.0.2.1"), "other-name.example": at("192.0.2.9"), "c.example": at("192.0.2.3")}
    exchanges = mx((10, "a.example"), (20, "other-name.example"), (20, "c.example"))
    resolver = resolving({"example.com": exchanges, **hosts}, here="192.0.2.9")
    resolver.listen_at([Endpoint.parse(listen), Endpoint.parse("/run/socket")])
    found = {address.ip for address in resolver.addresses(DOMAIN, options())}
    assert found == ({"192.0.2.1"} if is_own else {"192.0.2.1", "192.0.2.9", "192.0.2.3"})


def test_addresses_of_this_machine_are_known_without_sending() -> None:
    assert is_local_address("127.0.0.77")
    assert is_local_address("0.0.0.0")
    assert is_local_address("::1")
    assert not is_local_address("192.0.2.1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return  # a machine with the loopback alone
        assert is_local_address(probe.getsockname()[0])


PRIVATE: Settings = {"Prohibited_Hosts": ("127.0.0.0/8", "0.0.0.0", "10.0.0.0/8", "::1")}


def test_prohibited_hosts_are_passed_over_and_alone_refused_for_good() -> None:
    known: Known = {
        "example.com": mx((10, "a.example"), (20, "b.example")),
        "a.example": at("127.0.0.1", "10.1.2.3"),
        "b.example": at("192.0.2.2"),
    }
    assert ips(known, everywhere=PRIVATE) == ["192.0.2.2"]
    known["b.example"] = at("0.0.0.0")
    text, temporary = refusal(known, everywhere=PRIVATE)
    assert text.startswith("551 5.4.6 [internal] Private/Loopback Address: example.com: ")
    assert not temporary
    known["b.example"] = LookupFailed("no reply")
    assert refusal(known, everywhere=PRIVATE)[1], "the other host may be there later"


@pytest.mark.parametrize("ip", ["::1", "::ffff:127.0.0.1"])
def test_prohibited_hosts_over_ipv6(ip: str) -> None:
    assert not refusal({"example.com": at(ip)}, everywhere={**PRIVATE, "Use_IPv6": True})[1]


@pytest.mark.parametrize("host", ["10.1.2.3", "127.0.0.1"])
def test_address_literals_go_where_they_say_unless_that_is_prohibited(host: str) -> None:
    literal = Hop(host, 25, 0, Lookup.MX)
    assert ips({}, literal) == [host]
    assert refusal({}, literal, PRIVATE) == (
        f"551 5.4.6 [internal] Private/Loopback Address: {host}: {host}:25",
        False,
    )


def test_an_address_literal_of_ours_is_refused_for_good() -> None:
    resolver = resolving({})
    resolver.listen_at([Endpoint.parse("192.0.2.9:25")])
    with pytest.raises(Unresolved, match=r"^554 5\.4\.6 .*: 192\.0\.2\.9:25 is this server$") as caught:
        resolver.addresses(Hop("192.0.2.9", 25, 0, Lookup.MX), options())
    assert not caught.value.temporary
    assert resolver.addresses(Hop("192.0.2.9", 26, 0, Lookup.MX), options())


@pytest.mark.parametrize("gateway", ["127.0.0.1", "localhost", "[inner.example]:24", "inner.example"])
def test_what_the_configuration_names_may_be_prohibited_to_others(gateway: str) -> None:
    known: Known = {"inner.example": at("10.0.0.9")}
    assert ips(known, parse_gateway(gateway, 25), PRIVATE) in (["127.0.0.1"], ["10.0.0.9"])


def test_skip_hosts_are_passed_over_and_alone_make_mail_wait() -> None:
    skip: Settings = {"Skip_Hosts": ("192.0.2.1", "192.0.2.2")}
    known: Known = {"example.com": mx((10, "a.example")), "a.example": at("192.0.2.1", "192.0.2.3")}
    assert ips(known, everywhere=skip) == ["192.0.2.3"]
    known["a.example"] = at("192.0.2.1")
    text, temporary = refusal(known, everywhere=skip)
    assert text.startswith("451 4.4.1 [internal] No valid hosts (unable to make any connections): example.com: ")
    assert temporary


@pytest.mark.parametrize(
    ("everywhere", "count"),
    [
        ({}, 3),
        ({"Relay_Domains": ("example.com",)}, 2),
        ({"Bounce_Domains": ("*.example.com",)}, 3),
        ({"Bounce_Domains": ("*example.com",)}, 2),
        ({"Relay_Domains": ("example.com",), "Only_Use_Best_MX_For_Relay_Domains": False}, 3),
    ],
    ids=str,
)
def test_relay_domains_get_mail_at_their_best_hosts_only(everywhere: Settings, count: int) -> None:
    known: Known = {"example.com": mx((10, "a.example"), (10, "b.example"), (20, "c.example"))}
    known |= {name: at(f"192.0.2.{number}") for number, name in enumerate(("a.example", "b.example", "c.example"))}
    assert len(ips(known, everywhere=everywhere)) == count


def test_failed_mx_look_ups_fall_back_to_the_address_only_when_told_so() -> None:
    class Failing(Names):
        """Knows addresses, and has failed so often to find MX records."""

        failures = 0

        def exchanges(self, name: str) -> Answer:
            raise LookupFailed("SERVFAIL", self.failures)

    names = Failing({"example.com": at("192.0.2.1")})
    resolver = HopResolver(names, "our-name.example")
    told = options(domains={"example.com": {"MX_Failures_Fallback_To_A": 3}})
    for names.failures, view in ((99, options()), (2, told)):
        with pytest.raises(Unresolved, match=r"^454 4\.4\.4 "):
            resolver.addresses(DOMAIN, view)
    names.failures = 3
    assert [address.ip for address in resolver.addresses(DOMAIN, told)] == ["192.0.2.1"]


def test_a_gateways_mx_goes_before_its_address() -> None:
    known: Known = {"gw.example": mx((10, "a.example")), "a.example": at("192.0.2.1")}
    assert ips(known, parse_gateway("gw.example:24", 25)) == ["192.0.2.1"]
    assert ips({"gw.example": at("192.0.2.5")}, parse_gateway("gw.example", 25)) == ["192.0.2.5"]


@pytest.mark.parametrize(
    "known",
    [{"gw.example": NO_SUCH_NAME}, {"gw.example": LookupFailed("no")}, {"gw.example": mx((0, ""))}, {}],
    ids=str,
)
@pytest.mark.parametrize("gateway", ["gw.example", "[gw.example]"])
def test_whatever_is_wrong_with_a_gateway_mail_waits(known: Known, gateway: str) -> None:
    text, temporary = refusal(dict(known), parse_gateway(gateway, 25))
    assert text.startswith("454 4.4.4 [internal] no MX or A for domain: ")
    assert temporary


def test_a_gateway_that_leads_back_to_us_makes_mail_wait() -> None:
    text, temporary = refusal({"gw.example": mx((10, "our-name.example"))}, parse_gateway("gw.example", 25))
    assert text == "454 4.4.4 [internal] no MX or A for domain: gw.example has this server as its best MX"
    assert temporary


def test_a_name_without_a_dot_is_completed_by_the_search_list() -> None:
    class Searching(Names):
        """With ``search a.example b.example``."""

        def candidates(self, name: str) -> tuple[str, ...]:
            return (f"{name}.a.example", f"{name}.b.example", name)

    known: Known = {"hub.a.example": NO_SUCH_NAME, "hub.b.example": at("192.0.2.1"), "hub": NO_SUCH_NAME}
    resolver = HopResolver(Searching(known), "our-name.example")
    for gateway in ("hub", "[hub]"):
        [address] = resolver.addresses(parse_gateway(gateway, 25), options())
        assert (address.name, address.ip) == ("hub.b.example", "192.0.2.1")


def test_there_is_an_end_to_what_one_attempt_tries() -> None:
    known: Known = {"example.com": mx(*((number, f"mx{number}.example") for number in range(1, 200)))}
    known |= {f"mx{number}.example": at(*(f"192.0.{number}.{last}" for last in range(9))) for number in range(1, 200)}
    found = resolving(known).addresses(DOMAIN, options())
    assert len(found) == 20
    assert found[0].preference == 1
