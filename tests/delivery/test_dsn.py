"""Delivery status notifications: their exact bytes, and that nothing in them can break them."""

from __future__ import annotations

import email
import email.policy
import os
import re
from dataclasses import replace
from email.message import EmailMessage, Message
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gsmtp.delivery.bounce_options import ALL, HEADERS, NONE
from gsmtp.delivery.dsn import DELAYED, DELIVERED, FAILED, RELAYED, Report, Told, compose, from_xtext, status_of
from gsmtp.delivery.dsn_original import MOST_HEAD_BYTES, MOST_WHOLE_BYTES, Original, read_original
from gsmtp.spool.base import StoredBody
from tests.delivery.kit import stored

T0 = 1_735_689_600.0
HEAD = b"From: Ann <from@example.net>\r\nSubject: lunch\r\n"
BOB = Told(
    "bob@example.org",
    FAILED,
    "550 5.1.1 no such user here",
    "10.0.0.20:24",
    is_remote=True,
    orcpt="rfc822;rob+2Blunch@example.org",
    last_wall=T0 + 60,
)
REPORT = Report(
    notice_id="00/01-00042-00000009",
    hostname="mx.example.com",
    mailer_daemon="mailer-daemon@mx.example.com",
    to="from@example.net",
    when_wall=T0 + 61,
    message_id="00/01-00042-00000001",
    received_wall=T0,
    recipients=(BOB,),
    original=Original(HEAD),
    envid="QQ+2B1",
)


def parsed(data: bytes) -> EmailMessage:
    message = email.message_from_bytes(data, policy=email.policy.SMTP)
    assert isinstance(message, EmailMessage)
    return message


def parts_of(data: bytes) -> list[Message]:
    """The parts; the outer head has been looked at."""
    message = parsed(data)
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "delivery-status"
    assert message.defects == []
    parts = message.get_payload()
    assert isinstance(parts, list)
    return [part for part in parts if isinstance(part, Message)]


def fields_of(data: bytes) -> list[dict[str, str]]:
    """The groups of fields of the part for programs."""
    groups = parts_of(data)[1].get_payload()
    assert isinstance(groups, list)
    return [dict(group.items()) for group in groups if isinstance(group, Message)]


def section(data: bytes, number: int) -> tuple[bytes, bytes]:
    """Head and content of a part, cut out at the boundaries."""
    found = re.search(rb'boundary="([^"]+)"', data)
    assert found
    head, _, content = data.split(b"\r\n--" + found[1])[number + 1].partition(b"\r\n\r\n")
    return head, content


def test_a_bounce_byte_for_byte() -> None:
    waited = Told(
        "eve@example.org",
        FAILED,
        "554 5.4.7 [internal] exceeded max time without delivery (last: 451 4.4.1 [internal] No valid hosts)",
        "10.0.0.20:24",
        last_wall=T0 + 60,
    )
    assert compose(replace(REPORT, recipients=(BOB, waited))).data == (
        b"Date: Wed, 01 Jan 2025 00:01:01 +0000\r\n"
        b"From: Mail Delivery System <mailer-daemon@mx.example.com>\r\n"
        b"To: <from@example.net>\r\n"
        b"Subject: Undelivered mail\r\n"
        b"Message-ID: <0001-00042-00000009.dsn@mx.example.com>\r\n"
        b"Auto-Submitted: auto-replied\r\n"
        b"MIME-Version: 1.0\r\n"
        b"Content-Type: multipart/report; report-type=delivery-status;\r\n"
        b'\tboundary="=_0001-00042-00000009"\r\n'
        b"\r\n"
        b"--=_0001-00042-00000009\r\n"
        b"Content-Type: text/plain; charset=us-ascii\r\n"
        b"\r\n"
        b"This is the mail system at mx.example.com.\r\n"
        b"\r\n"
        b"The message that came on Wed, 01 Jan 2025 00:00:00 +0000 could not be\r\n"
        b"delivered to the addresses below. It is not tried any more.\r\n"
        b"\r\n"
        b"  <bob@example.org>\r\n"
        b"    550 5.1.1 no such user here\r\n"
        b"    (said by 10.0.0.20:24)\r\n"
        b"\r\n"
        b"  <eve@example.org>\r\n"
        b"    554 5.4.7 [internal] exceeded max time without delivery (last: 451 4.4.1\r\n"
        b"    [internal] No valid hosts)\r\n"
        b"\r\n"
        b"--=_0001-00042-00000009\r\n"
        b"Content-Type: message/delivery-status\r\n"
        b"\r\n"
        b"Original-Envelope-Id: QQ+1\r\n"
        b"Reporting-MTA: dns; mx.example.com\r\n"
        b"Arrival-Date: Wed, 01 Jan 2025 00:00:00 +0000\r\n"
        b"X-Gsmtp-Queue-Id: 00/01-00042-00000001\r\n"
        b"\r\n"
        b"Original-Recipient: rfc822; rob+lunch@example.org\r\n"
        b"Final-Recipient: rfc822; bob@example.org\r\n"
        b"Action: failed\r\n"
        b"Status: 5.1.1\r\n"
        b"Remote-MTA: dns; [10.0.0.20]\r\n"
        b"Diagnostic-Code: smtp; 550 5.1.1 no such user here\r\n"
        b"Last-Attempt-Date: Wed, 01 Jan 2025 00:01:00 +0000\r\n"
        b"\r\n"
        b"Final-Recipient: rfc822; eve@example.org\r\n"
        b"Action: failed\r\n"
        b"Status: 5.4.7\r\n"
        b"Diagnostic-Code: X-gsmtp; 554 5.4.7 [internal] exceeded max time without\r\n"
        b" delivery (last: 451 4.4.1 [internal] No valid hosts)\r\n"
        b"Last-Attempt-Date: Wed, 01 Jan 2025 00:01:00 +0000\r\n"
        b"\r\n"
        b"--=_0001-00042-00000009\r\n"
        b"Content-Type: text/rfc822-headers\r\n"
        b"\r\n"
        b"From: Ann <from@example.net>\r\n"
        b"Subject: lunch\r\n"
        b"\r\n"
        b"--=_0001-00042-00000009--\r\n"
    )


UNTIL = b"Will-Retry-Until: Thu, 02 Jan 2025 00:00:00 +0000\r\n"
SAID = {
    DELAYED: b"The message that came on Wed, 01 Jan 2025 00:00:00 +0000 could not be\r\n"
    b"delivered yet to the addresses below. You need not send it again: it is\r\n"
    b"tried until Thu, 02 Jan 2025 00:00:00 +0000.\r\n",
    RELAYED: b"The message that came on Wed, 01 Jan 2025 00:00:00 +0000 was handed on for\r\n"
    b"the addresses below, to hosts that may send no notice of delivery.\r\n",
    DELIVERED: b"The message that came on Wed, 01 Jan 2025 00:00:00 +0000 was delivered to\r\nthe addresses below.\r\n",
}


@pytest.mark.parametrize(
    ("action", "reply", "subject", "status", "more"),
    [
        (
            DELAYED,
            "451 4.2.2 full",
            b"Delayed mail",
            b"4.2.2",
            b"Will-Retry-Until: Thu, 02 Jan 2025 00:00:00 +0000\r\n",
        ),
        (RELAYED, "250 2.6.0 queued", b"Mail was handed on", b"2.6.0", b""),
        (DELIVERED, "250 taken", b"Delivered mail", b"2.0.0", b""),
    ],
)
def test_the_other_notices_byte_for_byte(action: str, reply: str, subject: bytes, status: bytes, more: bytes) -> None:
    until = T0 + 86_400 if action == DELAYED else 0.0
    one = Told("bob@example.org", action, reply, "mx.example.org:25", True, "", T0 + 60, until)
    data = compose(replace(REPORT, recipients=(one,), original=Original(), envid="")).data
    assert data == (
        b"Date: Wed, 01 Jan 2025 00:01:01 +0000\r\n"
        b"From: Mail Delivery System <mailer-daemon@mx.example.com>\r\n"
        b"To: <from@example.net>\r\n"
        b"Subject: " + subject + b"\r\n"
        b"Message-ID: <0001-00042-00000009.dsn@mx.example.com>\r\n"
        b"Auto-Submitted: auto-replied\r\n"
        b"MIME-Version: 1.0\r\n"
        b"Content-Type: multipart/report; report-type=delivery-status;\r\n"
        b'\tboundary="=_0001-00042-00000009"\r\n'
        b"\r\n"
        b"--=_0001-00042-00000009\r\n"
        b"Content-Type: text/plain; charset=us-ascii\r\n"
        b"\r\n"
        b"This is the mail system at mx.example.com.\r\n"
        b"\r\n" + SAID[action] + b"\r\n"
        b"  <bob@example.org>\r\n"
        b"    " + reply.encode() + b"\r\n"
        b"    (said by mx.example.org:25)\r\n"
        b"\r\n"
        b"--=_0001-00042-00000009\r\n"
        b"Content-Type: message/delivery-status\r\n"
        b"\r\n"
        b"Reporting-MTA: dns; mx.example.com\r\n"
        b"Arrival-Date: Wed, 01 Jan 2025 00:00:00 +0000\r\n"
        b"X-Gsmtp-Queue-Id: 00/01-00042-00000001\r\n"
        b"\r\n"
        b"Final-Recipient: rfc822; bob@example.org\r\n"
        b"Action: " + action.encode() + b"\r\n"
        b"Status: " + status + b"\r\n"
        b"Remote-MTA: dns; mx.example.org\r\n"
        b"Diagnostic-Code: smtp; " + reply.encode() + b"\r\n"
        b"Last-Attempt-Date: Wed, 01 Jan 2025 00:01:00 +0000\r\n" + more + b"\r\n"
        b"--=_0001-00042-00000009--\r\n"
    )


def test_a_bounce_beyond_ascii_uses_the_types_of_rfc_6533() -> None:
    one = replace(BOB, address="дима@example.org", orcpt="utf-8;\\x{434}\\x{438}\\x{43C}\\x{430}@example.org")
    head = "Subject: обед\r\n".encode()
    report = replace(REPORT, to="jürgen@example.net", recipients=(one,), original=Original(head), is_utf8=True)
    composed = compose(report)
    assert composed.is_8bit
    assert "To: <jürgen@example.net>\r\n".encode() in composed.data
    assert b"\r\nContent-Transfer-Encoding: 8bit\r\n\r\n--=_" in composed.data
    text, status, original = (section(composed.data, number) for number in range(3))
    assert text[0].endswith(b"text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable")
    assert status[0] == b"\r\nContent-Type: message/global-delivery-status\r\nContent-Transfer-Encoding: 8bit"
    assert "Original-Recipient: utf-8; дима@example.org\r\nFinal-Recipient: utf-8; дима@e".encode() in status[1]
    assert original == (b"\r\nContent-Type: message/global-headers\r\nContent-Transfer-Encoding: 8bit", head)


def test_who_takes_no_utf_8_gets_ascii() -> None:
    one = replace(BOB, address="дима@example.org", orcpt="", reply="550 5.1.1 нет")
    data = compose(replace(REPORT, recipients=(one,), original=Original("Subject: é\r\n".encode("latin-1")))).data
    assert data.isascii()
    assert fields_of(data)[1]["Final-Recipient"] == "utf-8; \\x{434}\\x{438}\\x{43C}\\x{430}@example.org"
    assert fields_of(data)[1]["Diagnostic-Code"] == "smtp; 550 5.1.1 \\x{43D}\\x{435}\\x{442}"
    assert "550 5.1.1 нет" in parts_of(data)[0].get_payload(decode=True).decode()  # type: ignore[union-attr]
    head, content = section(data, 2)
    assert head == b"\r\nContent-Type: text/rfc822-headers\r\nContent-Transfer-Encoding: quoted-printable"
    assert content == b"Subject: =E9\r\n"


@pytest.mark.parametrize(
    ("body", "head"),
    [
        (b"Subject: x\r\n\r\nhello", b"Content-Type: message/rfc822"),
        (b"Subject: x\r\n\r\n\xe9", b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit"),
        (b"Subject: x\r\n\r\n" + b"l" * 998 + b"\r\n", b"Content-Type: message/rfc822"),
    ],
)
def test_a_whole_original_is_there_as_it_came(body: bytes, head: bytes) -> None:
    composed = compose(replace(REPORT, original=Original(body, is_whole=True)))
    assert section(composed.data, 2) == (b"\r\n" + head, body)
    assert composed.is_8bit is (b"8bit" in head)


@pytest.mark.parametrize("body", [b"a\r\n\r\nlone\nfeed", b"a\r\n\r\n\rx", b"a\r\n\r\n\0", b"a\r\n\r\n" + b"l" * 999])
def test_an_original_that_is_no_text_in_lines_is_encoded(body: bytes) -> None:
    data = compose(replace(REPORT, original=Original(body, is_whole=True))).data
    part = parts_of(data)[2]
    assert part.get_content_type() == "application/octet-stream"
    assert part.get_payload(decode=True) == body
    assert max(map(len, data.split(b"\r\n"))) <= 100


def test_an_original_that_holds_the_boundary_does_not_end_the_notice() -> None:
    body = b"Subject: x\r\n\r\n--=_0001-00042-00000009--\r\n\r\n--=_0001-00042-00000009.1\r\n"
    data = compose(replace(REPORT, original=Original(body, is_whole=True))).data
    assert section(data, 2)[1] == body
    assert len(parts_of(data)) == 3


@pytest.mark.parametrize(
    ("reply", "status"),
    [
        ("550 5.7.1 no", "5.7.1"),
        ("550 4.7.1 no", "5.0.0"),
        ("552 full", "5.2.2"),
        ("554 5.1.1.1 no", "5.0.0"),
        ("", "5.0.0"),
        ("5²0 x", "5.0.0"),
    ],
)
def test_the_status_of_a_failure(reply: str, status: str) -> None:
    assert status_of(FAILED, reply) == status


def test_xtext_is_decoded() -> None:
    assert from_xtext("a+2Bb+3Dc+40d") == "a+b=c@d"
    assert from_xtext("+C3+BC \\x{110000}") == "ü \N{REPLACEMENT CHARACTER}"


def test_envid_and_orcpt_cannot_add_fields() -> None:
    one = replace(BOB, orcpt="rfc822;a+0D+0AAction:+20delivered", reply="550 no\r\nAction: delivered")
    data = compose(replace(REPORT, recipients=(one,), envid="x+0D+0A+0D+0Ay", to="a\r\nBcc: b@example.net")).data
    assert b"Original-Envelope-Id: x????y\r\n" in data
    assert b"Original-Recipient: rfc822; a??Action: delivered\r\n" in data
    assert b"To: undisclosed-recipients:;\r\n" in data
    assert [group["Action"] for group in fields_of(data)[1:]] == ["failed"]
    assert parsed(data)["Bcc"] is None


@pytest.mark.parametrize(
    ("body", "wanted", "original"),
    [
        (b"A: 1\r\n\r\nx", NONE, Original()),
        (b"A: 1\r\n\r\nx", HEADERS, Original(b"A: 1\r\n")),
        (b"A: 1\r\n\r\nx", ALL, Original(b"A: 1\r\n\r\nx", is_whole=True)),
        (b"A: 1\r\n", HEADERS, Original(b"A: 1\r\n")),
        (b"\r\nA: 1\r\n", HEADERS, Original()),
        (
            b"A: 1\r\n" * 20_000,
            HEADERS,
            Original(b"A: 1\r\n" * (MOST_HEAD_BYTES // 6), note="Its header fields are cut off after 65532 bytes."),
        ),
        (
            b"A: 1\r\n\r\n" + b"x" * MOST_WHOLE_BYTES,
            ALL,
            Original(b"A: 1\r\n", note="It has 1048584 bytes, too many to go back; its header fields do."),
        ),
    ],
)
def test_what_is_read_of_an_original(body: bytes, wanted: str, original: Original, tmp_path: Path) -> None:
    assert read_original(stored(body), wanted) == original
    (tmp_path / "body").write_bytes(body)
    assert read_original(StoredBody(len(body), None, str(tmp_path / "body")), wanted) == original


def test_a_body_that_is_gone_is_told() -> None:
    found = read_original(StoredBody(5, None, os.devnull + "/no"), ALL)
    assert found == Original(note="Its text can't be read: Not a directory.")


def _texts(most: int = 60) -> st.SearchStrategy[str]:
    hard = st.sampled_from(["\r\n", "\0", "é", "\udcff", "<>", "\\x{41}", "+0D+0A", " ", "x" * 1200, "\u2028"])
    return st.lists(hard | st.text(max_size=20), max_size=4).map("".join)


ORIGINALS = st.builds(
    Original,
    st.lists(
        st.binary(max_size=40)
        | st.sampled_from([b"\r\n", b"\r\n\r\n", b"--=_0001-00042-00000009", b"\n", b"y" * 999, b"Subject: x\r\n"]),
        max_size=6,
    ).map(b"".join),
    st.booleans(),
)
RECIPIENTS = st.lists(
    st.builds(
        Told, _texts(), st.just(FAILED), _texts(), _texts(), st.booleans(), _texts(), st.floats(0, 4e9), st.just(0.0)
    ),
    min_size=1,
    max_size=3,
).map(tuple)


@given(_texts(), _texts(), RECIPIENTS, ORIGINALS, st.booleans())
def test_whatever_it_tells_a_notice_is_well_formed(
    to: str, envid: str, recipients: tuple[Told, ...], original: Original, is_utf8: bool
) -> None:
    report = replace(REPORT, to=to, envid=envid, recipients=recipients, original=original, is_utf8=is_utf8)
    composed = compose(report)
    data = composed.data
    assert b"\0" not in data
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n", data)
    assert all(len(line) <= 998 for line in data.split(b"\r\n"))
    assert composed.is_8bit is not data.isascii()
    assert is_utf8 or data.isascii() or original.is_whole
    data.partition(b"\r\n\r\n")[0].decode()
    assert len(parts_of(data)) == (3 if original.data else 2)
    names = ["Date", "From", "To", "Subject", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type"]
    assert [name for name in parsed(data) if name != "Content-Transfer-Encoding"] == names
    groups = section(data, 1)[1].split(b"\r\n\r\n")
    assert len([group for group in groups if group]) == 1 + len(recipients)
    assert [group.count(b"\r\nAction: failed\r\n") for group in groups[1:]] == [1] * len(recipients)
    if original.data:
        head, content = section(data, 2)
        part = email.message_from_bytes(head.lstrip() + b"\r\n\r\n" + content)
        is_encoded = part["Content-Transfer-Encoding"] in ("base64", "quoted-printable")
        found = part.get_payload(decode=True) if is_encoded else content
        assert found == original.data
