"""The console's view of throttles."""

from __future__ import annotations

from collections.abc import Callable

from gsmtp.control.command import COMMANDS
from gsmtp.control.console import Console
from tests.support.inprocess import Running

CONF = """
inbound_throttle_messages = "5/3600"
Pathway_Group "g" { Pathway "slow" { inbound_throttle_messages = "1/3600" } }
esmtp_listener { listen "127.0.0.1:0" { peer "127.0.3.0/24" { pathway = "slow" } } }
"""


def test_show_throttles(serve: Callable[[str], Running]) -> None:
    server = serve(CONF)
    command = COMMANDS.get("show throttles")
    assert command is not None
    console = Console(server.supervisor, "admin")

    def lines() -> list[str]:
        return list(command.run(console, ()).lines)

    assert lines() == []
    server.client().greet().code(b"MAIL FROM:<a@example.net>")
    clients = [server.client(source="127.0.3.1").greet() for _ in range(3)]
    for client in clients:
        client.send(b"MAIL FROM:<a@example.net>\r\n")
    waits = "Pathway_Group g Pathway slow: 1/3600, 0 left, 2 waiting"
    server.wait_for(lambda: lines()[-1] == waits)
    assert lines() == ["global: 5/3600, 4 left, 0 waiting", waits]
    assert command.run(console, ()).data == [
        {"scope": "global", "messages": 5, "seconds": 3600, "left": 4, "waiting": 0},
        {"scope": "Pathway_Group g Pathway slow", "messages": 1, "seconds": 3600, "left": 0, "waiting": 2},
    ]
