"""What a driver may rely on: answers, misuse, counters, names of states, bounded memory."""

from __future__ import annotations

import gc
import subprocess
import sys

import pytest

from gsmtp.config.view import View
from gsmtp.core.clock import FixedClock
from gsmtp.core.envelope import Envelope, Recipient
from gsmtp.core.errors import LocalProtocolError
from gsmtp.core.reply import IDLE_TIMEOUT, SPOOL_FULL, reply
from gsmtp.smtp.events import NEED_DATA, BodyStart, Connect, Mail
from gsmtp.smtp.message import MOST_HEADER_BYTES
from gsmtp.smtp.session import Session
from tests.engine.driving import Driver, play, session_of, view_of

GREETING = b"EHLO client.example\r\n"
ENVELOPE = b"MAIL FROM:<a@client.example>\r\nRCPT TO:<b@example.com>\r\n"
PLAIN = ("RFC2822_Trace_Headers = false", "RFC2822_Date_Header = ignore", "RFC2822_MessageID_Header = ignore")


def _answered(session: Session, data: bytes) -> None:
    session.receive_data(data)
    while (event := session.next_event()) is not NEED_DATA:
        if isinstance(event, BodyStart):
            session.accept_body("id")
        elif session.is_waiting:
            session.reply()


def test_the_engine_does_no_io() -> None:
    """Importing and running it loads no gevent and opens nothing."""
    code = (
        "import sys\n"
        "from tests.engine.driving import play\n"
        "played = play(b'EHLO a\\r\\nMAIL FROM:<a@b.example>\\r\\nRCPT TO:<c@d.example>\\r\\n'\n"
        "              b'DATA\\r\\nA: b\\r\\n\\r\\n.\\r\\nQUIT\\r\\n')\n"
        "assert played.end == 'quit' and len(played.kept) == 1\n"
        "names = ('gevent', 'greenlet', 'socket', 'ssl', 'threading', 'logging')\n"
        "print([name for name in names if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert run.stdout == "[]\n", run.stderr


def test_an_open_event_must_be_answered_first() -> None:
    session = session_of()
    assert isinstance(session.next_event(), Connect)
    waiting = [session.is_waiting]
    with pytest.raises(LocalProtocolError):
        session.next_event()
    session.reply()
    assert [*waiting, session.is_waiting] == [True, False]
    assert session.next_event() is NEED_DATA


def test_there_is_nothing_to_answer_between_events() -> None:
    session = session_of()
    session.next_event()
    session.reply()
    with pytest.raises(LocalProtocolError):
        session.reply()
    with pytest.raises(LocalProtocolError):
        session.accept_body("id")
    with pytest.raises(LocalProtocolError):
        session.refuse_body(SPOOL_FULL)


def test_a_body_is_accepted_with_its_id() -> None:
    driver = Driver(session_of())
    driver.begin()
    driver.feed(GREETING + ENVELOPE)
    driver.session.receive_data(b"DATA\r\n")
    assert isinstance(driver.session.next_event(), BodyStart)
    with pytest.raises(LocalProtocolError):
        driver.session.reply()
    driver.session.accept_body("id")
    assert driver.session.data_to_send() == b'354 continue.  finished with "\\r\\n.\\r\\n"\r\n'


def test_state_names_follow_the_session() -> None:
    session = session_of(view_of("SMTP_Extensions = ( CHUNKING )"))
    names = [session.state_name]
    session.next_event()
    names.append(session.state_name)
    session.reply()
    names.append(session.state_name)
    for line in (GREETING, b"MAIL FROM:<a@b.example>\r\n", b"RCPT TO:<b@example.com>\r\n"):
        session.receive_data(line)
        session.next_event()
        names.append(session.state_name)
        session.reply()
        names.append(session.state_name)
    session.receive_data(b"DATA\r\n")
    session.next_event()
    names.append(session.state_name)
    session.accept_body("id")
    names.append(session.state_name)
    session.receive_data(b"A: b\r\n\r\n.\r\n")
    session.next_event()
    session.next_event()
    names.append(session.state_name)
    session.reply()
    names.append(session.state_name)
    assert names == [
        "just connected",
        "just connected",
        "awaiting ehlo/helo",
        "awaiting ehlo/helo",
        "awaiting mailfrom",
        "awaiting mailfrom",
        "awaiting rcptto",
        "awaiting rcptto",
        "awaiting rcptto",
        "data phase",
        "reading body",
        "async body response",
        "awaiting mailfrom",
    ]


def test_the_envelope_holds_what_the_parameters_said() -> None:
    clock = FixedClock()
    session = session_of(
        view_of("SMTP_Extensions = ( DSN SMTPUTF8 )", *PLAIN), client_ip="2001:db8::7", client_port=5, clock=clock
    )
    driver = Driver(session)
    driver.begin()
    driver.feed(
        GREETING + b"MAIL FROM:<a@client.example> BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=e+2Bf SIZE=12\r\n"
        b"RCPT TO:<@hop.example:B@Example.COM.> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;b@example.com\r\n"
        b"RCPT TO:<postmaster>\r\nDATA\r\n"
    )
    clock.advance(5.5)
    driver.feed(b"A: b\r\n\r\n.\r\n")
    assert driver.played.envelopes == [
        Envelope(
            "00/2A-00001-00000002",
            "00/2A-00001-00000001",
            "a@client.example",
            [
                Recipient(
                    "B@Example.COM",
                    "example.com",
                    "@hop.example:B@Example.COM.",
                    ("SUCCESS", "DELAY"),
                    "rfc822;b@example.com",
                ),
                Recipient("postmaster", "", "postmaster"),
            ],
            1_735_689_605.5,
            8,
            "[2001:db8::7]:5",
            "client.example",
            "UTF8SMTP",
            "8BITMIME",
            True,
            "HDRS",
            "e+2Bf",
        )
    ]
    assert session.messages == 1
    assert session.recipients == 2


def test_a_mail_event_says_what_policy_needs() -> None:
    session = session_of(view_of("SMTP_Extensions = ( SMTPUTF8 )"))
    session.next_event()
    session.reply()
    session.receive_data("mail from:<Ä@Bücher.Example.> smtputf8 SIZE=77\r\n".encode())
    event = session.next_event()
    assert event == Mail(
        "Ä@Bücher.Example", "xn--bcher-kva.example", 77, "mail from:<Ä@Bücher.Example.> smtputf8 SIZE=77"
    )


def test_policy_may_change_a_recipient_before_it_answers() -> None:
    session = session_of()
    _answered(session, GREETING + b"MAIL FROM:<a@b.example>\r\n")
    session.receive_data(b"RCPT TO:<b@example.com>\r\n")
    event = session.next_event()
    event.recipient.address = "c@example.net"  # type: ignore[union-attr]
    event.recipient.drop = True  # type: ignore[union-attr]
    session.reply()
    assert session.transaction.recipients == [Recipient("c@example.net", "example.com", "b@example.com", drop=True)]


def test_transaction_and_body_are_seen_from_outside() -> None:
    session = session_of()
    driver = Driver(session)
    driver.begin()
    seen = []
    for line in (
        GREETING,
        b"MAIL FROM:<a@b.example>\r\n",
        b"RCPT TO:<b@example.com>\r\n",
        b"DATA\r\n",
        b"A: b\r\n",
        b".\r\n",
    ):
        driver.feed(line)
        seen.append((session.in_transaction, session.in_body))
    assert seen == [(False, False), (True, False), (True, False), (True, True), (True, True), (False, False)]
    assert session.transaction.reverse_path == ""
    assert session.helo == "client.example"
    assert session.esmtp


def test_refuse_body_forgets_the_rest_and_answers_at_the_end() -> None:
    driver = Driver(session_of(view_of(*PLAIN)))
    driver.begin()
    driver.feed(GREETING + ENVELOPE + b"DATA\r\nA: b\r\n\r\nfirst\r\n")
    driver.session.refuse_body(SPOOL_FULL)
    assert driver.feed(b"more\r\n") == b""
    assert driver.feed(b".\r\n") == SPOOL_FULL.wire(enhanced=False)
    assert driver.played.aborts == [SPOOL_FULL]
    assert driver.played.kept == []
    assert driver.feed(ENVELOPE).count(b"250 ") == 2


@pytest.mark.parametrize("before", [b"", GREETING, GREETING + ENVELOPE, GREETING + ENVELOPE + b"DATA\r\nA: b\r\n"])
def test_close_with_is_the_last_word(before: bytes) -> None:
    driver = Driver(session_of())
    driver.begin()
    driver.feed(*([before] if before else []))
    in_body = driver.session.in_body
    driver.session.close_with(IDLE_TIMEOUT)
    assert driver.session.is_over
    answer = driver.feed(b"NOOP\r\n")
    assert answer == b"421 4.4.2 idle timeout, closing connection\r\n"
    assert driver.played.end == "closed by reply"
    assert driver.played.aborts == ([None] if in_body else [])
    driver.session.close_with(IDLE_TIMEOUT)
    assert driver.feed(b"") == b""


def test_an_answer_behind_the_last_word_is_dropped() -> None:
    session = session_of()
    session.next_event()
    session.close_with(reply(421, "4.4.5 Service unavailable", close=True))
    session.reply()
    session.accept_body("id")
    assert session.data_to_send() == b"421 4.4.5 Service unavailable\r\n"


def test_closing_while_a_message_is_committed_doesnt_take_it_back() -> None:
    driver = Driver(session_of())
    driver.begin()
    driver.feed(GREETING + ENVELOPE + b"DATA\r\n")
    session = driver.session
    session.receive_data(b"A: b\r\n\r\n.\r\n")
    kinds = [type(session.next_event()).__name__ for _ in range(2)]
    session.close_with(IDLE_TIMEOUT)
    while (event := session.next_event()) is not NEED_DATA:
        kinds.append(type(event).__name__)
    assert kinds == ["Body", "BodyEnd", "Quit"]


def test_talking_too_early_is_noticed() -> None:
    session = session_of()
    session.receive_data(GREETING)
    session.next_event()
    session.reply()
    assert session.is_early_talker

    polite = Driver(session_of())
    polite.begin()
    polite.feed(GREETING, ENVELOPE + b"DATA\r\n", b"A: b\r\n\r\n.\r\n")
    assert not polite.session.is_early_talker
    polite.feed(ENVELOPE + b"DATA\r\nA: b\r\n\r\n.\r\n")
    assert polite.session.is_early_talker


@pytest.mark.parametrize("size", [100, 16384])
def test_a_line_without_end_costs_no_memory(size: int) -> None:
    line = b"x" * 1_000_000
    played = play(line, pieces=[line[start : start + size] for start in range(0, len(line), size)])
    assert played.most_pending <= 2048 + size
    assert played.sent.endswith(b"\r\n500 5.5.2 line too long\r\n")
    assert played.end == "closed by reply"


def test_a_text_without_end_waits_nowhere() -> None:
    driver = Driver(session_of(view_of("Max_Message_Size = 1000000")))
    driver.begin()
    driver.feed(GREETING + ENVELOPE + b"DATA\r\nA: b\r\n\r\n")
    piece = (b"x" * 60 + b"\r\n") * 1000
    for _ in range(100):
        driver.feed(piece)
    assert driver.played.most_pending <= 4
    assert driver.session.in_body


@pytest.mark.parametrize("size", [0, 5000])
def test_the_header_section_may_have_256_kib(size: int) -> None:
    field = b"X-Filler: " + b"y" * 1000 + b"\r\n"
    header = field * 260
    header = header[: MOST_HEADER_BYTES - 4] + b"\r\n\r\n"
    for text, is_good in ((header, True), (header[:-4] + b"y\r\n\r\n", False)):
        stream = GREETING + ENVELOPE + b"DATA\r\n" + text + b"body\r\n.\r\n"
        pieces = [stream[start : start + size] for start in range(0, len(stream), size)] if size else None
        played = play(stream, *PLAIN, pieces=pieces)
        assert played.kept == ([text + b"body\r\n"] if is_good else [])
        assert [str(answer) for answer in played.aborts] == (
            [] if is_good else ["552 5.3.4 message header size limit exceeded"]
        )


def test_sessions_of_one_view_share_their_profile() -> None:
    view = view_of("Max_Message_Size = 7")
    assert session_of(view).profile is session_of(view).profile
    assert session_of(view).profile is not session_of().profile


def test_profiles_of_an_old_configuration_are_let_go() -> None:
    old, new = View((), generation=1), View((), generation=2)
    session_of(old)
    session_of(new)
    assert not [referrer for referrer in gc.get_referrers(old) if isinstance(referrer, tuple)]


def test_a_session_that_waits_holds_nothing_that_was_used() -> None:
    driver = Driver(session_of(view_of(*PLAIN)))
    driver.begin()
    text = b"A: b\r\n\r\n" + b"x" * 100_000 + b"\r\n"
    driver.feed(GREETING + ENVELOPE + b"DATA\r\n", text)
    sizes = [len(driver.session._input.data)]
    driver.feed(b".\r\nNOO")
    sizes.append(len(driver.session._input.data))
    driver.feed(b"P\r\n")
    sizes.append(len(driver.session._input.data))
    assert sizes == [2, 3, 0]
    assert driver.session.transaction.recipients == driver.session.candidate.recipients == []


def test_tls_and_authentication_show_in_received() -> None:
    session = session_of()
    driver = Driver(session)
    driver.begin()
    driver.feed(GREETING)
    session.tls_cipher = "TLS_AES_256_GCM_SHA384"
    session.is_authenticated = True
    driver.feed(ENVELOPE + b"DATA\r\nA: b\r\n\r\n.\r\n")
    assert b"(gsmtp) with ESMTPSA (cipher=TLS_AES_256_GCM_SHA384)\r\n" in driver.played.kept[0]
    assert driver.played.envelopes[0].protocol == "ESMTPSA"


@pytest.mark.parametrize(
    ("client_ip", "expected"),
    [
        ("2001:db8::7", b"from [IPv6:2001:db8::7] ([IPv6:2001:db8::7]:40111 helo=client.example)\r\n"),
        ("", b"from localhost (local helo=client.example)\r\n"),
    ],
)
def test_received_names_the_client(client_ip: str, expected: bytes) -> None:
    driver = Driver(session_of(client_ip=client_ip))
    driver.begin()
    driver.feed(GREETING + ENVELOPE + b"DATA\r\nA: b\r\n\r\n.\r\n")
    assert b"\r\nReceived: " + expected in driver.played.kept[0]
