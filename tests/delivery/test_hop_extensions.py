"""What is asked of next hops beside TLS, over real sockets: BDAT, XCLIENT, the source address, names, limits, marks."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from gsmtp.core.errors import DeliveryError, SpoolError
from gsmtp.core.stages import Stage
from gsmtp.delivery.tracing import OBSERVERS, Subject
from gsmtp.delivery.transport import Job, NoHopReachable
from gsmtp.spool.base import StoredBody
from tests.delivery.kit import configuration, envelope, stored, tools
from tests.delivery.test_queue import house, wait
from tests.delivery.test_smtp import BODY, Sender, codes
from tests.support.ports import free_port
from tests.support.sink import CUT, SILENT, Answer, Sink

BDAT = ("PIPELINING", "CHUNKING", "8BITMIME")


# --- BDAT -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("extensions", [BDAT, ("CHUNKING",)])
@pytest.mark.parametrize("lmtp", [False, True])
def test_bodies_go_by_bdat_where_it_is_offered(extensions: tuple[str, ...], lmtp: bool, tmp_path: Path) -> None:
    file = tmp_path / "body"
    large = b".x\r\n" * 100_000 + b"no end"
    file.write_bytes(large)
    with Sink(lmtp=lmtp, extensions=extensions, rcpt={b"no@example.org": b"550 5.1.1 no\r\n"}) as sink:
        sender = Sender({"Gateway": sink.gateway, "Delivery_Method": "LMTP" if lmtp else "ESMTP"})
        message = envelope("a@example.org", "no@example.org", "b@example.org")
        assert codes(sender.send(message)) == [250, 550, 250]
        assert codes(sender.send(message, StoredBody(len(large), None, str(file)))) == [250, 550, 250]
        assert codes(sender.send(message, b"")) == [250, 550, 250]
        assert [one.body for one in sink.messages] == [BODY, large, b""]
        assert sink.connections == 1
        assert not any(line.startswith(b"DATA") for line in sink.lines[0])


@pytest.mark.parametrize("reply", [b"503 5.5.1 what?\r\n", b"500 5.5.2 unknown command\r\n"])
def test_a_hop_that_does_not_know_its_bdat_gets_data_over_a_new_connection(reply: bytes) -> None:
    with Sink(extensions=BDAT, script={"BODY": [reply]}) as sink:
        sender = Sender({"Gateway": sink.gateway})
        assert codes(sender.send(envelope("a@example.org"))) == [250]
        assert codes(sender.send(envelope("a@example.org"))) == [250]
        assert sink.connections == 2
        assert [line[:4] for line in sink.lines[0]] == [b"EHLO", b"MAIL", b"RCPT", b"BDAT"]
        assert [line[:4] for line in sink.lines[1]] == [b"EHLO", *[b"MAIL", b"RCPT", b"DATA"] * 2]


def test_and_once_only() -> None:
    with Sink(extensions=BDAT, script={"BODY": [b"503 a\r\n", b"503 b\r\n"]}) as sink:
        assert [one.reply for one in Sender({"Gateway": sink.gateway}).send(envelope("a@example.org"))] == ["503 b"]
        assert sink.connections == 2


def test_a_refusal_of_the_message_is_no_reason_to_try_data() -> None:
    with Sink(extensions=BDAT, script={"BODY": [b"554 5.7.1 spam\r\n"]}) as sink:
        sender = Sender({"Gateway": sink.gateway})
        assert codes(sender.send(envelope("a@example.org"))) == [554]
        assert codes(sender.send(envelope("a@example.org"))) == [250]
        assert sink.connections == 1
        assert b"RSET" in sink.lines[0]


# --- XCLIENT --------------------------------------------------------------------------------------------

FROM_A = {"client_address": "192.0.2.1:1025", "helo": "a.example", "protocol": "ESMTP"}
FROM_B = {"client_address": "192.0.2.2:1025", "helo": "b.example", "protocol": "SMTP"}


@pytest.mark.parametrize("use", ["ifavailable", "required"])
def test_xclient_names_each_messages_own_client(use: str) -> None:
    with Sink(extensions=("XCLIENT ADDR PORT HELO PROTO",)) as sink:
        sender = Sender({"Gateway": sink.gateway, "XCLIENT": use})
        for client in (FROM_A, FROM_A, FROM_B, FROM_A):
            assert codes(sender.send(envelope("a@example.org", **client))) == [250]
        assert sink.connections == 2, "a connection is kept for its client alone"
        told = [[line for line in lines if line[:4] in (b"XCLI", b"EHLO")] for lines in sink.lines]
        ours = b"EHLO host.example"
        assert told == [
            [ours, b"XCLIENT ADDR=192.0.2.1 PORT=1025 PROTO=ESMTP HELO=a.example", b"EHLO a.example"],
            [ours, b"XCLIENT ADDR=192.0.2.2 PORT=1025 PROTO=SMTP HELO=b.example", b"EHLO b.example"],
        ]


def test_xclient_that_is_not_offered_divides_no_connections() -> None:
    with Sink() as sink:
        sender = Sender({"Gateway": sink.gateway, "XCLIENT": "ifavailable"})
        for client in (FROM_A, FROM_B):
            assert codes(sender.send(envelope("a@example.org", **client))) == [250]
        assert sink.connections == 1


def test_required_xclient_makes_mail_wait() -> None:
    with Sink() as sink, pytest.raises(NoHopReachable, match=r"^450 4\.7\.4 \[internal\] XCLIENT is required"):
        Sender({"Gateway": sink.gateway, "XCLIENT": "required"}).send(envelope("a@example.org", **FROM_A))
    with (
        Sink(extensions=("XCLIENT ADDR",), script={"XCLIENT": [b"550 5.7.0 not you\r\n"]}) as sink,
        pytest.raises(NoHopReachable, match="was not taken") as caught,
    ):
        Sender({"Gateway": sink.gateway, "XCLIENT": "required"}).send(envelope("a@example.org", **FROM_A))
    assert caught.value.stage == Stage.DURING_XCLIENT


def test_a_hop_that_stalls_at_xclient_is_left_in_time() -> None:
    with Sink(extensions=("XCLIENT ADDR",), script={"XCLIENT": [SILENT]}) as sink, pytest.raises(NoHopReachable) as it:
        Sender({"Gateway": sink.gateway, "XCLIENT": "ifavailable", "EHLO_Timeout": 1}).send(envelope("a@example.org"))
    assert str(it.value).startswith("450 4.4.1 [internal] Connection Timed Out")


# --- where from, as whom, how many ------------------------------------------------------------------------


def test_bind_address_is_where_connections_come_from() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    with listener:
        port = listener.getsockname()[1]
        conf = configuration(
            everywhere={"Gateway": f"127.0.0.1:{port}", "Bind_Address": "127.0.0.77", "EHLO_Timeout": 1}
        )
        with house(conf) as home:
            home.accept("u@a.example")
            listener.settimeout(0)

            def accepted() -> bool:
                try:
                    sock, address = listener.accept()
                except BlockingIOError:
                    return False
                sock.close()
                found.append(address[0])
                return True

            found: list[str] = []
            wait(accepted, "a connection")
            assert found == ["127.0.0.77"]


def test_an_address_of_the_other_family_is_passed_over() -> None:
    with Sink() as sink:
        sender = Sender({"Routes": ("[::1]:9", sink.gateway)})
        sender.configuration = configuration(
            everywhere={"Routes": (f"[::1]:{free_port()}", sink.gateway), "Bind_Address": "127.0.0.1"}
        )
        from gsmtp.delivery.router import Router

        sender.route = Router(sender.configuration).route("example.org")
        assert codes(sender.send(envelope("a@example.org"))) == [250]
        sink_only = configuration(everywhere={"Gateway": sink.gateway, "Bind_Address": "::1"})
        sender.route = Router(sink_only).route("example.org")
        with pytest.raises(NoHopReachable, match="can't be reached from Bind_Address ::1"):
            sender.send(envelope("a@example.org"))


@pytest.mark.parametrize(
    ("option", "sender_address", "said"),
    [
        ("__message__", "x@Sender.Example", b"EHLO sender.example"),
        ("__message__", "", b"EHLO mx.example"),
        ("__message__", "x@b\xfccher.example", b"EHLO mx.example"),
        ("__hostname__", "x@sender.example", b"EHLO mx.example"),
        ("me.example", "x@sender.example", b"EHLO me.example"),
    ],
)
def test_what_we_call_ourselves(option: str, sender_address: str, said: bytes) -> None:
    with Sink() as sink:
        from gsmtp.delivery.router import Router

        sender = Sender({"Gateway": sink.gateway})
        conf = configuration(
            {"example.org": {"Gateway": sink.gateway, "EHLO_Hostname": option}}, everywhere={"Hostname": "mx.example"}
        )
        sender.route = Router(conf).route("example.org")
        assert codes(sender.send(envelope("a@example.org", reverse_path=sender_address, smtputf8=True))) == [250]
        assert sink.lines[0][0] == said


def test_max_recipients_per_connection() -> None:
    with Sink(rcpt={b"r3@example.org": b"550 5.1.1 no\r\n"}) as sink:
        sender = Sender({"Gateway": sink.gateway, "Max_Recipients_Per_Connection": 2})
        outcomes = sender.send(envelope(*(f"r{number}@example.org" for number in range(5))))
        assert codes(outcomes) == [250, 250, 250, 550, 250]
        assert [[line[9:11] for line in lines if line[:4] == b"RCPT"] for lines in sink.lines] == [
            [b"r0", b"r1"],
            [b"r2", b"r3"],
            [b"r4"],
        ]
        assert codes(sender.send(envelope("a@example.org"))) == [250]
        assert sink.connections == 3
        assert codes(sender.send(envelope("a@example.org"))) == [250]
        assert sink.connections == 4


def test_what_the_first_recipients_got_stands_when_the_next_connection_fails() -> None:
    with Sink(script={"BANNER": [b"220 hi\r\n", b"554 5.3.2 no more\r\n"]}) as sink:
        sender = Sender({"Gateway": sink.gateway, "Max_Recipients_Per_Connection": 1})
        outcomes = sender.send(envelope("a@example.org", "b@example.org", "c@example.org"))
        assert codes(outcomes) == [250, 451, 451]
        assert len(sink.messages) == 1


# --- Job.mark ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("extensions", [(), ("PIPELINING",), BDAT, ("CHUNKING",)])
@pytest.mark.parametrize("is_large", [False, True])
def test_nothing_that_completes_a_message_is_sent_before_the_mark(
    extensions: tuple[str, ...], is_large: bool, tmp_path: Path
) -> None:
    file = tmp_path / "body"
    file.write_bytes(b"x" * 400_000)
    body = StoredBody(400_000, None, str(file)) if is_large else stored(b"hello")
    with Sink(extensions=extensions) as sink:
        sender = Sender({"Gateway": sink.gateway})
        message = envelope("a@example.org")
        marks: list[int] = []

        def mark() -> None:
            marks.append(len(sink.messages))
            raise SpoolError("the disk is gone")

        job = Job(message, body, message.recipients, sender.route.view, sender.route.hops, mark=mark)
        with pytest.raises(DeliveryError, match=r"^451 4\.3\.0 \[internal\] the spool can't note what comes"):
            sender.transport.deliver(job)
        assert marks == [0]
        assert codes(sender.send(message, body)) == [250]
        assert len(sink.messages) == 1
        assert sink.connections == 2, "the connection with half a message is closed"


def test_no_mark_where_nobody_takes_the_message() -> None:
    with Sink(rcpt={b"a@example.org": b"550 5.1.1 no\r\n"}) as sink:
        sender = Sender({"Gateway": sink.gateway})
        message = envelope("a@example.org")
        marks: list[str] = []
        job = Job(
            message,
            stored(b"x"),
            message.recipients,
            sender.route.view,
            sender.route.hops,
            mark=lambda: marks.append("marked"),
        )
        assert codes(sender.transport.deliver(job)) == [550]
        assert marks == []


# --- what traces see ----------------------------------------------------------------------------------------


class Ears:
    """An observer."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, bytes]] = []

    def event(self, text: str) -> None:
        self.heard.append(("event", text.encode()))

    def sent(self, data: bytes) -> None:
        self.heard.append(("sent", data))

    def received(self, data: bytes) -> None:
        self.heard.append(("received", data))


def test_an_observer_hears_both_sides_of_the_deliveries_it_asked_for() -> None:
    subjects: list[Subject] = []
    ears = Ears()

    def listen(subject: Subject) -> Ears:
        subjects.append(subject)
        return ears

    with Sink(extensions=()) as sink:
        sender = Sender({"Gateway": sink.gateway})
        number = OBSERVERS.add(listen, domain="example.org")
        other = OBSERVERS.add(listen, domain="elsewhere.example")
        try:
            sender.send(envelope("a@example.org"), b"hi\r\n")
        finally:
            OBSERVERS.remove(number)
            OBSERVERS.remove(other)
        sender.send(envelope("a@example.org"), b"unheard\r\n")
    assert [(one.domain, one.hop) for one in subjects] == [("example.org", sink.gateway)]
    assert ears.heard[0] == ("event", f"connected to {sink.gateway}".encode())
    said = b"".join(data for side, data in ears.heard if side == "sent")
    lines = ["EHLO host.example", "MAIL FROM:<from@example.net>", "RCPT TO:<a@example.org>", "DATA", "hi", ".", ""]
    assert said == "\r\n".join(lines).encode()
    assert ("received", b"354 go on\r\n") in ears.heard


# --- each verb's time limit ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verb", "option", "stage"),
    [
        ("MAIL", "MailFrom", Stage.DURING_MAIL),
        ("RCPT", "RcptTo", Stage.DURING_RCPT),
        ("DATA", "Body", Stage.DURING_DATA),
        ("BODY", "Body", Stage.READING_CONFIRMATION),
        ("RSET", "RSET", Stage.DURING_RSET),
    ],
)
def test_a_hop_that_stalls_is_left_when_its_verbs_time_is_over(verb: str, option: str, stage: Stage) -> None:
    answers: list[Answer] = [SILENT]
    with Sink(script={verb: answers}, extensions=(), rcpt={b"no@example.org": b"550 5.1.1 no\r\n"}) as sink:
        sender = Sender({"Gateway": sink.gateway, f"{option}_Timeout": 1})
        if verb == "RSET":
            assert codes(sender.send(envelope("no@example.org"))) == [550]
            sink.script.clear()
            # A kept connection that is dead before it answered anything is replaced.
            assert codes(sender.send(envelope("a@example.org"))) == [250]
            assert sink.connections == 2
            return
        [outcome] = sender.send(envelope("a@example.org"))
        assert (outcome.code, outcome.stage) == (450, stage)
        assert outcome.reply.startswith("450 4.4.1 [internal] Connection Timed Out (waiting for the reply to ")


def test_a_flight_is_timed_verb_by_verb() -> None:
    with Sink(extensions=BDAT, script={"BODY": [SILENT]}) as sink:
        sender = Sender({"Gateway": sink.gateway, "MailFrom_Timeout": 60, "Body_Timeout": 1})
        [outcome] = sender.send(envelope("a@example.org"))
        assert (outcome.code, outcome.stage) == (450, Stage.READING_CONFIRMATION)


def test_a_flight_over_a_kept_connection_that_died_goes_again_at_once() -> None:
    with Sink(extensions=BDAT, script={"MAIL": [b"250 ok\r\n", CUT]}) as sink:
        sender = Sender({"Gateway": sink.gateway}, tools())
        assert codes(sender.send(envelope("a@example.org"))) == [250]
        assert codes(sender.send(envelope("a@example.org"))) == [250]
        assert (sink.connections, len(sink.messages)) == (2, 2)
