"""How an option's effect is shown: a setting, a probe, and what the probe sees without and with it.

One `Effect` is one row; `test_effects.py` runs it in each scope in which the option is valid, over real sockets, and
`tests/meta/test_option_effects.py` lists served options that have none.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from tests.support.inprocess import Client, Running

Probe = Callable[[Running], object]

TEXT = b"Subject: x\r\nDate: Wed, 01 Jan 2025 00:00:00 +0000\r\nMessage-ID: <1@a.example>\r\n\r\nhello\r\n"


@dataclass(frozen=True)
class Effect:
    """One option.

    Args:
        option: its name.
        value: what is set, as the file says it.
        probe: talks to the server and returns what it saw.
        without: what it sees when nothing is set.
        with_it: what it sees when the value is set.
        around: global text that both configurations have.
        beside: settings in ESMTP_Listener that both have.
        scopes: the scopes to try; None for all in which the option is valid.
    """

    option: str
    value: str
    probe: Probe
    without: object
    with_it: object
    around: str = ""
    beside: str = ""
    scopes: tuple[str, ...] | None = None


LISTEN = 'listen "127.0.0.1:0"'
PLACES = {
    "global": "{s} esmtp_listener {{ {b} {l} {{ }} }}",
    "esmtp_listener": "esmtp_listener {{ {b} {s} {l} {{ }} }}",
    "listen": "esmtp_listener {{ {b} {l} {{ {s} }} }}",
    "peer": 'esmtp_listener {{ {b} {l} {{ peer "127.0.0.0/8" {{ {s} }} }} }}',
    "pathway": 'pathway "p" {{ {s} }} esmtp_listener {{ {b} pathway = "p" {l} {{ }} }}',
    "pathway_group": 'pathway_group "g" {{ {s} pathway "p" {{ }} }} esmtp_listener {{ {b} pathway = "p" {l} {{ }} }}',
}
"""The one setting in each scope, for clients of 127.0.0.1 on the only Listen."""


def conf_of(effect: Effect, scope: str, *, is_set: bool) -> str:
    """The configuration that sets the option in one scope, or in none."""
    setting = f"{effect.option} = {effect.value}" if is_set else ""
    return effect.around + "\n" + PLACES[scope].format(s=setting, b=effect.beside, l=LISTEN)


# --- probes: what is seen on the wire or the socket


def banner(server: Running) -> bytes:
    """The banner without its date."""
    client = server.client()
    line = client.reply()
    client.close()
    return re.sub(rb"gsmtp .*\r\n$", b"gsmtp", line)


def ehlo(server: Running) -> set[str]:
    """The lines of the EHLO reply behind the first."""
    client = server.client()
    client.reply()
    lines = client.say(b"EHLO client.example").decode().split("\r\n")[1:-1]
    client.close()
    return {line[4:] for line in lines}


def offers(word: str) -> Probe:
    """Whether EHLO's reply has a line."""
    return lambda server: any(line == word or line.startswith(word + " ") for line in ehlo(server))


def answers(*lines: bytes, source: str = "", greet: bool = True) -> Probe:
    """The replies to some lines after EHLO; b"" once the server has closed."""

    def probe(server: Running) -> list[bytes]:
        client = server.client(source=source)
        client.reply()
        if greet:
            client.say(b"EHLO client.example")
        got = [client.say(line).strip() for line in lines]
        client.close()
        return got

    return probe


def last(*lines: bytes, source: str = "", greet: bool = True) -> Probe:
    """The code of the last reply."""
    ask = answers(*lines, source=source, greet=greet)
    return lambda server: int((ask(server)[-1] or b"0")[:3])  # type: ignore[index]


def outcome(
    body: bytes = TEXT, *, sender: bytes = b"a@example.net", recipient: bytes = b"b@example.com", source: str = ""
) -> Probe:
    """The reply to a whole transaction, its queue id left out."""

    def probe(server: Running) -> bytes:
        client = server.client(source=source).greet()
        got = client.transaction(body, sender=sender, recipient=recipient)
        client.close()
        return re.sub(rb"OK \S+", b"OK", got.strip())

    return probe


def kept(pattern: bytes, body: bytes = TEXT, sender: bytes = b"a@example.net") -> Probe:
    """What a pattern's first group finds in the message as it is kept, None where it doesn't match."""

    def probe(server: Running) -> object:
        client = server.client().greet()
        got = client.transaction(body, sender=sender)
        client.close()
        if not got.startswith(b"250 "):
            return got.strip()
        with closing(sqlite3.connect(server.path.parent / "spool" / "spool.db")) as database:
            stored = database.execute("SELECT body FROM message ORDER BY id DESC").fetchone()[0]
        match = re.search(pattern, stored, re.MULTILINE)
        return match[1] if match else None

    return probe


def envelope_of(*lines: bytes) -> Probe:
    """Sender and recipients as they are kept after these lines and a message, or the last refusal."""

    def probe(server: Running) -> object:
        client = server.client().greet()
        for line in lines:
            got = client.say(line)
            if got[:1] not in b"23":
                client.close()
                return got.strip()
        client.send(TEXT + b".\r\n")
        assert client.reply().startswith(b"250 ")
        client.close()
        return server.queued()[-1][1]

    return probe


def second_session(server: Running) -> bytes:
    """What a second client is told while a first one is there."""
    first = server.client().greet()
    second = server.client()
    got = second.reply()
    second.close()
    first.close()
    return got[:3]


def socket_says(read: Callable[[Any], object]) -> Probe:
    """Something of the listening socket."""
    return lambda server: read(server.listeners[0].socket)


def connection_says(read: Callable[[Any], object]) -> Probe:
    """Something of an accepted socket."""

    def probe(server: Running) -> object:
        client = server.client().greet()
        (connection,) = server.supervisor.service.connections
        found = read(connection._socket)
        client.close()
        return found

    return probe


def variable(name: str) -> Probe:
    """A connection variable of a session."""

    def probe(server: Running) -> str | None:
        client = server.client().greet()
        (connection,) = server.supervisor.service.connections
        found = connection.reception.context.conn.get(name)
        client.close()
        return found

    return probe


def silence(server: Running) -> bytes:
    """What a client that says nothing is told, or b"" when it is told nothing for as long as a reload takes twice."""
    client = server.client().greet()
    client.socket.settimeout(2.5)
    try:
        return client.reply()[:9]
    except TimeoutError:
        return b""
    finally:
        client.close()


def after_reload(change: str) -> Probe:
    """What MAIL is told by a server that reloads a file with something else in it."""

    def probe(server: Running) -> bytes:
        client: Client = server.client().greet()
        server.reconfigure(server.path.read_text() + change)
        got = client.say(b"MAIL FROM:<a@example.net>").strip()
        client.close()
        return got

    return probe
