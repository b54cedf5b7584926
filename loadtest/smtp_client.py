"""The client of the load tests: which bytes go out, what is read back, and how long each step took.

One connection over gevent's sockets: plain, STARTTLS, implicit TLS, AUTH PLAIN. MAIL, all RCPTs and DATA go out in one
piece where the server offers PIPELINING (RFC 2920 section 3.1). Each step is reported once, with its seconds and
octets, to whoever wants to count it. No locust here: importing that patches the whole process.
"""

from __future__ import annotations

import base64
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from gevent import socket
from gevent.ssl import SSLContext

OnStep = Callable[[str, float, int, Exception | None], object]
_MOST_REPLY_BYTES = 65_536
_PIECE_BYTES = 262_144


class SmtpError(Exception):
    """A step did not end as it has to."""


class Disconnected(SmtpError):
    """The server closed, or didn't answer in time."""


class Refused(SmtpError):
    """The server answered with an error.

    Args:
        reply: what it said.
    """

    def __init__(self, reply: Reply) -> None:
        super().__init__(str(reply))
        self.reply = reply


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply.

    Args:
        code: 200 to 599.
        lines: its text lines without codes.
    """

    code: int
    lines: tuple[str, ...]

    @property
    def is_good(self) -> bool:
        """Whether the step was done, or may go on (2xx, 3xx)."""
        return self.code < 400

    def __str__(self) -> str:
        return f"{self.code} {' / '.join(self.lines)}"


@dataclass(frozen=True, slots=True)
class Tls:
    """How a connection is encrypted.

    Args:
        mode: ``""``, ``"starttls"`` or ``"implicit"``.
        context: the client's side; certificates of a test server are not verified by default.
    """

    mode: str = ""
    context: SSLContext | None = None

    def client(self) -> SSLContext:
        """The context to use."""
        return self.context or unverified()


def unverified() -> SSLContext:
    """A client's TLS that trusts any server: the load tests make their own certificates."""
    context = SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@dataclass(slots=True)
class Delivery:
    """What became of one transaction.

    Args:
        mail: to MAIL FROM.
        recipients: to each RCPT TO, in order.
        data: to DATA, None when it was not sent.
        final: to the end of the message, None when it was not sent or not answered.
    """

    mail: Reply
    recipients: list[Reply] = field(default_factory=list)
    data: Reply | None = None
    final: Reply | None = None

    @property
    def accepted(self) -> int:
        """How many recipients were taken."""
        return sum(reply.is_good for reply in self.recipients)

    @property
    def message_id(self) -> str:
        """The id that the server confirmed (``250 2.0.0 OK <id>``), or ""."""
        return confirmed_id(self.final) if self.final is not None else ""

    @property
    def trouble(self) -> Reply | None:
        """The first error reply, None when all was taken."""
        replies = [self.mail, *self.recipients, *(reply for reply in (self.data, self.final) if reply is not None)]
        return next((reply for reply in replies if not reply.is_good), None)


def confirmed_id(reply: Reply) -> str:
    """The message id in a 250 to the end of a message; "" in any other reply.

    >>> confirmed_id(Reply(250, ("2.0.0 OK 00/01-00001-00000001",)))
    '00/01-00001-00000001'
    """
    return reply.lines[-1].rpartition(" ")[2] if reply.code == 250 else ""


def stuffed(text: bytes) -> bytes:
    """A message with CR LF line ends as it goes on the wire, its end included (RFC 5321 section 4.5.2)."""
    text = text.replace(b"\r\n.", b"\r\n..")
    if text.startswith(b"."):
        text = b"." + text
    return text + (b".\r\n" if text.endswith(b"\r\n") else b"\r\n.\r\n")


class SmtpClient:
    """One connection to a server.

    Args:
        host, port: where.
        on_step: called after each step with its name, seconds, octets received or sent, and what went wrong or None.
        name: told in EHLO.
        timeout_s: for each step; 0 < seconds.
    """

    def __init__(
        self, host: str, port: int, on_step: OnStep | None = None, name: str = "load.example", timeout_s: float = 30.0
    ) -> None:
        self.host, self.port, self.name, self.timeout_s = host, port, name, timeout_s
        self.extensions: dict[str, str] = {}
        self.sent = 0
        self._on_step = on_step or (lambda *_: None)
        self._buffer = b""
        self._socket: socket.socket | None = None

    @property
    def is_open(self) -> bool:
        """Whether there is a connection, as far as is known."""
        return self._socket is not None

    # ---- Steps --------------------------------------------------------------------------------------------------

    def connect(self, tls: Tls | None = None, source: str = "") -> Reply:
        """Connect, and read the banner. With implicit TLS the handshake is part of it.

        Raises:
            Disconnected: no connection.
            Refused: another banner than 220.
        """
        started = time.perf_counter()
        self.connect_only(tls, source)
        return self._judged("connect", started)

    def connect_only(self, tls: Tls | None = None, source: str = "") -> None:
        """Connect without waiting for the banner. Raises Disconnected."""
        started = time.perf_counter()
        try:
            address = (source, 0) if source else None
            self._socket = socket.create_connection((self.host, self.port), self.timeout_s, address)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if tls is not None and tls.mode == "implicit":
                self._socket = tls.client().wrap_socket(self._socket, server_hostname=self.host)
        except OSError as error:
            failure = Disconnected(f"no connection: {error}")
            self._on_step("connect", time.perf_counter() - started, 0, failure)
            self.close()
            raise failure from error

    def ehlo(self) -> Reply:
        """Say EHLO and note the extensions."""
        reply = self.command("EHLO", f"EHLO {self.name}".encode())
        words = (line.partition(" ") for line in reply.lines[1:])
        self.extensions = {keyword.upper(): rest for keyword, _, rest in words}
        return reply

    def starttls(self, tls: Tls) -> None:
        """STARTTLS, the handshake, and EHLO again (RFC 3207 section 4.2).

        Raises:
            SmtpError: it was refused, or the handshake failed.
        """
        started = time.perf_counter()
        self.send(b"STARTTLS\r\n")
        try:
            reply = self.reply()
            if reply.code != 220:
                raise Refused(reply)
            assert self._socket is not None
            self._socket = tls.client().wrap_socket(self._socket, server_hostname=self.host)
        except (OSError, SmtpError) as error:
            failure = error if isinstance(error, SmtpError) else Disconnected(f"no TLS: {error}")
            self._on_step("STARTTLS", time.perf_counter() - started, 0, failure)
            raise failure from error
        self._on_step("STARTTLS", time.perf_counter() - started, len(str(reply)), None)
        self.ehlo()

    def auth_plain(self, user: str, password: str) -> Reply:
        """AUTH PLAIN with an initial response (RFC 4616)."""
        token = base64.b64encode(f"\0{user}\0{password}".encode())
        return self.command("AUTH", b"AUTH PLAIN " + token)

    def deliver(
        self,
        sender: str,
        recipients: Sequence[str],
        text: bytes,
        *,
        parameters: str = "",
        before_end: Callable[[int], object] | None = None,
    ) -> Delivery:
        """One transaction. Error replies are in the outcome, and in the steps; nothing is raised for them.

        Args:
            sender: reverse-path, "" for the null one.
            recipients: forward-paths.
            text: as it goes on the wire, its end included (`stuffed`).
            parameters: of MAIL FROM, e.g. ``BODY=8BITMIME``.
            before_end: called with the number of recipients taken, right before the text and its end go out: from
                then on the message may be kept.

        Raises:
            Disconnected: the server went away; what was before it is lost.
        """
        mail = f"MAIL FROM:<{sender}>{' ' + parameters if parameters else ''}\r\n".encode()
        commands = [("MAIL", mail), *(("RCPT", f"RCPT TO:<{address}>\r\n".encode()) for address in recipients)]
        commands.append(("DATA", b"DATA\r\n"))
        replies = self._exchange(commands)
        delivery = Delivery(replies[0], replies[1:-1], replies[-1])
        if delivery.data is None or delivery.data.code != 354:
            return delivery
        # With all recipients refused a server may say 354 all the same: RFC 2920 section 3.1 wants a lone dot then.
        if before_end is not None and delivery.accepted:
            before_end(delivery.accepted)
        started = time.perf_counter()
        wire = text if delivery.accepted else b".\r\n"
        try:
            for start in range(0, len(wire), _PIECE_BYTES):
                self.send(wire[start : start + _PIECE_BYTES])
            delivery.final = self.reply()
        except Disconnected as error:
            self._on_step("body", time.perf_counter() - started, len(wire), error)
            raise
        refused = None if delivery.final.is_good else Refused(delivery.final)
        self._on_step("body", time.perf_counter() - started, len(wire), refused)
        return delivery

    def quit(self) -> None:
        """QUIT, and close; a server that closes first is none the worse."""
        try:
            self.command("QUIT", b"QUIT")
        finally:
            self.close()

    def command(self, step: str, line: bytes) -> Reply:
        """Any command, timed as `step`. Raises Refused for an error reply, Disconnected when there is none."""
        started = time.perf_counter()
        self.send(line + b"\r\n")
        return self._judged(step, started)

    # ---- Wire ---------------------------------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Send bytes as they are. Raises Disconnected."""
        if self._socket is None:
            raise Disconnected("not connected")
        try:
            self._socket.sendall(data)
        except OSError as error:
            # What the server said before it closed may still be read.
            if not isinstance(error, (BrokenPipeError, ConnectionResetError)):
                raise Disconnected(f"sending: {error}") from error
        self.sent += len(data)

    def reply(self) -> Reply:
        """The next reply. Raises Disconnected, also for what is no SMTP."""
        lines: list[str] = []
        while True:
            line = self._line()
            text = line.decode("utf-8", "replace")
            if not text[:3].isdigit() or text[3:4] not in ("", " ", "-"):
                raise Disconnected(f"no SMTP reply: {text[:80]!r}")
            lines.append(text[4:])
            if text[3:4] != "-":
                return Reply(int(text[:3]), tuple(lines))

    def reset(self) -> None:
        """Close with a RST, as a client does that is gone."""
        if self._socket is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.close()

    def close(self) -> None:
        """Close without a word."""
        if self._socket is not None:
            self._socket.close()
        self._socket, self._buffer = None, b""

    def _line(self) -> bytes:
        while b"\r\n" not in self._buffer:
            if self._socket is None:
                raise Disconnected("not connected")
            if len(self._buffer) > _MOST_REPLY_BYTES:
                raise Disconnected("a reply without end")
            try:
                piece = self._socket.recv(65_536)
            except OSError as error:
                raise Disconnected(f"no reply: {error}") from error
            if not piece:
                raise Disconnected("the server closed the connection")
            self._buffer += piece
        line, _, self._buffer = self._buffer.partition(b"\r\n")
        return line

    def _exchange(self, commands: Sequence[tuple[str, bytes]]) -> list[Reply]:
        """Send commands, in one piece when the server takes that; their replies."""
        pipelined = "PIPELINING" in self.extensions
        replies: list[Reply] = []
        started = time.perf_counter()
        if pipelined:
            self.send(b"".join(line for _, line in commands))
        for step, line in commands:
            if not pipelined:
                started = time.perf_counter()
                self.send(line)
            replies.append(self._timed(step, started))
        return replies

    def _timed(self, step: str, started: float) -> Reply:
        try:
            reply = self.reply()
        except Disconnected as error:
            self._on_step(step, time.perf_counter() - started, 0, error)
            self.close()
            raise
        refused = None if reply.is_good else Refused(reply)
        self._on_step(step, time.perf_counter() - started, sum(map(len, reply.lines)), refused)
        return reply

    def _judged(self, step: str, started: float) -> Reply:
        reply = self._timed(step, started)
        if not reply.is_good:
            raise Refused(reply)
        return reply
