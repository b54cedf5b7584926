"""kill -9 between a failure and its bounce: both are one commit, so that no bounce is lost and none comes twice."""

from __future__ import annotations

import email
import random
import time
from collections import Counter
from email.message import Message
from pathlib import Path

import pytest

from tests.support.messages import compose, plain
from tests.support.ports import free_port
from tests.support.server import Server
from tests.support.sink import Answer, Sink
from tests.support.waiting import wait_until
from tests.support.wire import Wire

pytestmark = [pytest.mark.durability, pytest.mark.timeout(120)]

CONF = """
hostname = "mx.example.com"
spoolbase = "{folder}/spool"
relay_domains = ( "strict.example" )
retry_interval = 1  max_retry_interval = 1
ESMTP_Listener { Listen "127.0.0.1:{port}" { } }
Domain "strict.example" { gateway = "STRICT" }
Domain "example.net" { gateway = "BACK" }
"""
KILLS = 5
MESSAGES = 60
NAMES = [b"no%d@strict.example" % number for number in range(3)]


def _accepted(server: Server) -> list[str]:
    """Send messages that will bounce; the ids of those that got their 250."""
    ids: list[str] = []
    with Wire(server.port) as client:
        client.greet()
        for number in range(MESSAGES):
            reply = client.message(NAMES[number % len(NAMES)], compose(number, plain(number)))
            assert reply.startswith(b"250 "), reply
            ids.append(reply.decode().split()[-1].rpartition("=")[2])
    return ids


def _about(notice: bytes) -> str:
    """The id of the message that a notice is about."""
    status = email.message_from_bytes(notice).get_payload(1)
    assert isinstance(status, Message)
    groups = status.get_payload()
    assert isinstance(groups, list)
    assert isinstance(groups[0], Message)
    return str(groups[0]["X-Gsmtp-Queue-Id"])


def test_each_failure_bounces_once_over_kills(tmp_path: Path) -> None:
    back_port = free_port()
    moments = random.Random(3)
    refusals: dict[bytes, Answer] = dict.fromkeys(NAMES, b"550 5.1.1 no such user\r\n")
    accepted: list[str] = []
    with Sink(rcpt=refusals) as strict:
        conf = CONF.replace("STRICT", strict.gateway).replace("BACK", f"127.0.0.1:{back_port}")
        server = Server(tmp_path, conf)
        try:
            for _ in range(KILLS):
                server.start()
                accepted += _accepted(server)
                time.sleep(moments.uniform(0.0, 0.05))  # a kill at any moment of the outcomes' commits
                server.kill()
            with Sink(port=back_port) as back:  # so far nobody took a bounce: none of them can have been in flight
                server.start()
                wait_until(lambda: len(back.messages) >= len(accepted), "all bounces", 60, every_s=0.1)
                assert server.stop() == 0
                told = Counter(_about(notice.body) for notice in back.messages)
        finally:
            server.kill()
    assert len(accepted) == KILLS * MESSAGES
    assert told == Counter(accepted)
