"""Look-ups against a server of the test's own: what is believed, kept, shared, and how long it may take."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import gevent
import pytest

from gsmtp.runtime import dns_sources
from gsmtp.runtime.dns import Resolver, Settings
from gsmtp.runtime.dns_answers import Answer, Exchange, LookupFailed, RecordType
from gsmtp.runtime.dns_cache import Cache
from gsmtp.runtime.dns_sources import parse_hosts, parse_resolv_conf, parse_server
from gsmtp.runtime.dns_wire import Question, UselessReply
from tests.support.dns import DnsServer, Place, Trick

T = TypeVar("T")
MX = ("example.com", "MX")
A = ("mx.example.com", "A")
RECORDS = {
    MX: ("20 b.example.com.", "10 MX.example.com."),
    A: ("192.0.2.1", "192.0.2.2"),
    ("mx.example.com", "AAAA"): ("2001:db8::1",),
}
EXCHANGES = (Exchange(10, "mx.example.com"), Exchange(20, "b.example.com"))


class Inline:
    """Stands for native threads."""

    def __init__(self) -> None:
        self.jobs = 0

    def call(self, function: Callable[..., T], *args: Any) -> T:
        """Run it here."""
        self.jobs += 1
        return function(*args)


class Clock:
    """A monotonic clock that a test may move."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def resolver(*servers: DnsServer | str, mono: Callable[[], float] | None = None, **settings: Any) -> Resolver:
    """One that asks these servers."""
    places = tuple(one if isinstance(one, str) else one.place for one in servers)
    made = Settings(servers=places, **{"deadline_s": 20.0, **settings})
    return Resolver(made, Inline()) if mono is None else Resolver(made, Inline(), mono)


@pytest.fixture(autouse=True)
def _deadline() -> Any:
    with gevent.Timeout(30):
        yield


def test_mx_records_come_by_preference_in_lower_case() -> None:
    with DnsServer(dict(RECORDS)) as server:
        asking = resolver(server)
        assert asking.exchanges("Example.COM.") == Answer(exists=True, exchanges=EXCHANGES, ttl_s=300)
        assert (asking.counts.mx, asking.counts.a, asking.counts.pending) == (1, 0, 0)


def test_addresses_of_both_families_ipv6_first_and_only_where_it_is_used() -> None:
    with DnsServer(dict(RECORDS)) as server:
        asking = resolver(server)
        both = asking.addresses("mx.example.com", ipv6=True).addresses
        assert both[0] == "2001:db8::1"
        assert set(both[1:]) == {"192.0.2.1", "192.0.2.2"}
        assert "2001:db8::1" not in asking.addresses("mx.example.com", ipv6=False).addresses
        assert asking.counts.a == 2


def test_no_such_name_no_such_record_and_the_root_as_mx() -> None:
    with DnsServer({MX: ("0 .",), ("a.example.com", "A"): ("192.0.2.1",)}) as server:
        asking = resolver(server)
        assert asking.exchanges("example.com").exchanges == (Exchange(0, ""),)
        assert asking.exchanges("nothing.example") == Answer(exists=False, ttl_s=60)
        assert asking.exchanges("a.example.com") == Answer(exists=True, ttl_s=60)


@pytest.mark.parametrize("name", ["a..b.example", "x" * 64 + ".example", ".".join(["label" * 10] * 6)])
def test_what_is_no_domain_name_does_not_exist_and_is_not_asked_for(name: str) -> None:
    with DnsServer() as server:
        assert not resolver(server).exchanges(name).exists
        assert not server.asked


def test_a_name_outside_ascii_is_asked_for_in_a_labels() -> None:
    with DnsServer({("xn--bcher-kva.example", "MX"): ("10 mx.example.com.",)}) as server:
        assert resolver(server).exchanges("Bücher.example").exchanges == (Exchange(10, "mx.example.com"),)


@pytest.mark.parametrize("trick", [None, Trick.HALF_CHAIN])
def test_aliases_are_followed_here_where_the_server_does_not(trick: Trick | None) -> None:
    records: dict[Place, tuple[str, ...]]
    records = {("w.example", "CNAME"): ("v.example.",), ("v.example", "CNAME"): ("u.example.",)}
    records[("u.example", "A")] = ("192.0.2.9",)
    tricks = {(name, "A"): trick for name in ("w.example", "v.example")} if trick else {}
    with DnsServer(records, tricks) as server:
        assert resolver(server).addresses("w.example", ipv6=False).addresses == ("192.0.2.9",)


@pytest.mark.parametrize("trick", [None, Trick.HALF_CHAIN])
def test_a_circle_of_aliases_is_a_failure(trick: Trick | None) -> None:
    records: dict[Place, tuple[str, ...]]
    records = {("w.example", "CNAME"): ("v.example.",), ("v.example", "CNAME"): ("w.example.",)}
    tricks = {(name, "A"): trick for name in ("w.example", "v.example")} if trick else {}
    with DnsServer(records, tricks) as server, pytest.raises(LookupFailed, match="circle"):
        resolver(server).addresses("w.example", ipv6=False)


def test_a_hundred_that_ask_the_same_ask_once() -> None:
    with DnsServer(dict(RECORDS)) as server:
        server.gate.clear()
        asking = resolver(server)
        askers = [gevent.spawn(asking.exchanges, "example.com") for _ in range(100)]
        while not server.asked:
            gevent.sleep(0.005)
        assert asking.counts.pending == 1
        server.gate.set()
        gevent.joinall(askers)
        assert {getattr(asker.value, "exchanges", None) for asker in askers} == {EXCHANGES}
        assert server.asked == {MX: 1}


def test_who_is_killed_while_waiting_takes_nothing_from_the_others() -> None:
    with DnsServer(dict(RECORDS)) as server:
        server.gate.clear()
        asking = resolver(server)
        first, second = (gevent.spawn(asking.exchanges, "example.com") for _ in range(2))
        while not server.asked:
            gevent.sleep(0.005)
        first.kill()
        server.gate.set()
        answer = second.get()
        assert answer is not None
        assert answer.exchanges == EXCHANGES


def test_answers_are_kept_for_their_ttl_and_denials_too() -> None:
    clock = Clock()
    with DnsServer(dict(RECORDS)) as server:
        asking = resolver(server, mono=clock)
        for name in ("example.com", "nothing.example"):
            for _ in range(3):
                asking.exchanges(name)
        assert server.asked == {MX: 1, ("nothing.example", "MX"): 1}
        clock.now += 61
        asking.exchanges("example.com")
        asking.exchanges("nothing.example")
        assert server.asked == {MX: 1, ("nothing.example", "MX"): 2}
        clock.now += 300
        asking.exchanges("example.com")
        assert server.asked[MX] == 2


@pytest.mark.parametrize(
    ("settings", "kept_s"), [({}, 300), ({"max_ttl_s": 10.0}, 10), ({"min_ttl_s": 900.0}, 900)], ids=str
)
def test_min_and_max_dns_ttl(settings: dict[str, float], kept_s: int) -> None:
    clock = Clock()
    with DnsServer(dict(RECORDS)) as server:
        asking = resolver(server, mono=clock, **settings)
        asking.exchanges("example.com")
        clock.now += kept_s - 1
        asking.exchanges("example.com")
        assert server.asked[MX] == 1
        clock.now += 2
        asking.exchanges("example.com")
        assert server.asked[MX] == 2


def test_a_denial_without_soa_and_a_failure_are_kept_for_seconds_only() -> None:
    clock = Clock()
    tricks = {("no.example", "MX"): Trick.NO_SOA, ("bad.example", "MX"): Trick.SERVFAIL}
    with DnsServer(tricks=tricks) as server:
        asking = resolver(server, mono=clock)
        for passed_s, failures in ((0, 1), (4, 1), (4, 2)):
            clock.now += passed_s
            assert not asking.exchanges("no.example").exists
            with pytest.raises(LookupFailed, match=r"SERVFAIL from 127\.0\.0\.1") as caught:
                asking.exchanges("bad.example")
            assert caught.value.failures == failures
        assert server.asked[("no.example", "MX")] == 2
        assert server.asked[("bad.example", "MX")] == 2 * 2  # two rounds a look-up


def test_the_cache_is_bounded_and_keeps_what_was_used_last() -> None:
    cache = Cache(0, 300, 60, most=3)
    answer = Answer(exists=True, addresses=("192.0.2.1",), ttl_s=300)
    for name in "abc":
        cache.put_answer((name, RecordType.A), answer, 0.0)
    assert cache.get(("a", RecordType.A), 1.0) == answer
    cache.put_answer(("d", RecordType.A), answer, 1.0)
    assert [name for name in "abcd" if cache.get((name, RecordType.A), 2.0)] == ["a", "c", "d"]
    cache.put_answer(("e", RecordType.A), answer, 400.0)
    assert len(cache) == 1, "what is over is thrown out"


def test_lies_are_passed_over_until_the_truth_comes() -> None:
    with DnsServer(dict(RECORDS), {MX: Trick.LIES_FIRST, A: Trick.LIES_FIRST}) as server:
        asking = resolver(server)
        assert asking.exchanges("example.com").exchanges == EXCHANGES
        assert "192.0.2.66" not in asking.addresses("mx.example.com", ipv6=False).addresses


def test_nothing_but_lies_is_no_answer() -> None:
    with DnsServer(dict(RECORDS), {MX: Trick.LIES}) as server, pytest.raises(LookupFailed, match=r"no reply|no answer"):
        resolver(server, deadline_s=0.4).exchanges("example.com")


def test_ids_and_ports_are_never_the_same_for_long() -> None:
    with DnsServer() as server:
        asking = resolver(server)
        for number in range(40):
            asking.exchanges(f"{number}.example")
        assert len(set(server.ids)) > 35
        assert len(set(server.ports)) > 20


def test_what_is_cut_off_comes_over_tcp() -> None:
    many = tuple(f"{number} mx{number}.a-rather-long-name-{number}.example." for number in range(400))
    with DnsServer({MX: many}, {MX: Trick.TRUNCATE}) as server:
        assert resolver(server).exchanges("example.com").exchanges[90].host == "mx90.a-rather-long-name-90.example"
        assert (server.asked, server.over_tcp) == ({MX: 1}, {MX: 1})


def test_long_replies_are_read_in_native_threads_and_little_of_them_is_kept() -> None:
    """Whoever owns a domain decides how long they are: the hub must not stand, nor the memory fill."""
    exchanges = tuple(f"{number} mx{number}.example." for number in range(500, 0, -1))
    addresses = tuple(f"10.0.{number // 250}.{number % 250}" for number in range(4000))
    records: dict[Place, tuple[str, ...]] = {MX: exchanges, A: addresses, ("b.example.com", "A"): ("192.0.2.1",)}
    with DnsServer(records, {MX: Trick.TRUNCATE, A: Trick.TRUNCATE}) as server:
        native = Inline()
        asking = Resolver(Settings(servers=(server.place,), deadline_s=20.0), native)
        assert asking.addresses("b.example.com", ipv6=False).addresses == ("192.0.2.1",)
        before = native.jobs
        assert [one.preference for one in asking.exchanges("example.com").exchanges] == list(range(1, 101))
        assert len(asking.addresses("mx.example.com", ipv6=False).addresses) == 100
        assert native.jobs == before + 2


def test_without_tcp_what_is_cut_off_is_a_failure() -> None:
    with DnsServer(dict(RECORDS), {MX: Trick.TRUNCATE}) as server:
        with pytest.raises(LookupFailed, match="truncated"):
            resolver(server, tcp=False).exchanges("example.com")
        assert not server.over_tcp


def test_a_tcp_reply_that_ends_in_the_middle_is_a_failure() -> None:
    with DnsServer(dict(RECORDS), {MX: Trick.CUT}) as server, pytest.raises(LookupFailed, match="middle of a reply"):
        resolver(server).exchanges("example.com")


def test_a_server_without_edns_is_asked_without_it() -> None:
    with DnsServer(dict(RECORDS), {MX: Trick.NO_EDNS}) as server:
        assert resolver(server).exchanges("example.com").exchanges == EXCHANGES
        assert server.asked == {MX: 2}


@pytest.mark.parametrize("trick", [Trick.DROP, Trick.SERVFAIL, Trick.REFUSED, Trick.REFERRAL, Trick.CUT])
def test_the_next_server_answers_where_one_does_not(trick: Trick) -> None:
    with DnsServer(tricks={MX: trick}) as bad, DnsServer(dict(RECORDS)) as good:
        asking = resolver(bad, good, deadline_s=2.0)
        assert asking.exchanges("example.com").exchanges == EXCHANGES
        assert (bad.asked[MX], good.asked[MX]) == (1, 1)


def test_a_silent_server_is_asked_last_for_a_while() -> None:
    with DnsServer(tricks={MX: Trick.DROP}) as bad, DnsServer(dict(RECORDS)) as good:
        asking = resolver(bad, good, deadline_s=2.0)
        asking.exchanges("example.com")
        asking.exchanges("nothing.example")
        assert bad.asked == {MX: 1}


def test_a_port_where_nobody_listens_is_known_at_once_and_named() -> None:
    with DnsServer() as server:
        closed = server.place
    with pytest.raises(LookupFailed, match=rf"MX of example.com: {closed}: .*refused"):
        resolver(closed).exchanges("example.com")


def test_a_silent_server_costs_the_deadline_and_no_more() -> None:
    with DnsServer(tricks={MX: Trick.DROP}) as server:
        with pytest.raises(LookupFailed, match=r"no reply|no answer"), gevent.Timeout(10):
            resolver(server, deadline_s=0.3).exchanges("example.com")
        assert server.asked[MX] == 2


def test_the_hub_goes_on_while_a_look_up_waits() -> None:
    with DnsServer(dict(RECORDS)) as server:
        server.gate.clear()
        asker = gevent.spawn(resolver(server).exchanges, "example.com")
        turns = 0
        while not server.asked or turns < 50:
            gevent.sleep(0.001)
            turns += 1
        assert not asker.ready()
        server.gate.set()
        assert asker.get().exchanges == EXCHANGES


def test_servers_over_ipv6() -> None:
    with DnsServer(dict(RECORDS), host="::1") as server:
        assert resolver(server).exchanges("example.com").exchanges == EXCHANGES


def test_other_settings_forget_what_was_known() -> None:
    with DnsServer(dict(RECORDS)) as one, DnsServer({MX: ("5 other.example.",)}) as other:
        asking = resolver(one)
        assert asking.exchanges("example.com").exchanges == EXCHANGES
        asking.configure(Settings(servers=(other.place,)))
        assert asking.exchanges("example.com").exchanges == (Exchange(5, "other.example"),)


def test_the_hosts_file_goes_first_and_localhost_is_always_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text("192.0.2.7 Inner.example inner # a comment\n2001:db8::7 inner\n")
    monkeypatch.setattr(dns_sources, "HOSTS", str(hosts))
    with DnsServer({("inner.example", "A"): ("192.0.2.99",)}) as server:
        asking = resolver(server)
        assert asking.addresses("inner.example", ipv6=False).addresses == ("192.0.2.7",)
        assert asking.addresses("INNER", ipv6=True).addresses == ("192.0.2.7", "2001:db8::7")
        assert asking.addresses("localhost", ipv6=False).addresses == ("127.0.0.1",)
        assert asking.is_local("inner")
        assert not asking.is_local("other.example")
        assert not server.asked


def test_lookup_bf_asks_the_servers_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hosts, conf = tmp_path / "hosts", tmp_path / "resolv.conf"
    hosts.write_text("192.0.2.7 inner.example only.example\n")
    monkeypatch.setattr(dns_sources, "HOSTS", str(hosts))
    with DnsServer({("inner.example", "A"): ("192.0.2.99",)}) as server:
        conf.write_text(f"nameserver {server.place}\nlookup bf\noptions timeout:2 attempts:1\n")
        asking = Resolver(Settings(resolv_conf=str(conf)), Inline())
        assert asking.addresses("inner.example", ipv6=False).addresses == ("192.0.2.99",)
        assert asking.addresses("only.example", ipv6=False).addresses == ("192.0.2.7",)


def test_resolv_conf_is_read_anew(tmp_path: Path) -> None:
    clock = Clock()
    conf = tmp_path / "resolv.conf"
    with DnsServer(dict(RECORDS)) as one, DnsServer({("new.example", "MX"): ("1 a.example.",)}) as other:
        conf.write_text(f"nameserver {one.place}\nsearch inner.example outer.example\n")
        asking = Resolver(Settings(resolv_conf=str(conf)), Inline(), clock)
        assert asking.exchanges("example.com").exchanges == EXCHANGES
        assert asking.candidates("hub") == ("hub.inner.example", "hub.outer.example", "hub")
        assert asking.candidates("hub.example") == ("hub.example",)
        assert asking.candidates("localhost") == ("localhost",)
        conf.write_text(f"nameserver {other.place}\n")
        clock.now += 11
        assert asking.exchanges("new.example").exchanges == (Exchange(1, "a.example"),)


def test_a_resolv_conf_that_is_not_there_is_named(tmp_path: Path) -> None:
    asking = Resolver(Settings(resolv_conf=str(tmp_path / "none")), Inline())
    with pytest.raises(LookupFailed, match="none: No such file"):
        asking.exchanges("example.com")


def test_resolv_conf_and_hosts() -> None:
    found = parse_resolv_conf(
        ["nameserver 192.0.2.53", "nameserver ::1", "nameserver nonsense", "options ndots:2 retrans:3 retry:1 debug"]
    )
    assert found.servers == (("192.0.2.53", 53), ("::1", 53))
    assert (found.try_s, found.attempts) == (3.0, 1)
    assert parse_resolv_conf([]).servers == (("127.0.0.1", 53),)
    assert parse_hosts(["nonsense host", "10.0.0.1"]) == {"localhost": ("127.0.0.1", "::1")}


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("192.0.2.1", ("192.0.2.1", 53)),
        ("192.0.2.1:5353", ("192.0.2.1", 5353)),
        ("2001:db8::1", ("2001:db8::1", 53)),
        ("[2001:db8::1]:54", ("2001:db8::1", 54)),
    ],
)
def test_the_forms_of_a_server(text: str, place: tuple[str, int]) -> None:
    assert parse_server(text) == place


@pytest.mark.parametrize("text", ["", "ns.example", "192.0.2.1:0", "192.0.2.1:x", "[::1", "[::1]53", "192.0.2.1:70000"])
def test_what_is_no_server(text: str) -> None:
    with pytest.raises(ValueError, match="'"):
        parse_server(text)


def test_whatever_a_reply_holds_it_is_read_or_refused() -> None:
    """No datagram may break a look-up: replies with bytes changed, cut off, repeated, at random."""
    chooser = random.Random(20)
    with DnsServer({("w.example", "CNAME"): ("example.com.",), **RECORDS}) as server:
        for kind, name in (
            (RecordType.MX, "w.example"),
            (RecordType.A, "mx.example.com"),
            (RecordType.MX, "no.example"),
        ):
            question = Question(name, kind)
            [good] = server.replies(question.wire, over_tcp=False)
            read = refused = 0
            for _ in range(1500):
                wire = bytearray(good)
                for _ in range(chooser.randrange(1, 5)):
                    wire[chooser.randrange(2, len(wire))] = chooser.randrange(256)
                reply = question.reply(bytes(wire[: chooser.choice((len(wire), chooser.randrange(len(wire))))]))
                try:
                    read += reply is not None and question.read(reply) is not None
                except UselessReply:
                    refused += 1
            assert read > 20
            assert refused > 5
