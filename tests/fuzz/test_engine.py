"""A bounded number of random cases for the fuzz target: each run tries other ones, and says the seed."""

from __future__ import annotations

import os
import random

import pytest

from tests.fuzz.engine_target import check

_WORDS = [
    b"EHLO ", b"HELO ", b"MAIL FROM:<", b"RCPT TO:<", b">", b"DATA\r\n", b"BDAT ", b" LAST\r\n", b"RSET\r\n",
    b"QUIT\r\n", b"NOOP", b"VRFY ", b"EXPN ", b"HELP", b"\r\n", b"\r\n.\r\n", b"\n.\n", b"\r", b"\n", b".", b"..",
    b"@", b"a@b.example", b"example.com", b"[192.0.2.1]", b"[IPv6:::1]", b'"', b"\\", b"@r.example:", b" SIZE=",
    b"AUTH ", b"PLAIN ", b"LOGIN", b"CRAM-MD5", b"DIGEST-MD5\r\n", b"SCRAM-SHA-256 ", b" AUTH=<>", b"*\r\n", b"=",
    b"AHRpbQB0YW5zdGFhZnRhbnN0YWFm", b"dGlt\r\n", b"biwsbj11c2VyLHI9YWJj\r\n", b"dGltIHg=",
    b" BODY=8BITMIME", b" BODY=BINARYMIME", b" SMTPUTF8", b" RET=HDRS", b" ENVID=x", b" NOTIFY=NEVER",
    b" ORCPT=rfc822;x", b"0", b"7", b"99999", b"99999999999999999999", b" ", b"\t", b"\x00", b"\xff", "ä例".encode(),
    b"Subject: x\r\n", b"Date: x\r\n", b"x" * 40, b"y" * 3000, b"Return-Path: <z>\r\n",
    b"MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\n", b"EHLO a\r\n",
]  # fmt: skip


_ENVELOPE = b"EHLO a\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\n"
_BEGINNINGS = [
    b"",
    _ENVELOPE,
    _ENVELOPE + b"DATA\r\n",
    _ENVELOPE + b"DATA\r\nA: b\r\n\r\n",
    b"EHLO a\r\nAUTH PLAIN\r\n",
    b"EHLO a\r\nAUTH SCRAM-SHA-256 biwsbj11c2VyLHI9YWJj\r\n",
    _ENVELOPE + b"BDAT 90\r\nA: b\r\n",
]


def _case(dice: random.Random) -> bytes:
    # A lone LF ends a session that reads commands: it is rare, so that most cases get further.
    words = [dice.choice(_WORDS) if dice.random() < 0.95 else dice.randbytes(3) for _ in range(dice.randrange(30))]
    if dice.random() < 0.7:
        words = [word for word in words if word not in (b"\n", b"\n.\n")]
    return dice.randbytes(2) + dice.choice(_BEGINNINGS) + b"".join(words)


@pytest.mark.parametrize("number", range(8))
def test_random_sessions(number: int) -> None:
    seed = int(os.environ.get("GSMTP_FUZZ_SEED", "0")) or random.SystemRandom().getrandbits(32)
    dice = random.Random(seed + number)
    for _ in range(int(os.environ.get("GSMTP_FUZZ_CASES", "250"))):
        data = _case(dice)
        try:
            check(data)
        except Exception as error:
            error.add_note(f"seed {seed}, case {data!r}")
            raise


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x01\x00EHLO a\r\n\xff\xfe\r\nMAIL FROM:<\xff@b>\r\n",
        b"\x01\x01MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nBDAT 99999999999999999999 LAST\r\nx",
        b"\x02\x00MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\nA: " + b"\xc3\xa4" * 9 + b"\r\n.\r\n",
    ],
)
def test_known_cases(data: bytes) -> None:
    check(data)
    assert len(data) < 200
