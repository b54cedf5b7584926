"""``trace smtp``: both sides of deliveries in a file, by binding and domain; without a trace nobody looks."""

from __future__ import annotations

import re
from pathlib import Path

from gsmtp.delivery.tracing import OBSERVERS
from tests.support.console import console_of
from tests.support.inprocess import Running, running
from tests.support.sink import Sink

CONF = """
suspend_delivery = false
trace_smtp_mode = 0600
ESMTP_Listener {{ Listen "127.0.0.1:0" {{ }} }}
Control_Listener {{ Listen "{folder}/control" {{ }} }}
Domain "example.com" {{ gateway = "{gateway}" }}
Domain "example.org" {{ gateway = "{gateway}" }}
relay_domains = ( "example.com" "example.org" )
"""


def _wait(server: Running, sink: Sink, count: int) -> None:
    server.wait_for(lambda: len(sink.messages) == count, f"{len(sink.messages)} of {count} messages")


def _said(path: Path) -> list[str]:
    """The lines without time, message and hop."""
    lines = path.read_text().splitlines()
    shape = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z [0-9A-F/]{5}-\d{5}-[0-9A-F]{8} \S*127\.0\.0\.1\S*:\d+ [CS-]: "
    assert [line for line in lines if not re.match(shape, line)] == []
    return [line.split(" ", 3)[3] for line in lines]


def test_a_delivery_is_written_down(tmp_path: Path) -> None:
    with Sink() as sink, running(tmp_path, CONF.format(folder=tmp_path, gateway=sink.gateway)) as server:
        console = console_of(server)
        trace, other = tmp_path / "trace", tmp_path / "other"
        assert console.lines(f"trace smtp add * Example.COM {trace}") == ["Registered smtp tracer #1"]
        assert console.lines(f"trace smtp add gone * {other}") == ["Registered smtp tracer #2"]
        assert trace.stat().st_mode & 0o777 == 0o600
        client = server.client().greet()
        assert client.transaction().startswith(b"250 ")
        assert client.transaction(recipient=b"c@example.org").startswith(b"250 ")
        _wait(server, sink, 2)
        server.wait_for(lambda: "S: 250 " in trace.read_text().partition("C: .")[2])
        lines = _said(trace)
        assert lines[0].startswith("-: connected to ")
        assert lines[1].startswith("S: 220 ")
        assert "C: EHLO mx.example.com" in lines
        at = lines.index("C: hello")
        assert lines[at - 1 : at + 2] == ["C: ", "C: hello", "C: ."]
        assert not [line for line in lines if "example.org" in line]
        assert other.read_text() == ""  # no binding of that name
        size = trace.stat().st_size
        assert console.lines("trace smtp list") == [
            "[     1]  binding: *",
            "           domain: example.com",
            f"             file: {trace} @ {size}",
            "[     2]  binding: gone",
            "           domain: *",
            f"             file: {other} @ 0",
        ]
        assert console.lines("trace smtp remove 1") == ["Removed smtp tracer #1"]
        assert console.say("trace smtp remove 1") == ["ERR there is no smtp tracer #1"]
        assert client.transaction().startswith(b"250 ")
        _wait(server, sink, 3)
        assert trace.stat().st_size == size
        client.close()
    assert not OBSERVERS  # a server that is gone looks at nothing


def test_the_default_binding_is_mail_without_one(tmp_path: Path) -> None:
    with Sink() as sink, running(tmp_path, CONF.format(folder=tmp_path, gateway=sink.gateway)) as server:
        console = console_of(server)
        trace = tmp_path / "trace"
        console.lines(f"trace smtp add default * {trace}")
        assert console.data("trace smtp list") == [
            {"id": 1, "binding": "default", "domain": "*", "file": str(trace), "bytes": 0}
        ]
        client = server.client().greet()
        client.transaction()
        _wait(server, sink, 1)
        server.wait_for(lambda: "C: ." in trace.read_text())
        trace.rename(tmp_path / "old")
        console.lines("reopen logs")
        server.wait_for(trace.exists)
        client.transaction(recipient=b"c@example.org")
        _wait(server, sink, 2)
        server.wait_for(lambda: "<c@example.org>" in trace.read_text())
        client.close()


def test_what_can_not_be_traced_is_refused(tmp_path: Path) -> None:
    with Sink() as sink, running(tmp_path, CONF.format(folder=tmp_path, gateway=sink.gateway)) as server:
        say = console_of(server).say
        assert say("trace smtp add * /x") == [
            "ERR a binding, a domain and a file are expected: trace smtp add BINDING|* DOMAIN|* FILE"
        ]
        assert say("trace smtp add * * x")[0].startswith("ERR 'x' is no absolute path")
        assert say(f"trace inbound add * {tmp_path}/a")[0] == "OK"
        assert say(f"trace smtp add * * {tmp_path}/a") == [f"ERR {tmp_path}/a is written by another trace"]
        assert say("trace smtp remove x") == ["ERR the number of a trace is expected: trace smtp remove ID"]
