"""`gsmtp queue` as an operator uses it: beside the running server, and after it stopped."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.messages import compose, plain
from tests.support.ports import free_port
from tests.support.server import Server, serving
from tests.support.sink import Sink
from tests.support.source import ROOT
from tests.support.waiting import wait_until
from tests.support.wire import Wire

pytestmark = pytest.mark.durability

CONF = """
hostname = "mx.example.com"
spoolbase = "{folder}/spool"
relay_domains = ( "gone.example" "strict.example" )
retry_interval = 600
ESMTP_Listener {  Listen "127.0.0.1:{port}" { } }
Domain "gone.example" { gateway = "127.0.0.1:GONE" }
Domain "strict.example" { gateway = "STRICT"  failure_action = "keep" }
"""
REFUSED = b"550 5.1.1 no such user\r\n"


def _queue(*words: str | Path) -> str:
    """What `gsmtp queue` prints, run as a command."""
    done = subprocess.run(
        [sys.executable, "-m", "gsmtp", "queue", *map(str, words)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def _tried(server: Server) -> list[dict[str, Any]]:
    """The messages as `--json` tells them, by recipient; [] until each was tried once."""
    found = [json.loads(line) for line in _queue("list", server.conf, "--json").splitlines()]
    found.sort(key=lambda message: str(message["recipients"][0]["address"]))
    return found if all(message["recipients"][0]["attempts"] for message in found) else []


def test_what_waits_and_what_failed_is_shown_while_the_server_runs_and_after_it_stopped(tmp_path: Path) -> None:
    with Sink(rcpt={b"nobody@strict.example": REFUSED}) as sink:
        conf = CONF.replace("GONE", str(free_port())).replace("STRICT", sink.gateway)
        with serving(tmp_path, conf) as server:
            with Wire(server.port) as client:
                client.greet()
                replies = [
                    client.message(recipient, compose(1, plain(1)))
                    for recipient in (b"user@gone.example", b"nobody@strict.example")
                ]
            waiting_id, failed_id = (reply.decode().split()[-1].rpartition("=")[2] for reply in replies)
            failed, waiting = wait_until(lambda: _tried(server), "a first try of both", every_s=0.3)
            assert (failed["id"], waiting["id"]) == (failed_id, waiting_id)
            assert failed["recipients"][0]["state"] == "dead"
            assert failed["recipients"][0]["reply"].startswith("550 5.1.1 no such user")
            assert waiting["recipients"][0]["state"] == "queued"
            assert waiting["recipients"][0]["reply"].startswith("4")
            running = _queue("show", server.conf, failed_id)
            listed = _queue("list", server.conf, "--state", "dead")
            assert failed_id in listed
            assert waiting_id not in listed
            assert server.stop() == 0
        stopped = _queue("show", server.conf, failed_id, waiting_id)
        assert "recipient   <nobody@strict.example> dead, 1 attempt\n" in running
        assert "recipient   <nobody@strict.example> dead, 1 attempt\n" in stopped
        assert "recipient   <user@gone.example> queued, 1 attempt, next try " in stopped
        assert _queue("list", server.conf).splitlines()[-1] == "2 messages"
