"""A driver for tests: views from option lines, sessions with a fixed clock, and a record of all that a session did."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from gsmtp.config.diagnostics import NOWHERE
from gsmtp.config.option import OPTIONS
from gsmtp.config.tree import Array, Dictionary, Scalar, Scope, Setting
from gsmtp.config.view import View
from gsmtp.core.clock import FixedClock
from gsmtp.core.envelope import Envelope
from gsmtp.core.reply import Reply, reply
from gsmtp.sasl.digest import password_digest
from gsmtp.sasl.need import Answer, CheckPassword, Need, Status
from gsmtp.sasl.scram import make_secret, salt_for
from gsmtp.smtp.events import (
    NEED_DATA,
    Ask,
    Body,
    BodyAbort,
    BodyEnd,
    BodyStart,
    Credentials,
    Greeting,
    Mail,
    Quit,
    Rcpt,
    Refused,
)
from gsmtp.smtp.extension import load_extensions
from gsmtp.smtp.session import Facts, Session

CONNECTION_ID = "00/2A-00001-00000001"
MESSAGE_ID = "00/2A-00001-{:08X}"


def view_of(*settings: str) -> View:
    """A view in which the options have the values that the lines ``Name = value`` give.

    Arrays are written as ``( a "b c" )``, dictionaries as ``[ key = "value" ]``.
    """
    load_extensions()  # some bring options
    kinds = ("listen", "esmtp_listener", "pathway", "global")
    scopes = [Scope(kind) for kind in kinds]
    for line in settings:
        name, _, text = (part.strip() for part in line.partition("="))
        assert OPTIONS.named(name), f"there is no option {name}"
        value: Scalar | Array | Dictionary
        if text.startswith("("):
            value = Array(tuple(Scalar(word.strip('"'), True) for word in re.findall(r'"[^"]*"|[^\s()]+', text)))
        elif text.startswith("["):
            pairs = re.findall(r'(\w+)\s*=\s*"([^"]*)"', text)
            value = Dictionary(tuple((Scalar(key, False), Scalar(word, True)) for key, word in pairs))
        else:
            value = Scalar(text.strip('"').encode().decode("unicode_escape"), True)
        option = OPTIONS.named(name)[0]
        for scope in scopes:
            if scope.kind in option.scopes:
                scope.settings[option.key] = Setting(option.key, name, value, NOWHERE)
                break
    return View(scopes)


def session_of(
    view: View | None = None, *, client_ip: str = "192.0.2.7", client_port: int = 40111, clock: FixedClock | None = None
) -> Session:
    """A session with nothing said yet; it is 1 January 2025, midnight."""
    facts = Facts(client_ip, client_port, "198.51.100.1", 25, ":25", CONNECTION_ID, "mx.example.com")
    return Session(view or view_of(), facts, clock or FixedClock())


@dataclass
class Played:
    """What a session did.

    Args:
        sent: all bytes to the client.
        seen: events in order as text, adjacent pieces of a body joined; what a reader of the log would see.
        kept: complete messages that were accepted.
        envelopes: of these.
        aborts: replies of the BodyAbort events.
        refusals: replies of the Refused events: what the machine refused by itself.
        end: the reason of Quit, "" when there was none.
        most_pending: the most bytes that the session held unused between two feedings.
    """

    sent: bytes = b""
    seen: list[str] = field(default_factory=list)
    kept: list[bytes] = field(default_factory=list)
    envelopes: list[Envelope] = field(default_factory=list)
    aborts: list[Reply | None] = field(default_factory=list)
    refusals: list[Reply] = field(default_factory=list)
    end: str = ""
    most_pending: int = 0


class Driver:
    """Feeds a session and answers its events.

    Args:
        session: to drive.
        policy: (event name, reply text) pairs; the first that names an event answers it and is used up.
    """

    def __init__(self, session: Session, policy: Iterable[tuple[str, str]] = ()) -> None:
        self.session = session
        self.policy = list(policy)
        self.played = Played()
        self.conn: dict[str, str] = {}
        self.mess: dict[str, str] = {}
        self._body: bytearray | None = None
        self._count = 1

    def move_client(self, facts: Facts) -> None:
        """Only the facts: there is one view for all here."""
        self.session.move(self.session.view, facts)

    def feed(self, *pieces: bytes) -> bytes:
        """Give the pieces one after the other, b"" for the end of the stream; returns what was sent meanwhile."""
        before = len(self.played.sent)
        for piece in pieces:
            self.session.receive_data(piece)
            self._run()
        return self.played.sent[before:]

    def begin(self) -> bytes:
        """Let the session say its banner."""
        before = len(self.played.sent)
        self._run()
        return self.played.sent[before:]

    def _run(self) -> None:
        session = self.session
        played = self.played
        while (event := session.next_event()) is not NEED_DATA:
            name = type(event).__name__
            if isinstance(event, Body):
                assert event.data
                assert self._body is not None
                self._body += event.data
                continue
            if isinstance(event, Refused):
                played.refusals.append(event.reply)
                continue
            played.seen.append(self._shown(event))
            if isinstance(event, Quit):
                assert session.is_over
                assert not played.end
                played.end = event.reason
            elif isinstance(event, BodyAbort):
                assert self._body is not None
                self._body = None
                played.aborts.append(event.reply)
            else:
                assert session.is_waiting
                self._answer(name, event)
        played.sent += session.data_to_send()
        played.most_pending = max(played.most_pending, session.pending_bytes)

    def _answer(self, name: str, event: object) -> None:
        session = self.session
        if isinstance(event, Credentials):
            session.answer_credentials(store_answer(event.need))
            return
        if isinstance(event, Ask):
            session.serve(self)
            return
        refusal = next((rule for rule in self.policy if rule[0] == name), None)
        if refusal is not None:
            self.policy.remove(refusal)
            code, _, text = refusal[1].partition(" ")
            if isinstance(event, BodyEnd):
                self._body = None
            session.reply(reply(int(code), text, close=code == "421"))
        elif isinstance(event, BodyStart):
            self._count += 1
            self._body = bytearray()
            session.accept_body(MESSAGE_ID.format(self._count))
        else:
            if isinstance(event, BodyEnd):
                assert self._body is not None
                self.played.kept.append(bytes(self._body))
                self.played.envelopes.append(session.envelope(MESSAGE_ID.format(self._count)))
                self._body = None
            session.reply()

    @staticmethod
    def _shown(event: object) -> str:
        if isinstance(event, Ask):
            return "Ask"
        if isinstance(event, Greeting):
            return f"{event.verb} {event.domain}"
        if isinstance(event, Mail):
            return f"Mail <{event.reverse_path}> {event.domain} {event.size}"
        if isinstance(event, Rcpt):
            return f"Rcpt {event.recipient}"
        return str(event)


USERS = {"tim": b"tanstaaftanstaaf", "chris": b"secret", "user": b"pencil", "alice": b"wonder:land"}
"""Who may log in, with the passwords of the RFCs' examples; ``broken`` is a user of whom the store can't tell."""


def store_answer(need: Need) -> Answer:
    """What a store of clear-text passwords answers."""
    if need.user == "broken":
        return Answer(Status.ERROR, reason="down")
    password = USERS.get(need.user)
    if password is None:
        return Answer(Status.FAIL)
    if isinstance(need, CheckPassword):
        return Answer(Status.PASS if need.password == password else Status.FAIL)
    if need.kind == "scram-sha-256":
        return Answer(Status.PASS, make_secret(password, salt_for(need.user)))
    if need.kind == "digest-md5":
        return Answer(Status.PASS, password_digest(need.user, need.realm, password).encode())
    return Answer(Status.PASS, password)


def play(
    stream: bytes,
    *settings: str,
    pieces: Sequence[bytes] | None = None,
    policy: Iterable[tuple[str, str]] = (),
    ends: bool = False,
) -> Played:
    """Play a client's whole stream against a fresh session: in one piece, or cut as `pieces` says."""
    driver = Driver(session_of(view_of(*settings)), policy)
    driver.begin()
    driver.feed(*(pieces if pieces is not None else [stream]))
    if ends:
        driver.feed(b"")
    return driver.played


def replies(played: Played) -> list[str]:
    """The reply lines behind the banner."""
    return played.sent.decode("utf-8", "surrogateescape").split("\r\n")[1:-1]
