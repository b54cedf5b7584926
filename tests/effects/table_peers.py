"""Options of proxies and throttles, each with its effect."""

from __future__ import annotations

import re

from gevent import select

from tests.effects.kit import Effect
from tests.support.inprocess import Running


def _whom(server: Running) -> str:
    """For whom a client is taken that begins with a PROXY header."""
    client = server.client()
    client.send(b"PROXY TCP4 192.0.2.7 192.0.2.1 40111 25\r\nEHLO x\r\n")
    while not (got := client.reply()).startswith(b"250"):
        assert got, "the server closed"
    client.close()
    match = re.search(rb"says EHLO to (\S+)", got)
    assert match is not None
    return match[1].decode()


def _second_mail(server: Running) -> str:
    """What becomes of a second MAIL: it is answered, or it waits."""
    first, second = server.client().greet(), server.client().greet()
    assert first.code(b"MAIL FROM:<a@example.net>") == 250
    second.send(b"MAIL FROM:<a@example.net>\r\n")
    throttles = server.supervisor.service.throttles

    def outcome() -> str:
        if any(state.waiting for state in throttles.states()):
            return "waits"
        return "answered" if select.select([second.socket], [], [], 0)[0] else ""

    server.wait_for(outcome)
    found = outcome()
    first.close()
    second.close()
    return found


PEERS = (
    Effect("Proxy_Protocol", "v1", _whom, "127.0.0.1", "192.0.2.7"),
    Effect("Inbound_Throttle_Messages", '"1/3600"', _second_mail, "answered", "waits"),
)
