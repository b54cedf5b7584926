"""No cutting of the stream changes what happens: the same events, the same messages, the same bytes to the client."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.engine.driving import Played, play

_SETTINGS = st.lists(
    st.sampled_from(
        (
            "SMTP_Extensions = ( CHUNKING BINARYMIME SMTPUTF8 DSN ENHANCEDSTATUSCODES "
            "XCLIENT XFORWARD XREMOTEIP XSETCONTEXT XDUMPCONTEXT LIMITS MT-PRIORITY )",
            "Max_Message_Size = 60",
            "RFC2822_Lone_LF_In_Body = ignore",
            "RFC2822_Lone_LF_In_Body = fix",
            "RFC2822_Lone_LF_In_Headers = fix",
            "RFC2822_Missing_Headers = allow",
            "RFC2822_Max_Line_Length = pedantic",
            "RFC2822_Max_Line_Length = 12\nRFC2822_Max_Line_Length_Policy = fix",
            "RFC2822_Max_Line_Length = 12\nRFC2822_Max_Line_Length_Policy = reject",
            "RFC2822_Trace_Headers = false",
            "RFC2822_Date_Header = pedantic",
            "RFC2821_Pedantic_Address_Rules = false",
            "Require_EHLO = true",
            "Max_Junk_Commands = 3",
            "Max_Recipients_Per_Message = 1",
            "Max_Command_Length = 512",
        )
    ),
    max_size=6,
    unique=True,
)

_WORDS = st.sampled_from(
    (
        b"EHLO a\r\n", b"HELO a\r\n", b"MAIL FROM:<a@b.example>\r\n", b"MAIL FROM:<> BODY=BINARYMIME\r\n",
        b"RCPT TO:<c@d.example>\r\n", b"RCPT TO:<bad\r\n", b"DATA\r\n", b"BDAT 10\r\n", b"BDAT 7 LAST\r\n",
        b"BDAT 0 LAST\r\n", b"BDAT 0\r\n", b"RSET\r\n", b"NOOP\r\n", b"QUIT\r\n", b"FOO\r\n", b"A: b\r\n",
        b"XCLIENT ADDR=192.0.2.9 HELO=x\r\n", b"XREMOTEIP ::1\r\n", b"XDUMPCONTEXT\r\n", b"XSETCONTEXT a=b\r\n",
        b"Date: x\r\n", b"\r\n", b".\r\n", b"\r\n.\r\n", b"..\r\n", b"text and more text\r\n", b"\n.\r\n", b"\r.\r",
        b"\r", b"\n", b".", b" ", b"\r\n.\r", b"\r\n.", b"\x00\xff", "äö".encode(), b"x" * 30, b"X" * 600,
    )
)  # fmt: skip

_BEGINNING = b"EHLO a\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\n"
_STREAMS = st.builds(
    lambda beginning, words: beginning + b"".join(words),
    st.sampled_from(
        (b"", _BEGINNING, _BEGINNING + b"DATA\r\nA: b\r\n", _BEGINNING + b"DATA\r\n", _BEGINNING + b"BDAT 20\r\n")
    ),
    st.lists(_WORDS | st.binary(max_size=6), max_size=14),
)


def _cut(stream: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({cut % (len(stream) + 1) for cut in cuts} - {0, len(stream)})
    pieces = [stream[start:end] for start, end in zip([0, *places], [*places, len(stream)], strict=True)]
    return [piece for piece in pieces if piece]


def _outcome(played: Played) -> object:
    return played.sent, played.seen, played.kept, played.envelopes, played.aborts, played.end


@settings(max_examples=400, deadline=None)
@given(_STREAMS, _SETTINGS, st.lists(st.integers(0, 10_000), max_size=12))
@example(_BEGINNING + b"DATA\r\nA: b\r\n\r\n\r\n.\r\rx\r\n.\r\n", ["RFC2822_Lone_LF_In_Body = ignore"], [60, 70])
def test_no_cutting_changes_anything(stream: bytes, options: list[str], cuts: list[int]) -> None:
    lines = [line for option in options for line in option.split("\n")]
    whole = play(stream, *lines, pieces=[stream] if stream else [], ends=True)
    assert _outcome(play(stream, *lines, pieces=_cut(stream, cuts), ends=True)) == _outcome(whole)
    single = [stream[i : i + 1] for i in range(len(stream))]
    assert _outcome(play(stream, *lines, pieces=single, ends=True)) == _outcome(whole)
    assert whole.end


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 140_000), st.sampled_from((b"\r\n", b"\n")), st.lists(st.integers(0, 140_000), max_size=8))
@example(2046, b"\r\n", [])
@example(2047, b"\r\n", [2048])
@example(131_070, b"\r\n", [131_071])
@example(131_071, b"\r\n", [131_072])
@example(131_072, b"\n", [131_072])
def test_long_lines_are_judged_by_their_length_alone(length: int, end: bytes, cuts: list[int]) -> None:
    stream = b"x" * length + end + b"NOOP\r\n"
    whole = play(stream, pieces=[stream], ends=True)
    assert _outcome(play(stream, pieces=_cut(stream, cuts), ends=True)) == _outcome(whole)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(262_100, 262_200),
    st.booleans(),
    st.lists(st.integers(262_000, 262_400), max_size=6),
    st.sampled_from((b"A: b", b"nothing")),
)
def test_large_header_sections_are_judged_by_their_length_alone(
    length: int, is_closed: bool, cuts: list[int], first: bytes
) -> None:
    header = first + b"\r\n" + b"B: c" + b"d" * (length - len(first) - 10) + b"\r\n" + (b"\r\n" if is_closed else b"")
    stream = _BEGINNING + b"DATA\r\n" + header + b"body\r\n.\r\nNOOP\r\n"
    whole = play(stream, pieces=[stream], ends=True)
    assert _outcome(play(stream, pieces=_cut(stream, cuts), ends=True)) == _outcome(whole)
