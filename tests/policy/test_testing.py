"""gsmtp.testing: sessions without sockets behave as those with them."""

from __future__ import annotations

import sys
from email.message import EmailMessage
from pathlib import Path

import pytest

from gsmtp.api import (
    AuthResult,
    ConfigError,
    Conn,
    Ctx,
    Discard,
    Disconnect,
    Hook,
    Message,
    Recipients,
    Reject,
    Settings,
    Tarpit,
    Verdict,
    deadline,
    in_thread,
    run_in_pool,
)
from gsmtp.testing import PolicyServer, play

pytest_plugins = ["gsmtp.testing.fixtures"]


class Sample(Hook):
    """Something of everything."""

    def connect(self, conn: Conn, ctx: Ctx) -> Verdict | None:
        return Reject(554, "5.7.1 not you") if conn.client_ip == "203.0.113.9" else Tarpit(2.5)

    def ehlo(self, conn: Conn, ctx: Ctx, line: str) -> Verdict | None:
        ctx.conn["sessions"] = conn.session_count()
        return Disconnect() if "bye" in line else None

    def rcptto(self, conn: Conn, ctx: Ctx, message: Message, line: str) -> Verdict | None:
        return Discard() if message.rcptto.startswith("void") else None

    def rcptto_list(self, conn: Conn, ctx: Ctx, recipients: Recipients) -> None:
        if "team@example.com" in recipients:
            recipients.replace("team@example.com", "x@example.com", "y@example.com")

    @in_thread
    def data(self, conn: Conn, ctx: Ctx, message: Message) -> None:
        message.headers.prepend("X-Size", str(len(message.raw())))

    def each_rcpt(self, conn: Conn, ctx: Ctx, message: Message) -> Verdict | None:
        return ctx.reject(550, "5.1.1 no x") if message.rcptto.startswith("x") else None


def test_a_session_in_a_row() -> None:
    with PolicyServer(Sample) as server:
        client = server.connect()
        assert client.banner.startswith("220 mx.test ESMTP")
        assert client.held_s == 2.5
        client.mail("a@example.net").rcpt("team@example.com", "void@example.com").data("Subject: x\n\n.dot\n")
        assert [reply[:3] for reply in client.replies] == ["220", "250", "250", "250", "250", "354", "250"]
        assert client.conn["sessions"] == "1"
        (message,) = server.accepted
        assert client.reply == f"250 OK {message.id}"
        assert message.recipients == ["y@example.com"]
        assert message.refused == {"x@example.com": "550 5.1.1 no x"}
        assert message.body == b".dot\r\n"
        assert message.sender == "a@example.net"
        assert int(message.headers.get("X-Size")) == len(message.raw) - len(b"X-Size: 000\r\n")
        assert message.mess["mailfrom_domain"] == "example.net"


def test_refusals_end_sessions() -> None:
    with PolicyServer(Sample()) as server:
        refused = server.connect("203.0.113.9")
        assert refused.replies == ["554 5.7.1 not you"]
        assert refused.is_closed
        assert server.connect().ehlo("bye").reply == "421 4.7.1 closing connection"
        assert [type(record).__name__ for record in server.records] == ["Rejection", "Rejection"]


def test_a_mail_object() -> None:
    mail = EmailMessage()
    mail["Subject"] = "Grüße"
    mail.set_content("Hallo\n")
    with PolicyServer(Sample) as server:
        assert server.connect().mail("a@example.net").rcpt("b@example.com").data(mail).code == 250
        assert server.accepted[0].headers.get("Subject") == "Grüße"


def test_config_and_lifecycle() -> None:
    events = []

    class Counted(Hook):
        def init(self, config: Settings) -> bool:
            events.append((config.integer("most"), config.words("w"), config.boolean("b"), config.dictionary("d")))
            return True

        def deinit(self) -> bool:
            events.append("deinit")  # type: ignore[arg-type]
            return True

        def dealloc(self, conn: Conn, ctx: Ctx) -> None:
            events.append("dealloc")  # type: ignore[arg-type]

    with PolicyServer(Counted, config={"Most": 3, "w": ["a", "b"], "b": True, "d": {"k": "v"}}) as server:
        server.connect().quit()
    assert events == [(3, ("a", "b"), True, {"k": "v"}), "dealloc", "deinit"]


def test_trouble_as_in_a_server(caplog: pytest.LogCaptureFixture) -> None:
    class Bad(Hook):
        def mailfrom(self, conn: Conn, ctx: Ctx, line: str) -> None:
            raise LookupError("x")

        @deadline(0.05)
        def rcptto(self, conn: Conn, ctx: Ctx, message: Message, line: str) -> None:
            import gevent

            gevent.sleep(30)

    with PolicyServer(Bad) as server:
        assert server.connect().mail("a@b.example").reply == "451 4.3.0 transaction failed"
    with PolicyServer(Bad, config={"fail_open": True}) as server:
        assert server.connect().mail("a@b.example").rcpt("c@d.example").code == 250
    assert caplog.text.count("LookupError: x\n") >= 2
    assert "DeadlinePassed" in caplog.text


@pytest.mark.parametrize(
    ("dialogue", "message"),
    [
        ("S: 220\nC: NOOP\nS: 550\n", "line 3 of the dialogue: expected '550', heard '250 OK'"),
        ("S: 220\nC: NOOP\nS: 250 Ok\n", "expected '250 Ok', heard '250 OK'"),
        ("S: 220\nC: NOOP\nC: NOOP\nS: 250\n", "expected 'nothing more', heard '250"),
        ("S: 220\nS: 250\n", "expected '250', heard 'nothing'"),
        ("C: NOOP\nS: 220\n", "expected 'nothing more', heard '250"),
    ],
)
def test_a_dialogue_tells_what_differs(dialogue: str, message: str) -> None:
    with pytest.raises(AssertionError) as caught:
        play(Hook(), dialogue)
    assert message in str(caught.value)


def test_a_dialogue_line_by_line() -> None:
    kept = play(
        Hook(),
        """
        # lines of one reply, each on its own
        S: 220 mx.test...
        C: EHLO x
        S: 250-mx.test says EHLO to 192.0.2.1
        S: 250
        C: MAIL FROM:<a@b.example>
        S: 250 MAIL FROM accepted
        C: RCPT TO:<c@d.example>
        S: 250
        C: DATA
        S: 354
        C: Subject: x
        C:
        C: ..dot
        C: .
        S: 250 OK …
        """,
    )
    assert kept[0].body == b".dot\r\n"


def test_what_can_not_be_loaded(tmp_path: Path) -> None:
    (tmp_path / "empty.py").write_text("")
    with pytest.raises(ConfigError, match="has no class that is a"):
        PolicyServer("empty.py", folder=str(tmp_path))
    with pytest.raises(ConfigError, match="unknown option 'Nope'"):
        PolicyServer(conf="Nope = 1")


def test_the_fixture_and_a_module(policy_server: object, tmp_path: Path) -> None:
    assert callable(policy_server)
    server = policy_server(sys.modules[__name__])
    assert [type(hook).__name__ for hook in server.hooks] == ["Sample"]
    assert run_in_pool("CPU", len, "abc") == 3
    assert AuthResult("PLAIN", "joe", "pass").user == "joe"
