"""What clients do that mean harm, or are broken: each as a function that judges whether the server dealt with it.

A function returns when the server refused properly, and raises `Improper` when it did not. What a server may do: say
4xx or 5xx, answer, close, or wait for its own time-out. What it may not: take what it must refuse, go silent on a
client that waits for a reply, or speak no SMTP. Whether anything of this got into the spool is judged by the ledger
after the run.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import gevent

from loadtest.ledger import Ledger
from loadtest.smtp_client import Disconnected, Refused, Reply, SmtpClient, SmtpError, stuffed

TEXT = stuffed(b"From: a@load.example\r\nTo: b@example.com\r\nSubject: hostile\r\n\r\nnothing good\r\n")
MOST_REPLIES = 200


class Improper(SmtpError):
    """The server did what it may not."""


Behaviour = Callable[[SmtpClient, Ledger], object]
BEHAVIOURS: dict[str, Behaviour] = {}


def behaviour(function: Behaviour) -> Behaviour:
    """List a function under its name."""
    BEHAVIOURS[function.__name__.strip("_").replace("_", " ")] = function
    return function


def _expect(reply: Reply, *codes: int) -> Reply:
    if reply.code not in codes:
        raise Improper(f"{' or '.join(map(str, codes))} expected, got {reply}")
    return reply


def _refused_or_gone(client: SmtpClient, line: bytes) -> None:
    """Send a line that must not be taken: an error reply or the end of the connection."""
    client.send(line)
    try:
        reply = client.reply()
    except Disconnected as error:
        if "closed" in str(error) or "reset" in str(error):
            return
        raise
    if reply.is_good:
        raise Improper(f"taken: {line[:40]!r}: {reply}")


def _dialogue(client: SmtpClient, *lines: bytes) -> Reply:
    """Say lines one after the other; the last reply. Error replies of those before are improper."""
    reply = Reply(0, ())
    for number, line in enumerate(lines):
        client.send(line + b"\r\n")
        reply = client.reply()
        if number < len(lines) - 1 and not reply.is_good:
            raise Improper(f"{line[:40]!r}: {reply}")
    return reply


def _start(client: SmtpClient) -> None:
    client.connect()
    client.ehlo()


@behaviour
def garbage(client: SmtpClient, ledger: Ledger) -> None:
    """Lines of random bytes until the server has enough, or for a while."""
    client.connect()
    noise = random.Random()
    for _ in range(MOST_REPLIES):
        line = noise.randbytes(noise.randint(1, 200)).translate(None, b"\r\n") or b"?"
        client.send(b"\xff" + line + b"\r\n")
        try:
            reply = client.reply()
        except Disconnected as error:
            if "no SMTP" in str(error):
                raise Improper(str(error)) from error
            return
        if reply.is_good:
            raise Improper(f"garbage was taken: {reply}")
        if reply.code == 421:
            return


@behaviour
def an_endless_line(client: SmtpClient, ledger: Ledger) -> None:
    """A command of 256 KiB without an end."""
    _start(client)
    client.send(b"NOOP " + b"x" * 262_144)
    _refused_or_gone(client, b"\r\n")


@behaviour
def commands_in_no_order(client: SmtpClient, ledger: Ledger) -> None:
    """DATA before MAIL, RCPT before MAIL, a second MAIL."""
    _start(client)
    _expect(_dialogue(client, b"DATA"), 503)
    _expect(_dialogue(client, b"RCPT TO:<reader@example.com>"), 503)
    _expect(_dialogue(client, b"MAIL FROM:<a@load.example>", b"MAIL FROM:<b@load.example>"), 501, 503)
    client.quit()


@behaviour
def unknown_users(client: SmtpClient, ledger: Ledger) -> None:
    """Recipients at domains that are not served here: an open relay would take them."""
    _start(client)
    _expect(_dialogue(client, b"MAIL FROM:<a@load.example>"), 250)
    for number in range(20):
        reply = _dialogue(client, f"RCPT TO:<user{number}@elsewhere.example.net>".encode())
        if _expect(reply, 550, 551, 553, 554, 421).code == 421:
            return
    _expect(_dialogue(client, b"DATA"), 503, 554)
    client.close()


@behaviour
def too_many_recipients(client: SmtpClient, ledger: Ledger) -> None:
    """More than the server takes in one transaction: 452 for those above, the message goes to the others."""
    _start(client)
    delivery = ledger.deliver(client, [f"reader{number}@example.com" for number in range(150)], lambda _: TEXT)
    bad = next((reply for reply in delivery.recipients if not reply.is_good and reply.code not in (452, 552)), None)
    if bad is not None:
        raise Improper(f"452 expected, got {bad}")
    if delivery.accepted and (delivery.final is None or not delivery.final.is_good):
        raise Improper(f"the recipients below the limit were not served: {delivery.final}")
    client.quit()


@behaviour
def too_large(client: SmtpClient, ledger: Ledger) -> None:
    """A size beyond the limit, told in MAIL FROM."""
    _start(client)
    most = int(client.extensions.get("SIZE") or 0)
    if most:
        _expect(_dialogue(client, f"MAIL FROM:<a@load.example> SIZE={most + 1}".encode()), 552)
    client.quit()


@behaviour
def gone_within_data(client: SmtpClient, ledger: Ledger) -> None:
    """Half a text, then the connection is reset."""
    _start(client)
    lines = (b"MAIL FROM:<gone@load.example>", b"RCPT TO:<reader@example.com>", b"DATA")
    _expect(_dialogue(client, *lines), 354)
    client.send(TEXT[: len(TEXT) // 2])
    client.reset()


@behaviour
def gone_before_the_reply(client: SmtpClient, ledger: Ledger) -> None:
    """A whole message, and nobody there to read what became of it: it may be kept or not."""
    _start(client)
    token = ledger.token()
    lines = (f"MAIL FROM:<{token}@load.example>".encode(), b"RCPT TO:<reader@example.com>", b"DATA")
    _expect(_dialogue(client, *lines), 354)
    ledger.began(token, 1)
    client.send(TEXT)
    client.close()


@behaviour
def smuggling(client: SmtpClient, ledger: Ledger) -> None:
    """A second message behind an end of text that isn't one (CVE-2023-51764): the whole has to be refused."""
    _start(client)
    lines = (b"MAIL FROM:<smuggler@load.example>", b"RCPT TO:<reader@example.com>", b"DATA")
    _expect(_dialogue(client, *lines), 354)
    inner = b"MAIL FROM:<smuggled@load.example>\r\nRCPT TO:<reader@example.com>\r\nDATA\r\nhidden\r\n.\r\n"
    client.send(TEXT[:-3] + b"\n.\n" + inner)
    reply = client.reply()
    if reply.is_good:
        raise Improper(f"a bare LF in the text was taken: {reply}")
    client.reset()


@behaviour
def early_talker(client: SmtpClient, ledger: Ledger) -> None:
    """Everything at once, before the banner: refused, or answered in order, but never mixed up."""
    client.connect_only()
    client.send(b"EHLO early.example\r\nNOOP\r\nQUIT\r\n")
    first = client.reply()
    if first.code not in (220, 421, 550, 554):
        raise Improper(f"the first reply was {first}")
    try:
        while first.code == 220 and client.reply().code != 221:
            pass
    except Disconnected as error:
        if "no SMTP" in str(error):
            raise Improper(str(error)) from error
    client.close()


@behaviour
def one_byte_at_a_time(client: SmtpClient, ledger: Ledger) -> None:
    """A client that is very slow, and gets its answer all the same."""
    client.connect()
    for byte in b"EHLO slow.example\r\nNOOP\r\n":
        client.send(bytes((byte,)))
        gevent.sleep(0.02)
    _expect(client.reply(), 250)
    _expect(client.reply(), 250)
    client.quit()


@behaviour
def never_says_a_word(client: SmtpClient, ledger: Ledger) -> None:
    """Connects, waits, goes; others must not feel it."""
    client.connect()
    gevent.sleep(1.0)
    client.close()


@behaviour
def never_reads(client: SmtpClient, ledger: Ledger) -> None:
    """Thousands of commands whose replies nobody reads: the server stops reading, and keeps no heap of replies."""
    client.connect()

    def flood() -> None:
        for _ in range(5000):
            client.send(b"NOOP\r\n" * 1000)

    flooding = gevent.spawn(flood)
    flooding.join(timeout=1.0)
    flooding.kill()
    client.reset()


@behaviour
def garbage_for_tls(client: SmtpClient, ledger: Ledger) -> None:
    """STARTTLS, and then something that is no TLS: the connection ends."""
    _start(client)
    if "STARTTLS" not in client.extensions:
        client.quit()
        return
    _expect(_dialogue(client, b"STARTTLS"), 220)
    client.send(b"GET / HTTP/1.0\r\n\r\n" * 4)
    try:
        reply = client.reply()
    except Disconnected:
        client.close()
        return
    raise Improper(f"answered in clear after STARTTLS: {reply}")


def run(one: Behaviour, client: SmtpClient, ledger: Ledger) -> None:
    """Do it. Raises Improper, or Disconnected where the server went away too early."""
    try:
        one(client, ledger)
    except Refused as error:
        if error.reply.code != 421:  # a limit on connections or errors: properly refused
            raise Improper(str(error)) from error
    finally:
        client.close()
