"""A whole server that delivers by MX: real look-ups at a name server of the test's own, real hosts on 127.0.0.x."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import gevent
import pytest
from gevent.resolver import AbstractResolver

from gsmtp.delivery.sockets import green_connect
from tests.support.console import console_of
from tests.support.dns import DnsServer, Place, Trick
from tests.support.inprocess import Running, running
from tests.support.ports import free_port
from tests.support.server import serving
from tests.support.sink import Sink

HOSTS = ("127.0.0.2", "127.0.0.3")
BASE = """
spoolbase = "{spool}"
spool_reserve = 0
hostname = "here.example"
ESMTP_Listener {{
  Listen "127.0.0.1:0" {{ open_relay = true }}
  Listen "127.0.0.5:0" {{ }}
}}
generate_bounces = false
drain_time = 1
"""
BOTH = {
    ("example.com", "MX"): ("10 mx1.example.com.", "20 mx2.example.com."),
    ("mx1.example.com", "A"): (HOSTS[0],),
    ("mx2.example.com", "A"): (HOSTS[1],),
}


class World:
    """A server, its name server, and next hops that share a port.

    Args:
        server: in this process.
        dns: what it asks.
        sinks: by IP address.
    """

    def __init__(self, server: Running, dns: DnsServer, sinks: dict[str, Sink]) -> None:
        self.server = server
        self.dns = dns
        self.sinks = sinks

    def send(self, recipient: str, count: int = 1) -> None:
        """Have the server take messages."""
        client = self.server.client().greet()
        for _ in range(count):
            assert client.transaction(recipient=recipient.encode()).startswith(b"250 ")
        client.close()

    def wait_for(self, ip: str, count: int = 1) -> None:
        """Wait until a hop has so many messages."""
        self.server.wait_for(lambda: len(self.sinks[ip].messages) >= count, f"{ip}: {self.server.log}")

    def wait_for_log(self, text: str) -> None:
        """Wait until the log has a text."""
        self.server.wait_for(lambda: text in str(self.server.log), f"{text!r} is not in {self.server.log}")


@contextmanager
def world(
    folder: Path,
    records: dict[Place, tuple[str, ...]],
    ips: tuple[str, ...] = HOSTS,
    conf: str = "",
    tricks: dict[Place, Trick] | None = None,
) -> Iterator[World]:
    """Run all of it; `ips` are those at which a hop listens."""
    port = free_port()
    with ExitStack() as stack:
        dns = stack.enter_context(DnsServer(records, tricks or {}))
        sinks = {ip: stack.enter_context(Sink(host=ip, port=port)) for ip in ips}
        text = f"{dns.option}remote_smtp_port = {port}\n{conf}"
        yield World(stack.enter_context(running(folder, text, base=BASE)), dns, sinks)


def test_mail_goes_to_the_best_mx(tmp_path: Path) -> None:
    with world(tmp_path, BOTH) as here:
        here.send("u@Example.COM")
        here.wait_for(HOSTS[0])
        assert here.sinks[HOSTS[0]].messages[0].rcpts == [b"RCPT TO:<u@Example.COM>"]
        assert here.sinks[HOSTS[1]].connections == 0
        here.wait_for_log(f"mx1.example.com[{HOSTS[0]}]:{here.sinks[HOSTS[0]].port}")
        here.server.wait_for(lambda: here.server.queued() == [])


def test_the_next_mx_gets_what_the_best_does_not_take(tmp_path: Path) -> None:
    with world(tmp_path, BOTH, ips=HOSTS[1:]) as here:
        here.send("u@example.com", 3)
        here.wait_for(HOSTS[1], 3)


def test_equal_preference_is_shared_evenly(tmp_path: Path) -> None:
    equal = {**BOTH, ("example.com", "MX"): ("10 mx1.example.com.", "10 mx2.example.com.")}
    with world(tmp_path, equal, conf="max_deliveries_per_connection = 1\n") as here:
        here.send("u@example.com", 60)
        here.server.wait_for(lambda: sum(len(sink.messages) for sink in here.sinks.values()) == 60)
        assert min(len(sink.messages) for sink in here.sinks.values()) >= 10
        assert here.dns.asked[("example.com", "MX")] == 1


def test_many_that_wait_for_a_name_ask_for_it_once(tmp_path: Path) -> None:
    with world(tmp_path, BOTH) as here:
        here.dns.gate.clear()
        here.send("u@example.com", 30)
        here.server.wait_for(lambda: here.dns.asked)
        assert here.server.supervisor._delivery.dns.pending == 1
        here.dns.gate.set()
        here.wait_for(HOSTS[0], 30)
        assert here.dns.asked == dict.fromkeys(BOTH, 1)
        assert here.server.supervisor._delivery.dns.mx == 1


def test_without_mx_the_address_of_the_domain_counts_and_aliases_are_followed(tmp_path: Path) -> None:
    records: dict[Place, tuple[str, ...]] = {
        ("plain.example", "A"): (HOSTS[0],),
        ("alias.example", "CNAME"): ("plain.example.",),
        ("target.example", "MX"): ("10 alias.example.",),
    }
    with world(tmp_path, records) as here:
        for domain in ("plain.example", "alias.example", "target.example"):
            here.send(f"u@{domain}")
        here.wait_for(HOSTS[0], 3)


def test_ipv6_where_it_is_used(tmp_path: Path) -> None:
    records: dict[Place, tuple[str, ...]] = {
        ("example.com", "MX"): ("10 mx.example.com.",),
        ("mx.example.com", "A"): (HOSTS[0],),
        ("mx.example.com", "AAAA"): ("::1",),
    }
    with world(tmp_path, records, (HOSTS[0], "::1"), "use_ipv6 = true\n") as here:
        here.send("u@example.com")
        here.wait_for("::1")
        assert here.sinks[HOSTS[0]].connections == 0


@pytest.mark.parametrize(
    ("records", "told"),
    [
        ({("example.com", "MX"): ("0 .",)}, "550 5.4.4 [internal] NULL MX domain does not accept mail: example.com"),
        ({}, "554 5.4.4 [internal] Domain Lookup Failed: example.com does not exist"),
        (
            {("example.com", "MX"): ("10 here.example.",), ("here.example", "A"): (HOSTS[0],)},
            "554 5.4.6 [internal] mail loops back to this host: example.com has this server as its best MX",
        ),
        ({("example.com", "A"): ("127.9.9.9",)}, "551 5.4.6 [internal] Private/Loopback Address: example.com: "),
    ],
)
def test_what_is_refused_for_good(tmp_path: Path, records: dict[Place, tuple[str, ...]], told: str) -> None:
    with world(tmp_path, records, conf='prohibited_hosts = ( "127.9.0.0/16" )\n') as here:
        here.send("u@example.com")
        here.wait_for_log(told)
        here.server.wait_for(lambda: here.server.supervisor._delivery.stats().failed == 1)
        assert all(sink.connections == 0 for sink in here.sinks.values())


def test_a_name_server_that_fails_or_is_silent_keeps_mail_waiting_and_others_going(tmp_path: Path) -> None:
    tricks = {("failing.example", "MX"): Trick.SERVFAIL, ("silent.example", "MX"): Trick.DROP}
    with world(tmp_path, BOTH, conf="dns_deadline = 1\nretry_interval = 1000\n", tricks=tricks) as here:
        here.send("u@silent.example")
        here.send("u@failing.example")
        here.server.wait_for(lambda: here.dns.asked[("silent.example", "MX")] >= 1)
        here.send("u@example.com")
        here.wait_for(HOSTS[0])
        here.wait_for_log("454 4.4.4 [internal] no MX or A for domain: MX of failing.example: SERVFAIL from 127.0.0.1:")
        here.wait_for_log("silent.example: no reply from 127.0.0.1:")
        here.server.wait_for(lambda: here.server.supervisor._delivery.stats().delayed == 2)
        assert sorted(address for _, address in here.server.queued()) == ["u@failing.example", "u@silent.example"]


def test_relaying_is_as_it_was_and_strangers_cause_no_look_up(tmp_path: Path) -> None:
    with world(tmp_path, BOTH) as here:
        client = here.server.client(1).greet()
        assert client.code(b"MAIL FROM:<a@example.net>") == 250
        assert client.say(b"RCPT TO:<u@example.com>").startswith(b"550 5.7.1 ")
        client.close()
        assert not here.dns.asked


@pytest.mark.parametrize(
    "conf", ["suspend_delivery = true\n", 'blackhole = "internal"\n'], ids=["suspended", "blackhole"]
)
def test_what_is_not_delivered_is_not_looked_up(tmp_path: Path, conf: str) -> None:
    with world(tmp_path, BOTH, conf=conf) as here:
        here.send("u@example.com")
        here.wait_for_log(" dropped " if "blackhole" in conf else " received ")
        assert not here.dns.asked
        assert [address for _, address in here.server.queued()] == (["u@example.com"] if "suspend" in conf else [])


def test_a_reload_asks_the_new_name_server(tmp_path: Path) -> None:
    moved = {**BOTH, ("example.com", "MX"): ("10 mx2.example.com.",)}
    with world(tmp_path, BOTH) as here, DnsServer(moved) as other:
        here.send("u@example.com")
        here.wait_for(HOSTS[0])
        here.server.reconfigure(here.server.path.read_text().replace(here.dns.option, other.option))
        here.send("u@example.com")
        here.wait_for(HOSTS[1])


def test_static_routes_need_no_look_up(tmp_path: Path) -> None:
    with Sink() as sink, world(tmp_path, BOTH, conf=f'static_routes {{ target = "{sink.gateway}" }}\n') as here:
        here.send("u@example.com")
        here.server.wait_for(lambda: sink.messages)
        assert not here.dns.asked


def test_a_gateway_by_name_is_looked_up_and_tells_its_name(tmp_path: Path) -> None:
    records: dict[Place, tuple[str, ...]] = {("gw.example", "A"): (HOSTS[1],)}
    with world(tmp_path, records, conf='gateway = "gw.example"\n') as here:
        here.send("u@example.com")
        here.wait_for(HOSTS[1])
        assert here.dns.asked == {("gw.example", "MX"): 1, ("gw.example", "A"): 1}
        here.wait_for_log(f"gw.example[{HOSTS[1]}]")


def test_the_console_counts_questions(tmp_path: Path) -> None:
    with world(tmp_path, BOTH, conf=f'Control_Listener {{ Listen "{tmp_path}/control" {{ }} }}\n') as here:
        here.send("u@example.com", 3)
        here.wait_for(HOSTS[0], 3)
        console = console_of(here.server)
        lines = console.lines("summary")
        assert lines[8:11] == [
            "        DNS A Queries:      2",
            "        DNS MX Queries:      1",
            "        Pending DNS Queries:   0",
        ]
        assert console.data("summary")["query_rate"] > 0
        console.lines("summary reset")
        assert console.lines("summary")[8] == "        DNS A Queries:      0"
        console.close()


class NoResolver(AbstractResolver):
    """The system's resolver, out of order."""

    def _getaddrinfo(self, *args: object) -> object:
        raise AssertionError(f"asked for {args}")


@pytest.mark.parametrize("host", ["127.0.0.2", "::1"])
def test_connecting_to_an_address_needs_none_of_the_systems_resolver(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its ten threads may all wait for somebody else's dead name server."""
    monkeypatch.setattr(gevent.get_hub(), "_resolver", NoResolver())
    with Sink(host=host) as sink:
        sock = green_connect(host, sink.port, 10)
        assert sock.getpeername()[0] == host
        sock.close()


def test_a_process_of_its_own_with_everything_patched(tmp_path: Path) -> None:
    with Sink(host=HOSTS[0]) as sink, DnsServer(dict(BOTH)) as dns:
        conf = f'{dns.option}remote_smtp_port = {sink.port}\nspoolbase = "{{folder}}/spool"\n'
        conf += 'relay_domains = ( "example.com" )\nESMTP_Listener {{ Listen "127.0.0.1:{{port}}" {{ }} }}\n'
        with serving(tmp_path, conf.replace("{{", "{").replace("}}", "}")) as server, server.client() as client:
            for _ in range(5):
                client.sendmail("a@example.net", ["u@example.com"], "Subject: x\r\n\r\nhello\r\n")
            sink.wait_for(5)
        assert dns.asked == {("example.com", "MX"): 1, ("mx1.example.com", "A"): 1}
