"""The client of the load tests: exact bytes on the wire, what goes out in one piece, and what it makes of replies."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from loadtest.smtp_client import Delivery, Disconnected, Refused, Reply, SmtpClient, Tls, confirmed_id, stuffed

WAIT_S = 10.0
Turn = tuple[bytes, bytes]
"""What the server waits for (all of it, before it answers), and what it answers."""


class Script:
    """A server that expects exact bytes, one turn after the other, from one client."""

    def __init__(self, banner: bytes, turns: list[Turn]) -> None:
        self.banner, self.turns = banner, turns
        self.problem = ""
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.settimeout(WAIT_S)
        self.port = int(self._listening.getsockname()[1])
        self.thread = threading.Thread(target=self._serve, daemon=True)

    def _serve(self) -> None:
        with self._listening, self._listening.accept()[0] as client:
            client.settimeout(WAIT_S)
            client.sendall(self.banner)
            for expected, answer in self.turns:
                came = b""
                while len(came) < len(expected):
                    piece = client.recv(len(expected) - len(came))
                    if not piece:
                        break
                    came += piece
                if came != expected:
                    self.problem = f"expected {expected!r}, got {came!r}"
                    return
                client.sendall(answer)


@contextmanager
def scripted(banner: bytes, *turns: Turn) -> Iterator[Script]:
    """A running script, which must have been kept to the end."""
    script = Script(banner, list(turns))
    script.thread.start()
    yield script
    script.thread.join(WAIT_S)
    assert not script.thread.is_alive()
    assert script.problem == ""


BANNER = b"220 mx.example.com ESMTP\r\n"
EHLO = (b"EHLO load.example\r\n", b"250-mx.example.com\r\n250-PIPELINING\r\n250 SIZE 1000\r\n")
PLAIN_EHLO = (b"EHLO load.example\r\n", b"250 mx.example.com\r\n")
QUIT = (b"QUIT\r\n", b"221 2.3.0 bye\r\n")
TEXT = b"Subject: s\r\n\r\n.dot\r\n"
WIRE = b"Subject: s\r\n\r\n..dot\r\n.\r\n"


def opened(port: int, steps: list[str] | None = None) -> SmtpClient:
    client = SmtpClient("127.0.0.1", port, None if steps is None else (lambda *words: steps.append(words[0])))
    client.timeout_s = WAIT_S
    client.connect()
    client.ehlo()
    return client


def test_an_envelope_is_one_piece_and_each_step_is_told_once() -> None:
    envelope = b"MAIL FROM:<a@b.example> BODY=8BITMIME\r\nRCPT TO:<c@d.example>\r\nRCPT TO:<e@f.example>\r\nDATA\r\n"
    steps: list[str] = []
    with scripted(
        BANNER,
        EHLO,
        (envelope, b"250 2.1.0 ok\r\n250 2.1.5 ok\r\n250 2.1.5 ok\r\n354 go\r\n"),
        (WIRE, b"250 2.0.0 OK 00/01-00001-00000001\r\n"),
        QUIT,
    ) as script:
        client = opened(script.port, steps)
        assert client.extensions == {"PIPELINING": "", "SIZE": "1000"}
        delivery = client.deliver(
            "a@b.example", ["c@d.example", "e@f.example"], stuffed(TEXT), parameters="BODY=8BITMIME"
        )
        assert (delivery.message_id, delivery.accepted, delivery.trouble) == ("00/01-00001-00000001", 2, None)
        client.quit()
    assert steps == ["connect", "EHLO", "MAIL", "RCPT", "RCPT", "DATA", "body", "QUIT"]


def test_without_pipelining_each_command_waits_for_its_reply() -> None:
    with scripted(
        BANNER,
        PLAIN_EHLO,
        (b"MAIL FROM:<>\r\n", b"250 ok\r\n"),
        (b"RCPT TO:<c@d.example>\r\n", b"250 ok\r\n"),
        (b"DATA\r\n", b"354 go\r\n"),
        (WIRE, b"250 OK 00/01-00001-00000002\r\n"),
    ) as script:
        delivery = opened(script.port).deliver("", ["c@d.example"], stuffed(TEXT))
    assert delivery.message_id == "00/01-00001-00000002"


def test_a_354_with_no_recipient_left_is_answered_by_a_lone_dot() -> None:
    began: list[int] = []
    with scripted(
        BANNER,
        EHLO,
        (b"MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n", b"250 ok\r\n550 5.7.1 no\r\n354 go\r\n"),
        (b".\r\n", b"554 5.5.1 no valid recipients\r\n"),
    ) as script:
        delivery = opened(script.port).deliver("a@b.example", ["c@d.example"], stuffed(TEXT), before_end=began.append)
    assert (delivery.accepted, delivery.message_id, began) == (0, "", [])
    assert delivery.trouble == Reply(550, ("5.7.1 no",))


def test_a_refused_data_ends_the_transaction() -> None:
    with scripted(
        BANNER,
        EHLO,
        (b"MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n", b"451 no\r\n503 no\r\n503 no\r\n"),
    ) as script:
        delivery = opened(script.port).deliver("a@b.example", ["c@d.example"], stuffed(TEXT))
    assert delivery == Delivery(Reply(451, ("no",)), [Reply(503, ("no",))], Reply(503, ("no",)), None)


def test_a_reply_that_is_cut_off_is_told_and_closes() -> None:
    failed: list[tuple[str, str]] = []
    with scripted(
        BANNER,
        EHLO,
        (b"MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\n", b"250 ok\r\n250 ok\r\n354 go\r\n"),
        (WIRE, b"250 2.0.0 OK 00/01-"),
    ) as script:
        client = SmtpClient("127.0.0.1", script.port, lambda *words: failed.append((words[0], str(words[3] or ""))))
        client.connect()
        client.ehlo()
        with pytest.raises(Disconnected, match="closed the connection"):
            client.deliver("a@b.example", ["c@d.example"], stuffed(TEXT))
    assert failed[-1] == ("body", "the server closed the connection")


def test_auth_plain_goes_in_one_line_and_a_refusal_is_raised() -> None:
    turn = (b"AUTH PLAIN AGFsaWNlAHNlY3JldA==\r\n", b"535 5.7.8 no\r\n")
    with scripted(BANNER, EHLO, turn) as script, pytest.raises(Refused, match=r"535 5\.7\.8 no"):
        opened(script.port).auth_plain("alice", "secret")


def test_a_refused_starttls_is_raised() -> None:
    turn = (b"STARTTLS\r\n", b"454 4.7.0 not now\r\n")
    with scripted(BANNER, EHLO, turn) as script, pytest.raises(Refused, match="454"):
        opened(script.port).starttls(Tls("starttls"))


def test_a_greeting_that_is_no_smtp_is_named() -> None:
    complaint = r"no SMTP reply: 'HTTP/1\.0 400 Bad Request'"
    with scripted(b"HTTP/1.0 400 Bad Request\r\n") as script, pytest.raises(Disconnected, match=complaint):
        SmtpClient("127.0.0.1", script.port).connect()


@pytest.mark.parametrize(
    ("text", "wire"),
    [(b"a\r\n", b"a\r\n.\r\n"), (b"a", b"a\r\n.\r\n"), (b".a\r\n..\r\n", b"..a\r\n...\r\n.\r\n")],
)
def test_dots_at_the_start_of_lines_are_doubled(text: bytes, wire: bytes) -> None:
    assert stuffed(text) == wire


def test_only_a_250_confirms() -> None:
    assert confirmed_id(Reply(250, ("first", "2.0.0 OK 00/01-00001-0000000A"))) == "00/01-00001-0000000A"
    assert confirmed_id(Reply(451, ("4.3.0 transaction failed",))) == ""
