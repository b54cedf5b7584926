"""SMTP and LMTP over real sockets against a scripted next hop: what it gets, byte for byte, and what comes back."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Sequence
from pathlib import Path

import gevent
import pytest

from gsmtp.config.scopes import Configuration
from gsmtp.core.clock import FixedClock
from gsmtp.core.envelope import Envelope
from gsmtp.core.errors import DeliveryError
from gsmtp.delivery.router import Router
from gsmtp.delivery.transport import Job, NoHopReachable, Outcome, Tools
from gsmtp.delivery.transports.lmtp import LmtpTransport
from gsmtp.delivery.transports.smtp import SmtpTransport
from gsmtp.spool.base import StoredBody
from tests.delivery.kit import Inline, Settings, configuration, envelope, stored, tools
from tests.support.ports import free_port
from tests.support.sink import CUT, GARBAGE, SILENT, Answer, Received, Sink

BODY = b"Subject: hi\r\n\r\n.one dot\r\n..two\r\n.\r\n\xff\x80 8-bit\r\nno end"


class Sender:
    """A transport with what it needs, kept over several deliveries."""

    def __init__(self, settings: Settings, kit: Tools | None = None) -> None:
        self.configuration: Configuration = configuration({"example.org": settings})
        self.tools = kit or tools()
        self.route = Router(self.configuration).route("example.org")
        kind = LmtpTransport if self.route.transport == "lmtp" else SmtpTransport
        self.transport = kind(self.tools)

    def send(self, message: Envelope, body: bytes | StoredBody = BODY) -> list[Outcome]:
        """Hand a message on to all its recipients."""
        stored_body = stored(body) if isinstance(body, bytes) else body
        return self.transport.deliver(Job(message, stored_body, message.recipients, self.route.view, self.route.hops))


def codes(outcomes: Sequence[Outcome]) -> list[int]:
    return [outcome.code for outcome in outcomes]


def test_the_whole_dialogue(tmp_path: Path) -> None:
    with Sink() as sink:
        sender = Sender({"Gateway": sink.gateway, "EHLO_Hostname": "me.example"})
        outcomes = sender.send(envelope("a@example.org", "b@example.org", body="8BITMIME"))
        assert outcomes == [Outcome(250, "250 2.0.0 taken", sink.gateway)] * 2
        assert sink.messages == [
            Received(
                mail=b"MAIL FROM:<from@example.net> SIZE=51 BODY=8BITMIME",
                rcpts=[b"RCPT TO:<a@example.org>", b"RCPT TO:<b@example.org>"],
                wire=b"Subject: hi\r\n\r\n..one dot\r\n...two\r\n..\r\n\xff\x80 8-bit\r\nno end\r\n.\r\n",
                body=BODY + b"\r\n",
            )
        ]
        assert sink.lines[0][0] == b"EHLO me.example"


@pytest.mark.parametrize("mode", ["ESMTP", "SMTP", "LMTP"])
@pytest.mark.parametrize("body", [b"", b".", b"\r\n", b"a\r\n.\r\nb\r\n", b"\x00\xff" * 1000, b"lone\ncr\rend\r"])
def test_bodies_arrive_as_they_are_but_for_a_last_line_end(mode: str, body: bytes) -> None:
    with Sink(lmtp=mode == "LMTP") as sink:
        assert codes(
            Sender({"Gateway": sink.gateway, "Delivery_Method": mode}).send(envelope("a@example.org"), body)
        ) == [250]
        [received] = sink.messages
        assert received.body == (body if not body or body.endswith(b"\r\n") else body + b"\r\n")
        assert sink.lines[0][0].startswith({"ESMTP": b"EHLO ", "SMTP": b"HELO ", "LMTP": b"LHLO "}[mode])


def test_an_8bit_body_goes_as_it_is_to_a_hop_without_8bitmime() -> None:
    with Sink(extensions=()) as sink:
        Sender({"Gateway": sink.gateway}).send(envelope("a@example.org", body="8BITMIME"), b"\xe4\r\n")
        assert sink.messages[0].mail == b"MAIL FROM:<from@example.net>"
        assert sink.messages[0].body == b"\xe4\r\n"


@pytest.mark.parametrize("lmtp", [False, True])
def test_a_large_body_is_read_piece_by_piece_and_arrives_whole(tmp_path: Path, lmtp: bool) -> None:
    lines = os.urandom(5 << 20).replace(b"\n", b"\n.").replace(b"\x00", b"\r\n.")
    file = tmp_path / "body"
    file.write_bytes(lines)
    native = Inline()
    base = tools()
    kit = Tools(native, base.connect, base.connections, base.health, base.hostname, base.resolver)
    with Sink(lmtp=lmtp) as sink:
        sender = Sender({"Gateway": sink.gateway, "Delivery_Method": "LMTP" if lmtp else "ESMTP"}, kit)
        assert codes(sender.send(envelope("a@example.org"), StoredBody(len(lines), None, str(file)))) == [250]
        assert sink.messages[0].body == (lines if lines.endswith(b"\r\n") else lines + b"\r\n")
        assert native.jobs == -(-len(lines) // 131_072) + 1


def test_a_binary_message_goes_by_bdat() -> None:
    with Sink(extensions=("CHUNKING", "BINARYMIME", "PIPELINING")) as sink:
        body = b"\x00\r\n.\r\n\n\r\xff"
        assert codes(Sender({"Gateway": sink.gateway}).send(envelope("a@example.org", body="BINARYMIME"), body)) == [
            250
        ]
        assert sink.messages[0].wire == body
        assert b"BDAT 9 LAST" in sink.lines[0]


def test_a_body_file_that_vanished_sends_no_final_dot(tmp_path: Path) -> None:
    with Sink() as sink:
        sender = Sender({"Gateway": sink.gateway})
        with pytest.raises(DeliveryError, match=r"^451 4\.3\.0 \[internal\] the message can't be read") as caught:
            sender.send(envelope("a@example.org"), StoredBody(10, None, str(tmp_path / "gone")))
        assert caught.value.temporary
        assert sink.messages == []


def test_lmtp_recipients_fare_differently() -> None:
    rcpt: dict[bytes, Answer] = {b"b@example.org": b"550 5.1.1 no b\r\n", b"c@example.org": b"450 4.2.0 c later\r\n"}
    final: dict[bytes, Answer] = {
        b"d@example.org": b"452 4.2.2 d is full\r\n",
        b"e@example.org": b"554 5.7.1 not e\r\n",
    }
    with Sink(lmtp=True, rcpt=rcpt, final=final) as sink:
        message = envelope(*(f"{name}@example.org" for name in "abcde"))
        outcomes = Sender({"Gateway": sink.gateway, "Delivery_Method": "LMTP"}).send(message)
        assert [outcome.reply for outcome in outcomes] == [
            "250 2.1.5 a@example.org stored",
            "550 5.1.1 no b",
            "450 4.2.0 c later",
            "452 4.2.2 d is full",
            "554 5.7.1 not e",
        ]


def test_one_connection_serves_message_after_message() -> None:
    with Sink() as sink:
        sender = Sender({"Gateway": sink.gateway})
        for number in range(5):
            assert codes(sender.send(envelope("a@example.org"), b"%d\r\n" % number)) == [250]
        assert sink.connections == 1
        assert [message.body for message in sink.messages] == [b"%d\r\n" % number for number in range(5)]
        assert b"RSET" not in sink.lines[0]


def test_a_transaction_left_open_is_reset_before_the_next() -> None:
    with Sink(extensions=(), rcpt={b"no@example.org": b"550 5.1.1 no\r\n"}) as sink:
        sender = Sender({"Gateway": sink.gateway})
        assert codes(sender.send(envelope("no@example.org"))) == [550]
        assert codes(sender.send(envelope("a@example.org"))) == [250]
        assert [line.split(b":")[0] for line in sink.lines[0][1:]] == [
            b"MAIL FROM",
            b"RCPT TO",
            b"RSET",
            b"MAIL FROM",
            b"RCPT TO",
            b"DATA",
        ]


def test_connections_are_changed_after_max_deliveries() -> None:
    with Sink() as sink:
        sender = Sender({"Gateway": sink.gateway, "Max_Deliveries_Per_Connection": 2})
        for _ in range(5):
            sender.send(envelope("a@example.org"))
        assert sink.connections == 3
        assert [lines.count(b"DATA") for lines in sink.lines] == [2, 2, 1]


def test_connections_are_not_kept_beyond_the_idle_timeout() -> None:
    clock = FixedClock()
    with Sink() as sink:
        sender = Sender({"Gateway": sink.gateway, "Idle_Timeout": 5}, tools(mono=clock.mono))
        sender.send(envelope("a@example.org"))
        clock.advance(4.9)
        sender.send(envelope("a@example.org"))
        assert sink.connections == 1
        clock.advance(5.1)
        sender.tools.connections.close_idle()
        assert len(sender.tools.connections) == 0
        sender.send(envelope("a@example.org"))
        assert sink.connections == 2
        assert sink.lines[0][-1] == b"QUIT"


def test_idle_timeout_0_keeps_nothing() -> None:
    with Sink() as sink:
        sender = Sender({"Gateway": sink.gateway, "Idle_Timeout": 0})
        sender.send(envelope("a@example.org"))
        sender.send(envelope("a@example.org"))
        assert sink.connections == 2


@pytest.mark.parametrize("answer", [CUT, b"421 4.4.2 you were idle\r\n"])
def test_a_kept_connection_that_is_dead_is_replaced_at_once(answer: Answer) -> None:
    with Sink(script={"MAIL": [b"250 ok\r\n", answer]}) as sink:
        sender = Sender({"Gateway": sink.gateway})
        assert codes(sender.send(envelope("a@example.org"))) == [250]
        assert codes(sender.send(envelope("a@example.org"))) == [250]
        assert sink.connections == 2
        assert len(sink.messages) == 2


@pytest.mark.parametrize(
    ("script", "reply"),
    [
        ({"MAIL": [CUT]}, "451 4.4.2 [internal] connection closed by remote host"),
        ({"RCPT": [CUT]}, "451 4.4.2 [internal] connection closed by remote host"),
        ({"DATA": [CUT]}, "451 4.4.2 [internal] connection closed by remote host"),
        ({"BODY": [CUT]}, "451 4.4.2 [internal] connection closed by remote host"),
        ({"MAIL": [b"451 4.7.1 grey\r\n"]}, "451 4.7.1 grey"),
        ({"MAIL": [b"550 5.7.1 not you\r\n"]}, "550 5.7.1 not you"),
        ({"RCPT": [b"450 4.2.1 later\r\n"]}, "450 4.2.1 later"),
        ({"DATA": [b"452 4.3.1 full\r\n"]}, "452 4.3.1 full"),
        ({"BODY": [b"554 5.6.0 no\r\n"]}, "554 5.6.0 no"),
        ({"RCPT": [b"421 4.3.2 going down\r\n"]}, "421 4.3.2 going down"),
    ],
)
@pytest.mark.parametrize("extensions", [(), ("PIPELINING",)])
def test_what_a_hop_answers_is_the_outcome(
    script: dict[str, list[Answer]], reply: str, extensions: tuple[str, ...]
) -> None:
    with Sink(script=script, extensions=extensions) as sink:
        sender = Sender({"Gateway": sink.gateway})
        [outcome] = sender.send(envelope("a@example.org"))
        assert (outcome.reply, outcome.hop) == (reply, sink.gateway)
        assert sink.messages == []
        assert codes(sender.send(envelope("a@example.org"))) == [250]


def test_garbage_is_a_temporary_failure() -> None:
    with Sink(script={"MAIL": [GARBAGE]}) as sink:
        [outcome] = Sender({"Gateway": sink.gateway}).send(envelope("a@example.org"))
        assert outcome.code == 451
        assert outcome.reply.startswith("451 4.5.0 [internal] not an SMTP reply: ")


@pytest.mark.parametrize("option", ["MailFrom", "RcptTo", "Body"])
def test_a_silent_hop_is_left_when_the_time_of_its_phase_is_over(option: str) -> None:
    verb = {"MailFrom": "MAIL", "RcptTo": "RCPT", "Body": "BODY"}[option]
    with Sink(script={verb: [SILENT]}, extensions=()) as sink:
        [outcome] = Sender({"Gateway": sink.gateway, f"{option}_Timeout": 1}).send(envelope("a@example.org"))
        assert outcome.code == 450
        assert outcome.reply.startswith("450 4.4.1 [internal] Connection Timed Out (waiting for the reply to ")


@pytest.mark.parametrize("verb", ["BANNER", "EHLO"])
def test_a_hop_that_never_greets_is_unreachable(verb: str) -> None:
    with Sink(script={verb: [SILENT]}) as sink:
        sender = Sender({"Gateway": sink.gateway, "Connect_Timeout": 1, "EHLO_Timeout": 1})
        with pytest.raises(NoHopReachable, match=r"^450 4\.4\.1 \[internal\] Connection Timed Out: 127\.0\.0\.1:"):
            sender.send(envelope("a@example.org"))


def test_dribbled_bytes_win_no_time() -> None:
    with Sink(script={"MAIL": [b"250-" + b"x" * 10, SILENT]}, extensions=()) as sink:
        sender = Sender({"Gateway": sink.gateway, "MailFrom_Timeout": 1})
        [outcome] = sender.send(envelope("a@example.org"))
        assert outcome.reply == "450 4.4.1 [internal] Connection Timed Out (waiting for the reply to mail)"


@pytest.mark.parametrize("banner", [b"554 5.3.2 no mail here\r\n", b"421 4.3.2 busy\r\n", GARBAGE, CUT])
def test_a_hop_that_greets_badly_makes_way_for_the_next(banner: Answer) -> None:
    with Sink(script={"BANNER": [banner]}) as first, Sink() as second:
        sender = Sender({"Routes": (first.gateway, second.gateway)})
        [outcome] = sender.send(envelope("a@example.org"))
        assert (outcome.code, outcome.hop) == (250, second.gateway)
        assert first.messages == []


def test_hops_are_tried_in_order_and_a_dead_one_is_not_asked_again_at_once() -> None:
    clock = FixedClock()
    dead = f"127.0.0.1:{free_port()}"
    tried: list[int] = []

    def connect(host: str, port: int, timeout_s: float, /, source: str = "") -> socket.socket:
        tried.append(port)
        return socket.create_connection((host, port), timeout_s)

    with Sink() as alive:
        sender = Sender({"Routes": (dead, alive.gateway), "Idle_Timeout": 0}, tools(connect, clock.mono))
        dead_port = int(dead.rpartition(":")[2])
        assert codes(sender.send(envelope("a@example.org"))) == [250]
        assert codes(sender.send(envelope("a@example.org"))) == [250]
        assert tried == [dead_port, alive.port, alive.port]
        clock.advance(1.1)
        sender.send(envelope("a@example.org"))
        assert tried[3:] == [dead_port, alive.port]
        clock.advance(1.1)  # the second failure doubled the wait
        sender.send(envelope("a@example.org"))
        assert tried[5:] == [alive.port]


def test_nobody_there_is_a_temporary_failure_that_names_them() -> None:
    port = free_port()
    sender = Sender({"Gateway": f"127.0.0.1:{port}"})
    with pytest.raises(NoHopReachable) as caught:
        sender.send(envelope("a@example.org"))
    assert caught.value.temporary
    assert str(caught.value) == (
        f"451 4.4.1 [internal] No valid hosts (unable to make any connections): 127.0.0.1:{port} Connection refused"
    )


def test_the_down_time_of_a_hop_ends_with_one_success() -> None:
    clock = FixedClock()
    port = free_port()
    sender = Sender({"Gateway": f"127.0.0.1:{port}"}, tools(mono=clock.mono))
    with pytest.raises(NoHopReachable, match="Connection refused"):
        sender.send(envelope("a@example.org"))
    with pytest.raises(NoHopReachable, match="was not reached just now"):
        sender.send(envelope("a@example.org"))
    with Sink(port=port) as sink:
        clock.advance(1.1)
        assert codes(sender.send(envelope("a@example.org"))) == [250]
        assert sender.tools.health.down() == []
        assert sink.connections == 1


def test_host_failure_retry_bounds_how_long_a_hop_is_left_alone() -> None:
    clock = FixedClock()
    port = free_port()
    sender = Sender({"Gateway": f"127.0.0.1:{port}", "Host_Failure_Retry": 2}, tools(mono=clock.mono))
    for left_alone_s in (1, 2, 2, 2):
        with pytest.raises(NoHopReachable, match="Connection refused"):
            sender.send(envelope("a@example.org"))
        clock.advance(left_alone_s - 0.1)
        with pytest.raises(NoHopReachable, match="was not reached just now"):
            sender.send(envelope("a@example.org"))
        clock.advance(0.2)


def test_with_host_failure_retry_0_each_attempt_tries() -> None:
    sender = Sender({"Gateway": f"127.0.0.1:{free_port()}", "Host_Failure_Retry": 0}, tools(mono=FixedClock().mono))
    for _ in range(3):
        with pytest.raises(NoHopReachable, match="Connection refused"):
            sender.send(envelope("a@example.org"))


def test_a_message_that_is_tried_once_is_really_tried() -> None:
    port = free_port()
    sender = Sender({"Gateway": f"127.0.0.1:{port}", "Never_Retry": True})
    for _ in range(2):
        with pytest.raises(NoHopReachable, match="Connection refused"):
            sender.send(envelope("a@example.org"))


def test_an_unknown_host_name_has_its_own_text() -> None:
    sender = Sender({"Gateway": "gw.example"})
    with pytest.raises(NoHopReachable, match=r"^454 4\.4\.4 \[internal\] no MX or A for domain: MX of gw\.example: "):
        sender.send(envelope("a@example.org"))


def test_a_hop_that_refuses_the_body_early_is_heard(tmp_path: Path) -> None:
    """A server that refuses in the middle of a large body and hangs up: its 552 counts, not the broken pipe."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)

    def serve() -> None:
        sock, _ = listener.accept()
        with sock:
            sock.sendall(b"220 hi\r\n")
            for answer in (b"250 hop\r\n", b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n"):
                assert sock.recv(4096)
                sock.sendall(answer)
            sock.recv(4096)
            sock.sendall(b"552 5.3.4 too much\r\n")
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(65_536):
                pass

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    file = tmp_path / "body"
    file.write_bytes(b"x" * (2 << 20))
    try:
        port = listener.getsockname()[1]
        sender = Sender({"Gateway": f"127.0.0.1:{port}"})
        [outcome] = sender.send(envelope("a@example.org"), StoredBody(2 << 20, None, str(file)))
        assert outcome.reply == "552 5.3.4 too much"
        sender.tools.connections.close_all()
    finally:
        listener.close()
        gevent.get_hub().threadpool.apply(thread.join, (10.0,))  # gevent closes a socket in the loop's next turn
    assert not thread.is_alive(), "the connection isn't closed"
