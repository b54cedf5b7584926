"""The fuzz target of the engine, with one invariant: it answers; no exception comes out.

By hand, for hours, where atheris is installed: ``python -m tests.fuzz.engine_target [corpus folder]``. In CI
`test_engine.py` gives it a bounded number of random cases.
"""

from __future__ import annotations

import sys

from gsmtp.smtp.auth_options import AUTH_PARAMETERS
from tests.engine.driving import Driver, session_of, view_of

_VIEWS = [
    view_of(),
    view_of(
        "SMTP_Extensions = ( CHUNKING BINARYMIME SMTPUTF8 DSN ENHANCEDSTATUSCODES "
        "XCLIENT XFORWARD XREMOTEIP XSETCONTEXT XDUMPCONTEXT LIMITS MT-PRIORITY )"
    ),
    view_of(
        "SMTP_Extensions = ( CHUNKING BINARYMIME )",
        "RFC2822_Lone_LF_In_Body = ignore",
        "RFC2822_Lone_LF_In_Headers = fix",
        "RFC2822_Missing_Headers = allow",
        "RFC2822_Max_Line_Length = 9",
        "RFC2822_Max_Line_Length_Policy = fix",
        "Max_Message_Size = 500",
    ),
    view_of(
        "RFC2822_Lone_LF_In_Body = fix",
        "RFC2821_Pedantic_Address_Rules = false",
        "Allow_Trailing_Whitespace_In_Commands = true",
        "Domain_For_Unqualified_Recipient_Addresses = example.com",
        "Domain_For_Unqualified_Sender_Address = example.com",
        "RFC2822_Max_Line_Length = pedantic",
        "Max_Junk_Commands = 0",
    ),
    view_of(
        'SMTP_Extensions = ( "AUTH PLAIN LOGIN CRAM-MD5 DIGEST-MD5 SCRAM-SHA-256" )',
        *(f'{option} = [ uri = "file:///users" ]' for option in AUTH_PARAMETERS),
    ),
]


def check(data: bytes) -> None:
    """One case: the first byte chooses options, the second the size of the pieces, the rest is what the client says.

    Raises:
        AssertionError: the machine sent what is no reply, or kept text that was not cleaned as its options say.
        Exception: any is a bug.
    """
    if len(data) < 2:
        return
    driver = Driver(session_of(_VIEWS[data[0] % len(_VIEWS)]))
    size = data[1] or 65_536
    driver.begin()
    driver.feed(*(data[start : start + size] for start in range(2, len(data), size)))
    driver.feed(b"")
    sent = driver.played.sent
    assert driver.played.end, "the session did not end with its stream"
    assert sent.endswith(b"\r\n")
    for line in sent[:-2].split(b"\r\n"):
        assert line[:3].isdigit(), line
        assert line[3:4] in (b" ", b"-"), line
        assert b"\r" not in line, line
        assert b"\n" not in line, line


def main() -> None:
    """Run under atheris until it is stopped."""
    import atheris

    atheris.instrument_all()
    atheris.Setup(sys.argv, check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
