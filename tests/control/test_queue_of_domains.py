"""Momentum's commands on the queue by domain: ``mailq``, ``showqueue``, ``active``, ``delayed``, ``domain``, ``flush``,
``fail``, and the queue's sizes in ``summary``; exact shapes, with real mail in a real spool."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gsmtp.core.errors import SpoolUnhealthy
from tests.support.console import ConsoleClient, console_of
from tests.support.inprocess import Running, running
from tests.support.sink import Sink

CONF = """
suspend_delivery = false
relay_domains = ( "delayed.example" "still.example" "good.example" )
ESMTP_Listener {{ Listen "127.0.0.1:0" {{ }} }}
Control_Listener {{ Listen "{folder}/control" {{ }} }}
Domain "delayed.example" {{ gateway = "{later}"  retry_interval = 1000  max_outbound_connections = 1 }}
Domain "still.example" {{ suspend_delivery = true }}
Domain "good.example" {{ gateway = "{good}" }}
"""

CHOOSER = """
from gsmtp.api import Hook
class Chooser(Hook):
    def set_binding(self, message):
        message.binding = {"n": "news", "m": "bills"}.get(message.rcptto[:1], "")
"""


@pytest.fixture
def hops() -> Iterator[tuple[Sink, Sink]]:
    refused: list[bytes | str] = [b"451 4.2.1 later\r\n"] * 3
    with Sink(script={"RCPT": refused}) as later, Sink() as good:
        yield later, good


@pytest.fixture
def server(tmp_path: Path, hops: tuple[Sink, Sink]) -> Iterator[Running]:
    later, good = (one.gateway for one in hops)
    with running(tmp_path, CONF.format(folder=tmp_path, later=later, good=good)) as started:
        yield started


@pytest.fixture
def console(server: Running) -> Iterator[ConsoleClient]:
    client = console_of(server)
    yield client
    client.close()


def _fill(server: Running) -> list[str]:
    """Three messages that were put off, two that wait, one that was delivered; the ids of the first five."""
    client = server.client().greet()
    ids = []
    for recipient in (b"a@delayed.example", b"b@delayed.example", b"c@delayed.example") + (b"d@still.example",) * 2:
        reply = client.transaction(recipient=recipient)
        found = re.search(rb"[0-9A-F]{2}/[0-9A-F]{2}-\d{5}-[0-9A-F]{8}", reply)
        assert found is not None, reply
        ids.append(found[0].decode())
    assert client.transaction(recipient=b"e@good.example").startswith(b"250 ")
    client.close()
    delivery = server.supervisor._delivery
    server.wait_for(lambda: delivery.stats().deferrals == 3 and delivery.stats().delivered == 1)
    return ids


def test_the_sizes_of_the_queue_are_those_of_the_spool(server: Running, console: ConsoleClient) -> None:
    _fill(server)
    lines = console.lines("summary")
    assert "        Active Queue Size:      2" in lines
    assert "        Delayed Queue Size:      3" in lines
    assert "        Total Queue Size:      5" in lines


def test_mailq_counts_pairs_of_binding_and_domain(server: Running, console: ConsoleClient) -> None:
    _fill(server)
    head = [
        "Group/Binding                                       Domain      AQ      DQ",
        "--------------------------------------------------------------------------",
    ]
    delayed = "default/default                            delayed.example       0       3"
    still = "default/default                              still.example       2       0"
    assert console.lines("mailq") == [*head, delayed, still]
    assert console.lines("mailq --limit 1") == [*head, delayed]
    assert console.lines("mailq -d Still.Example --domain x.example") == [*head, still]
    assert console.lines("mailq --domain=still.example --binding=default") == [*head, still]
    assert console.lines("mailq -b other") == head
    assert console.data("mailq -l 1") == [
        {"group": "default", "binding": "default", "domain": "delayed.example", "aq": 0, "dq": 3}
    ]
    assert console.say("mailq --limit 0") == ["ERR '0' is no limit: a number from 1 on is expected"]
    assert console.say("mailq --domain")[0].startswith("ERR '--domain' of what? mailq [--domain DOMAIN ...]")
    assert console.say("mailq example.com")[0].startswith("ERR 'example.com' is not expected: mailq ")


def test_active_delayed_and_domain_all(server: Running, console: ConsoleClient) -> None:
    _fill(server)
    delayed = "Domain:                delayed.example  C:  1  A:      0  D:     3  S:     0"
    still = "Domain:                  still.example  C:  0  A:      2  D:     0  S:     0"
    total = "                                Total:  C:  2  A:      2  D:     3  S:     1"
    assert console.lines("delayed") == [delayed, total]
    assert console.lines("delayed 3") == [total]
    assert console.lines("active 1") == [still, total]
    assert console.lines("domain all") == [
        "Domain summary:",
        delayed,
        still,
        "Totals: C:   2  A:      2  D:     3  S:     1",
    ]
    assert console.data("active") == [
        {"domain": "still.example", "connections": 0, "active": 2, "delayed": 0, "delivered": 0, "failed": 0}
    ]
    assert console.say("active x") == ["ERR a number is expected: active [THRESHOLD]"]


def test_a_domain_is_shown(server: Running, console: ConsoleClient, hops: tuple[Sink, Sink]) -> None:
    _fill(server)
    *lines, connection = console.lines("domain Good.Example")
    assert lines == [
        f"Domain 'good.example' goes by smtp to {hops[1].gateway}",
        "Queue:",
        "        Active:          0",
        "        Delayed:         0",
        "Deliveries:         1",
        "Failures:           0",
        "Active Connections: 1",
    ]
    assert re.fullmatch(r"\[ 1\] FD: [ \d]{5}\d  IP:       127\.0\.0\.1  State: idle", connection)
    assert console.lines("domain delayed.example")[2:4] == ["        Active:          0", "        Delayed:         3"]


def test_the_queue_of_a_domain_is_listed(server: Running, console: ConsoleClient) -> None:
    ids = _fill(server)
    lines = console.lines("showqueue delayed.example")
    assert [re.sub(r"Created: \d{10}$", "Created: N", line) for line in lines] == [
        f"[delayed/default] {ids[0]} Created: N",
        "  From: <a@example.net> To: <a@delayed.example>",
        f"[delayed/default] {ids[1]} Created: N",
        "  From: <a@example.net> To: <b@delayed.example>",
        f"[delayed/default] {ids[2]} Created: N",
        "  From: <a@example.net> To: <c@delayed.example>",
    ]
    assert abs(int(lines[0].rpartition(" ")[2]) - time.time()) < 60
    assert console.lines("showqueue binding default delayed.example 1,1") == lines[2:4]
    assert console.lines("showqueue binding all delayed.example 5,2") == lines[4:]
    assert console.lines("showqueue binding other delayed.example") == []
    assert console.lines("showqueue still.example 1")[0].startswith(f"[active/default] {ids[3]} Created: ")
    console.lines(f"queue hold {ids[4]}")
    assert [one["queue"] for one in console.data("showqueue still.example")] == ["active", "held"]
    assert console.say("showqueue still.example x") == ["ERR 'x' is no limit and offset, such as 100,0"]
    assert console.say("showqueue")[0].startswith("ERR a domain is expected: showqueue ")
    assert console.say('showqueue ""')[0].startswith("ERR a domain is expected: showqueue ")


def test_what_was_delayed_is_flushed(server: Running, console: ConsoleClient, hops: tuple[Sink, Sink]) -> None:
    _fill(server)
    assert console.lines("flush domain Delayed.Example") == ["Delayed.Example flushed.  3 messages requeued."]
    server.wait_for(lambda: len(hops[0].messages) == 3, "what was flushed is delivered")
    server.wait_for(lambda: console.data("domain delayed.example")["delivered"] == 3)
    assert console.lines("flush domain all") == ["all flushed.  2 messages requeued."]
    assert console.say("flush domain") == ["ERR a domain is expected: flush domain DOMAIN|all"]


def test_a_domain_is_failed(server: Running, console: ConsoleClient) -> None:
    ids = _fill(server)
    console.lines(f"queue hold {ids[0]}")
    assert console.lines("fail domain quiet delayed.example") == ["delayed.example purged. 3 messages failed."]
    assert sorted(server.queued()) == sorted((id_, "d@still.example") for id_ in ids[3:])
    assert console.lines("fail domain all") == ["all purged. 0 messages failed."]  # a domain of that name has none
    assert console.say('fail domain ""') == ["ERR a domain is expected: fail domain DOMAIN"]
    assert console.lines("fail domain still.example") == ["still.example purged. 2 messages failed."]
    server.wait_for(lambda: not [one for one in server.queued() if one[0] in ids], "its messages are gone")
    assert console.data("domain still.example")["failed"] == 2


def test_a_spool_that_can_not_be_read_is_told_by_the_status(server: Running, console: ConsoleClient) -> None:
    spool = server.supervisor._spool
    console.lines("showqueue still.example")

    def broken(*_args: object) -> None:
        raise SpoolUnhealthy("can't be read")

    readers = spool._readers
    whole = readers.read
    readers.read = broken  # type: ignore[method-assign, assignment]
    try:
        for line in ("showqueue still.example", "mailq", "delayed", "domain all", "domain x.example", "queue list"):
            assert console.say(line) == ["ERR can't be read"], line
        assert console.say("flush domain still.example") == ["ERR after 0 recipients: can't be read"]
        assert console.lines("summary")[0] == "Summary Statistics"  # what can be told is told
    finally:
        readers.read = whole  # type: ignore[method-assign]


def test_bindings_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "chooser.py").write_text(CHOOSER)
    conf = f"""
    relay_domains = ( "a.example" "b.example" )
    Binding_Group "shared" {{ Binding "news" {{ }} }}
    Binding "bills" {{ }}
    scriptlet "scriptlet" {{ script "chooser" {{ source = "chooser.py" }} }}
    ESMTP_Listener {{ Listen "127.0.0.1:0" {{ }} }}
    Control_Listener {{ Listen "{tmp_path}/control" {{ }} }}
    """
    with running(tmp_path, conf) as server:
        client = server.client().greet()
        for recipient in (b"n@a.example", b"m@a.example", b"o@a.example", b"n@b.example"):
            assert client.transaction(recipient=recipient).startswith(b"250 ")
        console = console_of(server)
        assert console.lines("mailq")[2:] == [
            "default/bills                                    a.example       1       0",
            "default/default                                  a.example       1       0",
            "shared/news                                      a.example       1       0",
            "shared/news                                      b.example       1       0",
        ]
        assert [one["domain"] for one in console.data("mailq --binding news")] == ["a.example", "b.example"]
        assert [one["recipient"] for one in console.data("showqueue a.example")] == ["o@a.example"]
        assert console.lines("showqueue binding news a.example")[0].startswith("[active/news] ")
        assert len(console.data("showqueue binding all a.example")) == 3


def test_the_log_says_where_removed_mail_went(server: Running, console: ConsoleClient) -> None:
    ids = _fill(server)
    assert console.lines("queue delete domain delayed.example recipient b@delayed.example") == [
        "1 recipient of 1 message removed"
    ]
    (line,) = [line for line in str(server.log).splitlines() if " removed by " in line]
    assert re.sub(r"^\S+|(?<=age_s=)[0-9.]+|(?<= by )[^\"]+", "X", line) == (
        f"X error    delivery failed id={ids[1]} sender=<a@example.net> recipient=<b@delayed.example> hop=operator "
        'attempt=1 age_s=X reply="554 5.7.0 [internal] removed by X"'
    )
    assert console.lines("queue hold domain delayed.example") == ["2 recipients of 2 messages held"]
    assert str(server.log).count("hop=operator") == 1, "what stays in the spool keeps its own history"
