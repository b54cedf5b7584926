"""The ready-made modules are played by the fixture for policy authors as any hook is."""

from __future__ import annotations

from gsmtp.policy.modules.conntrol import Conntrol
from gsmtp.policy.modules.mail_loop import MailLoop
from gsmtp.testing import PolicyServer


def test_mail_loop() -> None:
    with PolicyServer(MailLoop(2, 554, frozenset(("192.0.2.9",)))) as server:
        client = server.connect().mail("a@example.net").rcpt("b@example.com")
        assert client.data("Received: 1\nReceived: 2\n\nx\n").code == 250
        client.mail("a@example.net").rcpt("b@example.com").data("Received: 1\nReceived: 2\nReceived: 3\n\nx\n")
        assert client.reply == "554 5.4.6 mail loop: too many Received header fields"
        assert client.conn["mail_loop_header_count"] == "3"
        client = server.connect("192.0.2.9").mail("a@example.net")
        assert (client.code, client.conn["mail_loop_ip"]) == (554, "match")


def test_conntrol() -> None:
    with PolicyServer(Conntrol(("wait", ""), 7.0, "")) as server:
        client = server.connect()
        assert client.held_s == 7.0
        assert client.reply.startswith("220-wait\n220 mx.test ESMTP gsmtp ")
        client.say("NONSENSE")
        client.mail("a@example.net")
        assert client.conn["conntrol_unrecognized_commands"] == "1"
