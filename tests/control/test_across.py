"""A worker's part of a command, as it is written to the process that has the console."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from gsmtp.control import across
from gsmtp.control.operations import Operations
from gsmtp.core.counters import COUNTERS
from tests.support.inprocess import Running, running

LISTENER = 'ESMTP_Listener { Listen "127.0.0.1:0" { } }\n'
NAME = "/test/across"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Running]:
    with running(tmp_path, LISTENER) as started:
        COUNTERS.add(NAME, 7)
        yield started
        COUNTERS.unlink(NAME)


def _value() -> int:
    return dict(COUNTERS.all())[NAME].value


def _said(server: Running, name: str, *words: str, given_up: bool = False) -> list[dict[str, Any]]:
    ours, theirs = socket.socketpair()
    with ours:
        if given_up:
            ours.close()
        body = {"command": name, "words": list(words), "user": "root"}
        across.answer(cast(Operations, server.supervisor), body, theirs.detach())
        return [] if given_up else [json.loads(line) for line in ours.makefile("rb")]


def test_a_value_items_and_a_refusal(server: Running) -> None:
    assert _said(server, "counter add", NAME, "1") == [{"value": 7}]
    assert _said(server, "show inbound") == [{"end": True}]
    assert _said(server, "counter reset") == [{"refused": "the name of a counter is expected: counter reset NAME"}]
    assert _said(server, "no such thing") == [{"refused": "no such command: no such thing"}]
    assert _said(server, "config get", "hostname") == [{"refused": "no such command: config get"}]


def test_items_come_in_lines_of_some(server: Running) -> None:
    client = server.client().greet()
    for number in range(400):
        assert client.transaction(recipient=b"%d@example.com" % number).startswith(b"250 ")
    *bundles, end = _said(server, "queue list")
    assert end == {"end": True}
    assert len(bundles) > 1
    items = [item for bundle in bundles for item in bundle["items"]]
    assert [item["recipient"] for item in items] == [f"{number}@example.com" for number in range(400)]


def test_what_nobody_waits_for_any_more_is_not_done(server: Running) -> None:
    """The worker was too busy to begin in time, and the operator was told that it isn't done there."""
    _said(server, "counter reset", NAME, given_up=True)
    assert _value() == 7
    assert _said(server, "counter reset", NAME) == [{"value": True}]
    assert _value() == 0
