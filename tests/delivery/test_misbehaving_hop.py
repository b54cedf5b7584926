"""A next hop that misbehaves in every way: nothing is lost, the spool tells what happened, connections stay few.

What is looked at is what `queue show` shows: state, reply and history of the recipient in the spool.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gsmtp.core.stages import Stage
from gsmtp.spool.base import State
from tests.delivery.kit import Settings, configuration
from tests.delivery.test_queue import house, left, wait
from tests.support.certificates import Authority
from tests.support.sink import CUT, GARBAGE, SILENT, Answer, Sink

CLOSED = "451 4.4.2 [internal] connection closed by remote host"
TIMED_OUT = "450 4.4.1 [internal] Connection Timed Out"
NO_REPLY = "451 4.5.0 [internal] not an SMTP reply: "
NO_HOSTS = "451 4.4.1 [internal] No valid hosts (unable to make any connections)"
BDAT = ("PIPELINING", "CHUNKING")
QUICK: Settings = {
    "Retry_Interval": 60,
    "Connect_Timeout": 1,
    "EHLO_Timeout": 1,
    "MailFrom_Timeout": 1,
    "RcptTo_Timeout": 1,
    "Body_Timeout": 1,
}
STAGES = {
    "BANNER": Stage.READING_BANNER,
    "EHLO": Stage.DURING_EHLO,
    "MAIL": Stage.DURING_MAIL,
    "RCPT": Stage.DURING_RCPT,
    "DATA": Stage.DURING_DATA,
    "BODY": Stage.READING_CONFIRMATION,
}

ENDLESS = b"450-more\r\n" * 2000
"""A reply that doesn't end."""
LONG = b"450 " + b"x" * 100_000
"""A line that doesn't."""


def waits_then_arrives(sink: Sink, reply: str, stage: Stage, settings: Settings | None = None) -> None:
    """The message waits with the right reply after its first try, and is there once after the second."""
    with house(configuration(everywhere={"Gateway": sink.gateway, **QUICK, **(settings or {})})) as home:
        home.accept("u@a.example")
        wait(lambda: home.delivery.stats().deferrals == 1, "the first try")
        (recipient,) = left(home.spool)
        assert recipient.state == State.QUEUED
        assert recipient.attempts == 1
        assert recipient.reply.startswith(reply), recipient.reply
        assert home.told.deliveries[0].stage == stage
        assert sink.messages == []
        assert sink.connections <= 2
        home.later(60)
        wait(lambda: home.delivery.stats().delivered == 1, "the second try")
        assert len(sink.messages) == 1
        assert left(home.spool) == []
        assert sink.connections <= 4


@pytest.mark.parametrize("verb", STAGES)
@pytest.mark.parametrize("extensions", [(), ("PIPELINING",), BDAT])
@pytest.mark.parametrize("what", ["cut", "garbage", "endless", "long", "4xx", "421"])
def test_what_goes_wrong_at_a_verb(verb: str, extensions: tuple[str, ...], what: str) -> None:
    if extensions == BDAT and verb == "DATA":
        verb = "BODY"
    answers: dict[str, tuple[Answer, str]] = {
        "cut": (CUT, CLOSED),
        "garbage": (GARBAGE, NO_REPLY),
        "endless": (ENDLESS, NO_REPLY),
        "long": (LONG, NO_REPLY),
        "4xx": (b"451 4.7.1 later\r\n", "451 4.7.1 later"),
        "421": (b"421 4.3.2 going down\r\n", "421 4.3.2 going down"),
    }
    answer, reply = answers[what]
    if verb in ("BANNER", "EHLO"):
        reply = NO_HOSTS
    with Sink(script={verb: [answer]}, extensions=extensions) as sink:
        waits_then_arrives(sink, reply, STAGES[verb])


@pytest.mark.parametrize("verb", STAGES)
def test_a_hop_that_says_nothing_at_a_verb(verb: str) -> None:
    with Sink(script={verb: [SILENT]}, extensions=()) as sink:
        waits_then_arrives(sink, TIMED_OUT, STAGES[verb])


def test_a_hop_that_dribbles() -> None:
    with Sink(script={"MAIL": [b"2"]}, extensions=()) as sink:
        waits_then_arrives(sink, TIMED_OUT, Stage.DURING_MAIL)


@pytest.mark.parametrize(
    ("answer", "reply"),
    [
        (GARBAGE, "450 4.7.5 [internal] TLS failed"),
        (CUT, "450 4.7.5 [internal] TLS failed"),
        (SILENT, "450 4.7.5 [internal] TLS failed"),
    ],
)
def test_tls_that_fails(answer: Answer, reply: str, tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(Authority("ours").issue("localhost").write(tmp_path / "localhost.pem"))
    with Sink(script={"HANDSHAKE": [answer]}, tls=context) as sink:
        waits_then_arrives(sink, reply, Stage.TLS_HANDSHAKE, {"TLS": "required"})


@contextmanager
def half_reader(limit: int, last_words: bytes) -> Iterator[tuple[int, list[int]]]:
    """A hop that takes part of each body, says something or nothing, and hangs up; its port, and how much it took."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
    taken: list[int] = []

    def serve() -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            with sock:
                sock.sendall(b"220 hi\r\n")
                try:
                    for answer in (b"250 hop\r\n", b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n"):
                        assert sock.recv(4096)
                        sock.sendall(answer)
                    size = 0
                    while size < limit:
                        size += len(sock.recv(16_384))
                    taken.append(size)
                    if last_words:
                        sock.sendall(last_words)
                        sock.shutdown(socket.SHUT_WR)
                        while sock.recv(65_536):
                            pass
                except OSError:
                    pass

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listener.getsockname()[1], taken
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


@pytest.mark.parametrize(
    ("last_words", "state", "reply"),
    [
        (b"", State.QUEUED, CLOSED),
        (b"452 4.3.1 disk full\r\n", State.QUEUED, "452 4.3.1 disk full"),
        (b"552 5.3.4 too much\r\n", State.DEAD, "552 5.3.4 too much"),
    ],
)
def test_a_body_that_is_read_by_half(last_words: bytes, state: str, reply: str) -> None:
    with half_reader(100_000, last_words) as (port, taken):
        conf = configuration(everywhere={"Gateway": f"127.0.0.1:{port}", **QUICK, "Body_Timeout": 20})
        with house(conf) as home:
            home.accept("u@a.example", body=b"x" * (8 << 20))
            wait(lambda: home.delivery.stats().deferrals + home.delivery.stats().failed == 1, "the try")
            (recipient,) = left(home.spool)
            assert recipient.state == state
            assert recipient.reply.startswith(reply)
            assert home.told.deliveries[0].stage in (Stage.SENDING_BODY, Stage.READING_CONFIRMATION)
            assert len(taken) == 1


def test_a_hop_that_refuses_for_good_keeps_the_message_from_nobody() -> None:
    settings: Settings = {"Failure_Action": "keep", **QUICK}
    with (
        Sink(script={"BODY": [b"554 5.7.1 spam\r\n"]}) as sink,
        house(configuration(everywhere={"Gateway": sink.gateway, **settings})) as home,
    ):
        home.accept("u@a.example")
        wait(lambda: home.delivery.stats().failed == 1, "the refusal")
        (recipient,) = left(home.spool)
        assert (recipient.state, recipient.reply) == (State.DEAD, "554 5.7.1 spam")


@pytest.mark.parametrize("verb", ["BANNER", "MAIL", "BODY"])
def test_a_crowd_before_a_bad_hop_makes_few_connections(verb: str) -> None:
    with Sink(script={verb: [CUT] * 500}, extensions=()) as sink:
        conf = configuration(everywhere={"Gateway": sink.gateway, **QUICK, "Max_Outbound_Connections": 3})
        with house(conf) as home:
            for number in range(40):
                home.accept(f"u{number}@a.example")
            wait(lambda: home.delivery.stats().deferrals == 40, "40 tries")
            assert {recipient.state for recipient in left(home.spool)} == {State.QUEUED}
            assert len(left(home.spool)) == 40
            assert sink.connections <= 40
            assert len(home.delivery._tools.connections) == 0
