"""Fifty-megabyte messages from twenty clients at once cost the documented buffers, not the messages."""

from __future__ import annotations

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.messages import compose
from tests.support.server import serving
from tests.support.source import ROOT
from tests.support.waiting import wait_until
from tests.support.wire import Wire

pytestmark = [pytest.mark.durability, pytest.mark.timeout(240)]

CLIENTS = 20
SIZE_BYTES = 50_000_000
PIECE = (b"x" * 998 + b"\r\n") * 256

CONF = """
hostname = "mx.example.com"
spoolbase = "{folder}/spool"
relay_domains = ( "example.com" )
suspend_delivery = true
ESMTP_Listener { Listen "127.0.0.1:{port}" { } }
"""


def documented_buffer_bytes() -> int:
    """What docs/operations.md promises as the most that one session makes the server hold."""
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    match = re.search(r"at most (\d+) KiB a session", text)
    assert match, "docs/operations.md names the buffer of a session"
    return int(match[1]) * 1024


def _send(port: int, number: int, together: threading.Barrier) -> bytes:
    with Wire(port, timeout_s=120) as wire:
        wire.greet()
        wire.envelope(b"user@example.com")
        assert wire.say(b"DATA").startswith(b"354 ")
        together.wait(60)
        wire.send(compose(number, b""))
        for _ in range(SIZE_BYTES // len(PIECE)):
            wire.send(PIECE)
        wire.send(b".\r\n")
        return wire.reply()


def test_twenty_times_fifty_megabytes(tmp_path: Path) -> None:
    with serving(tmp_path, CONF) as server:
        together = threading.Barrier(CLIENTS)
        with Wire(server.port) as warm:
            warm.greet()
            assert warm.message(b"user@example.com", compose(0, PIECE)).startswith(b"250 ")
        before = highest = server.rss_bytes()
        with ThreadPoolExecutor(CLIENTS) as pool:
            sent = [pool.submit(_send, server.port, number, together) for number in range(1, CLIENTS + 1)]

            def measured() -> bool:
                nonlocal highest
                highest = max(highest, server.rss_bytes())
                return all(one.done() for one in sent)

            wait_until(measured, "all are sent", 180, every_s=0.02)
        assert [one.result()[:4] for one in sent] == [b"250 "] * CLIENTS
        assert highest - before <= CLIENTS * documented_buffer_bytes()
        large = [path for path in server.spool.rglob("*") if path.is_file() and path.stat().st_size > SIZE_BYTES * 0.9]
        assert len(large) == CLIENTS
