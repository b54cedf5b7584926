"""Clients that are gone while the server waits for something else: nothing is kept for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.inprocess import Running, running

MAIL = b"MAIL FROM:<a@example.net>"
THROTTLED = """
inbound_throttle_messages = "1/3600"
ESMTP_Listener { Listen "127.0.0.1:0" { } }
"""


def waiting(server: Running) -> int:
    return sum(state.waiting for state in server.supervisor.service.throttles.states())


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_client_that_leaves_while_its_mail_is_throttled_keeps_no_slot(tmp_path: Path, how: str) -> None:
    """With one message an hour those who have left would hold sessions and descriptors for as long."""
    with running(tmp_path, THROTTLED) as server:
        patient = server.client().greet()
        assert patient.code(MAIL) == 250
        second = server.client().greet()
        second.send(MAIL + b"\r\n")
        server.wait_for(lambda: waiting(server) == 1)
        for _ in range(5):
            client = server.client().greet()
            client.send(MAIL + b"\r\n")
            getattr(client, how)()
        server.wait_for(lambda: server.sessions == 2, "sessions of clients that are gone stay")
        server.wait_for(lambda: waiting(server) == 1, "they wait for their turn")
        assert patient.code(b"NOOP") == 250


def test_a_client_that_has_said_all_at_once_still_gets_its_turn(tmp_path: Path) -> None:
    """What came before the end of input is a whole transaction: it is taken when its time has come."""
    with running(tmp_path, THROTTLED.replace("1/3600", "1/1")) as server:
        first = server.client().greet()
        assert first.code(MAIL) == 250
        client = server.client().greet()
        client.send(MAIL + b"\r\nRCPT TO:<b@example.com>\r\nDATA\r\nSubject: x\r\n\r\nhello\r\n.\r\nQUIT\r\n")
        client.socket.shutdown(1)
        assert [client.reply()[:3] for _ in range(5)] == [b"250", b"250", b"354", b"250", b"221"]


SLOW_LOGIN = """
ESMTP_Listener {{
  Auth_Failure_Delay = {delay}
  SMTP_Extensions = ( "AUTH PLAIN" )
  AuthPlainParameters = [ uri = "file://{users}" ]
  Listen "127.0.0.1:0" {{ }}
}}
"""


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_client_that_leaves_while_its_login_is_held_back_is_let_go_then(tmp_path: Path, how: str) -> None:
    users = tmp_path / "users"
    users.write_text("tim:tanstaaftanstaaf\n")
    with running(tmp_path, SLOW_LOGIN.format(users=users, delay=1)) as server:
        for _ in range(2):
            client = server.client().greet()
            client.send(b"AUTH PLAIN AHRpbQB4\r\nMAIL FROM:<a@example.net>\r\n")
            getattr(client, how)()
        server.wait_for(lambda: not server.sessions, "sessions of clients that are gone stay")
        assert server.supervisor.service.authenticator.waiting == 0
        assert server.supervisor.service.counts.service == 0
