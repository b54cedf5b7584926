"""Bodies come through octet for octet, and what was accepted can smuggle nothing through the next hop."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from gsmtp.smtp.extension import Offer
from gsmtp.smtp.parser import parse_mail, parse_rcpt
from gsmtp.smtp.profile import profile_for
from tests.engine.driving import play, view_of

_PLAIN = ("RFC2822_Trace_Headers = false", "RFC2822_Date_Header = ignore", "RFC2822_MessageID_Header = ignore")
_BEGINNING = b"EHLO a\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\n"
_TEXT = st.lists(st.sampled_from((b"\r\n", b"\n", b"\r", b".", b"..", b"a", b" ", b"bc")), max_size=24).map(b"".join)
_LINES = st.lists(
    st.binary(max_size=9).map(lambda line: line.replace(b"\r", b"").replace(b"\n", b""))
    | st.sampled_from((b".", b"..", b".a")),
    max_size=12,
)


def _stuffed(message: bytes) -> bytes:
    if not message.endswith(b"\r\n"):
        message += b"\r\n"
    return (b"\r\n" + message).replace(b"\r\n.", b"\r\n..")[2:]


@settings(max_examples=300, deadline=None)
@given(_LINES)
def test_a_body_comes_through_octet_for_octet(lines: list[bytes]) -> None:
    message = b"A: b\r\n\r\n" + b"".join(line + b"\r\n" for line in lines)
    by_data = play(_BEGINNING + b"DATA\r\n" + _stuffed(message) + b".\r\n", *_PLAIN)
    by_bdat = play(_BEGINNING + b"BDAT %d LAST\r\n" % len(message) + message, "SMTP_Extensions = ( CHUNKING )", *_PLAIN)
    assert by_data.kept == by_bdat.kept == [message]
    assert by_data.envelopes[0].size_bytes == len(message)


@settings(max_examples=500, deadline=None)
@given(
    _TEXT,
    st.sampled_from(("pedantic", "ignore", "fix")),
    st.sampled_from(("pedantic", "fix")),
    st.sampled_from(("none", "fix")),
    st.booleans(),
)
def test_nothing_accepted_smuggles(text: bytes, body: str, header: str, lines: str, is_chunked: bool) -> None:
    """However the next hop reads line ends, it sees the end of the data only where we put it."""
    message = b"A: b\r\n\r\n" + text
    options = (
        f"RFC2822_Lone_LF_In_Body = {body}",
        f"RFC2822_Lone_LF_In_Headers = {header}",
        "RFC2822_Max_Line_Length = 6",
        f"RFC2822_Max_Line_Length_Policy = {lines}",
        "RFC2822_Missing_Headers = allow",
        "SMTP_Extensions = ( CHUNKING )",
        *_PLAIN,
    )
    if is_chunked:
        stream = _BEGINNING + b"BDAT %d LAST\r\n" % len(message) + message
    else:
        stream = _BEGINNING + b"DATA\r\n" + message + b"\r\n.\r\n"
    for kept in play(stream, *options).kept:
        onwards = _stuffed(kept)
        assert not re.search(rb"(?:\A|\r\n|\r|\n)\.(?=\r|\n)", onwards)
        if body == header == "fix":
            assert not re.search(rb"\r(?!\n)|(?<!\r)\n", kept)


_LOCAL = st.text('ab1+_-.!%"\\ @', min_size=1, max_size=9)
_DOMAIN = st.text("ab1-._", min_size=1, max_size=9)
_TAIL = st.sampled_from(("", " ", " SIZE=1", " SIZE=1 BODY=7BIT", "  SIZE=1", " SIZE=", "x"))


@settings(max_examples=500, deadline=None)
@given(_LOCAL, _DOMAIN, _TAIL, st.booleans(), st.booleans())
def test_the_short_way_reads_as_the_long_one(local: str, domain: str, tail: str, pedantic: bool, blanks: bool) -> None:
    rules = profile_for(
        Offer(
            view_of(
                f"RFC2821_Pedantic_Address_Rules = {str(pedantic).lower()}",
                f"RFC2821_Allow_Whitespace_In_Envelope = {str(blanks).lower()}",
            )
        ),
        "mx",
    ).addresses
    address = f"<{local}@{domain}>{tail}"
    # A quoted source route never matches the short way's pattern.
    for parse, word in ((parse_mail, "FROM"), (parse_rcpt, "TO")):
        short = parse(f"{word}:{address}", rules)
        long = parse(f"{word}:<@r.example:{address[1:]}", rules)
        assert (short is None) == (long is None)
        if short is not None and long is not None:
            assert (short.address, short.domain, list(short.parameters)) == (
                long.address,
                long.domain,
                list(long.parameters),
            )
