"""A route that leads back to us must not keep a message going round (RFC 5321 section 6.3)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.inprocess import running

CONF = 'esmtp_listener { listen "127.0.0.1:0" { } }'


@pytest.mark.parametrize("field", [b"Received: from a by b\r\n", b"RECEIVED: from a\r\n\tby b\r\n"])
def test_a_message_with_more_than_a_hundred_received_fields_is_refused(tmp_path: Path, field: bytes) -> None:
    with running(tmp_path, CONF) as server:
        client = server.client().greet()
        assert client.transaction(field * 100 + b"Subject: x\r\n\r\nx\r\n").startswith(b"250 ")
        refused = client.transaction(field * 101 + b"Subject: x\r\n\r\nx\r\n")
        assert refused == b"554 5.4.6 Too many hops: the message goes round in a loop\r\n"
        quoted = b"Subject: x\r\n\r\n" + field * 200  # in a body, as a bounce quotes them
        assert client.transaction(quoted).startswith(b"250 ")
        assert len(server.queued()) == 2
        client.close()
