"""Clients that send far ahead of the answers must be served to the end, not forgotten with their input unread."""

from __future__ import annotations

from pathlib import Path

from gevent.event import Event

from gsmtp.policy.chain import HOOKS, Chain, Hook
from gsmtp.policy.decision import Phase
from gsmtp.server.connection import MOST_PENDING_INPUT
from tests.support.inprocess import running

CHUNKING = """
esmtp_listener { smtp_extensions = ( "CHUNKING" ) listen "127.0.0.1:0" { } }
"""


def test_a_chunk_that_came_while_others_had_the_turn_is_read_to_its_end(tmp_path: Path) -> None:
    """RFC 3030 section 4.2: BDAT may be pipelined. While a hook (or a commit) is at work only so much is taken."""
    gate = Event()

    def wait(_context: object, _event: object) -> None:
        gate.wait()

    with running(tmp_path, CHUNKING) as server:
        server.supervisor._service.chain = Chain([*HOOKS, Hook("gate", Phase.MAIL, 500, wait, may_block=True)])
        client = server.client().greet()
        body = b"Subject: x\r\n\r\n" + (b"x" * 78 + b"\r\n") * 4000
        client.send(b"MAIL FROM:<a@example.net>\r\nRCPT TO:<b@example.com>\r\nBDAT %d LAST\r\n" % len(body) + body)
        (connection,) = server.supervisor._service.connections
        server.wait_for(lambda: connection.session.pending_bytes > MOST_PENDING_INPUT)
        gate.set()
        assert [client.reply()[:3] for _ in range(3)] == [b"250"] * 3
        assert len(server.queued()) == 1
        client.close()
