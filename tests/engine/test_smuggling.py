"""A second message inside the first: what ends a body, and what could end it for the next server.

CVE-2023-51764, CVE-2023-51765 and CVE-2023-51766 came from servers that took a dot between other line ends than CR LF
for the end of the data, behind servers that passed such line ends on.
"""

from __future__ import annotations

import itertools
import re

import pytest

from tests.engine.driving import play

LONE_IN_BODY = "550 5.6.0 Lone CR or LF in body (see RFC2822 section 2.3)"
LONE_IN_HEADER = "550 5.6.0 Lone CR or LF in headers (see RFC2822 section 2.2)"
PLAIN = ("RFC2822_Trace_Headers = false", "RFC2822_Date_Header = ignore", "RFC2822_MessageID_Header = ignore")
GREETING = b"EHLO client.example\r\n"
ENVELOPE = b"MAIL FROM:<a@client.example>\r\nRCPT TO:<b@example.com>\r\n"
SMUGGLED = b"MAIL FROM:<evil@client.example>\r\nRCPT TO:<victim@example.com>\r\nDATA\r\nSubject: evil\r\n\r\nevil\r\n"

LINE_ENDS = (b"\n", b"\r", b"\r\n", b"\r\r\n", b"\n\r", b"\r\n\r", b"\n\n", b"\r\r")
FALSE_ENDS = [
    before + b"." + after
    for before, after in itertools.product(LINE_ENDS, repeat=2)
    if b"\r\n.\r\n" not in before + b"." + after
]


def stuffed(message: bytes) -> bytes:
    """The message as it goes on by DATA (RFC 5321 section 4.5.2), without the end."""
    if not message.endswith(b"\r\n"):
        message += b"\r\n"
    return (b"\r\n" + message).replace(b"\r\n.", b"\r\n..")[2:]


def lenient_ends(wire: bytes) -> list[int]:
    """Where a server that takes CR, LF and CR LF for line ends would see an end of data."""
    return [match.end() for match in re.finditer(rb"(?:\A|\r\n|\r|\n)\.(?=\r|\n)", wire)]


def _text(false_end: bytes) -> bytes:
    return b"Subject: x\r\n\r\nhello" + false_end + SMUGGLED


@pytest.mark.parametrize("cut", [None, 1, 3], ids=["whole", "by-1", "by-3"])
@pytest.mark.parametrize("mode", ["pedantic", "ignore"])
@pytest.mark.parametrize("false_end", FALSE_ENDS, ids=repr)
def test_a_false_end_ends_nothing_and_is_refused(false_end: bytes, mode: str, cut: int | None) -> None:
    stream = GREETING + ENVELOPE + b"DATA\r\n" + _text(false_end) + b".\r\nQUIT\r\n"
    pieces = [stream[start : start + cut] for start in range(0, len(stream), cut)] if cut else None
    played = play(stream, f"RFC2822_Lone_LF_In_Body = {mode}", *PLAIN, pieces=pieces)
    assert [str(reply) for reply in played.aborts] == [LONE_IN_BODY]
    assert not played.kept
    assert b"evil" not in played.sent
    assert not [event for event in played.seen if "evil" in event or "victim" in event]
    assert played.end == "quit"


@pytest.mark.parametrize("false_end", FALSE_ENDS, ids=repr)
def test_fix_makes_one_harmless_message_of_it(false_end: bytes) -> None:
    stream = GREETING + ENVELOPE + b"DATA\r\n" + _text(false_end) + b".\r\nQUIT\r\n"
    played = play(stream, "RFC2822_Lone_LF_In_Body = fix", *PLAIN)
    assert len(played.kept) == 1
    kept = played.kept[0]
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n", kept)
    assert kept.endswith(SMUGGLED)
    assert lenient_ends(stuffed(kept)) == []
    assert not [event for event in played.seen if "victim" in event]


@pytest.mark.parametrize("false_end", [end for end in FALSE_ENDS if b".\r\n" not in end], ids=repr)
def test_a_false_end_at_the_very_start(false_end: bytes) -> None:
    dot = false_end.index(b".")
    text = false_end[dot:] + SMUGGLED
    played = play(
        GREETING + ENVELOPE + b"DATA\r\n" + text + b".\r\nQUIT\r\n", "RFC2822_Missing_Headers = allow", *PLAIN
    )
    assert not played.kept
    assert [str(reply) for reply in played.aborts] == [LONE_IN_BODY]
    assert not [event for event in played.seen if "victim" in event]


@pytest.mark.parametrize("mode", ["pedantic", "ignore"])
@pytest.mark.parametrize("false_end", [end for end in FALSE_ENDS if end.startswith((b"\n", b"\r\r"))], ids=repr)
def test_a_chunk_may_hold_no_false_end_either(false_end: bytes, mode: str) -> None:
    """BDAT carries it here in safety; the way onwards may be DATA."""
    text = _text(false_end)
    stream = GREETING + ENVELOPE + b"BDAT %d LAST\r\n" % len(text) + text + b"QUIT\r\n"
    played = play(stream, "SMTP_Extensions = ( CHUNKING )", f"RFC2822_Lone_LF_In_Body = {mode}", *PLAIN)
    assert [str(reply) for reply in played.aborts] == [LONE_IN_BODY]
    assert played.end == "quit"


@pytest.mark.parametrize("cut", range(1, 8))
def test_a_false_end_across_chunks(cut: int) -> None:
    text = b"Subject: x\r\n\r\nab\n.\r\nc"
    split = len(text) - cut
    stream = GREETING + ENVELOPE + b"BDAT %d\r\n" % split + text[:split] + b"BDAT %d LAST\r\n" % cut + text[split:]
    played = play(stream, "SMTP_Extensions = ( CHUNKING )", "RFC2822_Lone_LF_In_Body = ignore", *PLAIN)
    assert [str(reply) for reply in played.aborts] == [LONE_IN_BODY]


@pytest.mark.parametrize(
    "last", [b"BDAT 17 LAST\r\nSubject: x\r\n\r\nb\n.", b"BDAT 17\r\nSubject: x\r\n\r\nb\n.BDAT 0 LAST\r\n"]
)
def test_a_false_end_that_the_next_hop_would_complete(last: bytes) -> None:
    played = play(
        GREETING + ENVELOPE + last, "SMTP_Extensions = ( CHUNKING )", "RFC2822_Lone_LF_In_Body = ignore", *PLAIN
    )
    assert [str(reply) for reply in played.aborts] == [LONE_IN_BODY]


def test_a_dot_line_in_a_chunk_is_text() -> None:
    text = b"Subject: x\r\n\r\n.\r\n..\r\n"
    played = play(
        GREETING + ENVELOPE + b"BDAT %d LAST\r\n" % len(text) + text, "SMTP_Extensions = ( CHUNKING )", *PLAIN
    )
    assert played.kept == [text]


@pytest.mark.parametrize(
    ("text", "mode", "kept"),
    [
        (b"a\nb\r\n", "ignore", b"a\nb\r\n"),
        (b"a\rb\r\n", "ignore", b"a\rb\r\n"),
        (b"a\r\r\nb\r\n", "ignore", b"a\r\r\nb\r\n"),
        (b"a\n..b\r\n", "ignore", b"a\n..b\r\n"),
        (b"a\nb\rc\r\r\n\n\r\n", "fix", b"a\r\nb\r\nc\r\n\r\n\r\n\r\n"),
        (b"a\r\n..\nb\r\n", "fix", b"a\r\n.\r\nb\r\n"),
    ],
)
def test_what_the_modes_keep(text: bytes, mode: str, kept: bytes) -> None:
    stream = GREETING + ENVELOPE + b"DATA\r\nSubject: x\r\n\r\n" + text + b".\r\n"
    for pieces in ([stream], [stream[i : i + 1] for i in range(len(stream))]):
        played = play(stream, f"RFC2822_Lone_LF_In_Body = {mode}", *PLAIN, pieces=pieces)
        assert played.kept == [b"Subject: x\r\n\r\n" + kept]


@pytest.mark.parametrize("text", [b"a\nb\r\n", b"a\rb\r\n", b"a\r\r\n", b"\n\r\n"])
def test_the_default_refuses_every_lone_line_end(text: bytes) -> None:
    played = play(GREETING + ENVELOPE + b"DATA\r\nSubject: x\r\n\r\n" + text + b".\r\n")
    assert [str(reply) for reply in played.aborts] == [LONE_IN_BODY]


HEADERS = [
    b"A: b\nC: d\r\n\r\n",
    b"A: b\rC: d\r\n\r\n",
    b"A: b\r\n\nx\r\n",
    b"A: b\n\nx\r\n",
    b"A: b\r\rx\r\n",
    b"A: b\n\r\nx\r\n",
]


@pytest.mark.parametrize("header", HEADERS, ids=repr)
def test_lone_line_ends_in_the_header_are_refused(header: bytes) -> None:
    stream = GREETING + ENVELOPE + b"DATA\r\n" + header + b".\r\n"
    for pieces in ([stream], [stream[i : i + 1] for i in range(len(stream))]):
        played = play(stream, *PLAIN, pieces=pieces)
        assert [str(reply) for reply in played.aborts] == [LONE_IN_HEADER]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (b"A: b\nC: d\n\nx\r\n", b"A: b\r\nC: d\r\n\r\nx\r\n"),
        (b"A: b\rC: d\r\rx\r\n", b"A: b\r\nC: d\r\n\r\nx\r\n"),
        (b"A: b\r\n\nx\ny\r\n", b"A: b\r\n\r\nx\ny\r\n"),
        (b"A: b\n\r\n.\r\n", None),
        (b"A: b\n c\r\n\r\n\r\n", b"A: b\r\n c\r\n\r\n\r\n"),
    ],
)
def test_fix_in_the_header_leaves_the_body_alone(text: bytes, kept: bytes | None) -> None:
    stream = GREETING + ENVELOPE + b"DATA\r\n" + text + b".\r\n"
    for pieces in ([stream], [stream[i : i + 1] for i in range(len(stream))]):
        played = play(
            stream, "RFC2822_Lone_LF_In_Headers = fix", "RFC2822_Lone_LF_In_Body = ignore", *PLAIN, pieces=pieces
        )
        # The fourth text ends at its own CR LF . CR LF; what follows is a command.
        assert played.kept == [kept if kept is not None else b"A: b\r\n\r\n"]


def test_a_line_break_of_ours_makes_no_false_end() -> None:
    """A line broken behind ``LF .`` would become one."""
    stream = GREETING + ENVELOPE + b"DATA\r\nA: b\r\n\r\n12345678\n.bc\r\n.\r\n"
    options = (
        "RFC2822_Max_Line_Length = 10",
        "RFC2822_Max_Line_Length_Policy = fix",
        "RFC2822_Lone_LF_In_Body = ignore",
    )
    played = play(stream, *options, *PLAIN)
    assert [str(reply) for reply in played.aborts] == [LONE_IN_BODY]


@pytest.mark.parametrize(
    "line", [b"NOOP\n", b"MAIL FROM:<a@b.example>\nRCPT TO:<c@d.example>\r\n", b"\n", b"NOOP\r\nRSET\n\r\n"]
)
def test_a_command_line_that_ends_in_lf_alone_is_the_last(line: bytes) -> None:
    played = play(GREETING + line + ENVELOPE)
    assert played.sent.endswith(b"\r\n500 5.5.2 command lines must end in CR LF\r\n")
    assert not [event for event in played.seen if event.startswith(("Mail", "Rcpt"))]
    assert played.end == "closed by reply"
