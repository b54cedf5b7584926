"""The header fields that we add: Return-Path, Received, Authentication-Results, Date, Message-ID.

All are bytes that end in CR LF. What a client said (its EHLO name, its addresses) was checked before it gets here; what
may still stand in an address and would end a comment is quoted.
"""

from __future__ import annotations

import re
import time
from functools import lru_cache
from itertools import product
from typing import Final

_LONGEST_USER: Final = 255
_PVALUE: Final = re.compile(r"[A-Za-z0-9!#$%&'*+^_`{|}~-]+(?:[.@][A-Za-z0-9!#$%&'*+^_`{|}~-]+)*")

_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@lru_cache(maxsize=8)
def date_time(wall_s: int) -> str:
    """A date as header fields and the banner write it, in UTC.

    Args:
        wall_s: whole seconds since the epoch; the last few answers are kept, so that a busy second is laid out once.

    >>> date_time(1735689600)
    'Wed, 01 Jan 2025 00:00:00 +0000'

    Source: RFC 5322 section 3.3.
    """
    year, month, day, hour, minute, second, weekday, _, _ = time.gmtime(wall_s)
    return f"{_DAYS[weekday]}, {day:02} {_MONTHS[month - 1]} {year:04} {hour:02}:{minute:02}:{second:02} +0000"


def protocol_word(*, esmtp: bool, tls: bool = False, authenticated: bool = False, utf8: bool = False) -> str:
    """The word after ``with`` in Received.

    >>> protocol_word(esmtp=True, tls=True, authenticated=True)
    'ESMTPSA'

    Source: RFC 3848, RFC 6531 section 4.3.
    """
    if not esmtp and not (tls or authenticated or utf8):
        return "SMTP"
    return ("UTF8SMTP" if utf8 else "ESMTP") + "S" * tls + "A" * authenticated


PROTOCOL_WORDS: Final = {
    (esmtp, tls, authenticated, utf8): protocol_word(esmtp=esmtp, tls=tls, authenticated=authenticated, utf8=utf8)
    for esmtp, tls, authenticated, utf8 in product((False, True), repeat=4)
}
"""All of them, by esmtp, tls, authenticated and utf8."""


def received_from(client_ip: str, client_port: int, helo: str, hostname: str) -> str:
    """The part of Received that stays the same for a session: who, where, up to the reverse-path.

    Args:
        client_ip: "" for a client without an address (a Unix socket).
        client_port: its port.
        helo: what the client called itself, "" when it said no name.
        hostname: `Received_Hostname`.

    Source: RFC 5321 section 4.4; the form is that of reference/esmtp-listener.md section 10.2.
    """
    greeting = f" helo={helo}" if helo else ""
    if ":" in client_ip:
        who = f"[IPv6:{client_ip}] ([IPv6:{client_ip}]:{client_port}{greeting})"
    elif client_ip:
        who = f"[{client_ip}] ([{client_ip}:{client_port}]{greeting})"
    else:
        who = f"localhost (local{greeting})"
    return f"Received: from {who}\r\n        by {hostname} (envelope-from <"


def trace_fields(
    reverse_path: str,
    beginning: str,
    original: str,
    protocol: str,
    message_id: str,
    forward_path: str,
    wall_s: int,
) -> bytes:
    """Return-Path and Received of one message (RFC 5321 section 4.4).

    Args:
        reverse_path: the sender as it is answered to, "" for the null sender.
        beginning: what `received_from` gave.
        original: the sender as the client wrote it.
        protocol: as `protocol_word`, with what else is to stand there, e.g. ``"ESMTPS (cipher=…)"``.
        message_id: the queue id.
        forward_path: the recipient as the client wrote it when there is just one, else "": the others are nobody's
            business (RFC 5321 section 7.2).
        wall_s: when it was accepted.
    """
    if "(" in original or ")" in original or "\\" in original:
        original = original.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")
    whom = f"\r\n        for <{forward_path}>" if forward_path else ""
    return (
        f"Return-Path: <{reverse_path}>\r\n{beginning}{original}>)\r\n        (gsmtp) with {protocol}\r\n"
        f"        id {message_id}{whom}; {date_time(wall_s)}\r\n"
    ).encode()


def authentication_results(hostname: str, outcome: str, user: str) -> bytes:
    """An Authentication-Results field about a login.

    Args:
        hostname: `Received_Hostname`, by which readers know that the field is ours.
        outcome: ``"pass"``, ``"fail"`` or ``"temperror"`` (RFC 8601 section 2.7.4).
        user: as claimed; left out where it is too long or not ASCII.

    >>> authentication_results("mx.example.com", "pass", "alice")
    b'Authentication-Results: mx.example.com; auth=pass smtp.auth=alice\\r\\n'

    Source: RFC 8601 section 2.2; reference/esmtp-listener.md section 11.3.
    """
    who = ""
    if user and len(user) <= _LONGEST_USER and user.isascii() and user.isprintable():
        escaped = user.replace("\\", "\\\\").replace('"', '\\"')
        who = f" smtp.auth={user}" if _PVALUE.fullmatch(user) else f' smtp.auth="{escaped}"'
    return f"Authentication-Results: {hostname}; auth={outcome}{who}\r\n".encode()


def date(wall_s: int) -> bytes:
    """A Date field for a message that came without one (RFC 5322 section 3.6.1)."""
    return f"Date: {date_time(wall_s)}\r\n".encode()


def message_id(id_: str, hostname: str) -> bytes:
    """A Message-ID field for a message that came without one: the queue id is unique at this host.

    Source: RFC 5322 section 3.6.4.
    """
    return f"Message-ID: <{id_}@{hostname}>\r\n".encode()
