"""One console for all workers: sums, lists in one order, changes everywhere."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from gsmtp.app import wiring
from gsmtp.control.command import COMMANDS
from tests.support.crew import CrewServer, crew, ids_in
from tests.support.operator import Operator, console_of, send_to_all, slot_of
from tests.support.sink import Sink
from tests.support.waiting import wait_until
from tests.support.wire import Wire

pytestmark = pytest.mark.durability

CONF = """
hostname = "mx.example.com"
spoolbase = "{folder}/spool"
relay_domains = ( "example.com" "example.org" )
MORE
ESMTP_Listener { Listen "127.0.0.1:{port}" { } }
Control_Listener { Listen "{folder}/control" { } }
"""
SUSPENDED = CONF.replace("MORE", "suspend_delivery = true\ninbound_throttle_messages = 5000/36000000\n")
MODULES = """
cidrdb { CIDR_Table "inside" { type = "rbldnsd"  source = "{folder}/networks" } }
inbound_audit { monitors = ( "3600,1" ) }
Datasource "names" { uri = ( "sqlite:dbname={folder}/names" ) }
"""
STAMP = re.compile(r"(?<= )\d+ s(?= )")


# --- what there is to see


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[CrewServer, list[str]]]:
    """A server whose workers have mail that nobody touches."""
    folder = tmp_path_factory.mktemp("full")
    (folder / "networks").write_text("10.0.0.0/8\n192.0.2.0/24\n")
    with crew(folder, SUSPENDED + MODULES) as server:
        yield server, send_to_all(server)


def test_summary_has_the_sums(full: tuple[CrewServer, list[str]]) -> None:
    server, ids = full
    count = 2 * len(ids)
    with console_of(server) as console, Wire(server.port) as one, Wire(server.port) as two:
        one.greet()
        two.greet()
        lines = console.lines("summary")
        assert lines[1:11] == [
            "        Outbound Concurrency:       0",
            "        Inbound Concurrency:        2",
            "        Active Domains:       0",
            f"        Active Queue Size:{count:7}",
            "        Delayed Queue Size:      0",
            "        Destaged Queue Size:      0",
            f"        Total Queue Size:{count:7}",
            "        DNS A Queries:      0",
            "        DNS MX Queries:      0",
            "        Pending DNS Queries:   0",
        ]
        assert lines[15] == f"        Received Messages:{count:7}"
        assert console.data("summary")["received"] == count


def test_counts_by_domain_are_added_up_before_anything_is_left_out(full: tuple[CrewServer, list[str]]) -> None:
    server, ids = full
    count = len(ids)
    most = max(len(ids_in(server.folder_of(slot))) for slot in (1, 2))
    with console_of(server) as console:
        rows = [
            f"Domain: {domain:>30}  C:  0  A: {count:6}  D:     0  S:     0"
            for domain in ("example.com", "example.org")
        ]
        last = f"C:  0  A: {2 * count:6}  D:     0  S:     0"
        assert console.lines(f"active {most}") == [*rows, f"{'Total:':>38}  {last}"]
        assert console.lines(f"active {count}") == [f"{'Total:':>38}  {last}"]
        assert console.lines("delayed") == [f"{'Total:':>38}  {last}"]
        assert console.lines("domain all") == [
            "Domain summary:",
            *rows,
            f"Totals: C:   0  A: {2 * count:6}  D:     0  S:     0",
        ]
        assert console.lines("mailq --limit 1 --domain example.org")[2:] == [
            f"{'default/default':<27} {'example.org':>30} {count:>7} {0:>7}"
        ]
        assert console.data("mailq") == [
            {"group": "default", "binding": "default", "domain": domain, "aq": count, "dq": 0}
            for domain in ("example.com", "example.org")
        ]
        assert console.lines("domain example.org") == [
            "Domain 'example.org' goes by smtp to mx:example.org:25",
            "Queue:",
            f"        Active:{count:11}",
            "        Delayed:         0",
            "Deliveries:         0",
            "Failures:           0",
            "Active Connections: 0",
        ]
        assert [STAMP.sub("0 s", one) for one in console.lines("queue summary")[-1:]] == [
            f"{2 * count} recipients, 2 domains"
        ]
        assert [(one["domain"], one["queued"]) for one in console.data("queue summary")] == [
            ("example.com", count),
            ("example.org", count),
        ]


def test_lists_are_in_the_order_of_reception(full: tuple[CrewServer, list[str]]) -> None:
    server, ids = full
    assert {slot_of(server, one) for one in ids} == {1, 2}
    with console_of(server) as console:
        listed = console.lines("queue list domain example.com")
        assert [line.split()[0] for line in listed] == ids
        assert [line.split()[-1] for line in listed] == [f"<u{number}@example.com>" for number in range(len(ids))]
        both = [(one["id"], one["index"]) for one in console.data("queue list")]
        assert both == [(one, index) for one in ids for index in (0, 1)]
        shown = console.lines("showqueue example.org 3,2")
        assert [line.split()[1] for line in shown[::2]] == ids[2:5]
        assert shown[1::2] == ["  From: <sender@example.net> To: <v@example.org>"] * 3
        assert [one["id"] for one in console.data("showqueue example.org")] == ids


def test_a_message_is_found_wherever_it_is(full: tuple[CrewServer, list[str]]) -> None:
    server, ids = full
    with console_of(server) as console:
        for one in ids:
            lines = console.lines(f"message details full {one}")
            assert lines[0] == f"Message: {one}"
            assert lines[-2:] == ["", "x"]
            assert [row["recipient"] for row in console.data(f"message details {one}")][1] == "v@example.org"
        assert console.say("message details 0F/0F-00001-00000001") == [
            "ERR there is no message 0F/0F-00001-00000001: it was delivered, bounced or removed, or never came"
        ]


def test_sessions_are_told_with_their_worker(full: tuple[CrewServer, list[str]]) -> None:
    server, _ = full
    with console_of(server) as console, ExitStack() as stack:
        seen: set[int] = set()
        count = 0
        while seen != {1, 2}:
            assert count < 100, "one worker takes all connections"
            stack.enter_context(Wire(server.port)).greet()
            count += 1
            rows = console.data("show inbound")
            seen = {row["worker"] for row in rows}
        assert len(rows) == count
        lines = console.lines("show inbound")
        assert [int(line[-2]) for line in lines] == sorted(row["worker"] for row in rows)
        shape = r"\d+: \[inbound/esmtp_message_factory\] IPv4 127\.0\.0\.1:\d+ .+ \(for \d+\.\d{3}s\)  \[worker [12]\]"
        assert all(re.fullmatch(shape, line) for line in lines)
        assert console.lines("count SMTP") == [f"{count} session{'' if count == 1 else 's'}"]
        assert console.lines("count SMTP 8") == ["Displaying 'SMTP' from /8 to /8", f"{count:7} {'127.0.0.0/8':>44}"]
        assert console.lines("count Control") == ["1 session"]
        own = console.data("show workers")
        assert [row["inbound"] for row in own] == [sum(row["worker"] == slot for row in rows) for slot in (1, 2)]
        assert {row["worker"]: row["pid"] for row in own} == server.pids()


def test_what_workers_share_is_told_once(full: tuple[CrewServer, list[str]]) -> None:
    server, ids = full
    with console_of(server) as console:
        assert console.lines("show throttles") == [f"global: 5000/36000000, {5000 - len(ids)} left, 0 waiting"]
        assert console.lines("pid") == [str(server.pid)]
        alone = [f"{name} thread pool: concurrency {count}" for name, count in (("CPU", 8), ("UNLINK", 12))]
        assert set(alone) <= set(console.lines("threads stats"))
        assert console.lines("threads io queue") == ["Jobs in the IO pool", "0 jobs"]
        assert console.lines("tls show cache") == ["Temp RSA key is uncached."]


def test_counters_are_added_up(full: tuple[CrewServer, list[str]]) -> None:
    server, _ = full
    with console_of(server) as console:
        assert console.lines("counter add /test/one 3") == ["/test/one = 3"]
        assert console.lines("counter increment /test/one") == ["/test/one = 4"]
        assert [(one["name"], one["value"]) for one in console.data("counter list")] == [("/test/one", 4)]
        assert console.lines("counter reset /test/one") == ["/test/one = 0"]
        assert console.lines("counter unlink /test/one") == ["/test/one is gone."]
        assert console.say("counter unlink /test/one") == ["ERR there is no counter /test/one"]


def test_what_each_worker_has_of_modules(full: tuple[CrewServer, list[str]]) -> None:
    server, ids = full
    with console_of(server) as console:
        assert re.fullmatch(r"inside \[refresh in \d+ seconds\]", console.lines("cidrdb list")[0])
        assert console.lines("cidrdb reload inside") == ["inside: 2 entries"]
        assert console.say("cidrdb reload outside") == ["ERR there is no table 'outside'"]
        assert console.lines("inbound_audit show ip 127.0.0.0/8")[1:] == [
            f"Receptions 3600/0: {len(ids)}",
            "Rejections 3600/0: 0",
        ]
        assert console.data("cache stat names")[0]["entries"] == 0
        assert console.lines("ds_core flush names") == ["flushed 0 entries from cache 'names'"]
        assert console.say("ds_core flush other") == ["ERR there is no datasource 'other'"]
        assert console.lines("tls rekey") == ["Rekey request submitted."]


def test_every_command_is_served(full: tuple[CrewServer, list[str]]) -> None:
    wiring.load()
    server, _ = full
    with console_of(server) as console:
        for name in COMMANDS.names():
            if name not in ("shutdown", "config reload", "summary reset"):
                answer = console.say(name)
                assert not re.search("with workers|see the log|keeps no mail|did not answer", "\n".join(answer)), name
        assert "failed" not in server.log()


# --- what there is to do


def test_changes_reach_all_workers_and_are_counted_together(tmp_path: Path) -> None:
    with crew(tmp_path, SUSPENDED) as server, console_of(server) as console:
        ids = send_to_all(server)
        count = len(ids)
        assert console.lines("queue hold domain example.org") == [f"{count} recipients of {count} messages held"]
        assert console.data("queue release all") == {
            "action": "release", "changed": count, "messages": count, "busy": 0, "passed_over": count,
        }  # fmt: skip
        one, two = (next(one for one in ids if slot_of(server, one) == slot) for slot in (1, 2))
        assert console.lines(f"queue hold {one} {two}") == ["4 recipients of 2 messages held"]
        assert console.lines("queue release all")[0].startswith("4 recipients of 2 messages released;")
        assert console.lines(f"message retry {ids[-1]}") == ["Message requeued for delivery"]
        assert console.lines(f"message fail quiet {ids[-1]}") == ["Message failed"]
        assert console.say(f"message fail {ids[-1]}")[0].startswith(f"ERR there is no message {ids[-1]}")
        left = console.data("queue summary")
        expected = sum(row["queued"] for row in left)
        assert console.lines("flush domain all") == [f"all flushed.  {expected} messages requeued."]
        row = next(row for row in left if row["domain"] == "example.org")
        assert console.lines("fail domain quiet example.org") == [
            f"example.org purged. {row['queued']} messages failed."
        ]
        left_over = expected - row["queued"]
        assert console.lines("queue bounce domain example.com") == [
            f"{left_over} recipients of {left_over} messages to be bounced"
        ]
        assert re.fullmatch(r"\d+ recipients of \d+ messages removed.*", console.lines("queue delete all")[0])
        assert console.lines("summary reset") == ["statistics cleared."]
        assert console.data("summary")["received"] == 0


def test_deliveries_of_all_workers(tmp_path: Path) -> None:
    with Sink() as hop:
        way = "".join(f'Domain "{one}" {{ gateway = "{hop.gateway}" }}\n' for one in ("example.com", "example.org"))
        with (
            crew(tmp_path, CONF.replace("MORE", "suspend_delivery = true\n" + way)) as server,
            console_of(server) as console,
        ):
            trace, outbound = tmp_path / "inbound", tmp_path / "outbound"
            assert console.lines(f"trace inbound add * {trace}") == ["Registered inbound tracer #1"]
            assert console.lines(f"trace smtp add * * {outbound}") == ["Registered smtp tracer #1"]
            ids = send_to_all(server, 2)
            console.lines("config set suspend_delivery = false")
            hop.wait_for(2 * len(ids))
            wait_until(lambda: console.data("summary")["delivered"] == 2 * len(ids), "the deliveries")
            assert console.lines("domain all")[-1].endswith(f"S:{2 * len(ids):6}")
            rows = console.data("show outbound")
            assert {row["worker"] for row in rows} == {1, 2}
            assert console.lines("show outbound")[0].endswith("  [worker 1]")
            assert len(console.data("domain example.org")["connections"]) <= len(rows)
            wait_until(
                lambda: all(text.count(id_) for id_ in ids for text in [outbound.read_text()]), "all in the trace"
            )
            pids = {line.split()[1].split("-")[1] for line in trace.read_text().splitlines()}
            assert pids == {f"{pid % 100000:05d}" for pid in server.pids().values()}
            for kind, file in (("inbound", trace), ("smtp", outbound)):
                wait_until(lambda kind=kind, file=file: _written(console, kind) == file.stat().st_size, "all bytes")  # type: ignore[misc]

            os.kill(server.pids()[2], signal.SIGKILL)
            server.wait_for("replaced worker=2")
            for slot in (1, 2):
                pid = f"-{server.pids()[slot] % 100000:05d}-"
                wait_until(lambda pid=pid: _is_traced(server, trace, pid), "its sessions in the trace")  # type: ignore[misc]
            assert console.lines("trace inbound remove 1") == ["Removed inbound tracer #1"]
            assert console.lines("trace inbound list") == []


def _written(console: Operator, kind: str) -> int:
    written: int = console.data(f"trace {kind} list")[0]["bytes"]
    return written


def _is_traced(server: CrewServer, trace: Path, text: str) -> bool:
    with Wire(server.port) as wire:
        wire.greet()
    return text in trace.read_text()
