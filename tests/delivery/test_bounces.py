"""Who is told of what became of mail, over real sockets: bounces, dead letters, notices of delay and of delivery."""

from __future__ import annotations

import email
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from email.message import Message
from pathlib import Path
from typing import Any

import gevent
import gevent.event
import pytest

from gsmtp.config.scopes import Configuration
from gsmtp.config.tree import Scope
from gsmtp.core.clock import FixedClock
from gsmtp.core.envelope import Envelope, Recipient
from gsmtp.core.errors import SpoolError
from gsmtp.core.ids import IdMaker
from gsmtp.core.records import Attempt
from gsmtp.delivery.bounces import Bounces, warnings_due
from gsmtp.delivery.queue import Delivery
from gsmtp.runtime.native import HubMailbox, NativePool
from gsmtp.spool.base import Change, QueuedMessage, QueuedRecipient, Spool, State, Wish
from gsmtp.spool.memory import MemorySpool
from gsmtp.spool.sqlite import SqliteSpool
from tests.config_meaning.loading import compiled, messages
from tests.delivery.kit import Settings, configuration, envelope
from tests.delivery.test_queue import T0, Told, wait
from tests.support.ports import free_port
from tests.support.receiver import Receiver, answer
from tests.support.sink import EXTENSIONS, SILENT, Answer, Received, Sink

REFUSED: dict[bytes, Answer] = {b"no@a.example": b"550 5.1.1 no such user\r\n"}
WITHOUT_DSN = tuple(word for word in EXTENSIONS if word != "DSN")
TEXT = b"Subject: lunch\r\n\r\nat noon\r\n"


class Office:
    """A spool with a delivery that bounces. Mail to the sender, from@example.net, and to postmaster goes to `back`."""

    def __init__(self, spool: Spool, conf: Configuration, back: Sink) -> None:
        self.spool = spool
        self.back = back
        self.clock = FixedClock(T0)
        self.told = Told()
        self.announced: list[Envelope] = []
        self.pool = NativePool("IO", 2, HubMailbox())
        self.ids = IdMaker(spool.generation + 1, 42)
        self.bounces = Bounces(spool, self.pool, self.ids.next, self.clock, "mx.example.com")
        self.delivery = Delivery(
            spool,
            conf,
            self.pool,
            self.clock,
            self.told,
            failures=self.bounces,
            announced=self.announced.append,
            window=200,
        )

    def accept(self, *recipients: str | Recipient, body: bytes = TEXT, **more: Any) -> str:
        """Commit a message as the server does."""
        message = envelope(message_id=self.ids.next(), received_wall=self.clock.wall(), **more)
        message.recipients = [
            Recipient(one, one.rpartition("@")[2]) if isinstance(one, str) else one for one in recipients
        ]
        writer = self.spool.open()
        writer.write(body)
        results: list[SpoolError | None] = []

        def done(error: SpoolError | None) -> None:
            results.append(error)
            self.delivery.notify(message)

        self.spool.commit(message, writer, done)
        wait(lambda: results, "commit")
        assert results == [None]
        return message.message_id

    def outcomes(self, count: int) -> list[Attempt]:
        """The attempts, once there were so many and all of them are noted."""

        def is_done() -> bool:
            stats = self.delivery.stats()
            done = stats.delivered + stats.failed + stats.deferrals
            return len(self.told.deliveries) >= count and done >= count

        wait(is_done, f"{count} attempts")
        assert len(self.told.deliveries) == count
        return self.told.deliveries

    def bounce(self, count: int = 1) -> Received:
        """The newest of so many messages that came back."""
        wait(lambda: len(self.back.messages) >= count, f"{count} notices")
        assert len(self.back.messages) == count
        return self.back.messages[-1]

    def left(self) -> list[QueuedMessage]:
        """What is in the spool."""
        if isinstance(self.spool, MemorySpool):
            return self.spool.messages()
        return []

    def states(self) -> list[str]:
        """Of all recipients in the spool."""
        return [recipient.state for message in self.left() for recipient in message.recipients]

    def later(self, seconds: float) -> None:
        """Let time pass and have the queue look."""
        self.clock.advance(seconds)
        self.delivery.poke()


@contextmanager
def office(
    domain: Settings, *, spool: Spool | None = None, back: Sink | None = None, **settings: Any
) -> Iterator[Office]:
    """An Office for mail to a.example with these options."""
    with ExitStack() as stack:
        back = back or stack.enter_context(Sink())
        domains: dict[str, Settings] = {"a.example": domain, "example.net": {"Gateway": back.gateway}}
        conf = configuration(domains, **settings)
        home = Office(spool or MemorySpool(), conf, back)
        home.delivery.start()
        try:
            yield home
        finally:
            home.delivery.stop()
            home.pool.close()


def report_of(notice: Received) -> list[dict[str, str]]:
    """The groups of fields of a notice."""
    message = email.message_from_bytes(notice.body)
    assert message.get_content_type() == "multipart/report"
    status = message.get_payload(1)
    assert isinstance(status, Message)
    groups = status.get_payload()
    assert isinstance(groups, list)
    return [dict(group.items()) for group in groups if isinstance(group, Message)]


def returned(notice: Received) -> tuple[str, bytes] | None:
    """Type and text of the third part of a notice."""
    parts = email.message_from_bytes(notice.body).get_payload()
    assert isinstance(parts, list)
    if len(parts) < 3:
        return None
    part = parts[2]
    assert isinstance(part, Message)
    return part.get_content_type(), notice.body.split(b"\r\n--=_")[3].partition(b"\r\n\r\n")[2]


def to(address: str = "no@a.example", **more: Any) -> Recipient:
    """A recipient with parameters."""
    return Recipient(address, address.rpartition("@")[2], **more)


@pytest.fixture(params=["memory", "sqlite"])
def spool(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Spool]:
    """Both kinds."""
    found: Spool = MemorySpool() if request.param == "memory" else SqliteSpool.open_at(str(tmp_path / "spool"))
    yield found
    found.close()


# --- what failed ------------------------------------------------------------------------------------


def test_who_is_refused_at_rcpt_is_told_to_the_sender(spool: Spool) -> None:
    with Sink(rcpt=REFUSED) as sink, office({"Gateway": sink.gateway}, spool=spool) as home:
        message_id = home.accept(to(orcpt="rfc822;rob+2B1@a.example"), "ok@a.example", envid="Q+2B1")
        notice = home.bounce()
        assert (notice.mail, notice.rcpts) == (
            b"MAIL FROM:<> SIZE=%d" % len(notice.body),
            [b"RCPT TO:<from@example.net>"],
        )
        head = email.message_from_bytes(notice.body)
        assert head["From"] == "Mail Delivery System <mailer-daemon@mx.example.com>"
        assert head["To"] == "<from@example.net>"
        assert head["Auto-Submitted"] == "auto-replied"
        assert report_of(notice) == [
            {
                "Original-Envelope-Id": "Q+1",
                "Reporting-MTA": "dns; mx.example.com",
                "Arrival-Date": "Wed, 01 Jan 2025 00:00:00 +0000",
                "X-Gsmtp-Queue-Id": message_id,
            },
            {
                "Original-Recipient": "rfc822; rob+1@a.example",
                "Final-Recipient": "rfc822; no@a.example",
                "Action": "failed",
                "Status": "5.1.1",
                "Remote-MTA": "dns; [127.0.0.1]",
                "Diagnostic-Code": "smtp; 550 5.1.1 no such user",
                "Last-Attempt-Date": "Wed, 01 Jan 2025 00:00:00 +0000",
            },
        ]
        assert returned(notice) == ("text/rfc822-headers", b"Subject: lunch\r\n")
        assert [message.body for message in sink.messages] == [TEXT]
        home.outcomes(3)
        assert home.left() == []
        [told] = home.announced
        assert (told.reverse_path, told.protocol, told.size_bytes) == ("", "internal", len(notice.body))


def test_what_is_refused_at_its_end_bounces_for_all_in_one_notice(spool: Spool) -> None:
    script: dict[str, list[Answer]] = {"BODY": [b"554 5.6.0 not that\r\n"]}
    with Sink(script=script) as sink, office({"Gateway": sink.gateway}, spool=spool) as home:
        home.accept("1@a.example", "2@a.example", "3@a.example")
        groups = report_of(home.bounce())
        assert [group["Final-Recipient"] for group in groups[1:]] == [f"rfc822; {n}@a.example" for n in (1, 2, 3)]
        assert {group["Status"] for group in groups[1:]} == {"5.6.0"}
        home.outcomes(4)


def test_mixed_answers_of_lmtp_bounce_what_was_refused(spool: Spool) -> None:
    final: dict[bytes, Answer] = {b"full@a.example": b"452 4.2.2 full\r\n", b"no@a.example": b"550 5.1.1 no\r\n"}
    with (
        Sink(lmtp=True, final=final) as sink,
        office({"Gateway": sink.gateway, "Delivery_Method": "LMTP"}, spool=spool) as home,
    ):
        home.accept("ok@a.example", "full@a.example", "no@a.example")
        groups = report_of(home.bounce())
        assert [group["Final-Recipient"] for group in groups[1:]] == ["rfc822; no@a.example"]
        home.outcomes(4)
        if isinstance(spool, MemorySpool):
            assert home.states() == [State.DELIVERED, State.QUEUED, State.BOUNCED]


def test_what_expires_bounces() -> None:
    with office({"Gateway": f"127.0.0.1:{free_port()}", "Message_Expiration": 1000}) as home:
        home.accept("u@a.example")
        home.outcomes(1)
        home.later(1000)
        group = report_of(home.bounce())[1]
        assert (group["Status"], "Remote-MTA" in group) == ("5.4.7", False)
        assert group["Diagnostic-Code"].startswith("X-gsmtp; 554 5.4.7 [internal] exceeded max time without")
        home.outcomes(3)
        assert home.left() == []


def test_an_expired_message_is_not_tried_where_that_is_said() -> None:
    port = free_port()
    options: Settings = {
        "Gateway": f"127.0.0.1:{port}",
        "Message_Expiration": 1000,
        "Never_Attempt_Expired_Messages": True,
    }
    with office(options) as home:
        home.accept("u@a.example")
        home.outcomes(1)
        with Sink(port=port) as sink:
            home.later(1000)
            group = report_of(home.bounce())[1]
            assert group["Diagnostic-Code"] == (
                "X-gsmtp; 554 5.4.5 [internal] Delivery not attempted\r\n (message expired)"
            )
            assert sink.connections == 0


def test_whom_policy_refused_is_told(spool: Spool) -> None:
    with Sink() as sink, office({"Gateway": sink.gateway}, spool=spool) as home:
        home.accept(to(failure="550 5.7.1 not for you"), "ok@a.example")
        group = report_of(home.bounce())[1]
        assert (group["Final-Recipient"], group["Status"]) == ("rfc822; no@a.example", "5.7.1")
        assert group["Diagnostic-Code"] == "X-gsmtp; 550 5.7.1 not for you"
        assert [message.rcpts for message in sink.messages] == [[b"RCPT TO:<ok@a.example>"]]


def test_a_mailbox_that_does_not_exist_bounces(tmp_path: Path) -> None:
    (tmp_path / "a.example" / "known").mkdir(parents=True)
    maildir: Settings = {"Basedir": str(tmp_path), "Domains": ("a.example",), "Create_Users": False}
    with office({}, maildirs={"m": maildir}) as home:
        home.accept("no@a.example")
        assert report_of(home.bounce())[1]["Diagnostic-Code"] == "X-gsmtp; 550 5.1.1 [internal] no such mailbox"


def test_an_operator_may_bounce_whatever_the_options_say() -> None:
    options: Settings = {"Gateway": f"127.0.0.1:{free_port()}", "Failure_Action": "keep", "Generate_Bounces": False}
    options["Outbound_Throttle_Messages"] = "1/3600"  # the first try uses it up; to give up needs none
    with office(options) as home:
        message_id = home.accept("u@a.example")
        home.outcomes(1)
        assert home.spool.lease(message_id, 0)
        change = Change(message_id, 0, State.QUEUED, "bounced by root", T0, T0, wish=Wish.BOUNCE)
        home.spool.change([change], lambda error: home.delivery.poke())
        assert report_of(home.bounce())[1]["Diagnostic-Code"].startswith("X-gsmtp; 554 5.7.0 [internal] bounced by")


# --- what goes back ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "ret", "expected"),
    [
        ("none", "", None),
        ("headers", "", ("text/rfc822-headers", b"Subject: lunch\r\n")),
        ("all", "", ("message/rfc822", TEXT)),
        ("all", "HDRS", ("text/rfc822-headers", b"Subject: lunch\r\n")),
        ("none", "FULL", ("message/rfc822", TEXT)),
    ],
)
def test_ret_comes_before_the_option(option: str, ret: str, expected: tuple[str, bytes] | None) -> None:
    with Sink(rcpt=REFUSED) as sink, office({"Gateway": sink.gateway, "Bounces_Inline_Original": option}) as home:
        home.accept("no@a.example", ret=ret)
        assert returned(home.bounce()) == expected


def test_what_required_tls_goes_back_as_its_header_fields() -> None:
    """RFC 8689 section 5."""
    with Sink() as sink, office({"Gateway": sink.gateway}) as home:
        home.accept("no@a.example", ret="FULL", requires_tls=True)
        assert returned(home.bounce()) == ("text/rfc822-headers", b"Subject: lunch\r\n")


def test_a_large_original_goes_back_whole_from_its_file(tmp_path: Path) -> None:
    spool = SqliteSpool.open_at(str(tmp_path / "spool"), large_threshold=1000)
    body = TEXT + b"x" * 70 + b"\r\n" + "größer\r\n".encode() * 5000
    try:
        with Sink(rcpt=REFUSED) as sink, office({"Gateway": sink.gateway}, spool=spool) as home:
            home.accept("no@a.example", body=body, ret="FULL")
            notice = home.bounce()
            assert returned(notice) == ("message/rfc822", body)
            assert b" BODY=8BITMIME" in notice.mail
    finally:
        spool.close()


# --- who is told ------------------------------------------------------------------------------------


@pytest.mark.parametrize("notify", [("NEVER",), ("SUCCESS",), ("SUCCESS", "DELAY")])
def test_who_did_not_ask_for_failures_hears_of_none(notify: tuple[str, ...]) -> None:
    with Sink(rcpt=REFUSED) as sink, office({"Gateway": sink.gateway}) as home:
        home.accept(to(notify=notify), to("ok@a.example"))
        home.outcomes(2)
        assert (home.announced, home.left()) == ([], [])


def test_mail_from_the_null_sender_does_not_bounce() -> None:
    with Sink(rcpt=REFUSED) as sink, office({"Gateway": sink.gateway}) as home:
        home.accept("no@a.example", reverse_path="")
        assert home.outcomes(1)[0].kind == "failed"
        assert (home.announced, home.left()) == ([], [])


def test_mail_from_the_null_sender_may_be_told_to_an_operator() -> None:
    options: Settings = {"MDN_Failures_Notify": "postmaster@example.net", "MailerDaemon": "daemon@example.org"}
    with Sink(rcpt=REFUSED) as sink, office({"Gateway": sink.gateway, **options}) as home:
        home.accept("no@a.example", reverse_path="")
        notice = home.bounce()
        assert (notice.mail.split()[1], notice.rcpts) == (b"FROM:<>", [b"RCPT TO:<postmaster@example.net>"])
        assert email.message_from_bytes(notice.body)["From"] == "Mail Delivery System <daemon@example.org>"
        assert b"It has the null sender, so that its sender can't be told.\r\n" in notice.body


def test_a_failing_double_bounce_ends_it() -> None:
    """The message, its bounce, the notice of that to the operator; then nothing."""
    refusing: dict[bytes, Answer] = {
        b"from@example.net": b"550 5.1.1 gone\r\n",
        b"postmaster@example.net": b"550 5.1.1 gone, too\r\n",
    }
    with Sink(rcpt=REFUSED) as sink, Sink(rcpt=refusing) as back:
        everywhere = {"MDN_Failures_Notify": "postmaster@example.net"}
        with office({"Gateway": sink.gateway}, back=back, everywhere=everywhere) as home:
            home.accept("no@a.example")
            told = home.outcomes(3)
            assert [(attempt.sender, attempt.recipient) for attempt in told] == [
                ("from@example.net", "no@a.example"),
                ("", "from@example.net"),
                ("", "postmaster@example.net"),
            ]
            assert len(home.announced) == 2
            assert home.left() == []


def test_without_bounces_nothing_accepted_disappears() -> None:
    with Sink(rcpt=REFUSED) as sink, office({"Gateway": sink.gateway, "Generate_Bounces": False}) as home:
        home.accept("no@a.example")
        home.outcomes(1)
        assert (home.announced, home.states()) == ([], [State.DEAD])


@pytest.mark.parametrize(
    ("action", "bounces", "states"),
    [
        ("auto", 1, []),
        ("bounce", 1, []),
        ("keep", 0, [State.DEAD]),
        ("drop", 0, []),
    ],
)
def test_failure_action_decides(action: str, bounces: int, states: list[str]) -> None:
    options: Settings = {"Failure_Action": action}
    with Sink(rcpt=REFUSED) as sink, office({"Gateway": sink.gateway, **options}) as home:
        home.accept("no@a.example")
        home.outcomes(1 + bounces)
        assert len(home.announced) == bounces
        assert home.states() == states


def test_the_log_says_that_a_dead_letter_stays(caplog: pytest.LogCaptureFixture) -> None:
    with (
        caplog.at_level("WARNING", "gsmtp.delivery"),
        Sink(rcpt=REFUSED) as sink,
        office({"Gateway": sink.gateway, "Failure_Action": "keep"}) as home,
    ):
        message_id = home.accept("no@a.example")
        wait(lambda: home.states() == [State.DEAD], "the dead letter")
        assert [record.getMessage() for record in caplog.records] == [
            f"{message_id} for <no@a.example> stays as a dead letter"
        ]


def test_drop_drops_without_bounces_too() -> None:
    options: Settings = {"Failure_Action": "drop", "Generate_Bounces": False}
    with Sink(rcpt=REFUSED) as sink, office({"Gateway": sink.gateway, **options}) as home:
        home.accept("no@a.example")
        home.outcomes(1)
        assert (home.announced, home.left()) == ([], [])


def test_a_transports_stanza_decides_before_the_domain(tmp_path: Path) -> None:
    (tmp_path / "a.example" / "known").mkdir(parents=True)
    maildir: Settings = {
        "Basedir": str(tmp_path),
        "Domains": ("a.example",),
        "Create_Users": False,
        "Failure_Action": "keep",
    }
    with office({"Failure_Action": "drop"}, maildirs={"m": maildir}) as home:
        home.accept("no@a.example")
        home.outcomes(1)
        assert home.states() == [State.DEAD]


@contextmanager
def with_webhook(receiver: Receiver, back: Sink, more: str = "") -> Iterator[Office]:
    """An Office whose mail for a.example goes to a web application."""
    conf = compiled(
        f'''
        webhook "crm" {{
          domain = ( "a.example" )  url = "http://127.0.0.1:{receiver.port}/"  secret = ( "0123456789abcdef" ) {more}
        }}
        Domain "example.net" {{ gateway = "{back.gateway}" }}
        '''
    )
    home = Office(MemorySpool(), conf, back)
    home.delivery.start()
    try:
        yield home
    finally:
        home.delivery.stop()
        home.pool.close()


def test_what_a_program_refuses_is_kept_and_whom_policy_refuses_is_told() -> None:
    with Receiver(lambda _: answer("422 Unprocessable")) as receiver, Sink() as back:
        with with_webhook(receiver, back) as home:
            home.accept("no@a.example")
            home.outcomes(1)
            assert (home.announced, home.states()) == ([], [State.DEAD])
            home.accept(to("spam@a.example", failure="550 5.7.1 no"))
            assert report_of(home.bounce())[1]["Status"] == "5.7.1"
        with with_webhook(receiver, back, 'failure_action = "bounce"') as home:
            home.accept("no@a.example")
            group = report_of(home.bounce(2))[1]
            assert (group["Final-Recipient"], "Remote-MTA" in group) == ("rfc822; no@a.example", False)


@pytest.mark.parametrize("option", ["mailerdaemon", "mdn_failures_notify"])
def test_who_writes_and_hears_must_be_an_address(option: str) -> None:
    [problem] = messages(f"{option} = postmaster\n")
    assert "expected an address such as postmaster@example.com" in problem
    assert messages(f'{option} = "postmaster@example.com"\n') == []


def test_a_notice_that_cannot_be_composed_leaves_a_dead_letter() -> None:
    with Sink(rcpt=REFUSED) as sink, office({"Gateway": sink.gateway}) as home:

        def broken() -> str:
            raise RuntimeError("no id")

        home.bounces._next_id = broken
        home.accept("no@a.example", "ok@a.example")
        home.outcomes(2)
        assert home.states() == [State.DEAD, State.DELIVERED]
        assert "nobody can be told of" in home.told.problems[0]


class Stuck:
    """Native threads that never answer."""

    def __init__(self) -> None:
        self.is_asked = gevent.event.Event()

    def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Wait for ever."""
        self.is_asked.set()
        gevent.event.Event().wait()


def test_a_stop_while_a_notice_is_composed_keeps_what_was_delivered() -> None:
    final: dict[bytes, Answer] = {b"no@a.example": b"550 5.1.1 no\r\n"}
    with (
        Sink(lmtp=True, final=final) as sink,
        office({"Gateway": sink.gateway, "Delivery_Method": "LMTP"}) as home,
    ):
        stuck = Stuck()
        home.bounces._native = stuck
        home.accept("ok@a.example", "no@a.example")
        assert stuck.is_asked.wait(20)
        home.delivery.stop()
        wait(lambda: home.states() == [State.DELIVERED, State.QUEUED], "the record")


def _told_after_a_restart(spool: Spool, sink: Sink, domain: Settings) -> Received:
    """The notice that was left in the spool, which goes out at the next start, once."""
    with office({**domain, "Gateway": sink.gateway}, spool=spool) as again:
        again.ids = IdMaker(spool.generation + 2, 42)
        notice = again.bounce()
        groups = report_of(notice)
        assert [(group["Final-Recipient"], group["Action"]) for group in groups[1:]] == [
            ("rfc822; ok@a.example", "delivered")
        ]
        return notice


def test_a_stop_while_a_notice_of_success_is_composed_loses_none() -> None:
    spool = MemorySpool()
    lmtp: Settings = {"Delivery_Method": "LMTP"}
    with Sink(lmtp=True, extensions=WITHOUT_DSN) as sink:
        with office({**lmtp, "Gateway": sink.gateway}, spool=spool) as home:
            stuck = Stuck()
            home.bounces._native = stuck
            home.accept(to("ok@a.example", notify=("SUCCESS",)), "other@a.example")
            assert stuck.is_asked.wait(20)
            home.delivery.stop()
            wait(lambda: home.states() == [State.QUEUED], "the record, and the notice with it")
            assert not home.back.messages
        notice = _told_after_a_restart(spool, sink, lmtp)
        assert b"the server was stopping" in notice.body
        assert returned(notice) is None
        assert len(sink.messages) == 1


def test_a_stop_amid_the_answers_loses_no_notice_of_success() -> None:
    spool = MemorySpool()
    lmtp: Settings = {"Delivery_Method": "LMTP"}
    final: dict[bytes, Answer] = {b"slow@a.example": SILENT}
    with (
        Sink(lmtp=True, extensions=WITHOUT_DSN, final=final) as sink,
        office({**lmtp, "Gateway": sink.gateway}, spool=spool) as home,
    ):
        home.accept(to("ok@a.example", notify=("SUCCESS",)), "slow@a.example")
        wait(lambda: len(sink.messages) == 1, "the message at the hop")
        assert not home.delivery.drain(1.5)
        wait(lambda: home.states() == [State.DELIVERED, State.QUEUED, State.QUEUED], "the records, and the notice")
    with Sink(lmtp=True) as sink:
        _told_after_a_restart(spool, sink, lmtp)
        wait(lambda: len(sink.messages) == 1, "the other recipient's mail")
        assert sink.messages[0].rcpts == [b"RCPT TO:<slow@a.example>"]


# --- delay ------------------------------------------------------------------------------------------

DELAYS: Settings = {"Generate_Delay_DSN": True, "Retry_Interval": 1800, "Max_Retry_Interval": 1800}


def _warned(home: Office) -> list[int]:
    found: list[QueuedRecipient] = [recipient for message in home.left() for recipient in message.recipients]
    return [recipient.warned for recipient in found if recipient.address != "from@example.net"]


def test_notices_of_delay_come_after_1_3_and_7_hours() -> None:
    with office({"Gateway": f"127.0.0.1:{free_port()}", **DELAYS}) as home:
        home.accept("u@a.example")
        notices: list[float] = []
        for attempt in range(1, 17):
            home.outcomes(attempt + len(notices))
            if len(home.announced) > len(notices):
                notices.append((attempt - 1) / 2)
                home.bounce(len(notices))
                home.outcomes(attempt + len(notices))
            home.later(1800)
        assert notices == [1, 3, 7]
        group = report_of(home.bounce(3))[1]
        assert (group["Action"], group["Status"]) == ("delayed", "4.4.1")
        assert group["Will-Retry-Until"] == "Thu, 02 Jan 2025 00:00:00 +0000"
        assert _warned(home) == [3]


@pytest.mark.parametrize(
    ("options", "notify", "sender"),
    [
        ({"Generate_Delay_DSN": False}, (), "from@example.net"),
        ({"Generate_Delay_DSN": False}, ("DELAY",), "from@example.net"),
        (DELAYS, ("FAILURE",), "from@example.net"),
        (DELAYS, ("NEVER",), "from@example.net"),
        (DELAYS, (), ""),
    ],
)
def test_who_hears_of_no_delay(options: Settings, notify: tuple[str, ...], sender: str) -> None:
    with office({**options, "Gateway": f"127.0.0.1:{free_port()}"}) as home:
        home.accept(to("u@a.example", notify=notify), reverse_path=sender)
        home.outcomes(1)
        home.later(7200)
        home.outcomes(2)
        assert (home.announced, _warned(home)) == ([], [0])


def test_the_stanza_can_switch_notices_of_delay_off() -> None:
    conf = configuration({"a.example": {"Gateway": f"127.0.0.1:{free_port()}", **DELAYS}})
    off = configuration({}, maildirs={"x": {"Enabled": False}})
    off_scope = replace(off.tree.root.children[("maildir", "x")], kind="delay_dsn")
    assert isinstance(off_scope, Scope)
    conf.tree.root.children[("delay_dsn", "")] = off_scope
    with Sink() as back:
        home = Office(MemorySpool(), conf, back)
        home.delivery.start()
        home.accept("u@a.example")
        home.outcomes(1)
        home.later(7200)
        home.outcomes(2)
        home.delivery.stop()
        home.pool.close()
        assert home.announced == []


@pytest.mark.parametrize(
    ("age_s", "wait_s", "longest_s", "due"),
    [
        (0, 100, 400, 0),
        (300, 100, 400, 2),
        (700, 100, 400, 3),
        (1100, 100, 400, 4),
        (1500, 100, 400, 5),
        (99, 500, 50, 1),
    ],
)
def test_when_notices_of_delay_are_due(age_s: int, wait_s: int, longest_s: int, due: int) -> None:
    assert warnings_due(age_s, wait_s, longest_s) == due


# --- success ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lmtp", "extensions", "action"),
    [
        (False, WITHOUT_DSN, "relayed"),
        (True, WITHOUT_DSN, "delivered"),
        (False, EXTENSIONS, ""),
        (True, EXTENSIONS, ""),
    ],
)
def test_success_is_told_where_the_next_hop_does_not(lmtp: bool, extensions: tuple[str, ...], action: str) -> None:
    with Sink(lmtp=lmtp, extensions=extensions) as sink:
        method = "LMTP" if lmtp else "ESMTP"
        with office({"Gateway": sink.gateway, "Delivery_Method": method}) as home:
            home.accept(to("ok@a.example", notify=("SUCCESS", "FAILURE"), orcpt="rfc822;o@a.example"), "u@a.example")
            if not action:
                home.outcomes(2)
                assert home.announced == []
                assert sink.messages[0].rcpts[0].endswith(b" NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;o@a.example")
                return
            groups = report_of(home.bounce())
            assert [(group["Final-Recipient"], group["Action"]) for group in groups[1:]] == [
                ("rfc822; ok@a.example", action)
            ]
            assert groups[1]["Status"].startswith("2.")
            assert returned(home.bounce()) == ("text/rfc822-headers", b"Subject: lunch\r\n")


def test_delivery_into_a_maildir_is_told(tmp_path: Path) -> None:
    with office({}, maildirs={"m": {"Basedir": str(tmp_path), "Domains": ("a.example",)}}) as home:
        home.accept(to("ok@a.example", notify=("SUCCESS",)), ret="FULL")
        notice = home.bounce()
        assert report_of(notice)[1]["Action"] == "delivered"
        assert returned(notice) == ("text/rfc822-headers", b"Subject: lunch\r\n"), "RET=FULL is for failures"


def test_the_null_sender_hears_of_no_success() -> None:
    with Sink(extensions=WITHOUT_DSN) as sink, office({"Gateway": sink.gateway}) as home:
        home.accept(to("ok@a.example", notify=("SUCCESS",)), reverse_path="")
        home.outcomes(1)
        assert home.announced == []
