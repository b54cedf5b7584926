"""The commands about inbound service: their documented shapes, with what real clients did, and their data."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from gsmtp import __version__
from gsmtp.app import wiring
from gsmtp.control.command import COMMANDS
from tests.support.console import ConsoleClient, console_of
from tests.support.inprocess import Running, running

CONF = """
ESMTP_Listener {{
  Listen "127.0.0.1:0" {{ }}
  Listen "[::1]:0" {{ }}
  Listen "{folder}/smtp" {{ }}
}}
Control_Listener {{ Listen "{folder}/control" {{ }} }}
ThreadPool "mine" {{ concurrency = 3 }}
ec_logger "ec_logger" {{
  mainlog = "{folder}/mainlog"  rejectlog = "{folder}/rejectlog"  paniclog = "{folder}/paniclog"
  acctlog = "{folder}/acctlog"
}}
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("console")
    with running(folder, CONF.format(folder=folder)) as started:
        yield started


@pytest.fixture
def console(server: Running) -> Iterator[ConsoleClient]:
    client = console_of(server)
    yield client
    client.close()


def _all_gone(server: Running) -> None:
    server.wait_for(lambda: server.sessions == 0)


def test_summary_has_the_documented_lines(server: Running, console: ConsoleClient) -> None:
    _all_gone(server)
    assert console.lines("summary reset") == ["statistics cleared."]
    client = server.client().greet()
    assert client.transaction().startswith(b"250 ")
    assert client.transaction(recipient=b"x@elsewhere.example") == b"550 5.7.1 relaying denied\r\n"
    lines = console.lines("summary")
    waiting = len(server.queued())  # delivery is suspended: all that came is due, and stays in the spool
    assert lines[0] == "Summary Statistics"
    assert lines[1:11] == [
        "        Outbound Concurrency:       0",
        "        Inbound Concurrency:        1",
        "        Active Domains:       0",
        f"        Active Queue Size:{waiting:7}",
        "        Delayed Queue Size:      0",
        "        Destaged Queue Size:      0",
        f"        Total Queue Size:{waiting:7}",
        "        DNS A Queries:      0",
        "        DNS MX Queries:      0",
        "        Pending DNS Queries:   0",
    ]
    assert lines[11:16] == [
        "        Query Rate:   0.00 queries/second",
        "        Successfully Delivered Messages:      0",
        "        Failed Messages:      0",
        "        Rejected Messages:      1",
        "        Received Messages:      1",
    ]
    assert lines[16] == "        Delivery Rate:   0.00 messages/second"
    assert re.fullmatch(r" {8}Reception Rate: *\d+\.\d\d messages/second", lines[17])
    assert re.fullmatch(r" {8}Statistics Last Reset: {5,6}\d+ seconds", lines[18])
    assert re.fullmatch(r" {8}Uptime: +\d+ seconds", lines[19])
    assert len(lines) == 20
    client.close()
    _all_gone(server)


def test_the_documented_sample_of_summary_comes_out_byte_for_byte() -> None:
    from gsmtp.control.commands.summary import table

    reference = (Path(__file__).parents[2] / "docs/reference/console-and-logs.md").read_text()
    sample = reference.partition("### 4.1 summary")[2].split("```")[1].strip("\n").split("\n")
    keys = (
        *("outbound_concurrency", "inbound_concurrency", "active_domains", "active_queue", "delayed_queue"),
        *("destaged_queue", "total_queue", "dns_a_queries", "dns_mx_queries", "pending_dns_queries", "query_rate"),
        *("delivered", "failed", "rejected", "received", "delivery_rate", "reception_rate"),
        *("since_reset_s", "uptime_s"),
    )
    numbers = [
        float(m[1]) if "." in m[1] else int(m[1]) for line in sample[1:] if (m := re.search(r": *([\d.]+)", line))
    ]
    assert list(table(dict(zip(keys, numbers, strict=True)))) == sample


def test_show_inbound_has_a_line_for_each_session(server: Running, console: ConsoleClient) -> None:
    _all_gone(server)
    clients = [server.client(0).greet(), server.client(1).greet(), server.client(2).greet()]
    assert clients[1].code(b"MAIL FROM:<a@example.net>") == 250
    for line in (b"MAIL FROM:<a@example.net>", b"RCPT TO:<b@example.com>", b"DATA"):
        clients[2].say(line)
    port, port6 = (client.socket.getsockname()[1] for client in clients[:2])
    shown = {line.partition(": ")[2] for line in console.lines("show inbound")}
    shown = {re.sub(r"\(for \d+\.\d{3}s\)", "(for T s)", line) for line in shown}
    assert shown == {
        f"[inbound/esmtp_message_factory] IPv4 127.0.0.1:{port} awaiting mailfrom (for T s)",
        f"[inbound/esmtp_message_factory] IPv6 [::1]:{port6} awaiting rcptto (for T s)",
        f"[inbound/esmtp_message_factory] Unix {server.address(2)} reading body (for T s)",
    }
    data = console.data("show inbound")
    assert sorted(row["family"] for row in data) == ["IPv4", "IPv6", "Unix"]
    assert [row["fd"] for row in data] == sorted(row["fd"] for row in data)
    assert all(os.fstat(row["fd"]) for row in data)
    for client in clients:
        client.close()
    _all_gone(server)
    assert console.lines("show inbound") == []
    assert console.data("show inbound") == []


def test_count_counts_sessions_by_network(server: Running, console: ConsoleClient) -> None:
    _all_gone(server)
    clients = [server.client(0, f"127.0.{n}.1").greet() for n in (1, 1, 2)] + [server.client(1).greet()]
    assert console.lines("count SMTP 32") == [
        "Displaying 'SMTP' from /32 to /32",
        "      2                                 127.0.1.1/32",
        "      1                                 127.0.2.1/32",
        "      1                                        ::/32",
    ]
    assert console.lines("count SMTP 8-9")[1:] == [
        "      3                                  127.0.0.0/8",
        "      1                                         ::/8",
        "      3                                  127.0.0.0/9",
        "      1                                         ::/9",
    ]
    assert console.lines("count SMTP 127.0.1.0/24") == ["2 sessions"]
    assert console.lines("count SMTP 10.0.0.0/8") == ["0 sessions"]
    assert console.lines("count Control") == ["1 session"]
    assert console.data("count SMTP 127.0.2.0/24") == {
        "service": "SMTP",
        "network": "127.0.2.0/24",
        "sessions": 1,
    }
    assert console.say("count smtp 32") == ["ERR unknown service 'smtp'; did you mean 'SMTP'?"]
    assert console.say("count SMTP 9-8") == ["ERR a prefix length is 0 to 128, and the lower one comes first"]
    for client in clients:
        client.close()
    _all_gone(server)


def test_threads_stats_prints_a_block_a_pool(server: Running, console: ConsoleClient) -> None:
    text = "\n".join(console.lines("threads stats"))
    titles = re.findall(r"^(\S+) thread pool(?: \(native\))?: concurrency (\d+)$", text, re.M)
    assert [name for name, _ in titles if name != "Auth"] == (
        ["CPU", "IO", "IO", "SWAPOUT", "SWAPIN", "UNLINK", "BATCH_UNLINK", "SPOOLIN", "CLOSE", "mine"]
    )
    assert ("mine", "3") in titles
    assert re.search(
        r"^IO thread pool \(native\): concurrency 4\n"
        r"               Total invocations: \d+\n"
        r"    Observed average concurrency: \d+\.\d\d\n"
        r"          Thread pool saturation: +\d+\.\d\d%\n"
        r"   Average wallclock time per op: \d+\.\d\dms\n"
        r"\n"
        r"            Current thread count: \d+\n"
        r"  \[inactive threads\]\n"
        r"            Current thread count: \d+$",
        text,
        re.M,
    ), text
    assert re.search(r"^CPU thread pool: concurrency 4\nIO thread pool: concurrency 50$", text, re.M)
    assert console.lines("threads io queue") == ["Jobs in the IO pool", "0 jobs"]
    assert console.lines("threads cpu queue") == ["Jobs in the CPU pool", "0 jobs"]


def test_what_a_green_pool_did_is_counted(tmp_path: Path) -> None:
    conf = f"""
    ThreadPool "blocked" {{ concurrency = 2 }}
    ESMTP_Listener {{ Listen "127.0.0.1:0" {{ }} }}
    Control_Listener {{ Listen "{tmp_path}/control" {{ Pool_Name = "blocked" }} }}
    """
    with running(tmp_path, conf) as server:
        console = console_of(server)
        for _ in range(5):
            console.lines("pid")
        row = next(row for row in console.data("threads stats") if row["pool"] == "blocked")
        assert (row["invocations"], row["running"], row["concurrency"]) == (5, 1, 2)
        assert 0 < row["saturation"] + 0.0001 <= 1
        console.close()


def test_the_process_tells_of_itself(console: ConsoleClient) -> None:
    assert console.lines("version") == [f"gsmtp {__version__}"]
    assert console.lines("pid") == [str(os.getpid())]
    assert re.fullmatch(
        r"up \d+:\d\d:\d\d \(\d+ seconds\) since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d", console.lines("uptime")[0]
    )
    sysinfo = console.lines("sysinfo")
    assert sysinfo[:3] == [f"Version: {__version__}", "Product: gsmtp", f"Python: {platform.python_version()}"]
    assert sysinfo[4].startswith("Uname: Linux ")


def test_modules_and_hooks_are_listed(console: ConsoleClient) -> None:
    assert console.lines("module list") == [
        "Module: ec_logger:ec_logger",
        "  Scope_Name: ec_logger",
        "  Instance_Name: ec_logger",
        "  Enabled: true",
        "  API: 1",
        "  Name: ec_logger",
        "  Description: Writes Momentum's log files. There may be several, with different names.",
    ]
    hooks = console.lines("module hooks")
    at = hooks.index("rcptto")
    assert hooks[at + 1] == "\trelay(context, event)"


def test_help_lists_explains_and_suggests(console: ConsoleClient) -> None:
    lines = console.lines("help")
    assert any(line.startswith("show inbound ") for line in lines)
    assert console.lines("help pid") == ["pid", "    The number of the server's process."]
    assert [line for line in console.lines("help threads") if not line.startswith(" ")] == [
        "threads cpu queue",
        "threads io queue",
        "threads stats",
    ]
    assert console.say("help sumary") == ["ERR unknown command: sumary; did you mean 'summary'?"]
    assert console.say("show inbond")[0].startswith("ERR unknown command: show inbond; there is show inbound")


def test_a_command_of_a_module_may_name_the_instance(console: ConsoleClient) -> None:
    assert console.say("ec_logger:ec_logger reopen logs") == ["OK"]
    assert console.say("ec_logger:other reopen logs") == ['ERR there is no ec_logger "other"']
    assert console.say("ec_logger:ec_logger shutdown") == ["ERR unknown command: ec_logger:ec_logger shutdown"]


def test_tls_commands_have_the_documented_answers(console: ConsoleClient) -> None:
    assert console.lines("tls show cache") == ["Temp RSA key is uncached."]
    assert console.lines("tls flush cache") == ["Cache flush request submitted."]
    assert console.lines("tls rekey") == ["Rekey request submitted."]


def test_xml_may_be_asked_for(console: ConsoleClient) -> None:
    root = ElementTree.fromstring("\n".join(console.lines("xml threads io queue")))
    assert (root.tag, root.findtext("pool"), root.findtext("jobs")) == ("threads_io_queue", "IO", "0")
    root = ElementTree.fromstring("\n".join(console.lines("xml show inbound")))
    assert (root.tag, len(root)) == ("show_inbound", 0)


ASIDE = ("shutdown", "config reload", "config begin", "config begin from scratch", "config writeback")
"""Commands that would disturb the other tests of this module; each has a test of its own."""

wiring.load()
ARGUMENTS = {
    "config get": "hostname",
    "config eval": "hostname",
    "config locate": "listen",
    "config set": "hostname = mx.example.com",
    "config unset": "max_message_size",
    "count": "SMTP 24-32",
    "trace inbound add": "* {folder}/shapes-trace",
    "trace inbound remove": "1",
}


@pytest.mark.parametrize("name", [name for name in COMMANDS.names() if name not in ASIDE])
def test_every_command_gives_valid_json_and_xml(server: Running, name: str) -> None:
    console = console_of(server)
    line = f"{name} {ARGUMENTS.get(name, '')}".strip().replace("{folder}", str(server.path.parent))
    _, *lines = console.say(f"json {line}")
    assert isinstance(json.loads("\n".join(lines)), dict | list)
    _, *lines = console.say(f"xml {line}")
    assert ElementTree.fromstring("\n".join(lines)).tag in (name.replace(" ", "_"), "error")
    console.close()
