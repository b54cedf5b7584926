"""`gsmtp queue retry|hold|release|bounce|delete` beside a running server: done by it, and never against a delivery."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.messages import compose, plain
from tests.support.server import Server, serving
from tests.support.sink import Sink
from tests.support.source import ROOT
from tests.support.waiting import wait_until
from tests.support.wire import Wire

pytestmark = pytest.mark.durability

CONF = """
hostname = "mx.example.com"
spoolbase = "{folder}/spool"
relay_domains = ( "held.example" "gone.example" "many.example" )
retry_interval = 600
ESMTP_Listener {  Listen "127.0.0.1:{port}" { } }
Control_Listener { Listen "{folder}/control" { } }
Domain "held.example" { gateway = "SINK"  suspend_delivery = true }
Domain "many.example" { gateway = "SINK" }
Domain "gone.example" { gateway = "SINK"  failure_action = "keep" }
Domain "example.net" { gateway = "SINK" }
"""


def _queue(*words: str | Path) -> tuple[int, str, str]:
    """Exit status and output of `gsmtp queue`, run as a command."""
    done = subprocess.run(
        [sys.executable, "-m", "gsmtp", "queue", *map(str, words)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def _change(*words: str | Path) -> dict[str, Any]:
    status, out, err = _queue(*words, "--json", "--yes")
    assert (status, err) == (0, "")
    found: dict[str, Any] = json.loads(out)
    return found


def _states(server: Server) -> dict[str, str]:
    """State by message id."""
    _, out, _ = _queue("list", server.conf, "--json")
    return {one["id"]: one["recipients"][0]["state"] for one in map(json.loads, out.splitlines())}


def _send(server: Server, recipient: bytes, count: int = 1) -> list[str]:
    with Wire(server.port) as client:
        client.greet()
        replies = [client.message(recipient, compose(number, plain(number))) for number in range(count)]
    return [reply.decode().split()[-1] for reply in replies]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[tuple[Server, Sink]]:
    """A server with a console, and its next hop."""
    refused: dict[bytes, bytes | str] = {b"nobody@gone.example": b"550 5.1.1 no such user\r\n"}
    with Sink(rcpt=refused) as sink, serving(tmp_path, CONF.replace("SINK", sink.gateway)) as server:
        yield server, sink


def test_each_change(house: tuple[Server, Sink]) -> None:
    server, sink = house
    ids = _send(server, b"u@held.example", 3)
    (dead,) = _send(server, b"nobody@gone.example")
    wait_until(lambda: _states(server).get(dead) == "dead", "the dead letter", every_s=0.2)
    assert _change("hold", server.conf, ids[0])["changed"] == 1
    assert _states(server)[ids[0]] == "held"
    assert _change("release", server.conf, "--state", "held")["changed"] == 1
    assert _states(server)[ids[0]] == "queued"
    assert _change("delete", server.conf, ids[1])["changed"] == 1
    assert ids[1] not in _states(server)
    assert _change("bounce", server.conf, ids[2], dead)["changed"] == 2
    wait_until(lambda: len(sink.messages) == 2, "the bounces, from a suspended domain too")
    wait_until(lambda: set(_states(server)) == {ids[0]}, "the rest of the queue", every_s=0.2)
    for message in sink.messages:
        assert b"Content-Type: multipart/report; report-type=delivery-status" in message.body
    shown = _queue("show", server.conf, ids[0])[1]
    assert "operator" not in shown
    assert "held by root" in shown or "held by " in shown


def test_what_is_sent_to_it_while_it_is_worked_arrives_once(house: tuple[Server, Sink]) -> None:
    server, sink = house
    ids = set(_send(server, b"u@many.example", 150))
    for _ in range(3):
        for action in ("hold", "retry", "release"):
            _queue(action, server.conf, "--domain", "many.example", "--yes")
    wait_until(lambda: not _states(server), "all of it delivered", every_s=0.3)
    bodies = [message.body for message in sink.messages]
    assert len(bodies) == len(ids) == 150
    assert len(set(bodies)) == 150


def test_the_console_says_the_same(house: tuple[Server, Sink]) -> None:
    server, _ = house
    (first,) = _send(server, b"u@held.example")

    def console(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "gsmtp", "console", "--config", str(server.conf), *words],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.stdout + done.stderr

    assert console("queue", "hold", first) == "1 recipient of 1 message held\n"
    assert console("queue", "list", "state", "held").split()[:2] == [first, "held"]
    assert console("queue", "summary").splitlines()[1].split()[:4] == ["held.example", "0", "1", "0"]
    assert console("queue", "delete").startswith("which recipients? ")
    assert console("queue", "delete", "all") == "1 recipient of 1 message removed\n"
    assert console("queue", "list") == ""


def test_without_a_console_a_change_is_refused_with_what_to_add(tmp_path: Path) -> None:
    conf = "\n".join(line for line in CONF.splitlines() if "Control" not in line)
    with serving(tmp_path, conf.replace("SINK", "127.0.0.1:1")) as server:
        (first,) = _send(server, b"u@held.example")
        status, out, err = _queue("hold", server.conf, first)
        assert (status, out) == (1, "")
        assert err.endswith(' opens no console: add Control_Listener { Listen "/run/gsmtp/control" { } }\n')
        assert _states(server) == {first: "queued"}
