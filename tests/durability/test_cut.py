"""A connection that is cut in the middle of a message leaves nothing behind."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.messages import compose, large
from tests.support.server import Server, serving
from tests.support.waiting import wait_until
from tests.support.wire import Wire

pytestmark = pytest.mark.durability

CONF = """
hostname = "mx.example.com"
spoolbase = "{folder}/spool"
relay_domains = ( "example.com" )
suspend_delivery = true
ESMTP_Listener {
  smtp_extensions = ( "ENHANCEDSTATUSCODES" "CHUNKING" )
  Listen "127.0.0.1:{port}" { }
}
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with serving(tmp_path, CONF) as server:
        yield server


def _reset(wire: Wire) -> None:
    """End the connection by RST, as a crashed client's kernel does."""
    wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wire.socket.close()


def _files(server: Server) -> set[str]:
    """Files of bodies in the spool; the data base's own are always there."""
    return {
        str(path.relative_to(server.spool))
        for path in server.spool.rglob("*")
        if path.is_file() and not path.name.startswith(("spool.", "lock"))
    }


def _is_like_before(server: Server, before: set[str]) -> bool:
    with server.client() as client:
        client.ehlo()  # the loop has seen the cut connection's end by the time it answers a later one
    return _files(server) == before


@pytest.mark.parametrize("size_bytes", [2_000, 3_000_000], ids=["small", "large"])
@pytest.mark.parametrize("ending", ["close", "reset"])
@pytest.mark.parametrize("verb", ["DATA", "BDAT", "BDAT LAST"])
def test_a_cut_connection_leaves_nothing(server: Server, verb: str, ending: str, size_bytes: int) -> None:
    before = _files(server)
    content = compose(1, large(1, size_bytes))
    wire = Wire(server.port).greet()
    wire.envelope(b"user@example.com")
    if verb == "DATA":
        assert wire.say(b"DATA").startswith(b"354 ")
        wire.send(content + b".\r")
    elif verb == "BDAT":
        assert wire.say(b"BDAT %d\r\n" % len(content) + content.removesuffix(b"\r\n")).startswith(b"250 ")
    else:
        wire.send(b"BDAT %d LAST\r\n" % (len(content) + 1) + content)
    wait_until(lambda: size_bytes < 100_000 or _files(server) != before, "the body is on its way to the disk")
    if ending == "reset":
        _reset(wire)
    else:
        wire.socket.close()
    wait_until(lambda: _is_like_before(server, before), "the body's file is gone")
    assert server.stop() == 0
    assert " received " not in server.log()


def test_a_kill_in_the_middle_of_a_body_leaves_nothing_after_the_next_start(server: Server) -> None:
    before = _files(server)
    wire = Wire(server.port).greet()
    wire.envelope(b"user@example.com")
    assert wire.say(b"DATA").startswith(b"354 ")
    wire.send(compose(1, large(1, 3_000_000)))
    wait_until(lambda: _files(server) != before, "the body is on its way to the disk")
    server.kill()
    assert _files(server) != before
    server.start()
    wait_until(lambda: _files(server) == before, "the next start removes the orphan")
    wire.socket.close()
