"""Momentum's log formats: a line for each kind of record, byte for byte, and back again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gsmtp.core.envelope import Envelope, Recipient
from gsmtp.core.records import Attempt, AuthAttempt, Authorization, Peering, Reception, Rejection
from gsmtp.core.reply import Reply, reply
from gsmtp.core.stages import Stage
from gsmtp.observe import formats

NOW = 1_700_000_000.75
MESSAGE, SESSION = "00/00-01234-0A1B2C3D", "10/00-01234-0A1B2C3E"


def peering(remote: str = "192.0.2.7:40111", local: str = "198.51.100.1:25", endpoint: str = "*:25") -> Peering:
    return Peering(SESSION, remote, local, endpoint)


def reception(
    *addresses: str, sender: str = "list@example.net", remote: str = "192.0.2.7:40111", **more: object
) -> Reception:
    recipients = [Recipient(address, address.rpartition("@")[2].lower()) for address in addresses]
    envelope = Envelope(MESSAGE, SESSION, sender, recipients, size_bytes=5120)
    return Reception(peering(remote), envelope, **more)  # type: ignore[arg-type]


def lines(data: bytes) -> list[str]:
    assert data.endswith(b"\n")
    return data.decode().split("\n")[:-1]


def test_a_reception_is_the_documented_line() -> None:
    assert lines(formats.receptions(reception("user@example.com"), NOW)) == [
        "1700000000@00/00-01234-0A1B2C3D@00/00-01234-0A1B2C3D@10/00-01234-0A1B2C3E@R@user@example.com"
        "@list@example.net@192.0.2.7@5120@esmtp@default@default"
    ]


HEAD = f"1700000000@{MESSAGE}@{MESSAGE}@{SESSION}@R"


@pytest.mark.parametrize(
    ("record", "tails"),
    [
        (
            reception("a@example.com", "b@example.org"),
            [
                "a@example.com@list@example.net@192.0.2.7@5120@esmtp@default@default",
                "b@example.org@list@example.net@192.0.2.7@5120@esmtp@default@default",
            ],
        ),
        (reception("a@example.com", sender=""), ["a@example.com@@@192.0.2.7@5120@esmtp@default@default"]),
        (
            reception("postmaster"),
            ["postmaster@@list@example.net@192.0.2.7@5120@esmtp@default@default"],
        ),
        (
            reception("a@example.com", remote="[2001:db8::7]:40111"),
            ["a@example.com@list@example.net@2001:db8::7@5120@esmtp@default@default"],
        ),
        (reception("a@example.com", remote=""), ["a@example.com@list@example.net@@5120@esmtp@default@default"]),
        (
            reception('"a@b\\"c"@example.com'),
            [r'"a\@b\\"c"@example.com@list@example.net@192.0.2.7@5120@esmtp@default@default'],
        ),
        (
            reception("jürgen@bücher.example", sender="伊@例.example"),
            ["jürgen@bücher.example@伊@例.example@192.0.2.7@5120@esmtp@default@default"],
        ),
        (
            reception('"a\nb\rc\td\x00\x7f"@example.com', sender="\udcff\u2028@x"),
            [r'"a\nb\rc\td\x00\x7f"@example.com@\xff\u2028@x@192.0.2.7@5120@esmtp@default@default'],
        ),
        (
            reception("a@example.com", mess={"binding_group": "bulk", "binding": "ip-1"}, protocol="internal"),
            ["a@example.com@list@example.net@192.0.2.7@5120@internal@bulk@ip-1"],
        ),
    ],
    ids=["two recipients", "null sender", "postmaster", "ipv6", "unix", "quoted", "utf-8", "controls", "binding"],
)
def test_receptions(record: Reception, tails: list[str]) -> None:
    assert lines(formats.receptions(record, NOW)) == [f"{HEAD}@{tail}" for tail in tails]


def test_a_blackholed_message_is_received_and_failed() -> None:
    record = reception("a@example.com", is_dropped=True)
    record.envelope.recipients[0].drop = True
    assert lines(formats.receptions(record, NOW)) == [
        f"{HEAD}@a@example.com@list@example.net@192.0.2.7@5120@esmtp@default@default",
        f"{HEAD[:-1]}P@example.com@0@default@default@0@0@0.000@@554 5.7.0 [internal] Blackholed",
    ]


def attempt(kind: str, **more: object) -> Attempt:
    hop = ("a@x", "b@example.com", "example.com", "10.0.0.1:25")
    fields: dict[str, object] = {"size_bytes": 5120, "remote": "192.0.2.25", **more}
    return Attempt(kind, MESSAGE, SESSION, *hop, "550 5.1.1 <b@example.com> who?", 3, 0.3934, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("record", "tail"),
    [
        (attempt("delivered"), "D@example.com@5120@default@default@2@0.393@192.0.2.25"),
        (
            attempt("deferred", stage=Stage.DURING_RCPT),
            r"T@example.com@0@default@default@4@2@0.393@192.0.2.25@550 5.1.1 <b\@example.com> who?",
        ),
        (
            attempt("failed", stage=Stage.READING_CONFIRMATION, sent_bytes=5120),
            r"P@example.com@5120@default@default@9@2@0.393@192.0.2.25@550 5.1.1 <b\@example.com> who?",
        ),
        (
            attempt("deferred", remote=""),
            r"T@example.com@0@default@default@0@2@0.393@@550 5.1.1 <b\@example.com> who?",
        ),
    ],
)
def test_deliveries(record: Attempt, tail: str) -> None:
    assert lines(formats.attempt(record, NOW)) == [f"1700000000@{MESSAGE}@{MESSAGE}@{SESSION}@{tail}"]


def test_heartbeats() -> None:
    assert formats.heartbeat(NOW) == b"1700000000@@@@M\n"
    assert formats.rejectlog_heartbeat(1_700_000_060.0) == b"1700000060: Marker 1\n"


def rejection(**more: object) -> Rejection:
    fields: dict[str, object] = {
        "peering": peering(),
        "state": "awaiting rcptto",
        "reply": reply(550, "5.7.1 relaying denied"),
        "conn": {"pathway": "default", "ehlo_string": "EHLO client.example", "ehlo_domain": "client.example"},
        "mess": {
            "mailfrom_string": "MAIL FROM:<a@b.example>",
            "mailfrom_localpart": "a",
            "mailfrom_domain": "b.example",
            "rcptto_domain": "other.example",
        },
        **more,
    }
    return Rejection(**fields)  # type: ignore[arg-type]


def test_a_rejection_is_the_documented_line() -> None:
    assert lines(formats.rejection(rejection(), NOW)) == [
        '1700000000: R="192.0.2.7:40111" L="198.51.100.1:25" C="10/00-01234-0A1B2C3E" PATH="default" '
        'PATH_GRP="default" P="awaiting rcptto" E=550 M=core CTXCONN=[pathway=default,'
        'ehlo_string="EHLO client.example",ehlo_domain=client.example] CTXMESS=[mailfrom_string='
        '"MAIL FROM:<a@b.example>",mailfrom_localpart=a,mailfrom_domain=b.example,rcptto_domain=other.example] '
        "relaying denied"
    ]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("plain", "plain"),
        ("", ""),
        ("two words", '"two words"'),
        ("a,b", '"a,b"'),
        ("a=b", '"a=b"'),
        ("[a]", '"[a]"'),
        ('say "hi"', r'"say \"hi\""'),
        ("back\\slash", r'"back\\slash"'),
        ("a\nb", r'"a\nb"'),
        ("\udce9", r'"\xe9"'),
        ("bücher", "bücher"),
    ],
)
def test_values_of_a_context_are_quoted_where_they_must_be(value: str, shown: str) -> None:
    [line] = lines(formats.rejection(rejection(conn={"k": value, "n": "1"}, mess={}), NOW))
    assert f" CTXCONN=[k={shown},n=1] CTXMESS=[] relaying denied" in line


def test_a_rejection_of_ipv6_of_several_lines_and_of_a_unix_client() -> None:
    text = Reply(550, "5.7.1", ("no", "way"))
    [line] = lines(formats.rejection(rejection(peering=peering("[2001:db8::7]:5", "[::1]:25"), check="spam"), NOW))
    assert line.startswith('1700000000: R="[2001:db8::7]:5" L="[::1]:25" C=')
    assert " M=spam CTXCONN=" in line
    [line] = lines(formats.rejection(rejection(peering=peering("", ""), check="", reply=text, conn={}), NOW))
    assert line.startswith('1700000000: R="" L="" C=')
    assert " M=core CTXCONN=[] " in line
    assert line.endswith("] no way")


def test_logins_are_the_documented_lines() -> None:
    alice = AuthAttempt(peering(endpoint="*:587"), "alice", "PLAIN", "pass", True)
    assert formats.authentication(alice, NOW) == b"1700000000@N@*:587@192.0.2.7:40111@alice@1\n"
    for status, tail in (("fail", b"N@*:587@192.0.2.7:40111@a\\@b@0"), ("timeout", b"T@*:587@192.0.2.7:40111@a\\@b@0")):
        record = AuthAttempt(peering(endpoint="*:587"), "a@b", "LOGIN", status, True)
        assert formats.authentication(record, NOW) == b"1700000000@" + tail + b"\n"


def test_console_commands_are_the_documented_lines() -> None:
    socket = peering("", "", "/tmp/2025")
    denied = Authorization(socket, "root", "shutdown", 0)
    assert formats.authorization(denied, 1_700_000_001) == b"1700000001@Z@/tmp/2025@@root@0@shutdown\n"
    allowed = Authorization(socket, "root", 'config set hostname "a@b"', 1, "root")
    assert formats.authorization(allowed, NOW) == (b'1700000000@Z@/tmp/2025@@root@1@config set hostname "a\\@b"@root\n')


def test_a_panic_is_one_line() -> None:
    assert formats.panic("scriptlet", "some text", NOW) == b"1700000000:scriptlet:some text\n"
    assert formats.panic("smtp", "a\nb", NOW) == b"1700000000:smtp:a\\nb\n"


TEXT = st.text(st.characters(), max_size=20) | st.binary(max_size=8).map(
    lambda data: data.decode("utf-8", "surrogateescape")
)


@given(st.lists(TEXT, min_size=1, max_size=5))
def test_what_is_escaped_can_be_read_back(fields: list[str]) -> None:
    line = "@".join(formats.escape(field) for field in fields)
    assert "\n" not in line
    assert formats.unescape(line.encode().decode()) == fields


@given(st.text(max_size=20), st.text(max_size=20), TEXT)
def test_a_reader_finds_the_fields_of_a_reception(user: str, sender: str, reason: str) -> None:
    record = reception(f"{user}@example.com", sender=f"{sender}@example.net")
    [line] = lines(formats.receptions(record, NOW))
    fields = formats.unescape(line)
    assert len(fields) == 14
    assert (fields[5], fields[6], fields[7], fields[8]) == (user, "example.com", sender, "example.net")
    failed = attempt("failed")
    failed.reply = reason
    [line] = lines(formats.attempt(failed, NOW))
    assert formats.unescape(line)[13:] == [reason]


@given(st.dictionaries(TEXT, TEXT, max_size=4))
def test_a_reader_finds_the_values_of_a_context(context: dict[str, str]) -> None:
    [line] = lines(formats.rejection(rejection(conn=context, mess={}), NOW))
    inside = line.partition("CTXCONN=[")[2].rpartition("] CTXMESS=[]")[0]
    assert dict(formats.context_pairs(inside)) == context
