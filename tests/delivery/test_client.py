"""The client machine: every dialogue with exact bytes, no socket."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gsmtp.core.envelope import Envelope, Recipient
from gsmtp.core.errors import LocalProtocolError
from gsmtp.delivery.client import Client, Mode
from gsmtp.delivery.commands import xclient_command
from gsmtp.delivery.dots import DotStuffer
from gsmtp.delivery.steps import Step
from gsmtp.delivery.terms import Identity, Terms, Use

HOP = "192.0.2.1:25"
ALL = b"250-hop\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SIZE 1000\r\n250-SMTPUTF8\r\n250 DSN\r\n"


def rcpt(address: str, **more: object) -> Recipient:
    return Recipient(address, address.rpartition("@")[2], **more)  # type: ignore[arg-type]


def envelope(*addresses: str, **more: object) -> Envelope:
    return Envelope("00/01-00001-00000001", "c", "from@example.net", [rcpt(a) for a in addresses], **more)  # type: ignore[arg-type]


def step(client: Client) -> Step:
    return client.step


def ready(hello: bytes, mode: Mode = Mode.ESMTP) -> Client:
    client = Client(mode, "me.example", HOP)
    assert step(client) is Step.GREETING
    client.receive(b"220 hi\r\n")
    client.data_to_send()
    assert step(client) is Step.HELLO
    client.receive(hello)
    assert client.is_ready
    return client


def answers(client: Client) -> list[tuple[int, str]]:
    return [(outcome.code, outcome.reply) for outcome in client.outcomes()]


def test_ehlo_names_us_and_falls_back_to_helo_when_it_is_not_known() -> None:
    client = Client(Mode.ESMTP, "me.example", HOP)
    assert client.data_to_send() == b""
    client.receive(b"220-a long\r\n220 banner\r\n")
    assert client.data_to_send() == b"EHLO me.example\r\n"
    client.receive(b"502 5.5.1 what?\r\n")
    assert client.data_to_send() == b"HELO me.example\r\n"
    client.receive(b"250 hop\r\n")
    assert client.is_ready
    assert client.extensions == {}


def test_smtp_says_helo_at_once_and_uses_no_extension() -> None:
    client = Client(Mode.SMTP, "me.example", HOP)
    client.receive(b"220 hi\r\n")
    assert client.data_to_send() == b"HELO me.example\r\n"
    client.receive(ALL)
    client.begin(envelope("a@example.org", smtputf8=True, body="8BITMIME"), [rcpt("a@example.org")], 5)
    assert client.data_to_send() == b"MAIL FROM:<from@example.net>\r\n"


def test_lmtp_says_lhlo_and_knows_no_fall_back() -> None:
    client = Client(Mode.LMTP, "me.example", HOP)
    client.receive(b"220 hi\r\n")
    assert client.data_to_send() == b"LHLO me.example\r\n"
    client.receive(b"500 5.5.1 this is SMTP\r\n")
    assert client.is_closed
    assert client.refusal == "500 5.5.1 this is SMTP"
    assert client.data_to_send() == b""


def test_one_command_at_a_time_without_pipelining() -> None:
    client = ready(b"250 hop\r\n")
    client.begin(envelope("a@example.org", "b@example.org"), [rcpt("a@example.org"), rcpt("b@example.org")], 5)
    assert client.data_to_send() == b"MAIL FROM:<from@example.net>\r\n"
    assert step(client) is Step.MAIL
    client.receive(b"250 ok\r\n")
    assert client.data_to_send() == b"RCPT TO:<a@example.org>\r\n"
    assert step(client) is Step.RCPT
    client.receive(b"550 5.1.1 no such\r\n")
    assert client.data_to_send() == b"RCPT TO:<b@example.org>\r\n"
    client.receive(b"250 ok\r\n")
    assert client.data_to_send() == b"DATA\r\n"
    assert step(client) is Step.DATA
    client.receive(b"354 go\r\n")
    assert client.wants_body
    assert step(client) is Step.BODY
    assert client.body(b"hello") == b"hello"
    client.end_body()
    assert client.data_to_send() == b"\r\n.\r\n"
    assert step(client) is Step.FINAL
    client.receive(b"250 2.0.0 queued as 1\r\n")
    assert answers(client) == [(550, "550 5.1.1 no such"), (250, "250 2.0.0 queued as 1")]
    assert client.outcomes()[1].hop == HOP
    assert client.is_ready


def test_everything_up_to_data_goes_in_one_write_with_pipelining() -> None:
    client = ready(ALL)
    message = envelope("a@example.org", body="8BITMIME", smtputf8=True, ret="HDRS", envid="QQ+2B1")
    to = [rcpt("a@example.org", notify=("SUCCESS", "FAILURE"), orcpt="rfc822;a@example.org"), rcpt("b@example.org")]
    client.begin(message, to, 77)
    assert client.data_to_send() == (
        b"MAIL FROM:<from@example.net> SIZE=77 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=QQ+2B1\r\n"
        b"RCPT TO:<a@example.org> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;a@example.org\r\n"
        b"RCPT TO:<b@example.org>\r\n"
        b"DATA\r\n"
    )
    client.receive(b"250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n")
    assert client.body(b".\r\n..\r\nx\r\n") == b"..\r\n...\r\nx\r\n"
    client.end_body()
    assert client.data_to_send() == b".\r\n"
    client.receive(b"250-2.0.0 first\r\n250 2.0.0 second\r\n")
    assert answers(client) == [(250, "250 2.0.0 first second")] * 2


def test_dsn_and_other_parameters_stay_away_where_they_are_not_offered() -> None:
    client = ready(b"250 hop\r\n")
    to = [rcpt("a@example.org", notify=("NEVER",), orcpt="rfc822;x@y")]
    client.begin(envelope(body="8BITMIME", smtputf8=True, ret="FULL", envid="x"), to, 5)
    assert client.data_to_send() == b"MAIL FROM:<from@example.net>\r\n"
    client.receive(b"250 ok\r\n")
    assert client.data_to_send() == b"RCPT TO:<a@example.org>\r\n"


def test_at_most_4096_bytes_of_commands_wait_for_their_replies() -> None:
    client = ready(ALL)
    to = [rcpt(f"user{number:03}@{'x' * 60}.example.org") for number in range(100)]
    client.begin(envelope(), to, 5)
    sent = client.data_to_send()
    unanswered = sent.count(b"\r\n")
    total = sent
    while not sent.endswith(b"DATA\r\n"):
        assert len(sent) <= 4096
        client.receive(b"250 ok\r\n" * unanswered)
        sent = client.data_to_send()
        assert sent
        unanswered = sent.count(b"\r\n")
        total += sent
    assert total.count(b"RCPT TO:") == 100


def test_mail_refused_under_pipelining_counts_for_all_and_the_rest_is_read() -> None:
    client = ready(ALL)
    client.begin(envelope(), [rcpt("a@example.org"), rcpt("b@example.org")], 5)
    client.data_to_send()
    client.receive(b"451 4.3.0 not now\r\n503 5.5.1 mail first\r\n503 5.5.1 mail first\r\n")
    assert not client.transaction_done
    client.receive(b"503 5.5.1 mail first\r\n")
    assert answers(client) == [(451, "451 4.3.0 not now")] * 2
    assert client.is_ready


def test_a_354_for_nobody_is_ended_with_a_lone_dot() -> None:
    client = ready(ALL)
    client.begin(envelope(), [rcpt("a@example.org")], 5)
    client.data_to_send()
    client.receive(b"250 ok\r\n550 5.1.1 no\r\n354 go on then\r\n")
    assert not client.wants_body
    assert client.data_to_send() == b".\r\n"
    client.receive(b"250 2.0.0 an empty message\r\n")
    assert answers(client) == [(550, "550 5.1.1 no")]
    assert client.is_ready


def test_a_354_for_nobody_under_lmtp_closes_the_connection() -> None:
    client = ready(ALL, Mode.LMTP)
    client.begin(envelope(), [rcpt("a@example.org")], 5)
    client.data_to_send()
    client.receive(b"250 ok\r\n550 5.1.1 no\r\n354 go on then\r\n")
    assert answers(client) == [(550, "550 5.1.1 no")]
    assert client.is_closed


def test_all_recipients_refused_needs_no_data_and_a_rset_before_the_next() -> None:
    client = ready(b"250 hop\r\n")
    client.begin(envelope(), [rcpt("a@example.org")], 5)
    client.receive(b"250 ok\r\n")
    client.data_to_send()
    client.receive(b"450 4.2.0 later\r\n")
    assert answers(client) == [(450, "450 4.2.0 later")]
    assert client.data_to_send() == b""
    client.begin(envelope(), [rcpt("b@example.org")], 5)
    assert client.data_to_send() == b"RSET\r\n"
    assert step(client) is Step.RSET
    client.receive(b"250 ok\r\n")
    assert client.data_to_send() == b"MAIL FROM:<from@example.net>\r\n"


def test_data_refused_counts_for_the_accepted_ones() -> None:
    client = ready(ALL)
    client.begin(envelope(), [rcpt("a@example.org"), rcpt("b@example.org")], 5)
    client.receive(b"250 ok\r\n550 5.1.1 no\r\n250 ok\r\n554 5.7.1 not this\r\n")
    assert answers(client) == [(550, "550 5.1.1 no"), (554, "554 5.7.1 not this")]
    client.data_to_send()
    client.begin(envelope(), [rcpt("b@example.org")], 5)
    assert client.data_to_send().startswith(b"RSET\r\nMAIL FROM:")


def test_lmtp_gives_each_accepted_recipient_its_own_reply() -> None:
    client = ready(ALL, Mode.LMTP)
    client.begin(envelope(), [rcpt(f"{name}@example.org") for name in "abcd"], 5)
    client.receive(b"250 ok\r\n250 ok\r\n550 5.1.1 no b\r\n250 ok\r\n250 ok\r\n354 go\r\n")
    client.body(b"hi\r\n")
    client.end_body()
    client.receive(b"250 2.0.0 a has it\r\n452 4.2.2 c is full\r\n")
    assert not client.transaction_done
    client.receive(b"250 2.0.0 d has it\r\n")
    assert answers(client) == [
        (250, "250 2.0.0 a has it"),
        (550, "550 5.1.1 no b"),
        (452, "452 4.2.2 c is full"),
        (250, "250 2.0.0 d has it"),
    ]


def test_a_cut_in_the_middle_of_lmtp_replies_leaves_the_first_ones_standing() -> None:
    client = ready(ALL, Mode.LMTP)
    client.begin(envelope(), [rcpt("a@example.org"), rcpt("b@example.org")], 5)
    client.receive(b"250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n")
    client.end_body()
    client.receive(b"250 2.0.0 a has it\r\n")
    client.receive(b"")
    assert answers(client) == [
        (250, "250 2.0.0 a has it"),
        (451, "451 4.4.2 [internal] connection closed by remote host"),
    ]
    assert client.is_closed


def test_421_ends_the_transaction_for_everybody_without_an_answer() -> None:
    client = ready(ALL)
    client.begin(envelope(), [rcpt("a@example.org"), rcpt("b@example.org"), rcpt("c@example.org")], 5)
    client.receive(b"250 ok\r\n550 5.1.1 no\r\n421 4.3.2 shutting down\r\n")
    assert answers(client) == [
        (550, "550 5.1.1 no"),
        (421, "421 4.3.2 shutting down"),
        (421, "421 4.3.2 shutting down"),
    ]
    assert client.is_closed


@pytest.mark.parametrize(
    ("reply", "code"),
    [(b"552 too many\r\n", 452), (b"552 5.5.3 too many\r\n", 452), (b"552 5.2.2 mailbox full\r\n", 552)],
)
def test_552_to_rcpt_means_try_later_unless_it_says_something_else(reply: bytes, code: int) -> None:
    client = ready(ALL)
    client.begin(envelope(), [rcpt("a@example.org")], 5)
    client.receive(b"250 ok\r\n" + reply + b"503 no\r\n")
    assert client.outcomes()[0].code == code


def test_a_message_over_the_announced_size_is_refused_without_a_word() -> None:
    client = ready(ALL)
    client.begin(envelope(), [rcpt("a@example.org")], 1001)
    assert client.data_to_send() == b""
    assert answers(client) == [(552, "552 5.3.4 [internal] message of 1001 bytes is over the next hop's limit of 1000")]
    assert client.is_ready


def test_utf8_recipients_fail_alone_where_smtputf8_is_not_offered() -> None:
    client = ready(b"250-hop\r\n250 PIPELINING\r\n")
    client.begin(envelope(smtputf8=True), [rcpt("jörg@example.org"), rcpt("b@example.org")], 5)
    assert client.data_to_send() == b"MAIL FROM:<from@example.net>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n"
    client.receive(b"250 ok\r\n250 ok\r\n354 go\r\n")
    client.end_body()
    client.receive(b"250 ok\r\n")
    assert [outcome.code for outcome in client.outcomes()] == [553, 250]
    assert client.outcomes()[0].reply.startswith("553 5.6.7 [internal] ")


def test_utf8_addresses_go_out_as_utf8_where_smtputf8_is_offered() -> None:
    client = ready(ALL)
    message = envelope(smtputf8=True)
    message.reverse_path = "ján@example.net"
    client.begin(message, [rcpt("jörg@example.org")], 5)
    assert client.data_to_send() == (
        "MAIL FROM:<ján@example.net> SIZE=5 SMTPUTF8\r\nRCPT TO:<jörg@example.org>\r\nDATA\r\n".encode()
    )


def test_a_utf8_sender_fails_for_all_where_smtputf8_is_not_offered() -> None:
    client = ready(b"250 hop\r\n")
    message = envelope(smtputf8=True)
    message.reverse_path = "ján@example.net"
    client.begin(message, [rcpt("a@example.org"), rcpt("b@example.org")], 5)
    assert [outcome.reply[:9] for outcome in client.outcomes()] == ["553 5.6.7", "553 5.6.7"]


def test_a_binary_message_needs_binarymime() -> None:
    client = ready(ALL)
    client.begin(envelope(body="BINARYMIME"), [rcpt("a@example.org")], 5)
    assert client.outcomes()[0].code == 554
    assert client.outcomes()[0].reply.startswith("554 5.6.1 [internal] ")


def test_a_binary_message_goes_in_one_bdat() -> None:
    client = ready(b"250-hop\r\n250-PIPELINING\r\n250-BINARYMIME\r\n250 CHUNKING\r\n")
    client.begin(envelope(body="BINARYMIME"), [rcpt("a@example.org"), rcpt("b@example.org")], 6)
    assert client.data_to_send() == (
        b"MAIL FROM:<from@example.net> BODY=BINARYMIME\r\nRCPT TO:<a@example.org>\r\nRCPT TO:<b@example.org>\r\n"
    )
    client.receive(b"250 ok\r\n250 ok\r\n")
    assert not client.wants_body
    client.receive(b"550 5.1.1 no\r\n")
    assert client.data_to_send() == b"BDAT 6 LAST\r\n"
    assert client.body(b"\r\n.\r\n\0") == b"\r\n.\r\n\0"
    client.end_body()
    assert client.data_to_send() == b""
    client.receive(b"250 2.0.0 six octets\r\n")
    assert [outcome.code for outcome in client.outcomes()] == [250, 550]


def test_a_binary_body_of_another_size_than_announced_is_our_bug() -> None:
    client = ready(b"250-hop\r\n250-BINARYMIME\r\n250 CHUNKING\r\n")
    client.begin(envelope(body="BINARYMIME"), [rcpt("a@example.org")], 6)
    client.receive(b"250 ok\r\n")
    client.receive(b"250 ok\r\n")
    client.body(b"12345")
    with pytest.raises(LocalProtocolError):
        client.end_body()


@pytest.mark.parametrize("address", ["a\r\nRSET@example.org", "a\0@example.org", "a\x7f@example.org"])
def test_control_characters_never_get_into_a_command(address: str) -> None:
    client = ready(ALL)
    client.begin(envelope(), [Recipient(address, "example.org")], 5)
    assert client.data_to_send() == b""
    assert client.outcomes()[0].reply.startswith("553 5.1.3 [internal] ")


def test_dsn_values_with_blanks_or_controls_are_left_out() -> None:
    client = ready(ALL)
    client.begin(envelope(envid="a b"), [rcpt("a@example.org", orcpt="rfc822;a\r\nRSET")], 5)
    assert b"ENVID" not in client.data_to_send()


@pytest.mark.parametrize(
    "reply",
    [
        b"hello\r\n",
        b"99 x\r\n",
        b"2x0 ok\r\n",
        b"250_ok\r\n",
        b"150 hm\r\n",
        b"x" * 9000,
        b"250-a\r\n" * 513 + b"250 a\r\n",
    ],
)
def test_what_is_no_reply_ends_the_connection_and_is_temporary(reply: bytes) -> None:
    client = ready(ALL)
    client.begin(envelope(), [rcpt("a@example.org")], 5)
    client.receive(reply)
    assert client.is_closed
    assert client.outcomes()[0].code == 451
    assert client.outcomes()[0].reply.startswith("451 4.5.0 [internal] ")


def test_a_positive_reply_of_the_wrong_class_ends_the_connection() -> None:
    client = ready(ALL)
    client.begin(envelope(), [rcpt("a@example.org")], 5)
    client.receive(b"354 what\r\n")
    assert client.outcomes()[0].reply == "451 4.5.0 [internal] unexpected reply to mail: 354 what"


def test_a_refusal_in_the_middle_of_the_body_counts() -> None:
    client = ready(ALL)
    client.begin(envelope(), [rcpt("a@example.org")], 5)
    client.receive(b"250 ok\r\n250 ok\r\n354 go\r\n")
    client.body(b"abc")
    client.receive(b"552 5.3.4 enough\r\n")
    assert answers(client) == [(552, "552 5.3.4 enough")]
    assert client.is_closed


def test_replies_lose_control_characters_and_are_bounded() -> None:
    client = ready(ALL)
    client.begin(envelope(), [rcpt("a@example.org")], 5)
    client.receive(b"550 5.7.1 no\x1b[31m\t\xff" + b"x" * 3000 + b"\r\n503 a\r\n503 b\r\n")
    reply = client.outcomes()[0].reply
    assert reply.startswith("550 5.7.1 no?[31m?")
    assert len(reply) == 1000


def test_quit_is_said_on_an_idle_connection_only() -> None:
    client = ready(ALL)
    client.quit()
    assert client.data_to_send() == b"QUIT\r\n"
    assert client.is_closed
    busy = ready(ALL)
    busy.begin(envelope(), [rcpt("a@example.org")], 5)
    busy.data_to_send()
    busy.quit()
    assert busy.data_to_send() == b""


def test_replies_that_nobody_asked_for_close_an_idle_connection() -> None:
    client = ready(ALL)
    client.receive(b"421 4.4.2 idle too long\r\n")
    assert client.is_closed
    assert client.refusal == "421 4.4.2 idle too long"


def test_whether_anything_was_answered_is_known() -> None:
    client = ready(ALL)
    client.begin(envelope(), [rcpt("a@example.org")], 5)
    client.receive(b"")
    assert not client.has_answer
    other = ready(ALL)
    other.begin(envelope(), [rcpt("a@example.org")], 5)
    other.receive(b"250 ok\r\n")
    other.receive(b"")
    assert other.has_answer


def test_the_cutting_of_replies_means_nothing() -> None:
    whole = b"250-x\r\n250 ok\r\n450 4.2.1 later\r\n250 ok\n354 go\r\n"
    client = ready(ALL)
    client.begin(envelope(), [rcpt("a@example.org"), rcpt("b@example.org")], 5)
    for number in range(len(whole)):
        client.receive(whole[number : number + 1])
    assert client.wants_body
    client.end_body()
    client.receive(b"250 2.0.0 ok\r\n")
    assert [outcome.code for outcome in client.outcomes()] == [450, 250]


def stuffed(pieces: list[bytes]) -> bytes:
    stuffer = DotStuffer()
    return b"".join([stuffer.stuff(piece) for piece in pieces] + [stuffer.end()])


@pytest.mark.parametrize(
    ("body", "wire"),
    [
        (b"", b".\r\n"),
        (b".", b"..\r\n.\r\n"),
        (b"a", b"a\r\n.\r\n"),
        (b"a\r", b"a\r\r\n.\r\n"),
        (b"a\n", b"a\n\r\n.\r\n"),
        (b"a\r\n", b"a\r\n.\r\n"),
        (b"a\r\n.\r\nb", b"a\r\n..\r\nb\r\n.\r\n"),
        (b"a\n.b\r\n", b"a\n.b\r\n.\r\n"),
        (b"..\r\n..", b"...\r\n...\r\n.\r\n"),
        (b"\xff\x00\r\n.\xfe", b"\xff\x00\r\n..\xfe\r\n.\r\n"),
    ],
)
def test_dots_at_line_starts_are_doubled(body: bytes, wire: bytes) -> None:
    assert stuffed([body]) == wire
    assert stuffed([body[n : n + 1] for n in range(len(body))]) == wire


@given(st.lists(st.binary(max_size=6).map(lambda raw: bytes(b"\r\n.ax"[byte % 5] for byte in raw)), max_size=12))
def test_any_cutting_of_a_body_gives_the_same_bytes(pieces: list[bytes]) -> None:
    body = b"".join(pieces)
    wire = stuffed(pieces)
    assert wire == stuffed([body])
    # A receiver that follows RFC 5321 section 4.5.2 gets the body back, with the line end that it lacked.
    ended = body if body.endswith(b"\r\n") or not body else body + b"\r\n"
    assert wire.endswith(b"\r\n.\r\n") or wire == b".\r\n"
    assert (b"\r\n" + wire[:-3]).replace(b"\r\n.", b"\r\n")[2:] == ended
    assert b"\r\n.\r\n" not in (b"\r\n" + wire)[:-5]


def _told(*replies: bytes, mode: Mode = Mode.ESMTP) -> list[tuple[int, str, int]]:
    """Stage, address and body bytes of the outcomes when a hop answers this and then hangs up."""
    client = Client(mode, "mx.example.com", "10.0.0.1:25", "192.0.2.25")
    message = envelope("ann@example.org")
    for reply in replies:
        client.receive(reply)
        if client.is_ready and not client.transactions:
            client.begin(message, message.recipients, 7)
        if client.wants_body:
            client.body(b"hello\r\n")
            if reply.startswith(b"354 go on"):
                client.end_body()
    client.receive(b"")
    return [(outcome.stage, outcome.remote, outcome.sent_bytes) for outcome in client.outcomes()]


@pytest.mark.parametrize(
    ("replies", "stage", "sent"),
    [
        ([], 2, 0),
        ([b"450 4.2.0 not now\r\n"], 2, 0),
        ([b"250 ok\r\n"], 4, 0),
        ([b"250 ok\r\n", b"550 5.1.1 no\r\n"], 4, 0),
        ([b"250 ok\r\n", b"421 4.3.2 bye\r\n"], 4, 0),
        ([b"250 ok\r\n", b"250 ok\r\n"], 6, 0),
        ([b"250 ok\r\n", b"250 ok\r\n", b"452 4.3.1 full\r\n"], 6, 0),
        ([b"250 ok\r\n", b"250 ok\r\n", b"354 begin\r\n"], 8, 7),
        ([b"250 ok\r\n", b"250 ok\r\n", b"354 go on\r\n"], 9, 7),
        ([b"250 ok\r\n", b"250 ok\r\n", b"354 go on\r\n", b"550 5.6.0 spam\r\n"], 9, 7),
        ([b"250 ok\r\n", b"250 ok\r\n", b"354 go on\r\n", b"250 2.0.0 ok\r\n"], 9, 7),
    ],
)
def test_an_outcome_tells_how_far_the_attempt_came(replies: list[bytes], stage: int, sent: int) -> None:
    assert _told(b"220 hi\r\n", b"250 hop.example\r\n", *replies) == [(stage, "192.0.2.25", sent)]


# --- STARTTLS, XCLIENT: what comes before mail ------------------------------------------------------

SECURE = b"250-hop\r\n250 STARTTLS\r\n"


def greeted(hello: bytes, terms: Terms, mode: Mode = Mode.ESMTP) -> Client:
    client = Client(mode, "me.example", HOP, terms=terms)
    client.receive(b"220 hi\r\n")
    client.data_to_send()
    client.receive(hello)
    return client


def test_starttls_comes_first_and_what_was_said_before_it_counts_no_more() -> None:
    client = greeted(b"250-hop\r\n250-PIPELINING\r\n250 STARTTLS\r\n", Terms(tls=Use.REQUIRED))
    assert client.data_to_send() == b"STARTTLS\r\n"
    assert (step(client), client.is_ready) == (Step.STARTTLS, False)
    client.receive(b"220 go\r\n")
    assert (step(client), client.wants_handshake) == (Step.HANDSHAKE, True)
    assert client.data_to_send() == b""
    client.secured("TLSv1.3 X verified")
    assert client.extensions == {}
    assert client.data_to_send() == b"EHLO me.example\r\n"
    client.receive(b"250-hop\r\n250 SIZE 7\r\n")
    assert client.is_ready
    assert client.extensions == {"SIZE": "7"}
    client.begin(envelope("a@example.org"), [rcpt("a@example.org")], 9)
    (outcome,) = client.outcomes()
    assert outcome.tls == "TLSv1.3 X verified"


@pytest.mark.parametrize("cut", range(1, 40))
def test_replies_put_in_behind_the_220_in_clear_are_forgotten(cut: int) -> None:
    """CVE-2011-0411, the client's side."""
    client = greeted(SECURE, Terms(tls=Use.IFAVAILABLE))
    data = b"220 go\r\n250-evil\r\n250 CHUNKING\r\n250 more\r\n250 x"
    client.receive(data[:cut])
    if not client.wants_handshake:
        client.receive(data[cut:])
    client.secured("TLSv1.3")
    assert client.data_to_send().endswith(b"EHLO me.example\r\n")
    assert not client.is_ready
    client.receive(b"250 hop\r\n")
    assert (client.is_ready, client.extensions) == (True, {})


def test_required_tls_that_is_not_offered_ends_it_without_a_word() -> None:
    client = greeted(ALL, Terms(tls=Use.REQUIRED))
    assert (client.is_closed, client.is_unwilling) == (True, True)
    assert client.refusal == "450 4.7.4 [internal] TLS is required, but was not offered"
    assert client.data_to_send() == b""


def test_tls_that_is_not_offered_is_done_without_where_it_is_not_required() -> None:
    assert greeted(ALL, Terms(tls=Use.IFAVAILABLE)).is_ready
    assert greeted(SECURE, Terms()).is_ready


@pytest.mark.parametrize("reply", [b"454 4.7.0 not now\r\n", b"501 what?\r\n"])
def test_starttls_refused_says_so(reply: bytes) -> None:
    client = greeted(SECURE, Terms(tls=Use.IFAVAILABLE))
    client.receive(reply)
    assert (client.is_closed, client.is_unwilling, client.stage) == (True, True, 15)
    assert client.refusal == f"450 4.7.5 [internal] TLS failed: STARTTLS answered: {reply.decode().strip()}"


def test_requiretls_that_is_offered_in_clear_is_not_believed() -> None:
    client = greeted(b"250-hop\r\n250 REQUIRETLS\r\n", Terms())
    assert client.extensions == {}


def test_requiretls_is_passed_on_under_tls() -> None:
    client = greeted(SECURE, Terms(tls=Use.REQUIRED))
    client.receive(b"220 go\r\n")
    client.data_to_send()
    client.secured("TLSv1.3")
    client.receive(b"250-hop\r\n250 REQUIRETLS\r\n")
    client.data_to_send()
    client.begin(envelope("a@example.org", requires_tls=True), [rcpt("a@example.org")], 5)
    assert client.data_to_send() == b"MAIL FROM:<from@example.net> REQUIRETLS\r\n"


IDENTITY = Identity("192.0.2.7", "4711", "", "they+us.example", "ESMTP")


def test_xclient_says_what_is_offered_and_begins_anew() -> None:
    client = greeted(
        b"250-hop\r\n250 XCLIENT NAME ADDR PORT PROTO HELO LOGIN\r\n", Terms(Use.NO, Use.REQUIRED, IDENTITY)
    )
    assert client.data_to_send() == (
        b"XCLIENT NAME=[UNAVAILABLE] ADDR=192.0.2.7 PORT=4711 PROTO=ESMTP HELO=they+2Bus.example\r\n"
    )
    assert step(client) is Step.XCLIENT
    client.receive(b"220 hop ready\r\n")
    assert client.data_to_send() == b"EHLO they+us.example\r\n", "the session is another client's now"
    client.receive(b"250-hop\r\n250-XCLIENT NAME ADDR\r\n250 SIZE\r\n")
    assert (client.is_ready, client.is_introduced, client.data_to_send()) == (True, True, b"")


def test_xclient_comes_after_tls() -> None:
    client = greeted(
        b"250-hop\r\n250-XCLIENT ADDR\r\n250 STARTTLS\r\n", Terms(Use.IFAVAILABLE, Use.IFAVAILABLE, IDENTITY)
    )
    assert client.data_to_send() == b"STARTTLS\r\n"
    client.receive(b"220 go\r\n")
    client.secured("TLSv1.3")
    assert client.data_to_send() == b"EHLO me.example\r\n"
    client.receive(b"250-hop\r\n250 XCLIENT ADDR\r\n")
    assert client.data_to_send() == b"XCLIENT ADDR=192.0.2.7\r\n"


@pytest.mark.parametrize("offered", [b"250 hop\r\n", b"250-hop\r\n250 XCLIENT ADDR\r\n"])
def test_xclient_that_is_not_offered_or_not_taken(offered: bytes) -> None:
    for use in (Use.IFAVAILABLE, Use.REQUIRED):
        client = greeted(offered, Terms(Use.NO, use, IDENTITY))
        if client.data_to_send():
            client.receive(b"550 5.7.0 not you\r\n")
        assert client.is_ready == (use is Use.IFAVAILABLE)
        assert not client.is_introduced
        if use is Use.REQUIRED:
            assert (client.is_unwilling, (client.refusal or "")[:9]) == (True, "450 4.7.4")


@pytest.mark.parametrize(
    ("identity", "line"),
    [
        (Identity(), b"XCLIENT NAME=[UNAVAILABLE] ADDR=[UNAVAILABLE] HELO=[UNAVAILABLE]\r\n"),
        (
            Identity("2001:db8::1", "25", "", "a\r\nb=", "SMTP"),
            b"XCLIENT NAME=[UNAVAILABLE] ADDR=IPV6:2001:db8::1 PORT=25 PROTO=SMTP HELO=a+0D+0Ab+3D\r\n",
        ),
        (
            Identity.of(Envelope("m", "c", "", client_address="[2001:db8::2]:99", helo="h", protocol="SMTP")),
            b"XCLIENT NAME=[UNAVAILABLE] ADDR=IPV6:2001:db8::2 PORT=99 PROTO=SMTP HELO=h\r\n",
        ),
        (
            Identity.of(Envelope("m", "c", "", client_address="192.0.2.1:99", helo="h", protocol="UTF8SMTPS")),
            b"XCLIENT NAME=[UNAVAILABLE] ADDR=192.0.2.1 PORT=99 PROTO=ESMTP HELO=h\r\n",
        ),
    ],
)
def test_what_xclient_says(identity: Identity, line: bytes) -> None:
    assert xclient_command(identity, "NAME ADDR PORT PROTO HELO") == line


# --- BDAT ---------------------------------------------------------------------------------------------

CHUNKING = b"250-hop\r\n250-PIPELINING\r\n250 CHUNKING\r\n"


def test_a_small_body_goes_in_one_flight_with_mail_and_rcpt() -> None:
    client = ready(CHUNKING)
    client.begin(envelope("a@example.org"), [rcpt("a@example.org")], 5, is_small=True)
    assert client.wants_body
    sent = client.data_to_send() + client.body(b"hello")
    client.end_body()
    assert sent == b"MAIL FROM:<from@example.net>\r\nRCPT TO:<a@example.org>\r\nBDAT 5 LAST\r\nhello"
    assert (client.data_to_send(), step(client)) == (b"", Step.MAIL)
    client.receive(b"250 s\r\n250 r\r\n250 taken\r\n")
    assert answers(client) == [(250, "250 taken")]
    assert client.is_ready


@pytest.mark.parametrize(
    ("replies", "expected"),
    [
        (b"550 no\r\n503 x\r\n503 x\r\n", [(550, "550 no")] * 2),
        (b"250 s\r\n550 a\r\n451 b\r\n503 x\r\n", [(550, "550 a"), (451, "451 b")]),
        (b"250 s\r\n550 a\r\n250 b\r\n250 taken\r\n", [(550, "550 a"), (250, "250 taken")]),
        (b"250 s\r\n250 a\r\n250 b\r\n554 spam\r\n", [(554, "554 spam")] * 2),
        (b"421 bye\r\n503 x\r\n503 x\r\n503 x\r\n", [(421, "421 bye")] * 2),
        (b"250 s\r\n250 a\r\n421 bye\r\n554 x\r\n", [(421, "421 bye")] * 2),
        (b"250 s\r\n250 a\r\n250 b\r\n421 bye\r\n", [(421, "421 bye")] * 2),
        (b"250 s\r\n250 a\r\n421 bye\r\n250 taken\r\n", [(250, "250 taken"), (421, "421 bye")]),
    ],
)
def test_a_flight_that_is_refused_in_part(replies: bytes, expected: list[tuple[int, str]]) -> None:
    client = ready(CHUNKING)
    people = [rcpt("a@example.org"), rcpt("b@example.org")]
    client.begin(envelope("a@example.org", "b@example.org"), people, 2, is_small=True)
    client.body(b"hi")
    client.end_body()
    if replies.startswith(b"550"):
        replies += b"503 x\r\n"
    client.receive(replies)
    assert answers(client) == expected
    assert not client.chunking_refused
    if not client.is_closed and not any(code == 250 for code, _ in expected):
        client.data_to_send()
        client.begin(envelope("c@example.org"), [rcpt("c@example.org")], 2)
        assert client.data_to_send().startswith(b"RSET\r\nMAIL")


@pytest.mark.parametrize(
    "replies", [b"421 bye\r\n", b"250 s\r\n250 a\r\n421 bye\r\n", b"250 s\r\n421 bye\r\n421 b\r\n"]
)
def test_a_hop_that_says_421_and_has_the_body_is_heard_until_it_closes(replies: bytes) -> None:
    client = ready(CHUNKING)
    people = [rcpt("a@example.org"), rcpt("b@example.org")]
    client.begin(envelope("a@example.org", "b@example.org"), people, 2, is_small=True)
    client.body(b"hi")
    client.end_body()
    client.receive(replies)
    assert not client.transaction_done
    client.receive(b"")
    assert {code for code, _ in answers(client)} == {421}
    assert client.is_closed


def test_a_large_body_waits_for_the_replies_to_rcpt() -> None:
    client = ready(CHUNKING)
    client.begin(envelope("a@example.org"), [rcpt("a@example.org")], 300_000)
    assert client.data_to_send() == b"MAIL FROM:<from@example.net>\r\nRCPT TO:<a@example.org>\r\n"
    assert not client.wants_body
    client.receive(b"250 s\r\n550 no\r\n")
    assert answers(client) == [(550, "550 no")]


def test_lmtp_by_bdat_has_a_reply_for_each_accepted_recipient() -> None:
    client = ready(CHUNKING, Mode.LMTP)
    people = [rcpt("a@example.org"), rcpt("b@example.org"), rcpt("c@example.org")]
    client.begin(envelope("a@example.org", "b@example.org", "c@example.org"), people, 2, is_small=True)
    assert not client.wants_body
    client.data_to_send()
    client.receive(b"250 s\r\n250 a\r\n550 b\r\n250 c\r\n")
    assert (client.data_to_send(), client.body(b"hi")) == (b"BDAT 2 LAST\r\n", b"hi")
    client.end_body()
    client.receive(b"250 for a\r\n452 c full\r\n")
    assert answers(client) == [(250, "250 for a"), (550, "550 b"), (452, "452 c full")]


@pytest.mark.parametrize("code", [500, 502, 503, 504])
def test_a_hop_that_does_not_know_the_bdat_it_offered_is_found_out(code: int) -> None:
    client = ready(CHUNKING)
    client.begin(envelope("a@example.org"), [rcpt("a@example.org")], 2, is_small=True)
    client.body(b"hi")
    client.end_body()
    client.receive(b"250 s\r\n250 r\r\n%d what?\r\n" % code)
    assert client.chunking_refused


def test_bdat_is_left_alone_where_the_terms_say_so() -> None:
    client = greeted(CHUNKING, Terms(uses_chunking=False))
    client.begin(envelope("a@example.org"), [rcpt("a@example.org")], 2, is_small=True)
    assert client.data_to_send().endswith(b"DATA\r\n")
