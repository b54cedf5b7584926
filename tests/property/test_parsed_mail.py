"""Reading messages never raises, whatever the bytes, and always gives text that can be sent as UTF-8."""

from __future__ import annotations

from dataclasses import astuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gsmtp.core.parsedmail import Address, decode_words, parse

PIECES = st.sampled_from(
    [
        b"\r\n", b"\n", b"\r", b"\r\n\r\n", b" ", b"--a\r\n", b"--a--\r\n", b"--b\r\n", b"\xff\xfe", b"\x00", b"=",
        b"Content-Type: multipart/mixed; boundary=a\r\n", b"Content-Type: multipart/digest; boundary=\"b\"\r\n",
        b"Content-Type: message/rfc822\r\n", b"Content-Type: message/delivery-status\r\n", b"Content-Type: ;;=\r\n",
        b"Content-Type: text/html; charset=utf-7\r\n+2AA-", b"Content-Type: text/plain; charset=\"\x00hex\"\r\n",
        b"Content-Type: text/plain; charset*0*=x'; charset*99999999999999999999=y\r\n",
        b"Content-Transfer-Encoding: base64\r\n", b"Content-Transfer-Encoding: x-uuencode\r\n",
        b"begin 644 x\r\n!!\r\n", b"Content-Transfer-Encoding: quoted-printable\r\n",
        b"Content-Disposition: attachment; filename*=''%\r\n",
        b"Content-Disposition: attachment; filename*0*=\"utf-16'x'%ff\"; filename*2=z\r\n", b"Content-ID: <\r\n",
        b"From: =?utf-8?q?=\r\n", b"From: \"((((<<<@,;:\r\n", b"To: a:b;,\r\n", b"Cc: <@a,@b:c>\r\n",
        b"Subject: =?x?b?*?=\r\n", b"Subject: =?punycode?b?/////w==?=\r\n",
        b"Date: Mon, 31 Feb 99999 25:61:61 +9999\r\n", b"Message-ID: \r\n <x\r\n",
        b"Date: Fri, 31 Dec 9999 23:59:59 -1200\r\n", b": no name\r\n", b" continued\r\n",
    ]
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(st.binary(max_size=300), st.lists(st.one_of(PIECES, st.binary(max_size=20)), max_size=25).map(b"".join))
)
@example(b"".join(b"Content-Type: multipart/mixed; boundary=%d\r\n\r\n--%d\r\n" % (i, i) for i in range(1000)))
@example(b"To: " + b"(" * 50_000)
@example(b"To: " + b"a@b, " * 100_000)
@example(b"Content-Type:;charset*\r\n\r\n\x80 kept")
@example(b"Content-Type: text/plain; charset=unicode_escape\r\n\r\n\\ud800\\x")
def test_any_bytes_are_read(data: bytes) -> None:
    mail = parse(data)
    str(astuple(mail)).encode("utf-8")
    for part in mail.attachments:
        assert isinstance(part.content, bytes)
    for text in (mail.text, mail.html, mail.subject, *(one.name for one in mail.from_)):
        if text is not None:
            text.encode("utf-8")


@settings(max_examples=300)
@given(st.text(alphabet="=?utf-8qbQB_ \tÄé/wA*", max_size=60))
def test_encoded_words_of_any_kind_are_read(value: str) -> None:
    assert decode_words(value).encode("utf-8").decode("utf-8") == decode_words(value)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("=?utf-8?q?a_b?=", "a b"),
        ("=?utf-8?B?w6Q?=", "ä"),  # without its padding
        ("=?utf-8?b?Q?= x =?utf-8?b?Q?=", "=?utf-8?b?Q?= x =?utf-8?b?Q?="),  # broken words stay
        ("=?utf-8?q?=C3?=\t=?utf-8?q?=A4?=", "ä"),  # a letter cut in two
        ("=?iso-8859-1*de?q?=E4?= and =?utf-8?q?x?=", "ä and x"),
        ("=?no-such?q?=C3=A4?=", "ä"),
        ("a =?b", "a =?b"),
    ],
)
def test_encoded_words(written: str, meant: str) -> None:
    assert decode_words(written) == meant


def test_bodies_are_the_first_of_their_kind_and_the_rest_is_attached() -> None:
    mail = parse(
        b"From: Ann <ann@example.com>\nContent-Type: multipart/mixed; boundary=a\n\n"
        b"--a\nContent-Type: text/plain\nContent-Disposition: attachment; filename=first.txt\n\nattached\n"
        b"--a\nContent-Type: text/html\n\n<p>1</p>\n"
        b"--a\n\nplain\n"
        b"--a\nContent-Type: text/html\n\n<p>2</p>\n"
        b"--a\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; x\n\nAction: failed\n"
        b"--a\nContent-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nU3ViamVjdDogeA0KDQp5\n--a--\n"
    )
    assert (mail.text, mail.html) == ("plain", "<p>1</p>")
    assert mail.from_ == (Address("Ann", "ann@example.com"),)
    shown = [(one.name, one.content_type, one.content) for one in mail.attachments]
    assert shown[:2] == [("first.txt", "text/plain", b"attached"), ("", "text/html", b"<p>2</p>")]
    assert shown[2][2].replace(b"\r\n", b"\n").strip() == b"Reporting-MTA: dns; x\n\nAction: failed"
    assert shown[3][2] == b"Subject: x\r\n\r\ny"
    assert mail.header("FROM") == "Ann <ann@example.com>"


def test_a_multipart_without_parts_is_a_text() -> None:
    mail = parse(b"Content-Type: multipart/mixed\r\n\r\nhello\r\n")
    assert mail.text == "hello\n"
    assert mail.defects


def test_a_charset_that_the_library_stumbles_over_costs_no_text() -> None:
    assert parse(b"Content-Type:;charset*\r\n\r\nkept\x80").text == "kept\ufffd"
