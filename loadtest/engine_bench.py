"""How many messages a second the SMTP machine takes in one process, with no socket and no disk.

The whole dialogue of a kept connection: MAIL, RCPT, DATA, the text, each in a piece of its own as a client sends them
that doesn't pipeline. Run it with ``python -m loadtest.engine_bench [--profile] [--seconds S]``.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import time

from gsmtp.config.view import View
from gsmtp.core.clock import SystemClock
from gsmtp.smtp.events import NEED_DATA, Body, BodyStart
from gsmtp.smtp.session import Facts, Session

_FACTS = Facts("192.0.2.7", 40111, "198.51.100.1", 25, ":25", "00/01-00001-00000001", "mx.example.com")
_HEADER = (
    b"From: Sender <sender@client.example>\r\nTo: Reader <reader@example.com>\r\nSubject: a message\r\n"
    b"Date: Wed, 01 Jan 2025 00:00:00 +0000\r\nMessage-ID: <1@client.example>\r\n\r\n"
)
_LINE = b"The quick brown fox jumps over the lazy dog, and does so again.\r\n"


def text_of(size_bytes: int) -> bytes:
    """A message of about that size, as it stands on the wire, with its end."""
    lines = max(1, (size_bytes - len(_HEADER)) // len(_LINE))
    return _HEADER + _LINE * lines + b".\r\n"


def turn(session: Session, data: bytes) -> bytes:
    """Feed one piece and answer everything; returns what is to be sent."""
    session.receive_data(data)
    while (event := session.next_event()) is not NEED_DATA:
        kind = type(event)
        if kind is BodyStart:
            session.accept_body("00/01-00001-00000002")
        elif kind is not Body:
            session.reply()
    return session.data_to_send()


def measure(size_bytes: int, seconds: float) -> float:
    """Messages a second of that size."""
    session = Session(View(()), _FACTS, SystemClock())
    turn(session, b"EHLO client.example\r\n")
    text = text_of(size_bytes)
    pieces = (b"MAIL FROM:<sender@client.example>\r\n", b"RCPT TO:<reader@example.com>\r\n", b"DATA\r\n", text)
    count = 0
    begun = time.perf_counter()
    while (spent := time.perf_counter() - begun) < seconds:
        for _ in range(200):
            for piece in pieces:
                answer = turn(session, piece)
        count += 200
        assert answer.startswith(b"250 ")
    return count / spent


def main() -> None:
    """Print the figures, or where the time goes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    for size_bytes in (1024, 10240):
        if options.profile:
            with cProfile.Profile() as profile:
                measure(size_bytes, options.seconds)
            pstats.Stats(profile).sort_stats("tottime").print_stats(22)
        else:
            print(f"{size_bytes:6d} bytes: {measure(size_bytes, options.seconds):9,.0f} messages/s")


if __name__ == "__main__":
    main()
