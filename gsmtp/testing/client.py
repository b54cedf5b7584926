"""One session of a test: a client whose bytes go straight into the engine."""

from __future__ import annotations

import re
import socket
import sys
from collections.abc import Callable
from email.message import Message as EmailMessage
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import gevent

from gsmtp.core.records import Peering
from gsmtp.policy.context import Context
from gsmtp.server.peering import peering_of
from gsmtp.server.reception import HANDLERS, Reception
from gsmtp.server.service import Service
from gsmtp.smtp.events import NEED_DATA
from gsmtp.smtp.facts import Facts
from gsmtp.smtp.session import Session

if TYPE_CHECKING:
    from gsmtp.server.connection import Connection

_PATIENCE_S = 60.0
_TICK_S = 0.001


class _Link:
    """Stands in for `server.connection.Connection`."""

    def __init__(self, service: Service, facts: Facts) -> None:
        stanza = service.configuration.listens[0]
        view = service.configuration.view_for(stanza, facts.client_ip)
        self.listener: Any = SimpleNamespace(stanza=stanza)
        self.family = int(socket.AF_INET)
        self.is_ended = False
        self.service = service
        self.session = Session(view, facts, service.clock)
        self.context = Context(service.configuration, view, facts, self.session)
        self.reason = ""
        self.held_s = 0.0
        self.is_closed = False
        self.error: BaseException | None = None
        self._has_turn = True
        self.reception = Reception(self, service, self.session, self.context)
        as_connection: Connection = self  # type: ignore[assignment]
        service.connections.add(as_connection)

    @property
    def facts(self) -> Facts:
        """As they are now."""
        return self.session.facts

    @property
    def peering(self) -> Peering:
        """Both ends."""
        return peering_of(self.facts, self.session.view)

    # --- what a reception does with its connection

    def pause(self, *, keep_reading: bool = True) -> None:
        """Somebody else has the turn."""
        self._has_turn = False

    def resume(self) -> None:
        """The turn is given back."""
        self._has_turn = True

    def submit(self, function: Callable[..., object], *args: Any) -> None:
        """A part of the turn that may wait: here all may."""
        function(*args)

    def hold(self, delay_s: float, go_on: Callable[[], object]) -> None:
        """Note how long an answer would be held back, and give it at once."""
        self.held_s += delay_s
        go_on()

    def break_off(self) -> None:
        """A bug: the test is to see it."""
        self.error = sys.exc_info()[1]
        self.is_closed = self._has_turn = True

    def moved(self) -> None:
        """The facts have changed."""

    def start_tls(self, context: object) -> None:
        """There is no TLS here."""
        raise RuntimeError("gsmtp.testing plays no TLS handshakes")

    # --- the turn

    def feed(self, data: bytes | None) -> bytes:
        """Take the client's bytes, None at first, and give what is answered."""
        session = self.session
        if not self.is_closed:
            if data is not None:
                session.receive_data(data)
            self._turn()
        if self.error is not None:
            raise self.error
        answer = session.data_to_send()
        if session.is_over:
            self.close()
        return answer

    def _turn(self) -> None:
        while not self.is_closed:
            event = self.session.next_event()
            if event is NEED_DATA:
                return
            goes_on = HANDLERS[type(event)](self.reception, event)
            with gevent.Timeout(_PATIENCE_S, TimeoutError("nobody gave the turn back")):
                while not self._has_turn:
                    gevent.sleep(_TICK_S)
            if not goes_on and self.session.is_over:
                return

    def close(self) -> None:
        """The connection is gone."""
        if not self.is_closed:
            self.is_closed = True
            as_connection: Connection = self  # type: ignore[assignment]
            self.service.connections.discard(as_connection)
            self.reception.closed()


class PolicyClient:
    """Says SMTP to the engine. Methods that say something return the client, so that they can be put in a row.

    Attributes:
        replies: all replies so far, each with its lines joined by ``\\n`` and no line end.
    """

    def __init__(self, service: Service, ip: str, port: int, local_ip: str) -> None:
        facts = Facts(ip, port, local_ip, 25, service.configuration.listens[0].name, service.ids.next(), "mx.test")
        self._link = _Link(service, facts)
        self.replies: list[str] = []
        self._take(self._link.feed(None))

    # --- what was heard

    @property
    def banner(self) -> str:
        """The first reply."""
        return self.replies[0]

    @property
    def reply(self) -> str:
        """The last reply."""
        return self.replies[-1]

    @property
    def code(self) -> int:
        """Code of the last reply."""
        return int(self.reply[:3])

    @property
    def is_closed(self) -> bool:
        """Whether the session is over."""
        return self._link.is_closed

    @property
    def held_s(self) -> float:
        """Seconds for which answers would have been held back so far (Tarpit)."""
        return self._link.held_s

    @property
    def conn(self) -> dict[str, str]:
        """The connection's context."""
        return self._link.context.conn

    @property
    def mess(self) -> dict[str, str]:
        """The message's context."""
        return self._link.context.mess

    # --- what is said

    def ehlo(self, name: str = "client.example") -> PolicyClient:
        """Say EHLO."""
        return self.say(f"EHLO {name}")

    def helo(self, name: str = "client.example") -> PolicyClient:
        """Say HELO."""
        return self.say(f"HELO {name}")

    def mail(self, sender: str, parameters: str = "") -> PolicyClient:
        """Say MAIL FROM; EHLO before it when nothing was said yet."""
        if not self._link.session.helo:
            self.ehlo()
        return self.say(f"MAIL FROM:<{sender}> {parameters}".rstrip())

    def rcpt(self, *recipients: str) -> PolicyClient:
        """Say RCPT TO for each address."""
        for recipient in recipients:
            self.say(f"RCPT TO:<{recipient}>")
        return self

    def data(self, message: str | bytes | EmailMessage) -> PolicyClient:
        """Send a message: DATA, and when that is welcome the text. Line ends of text become CR LF, bytes stay.

        Args:
            message: the whole of it, header fields and blank line included.
        """
        self.say("DATA")
        if self.code != 354:
            return self
        if isinstance(message, EmailMessage):
            message = message.as_bytes()
            message = re.sub(rb"\r?\n", b"\r\n", message)
        elif isinstance(message, str):
            message = re.sub(r"\r?\n", "\r\n", message).encode()
        if message and not message.endswith(b"\r\n"):
            message += b"\r\n"
        return self.send(re.sub(rb"(?m)^\.", b"..", message) + b".\r\n")

    def say(self, line: str) -> PolicyClient:
        """Send one line."""
        return self.send(line.encode("utf-8", "surrogateescape") + b"\r\n")

    def send(self, data: bytes) -> PolicyClient:
        """Send bytes as they are."""
        self._take(self._link.feed(data))
        return self

    def quit(self) -> PolicyClient:
        """Say QUIT."""
        return self.say("QUIT")

    def close(self) -> None:
        """Go away without a word."""
        self._link.close()

    def _take(self, data: bytes) -> None:
        lines: list[str] = []
        for line in data.decode("utf-8", "surrogateescape").split("\r\n")[:-1]:
            lines.append(line)
            if line[3:4] != "-":
                self.replies.append("\n".join(lines))
                lines = []
