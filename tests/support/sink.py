"""A next hop for tests: speaks SMTP or LMTP on plain threads, follows a script, records every byte.

Unscripted, it accepts everything. `script["RCPT"]` is a queue of answers for the next RCPTs, whoever they name;
`rcpt` and `final` answer by address. An answer is the reply's bytes or one of the actions CUT, SILENT and GARBAGE.
"""

from __future__ import annotations

import socket
import ssl
import sys
import threading
import time
from collections import defaultdict, deque
from dataclasses import dataclass, field
from types import TracebackType

CUT = "cut"
"""Close the connection instead of answering."""
SILENT = "silent"
"""Never answer; the connection stays open until the sink closes."""
GARBAGE = b"\x00\xff this is no reply \r\n"
EXTENSIONS = ("PIPELINING", "8BITMIME", "SIZE 52428800", "ENHANCEDSTATUSCODES", "SMTPUTF8", "DSN")

Answer = bytes | str


@dataclass
class Received:
    """A message that the sink got.

    Args:
        mail: the MAIL line without its end.
        rcpts: the accepted RCPT lines without their ends.
        wire: what came after the 354, final dot and all; for BDAT the chunks' bytes.
        body: the message.
    """

    mail: bytes
    rcpts: list[bytes]
    wire: bytes
    body: bytes


@dataclass
class Sink:
    """A scripted next hop on a loopback port; use it as a context manager.

    Args:
        lmtp: LHLO, and a reply per recipient after the body.
        extensions: offered to EHLO and LHLO.
        script: answers by verb (``"BANNER"`` and ``"BODY"`` too, for the greeting and the end of the body), used up in
            order.
        rcpt: answers to RCPT by address.
        final: LMTP's answers after the body by address.
        port: where to listen; 0 for any.
        host: likewise.
        tls: what STARTTLS begins TLS with; it is offered where this is set. ``script["HANDSHAKE"]`` says what comes in
            the handshake's place.
        secure_extensions: offered under TLS, None for the same as before.
    """

    lmtp: bool = False
    extensions: tuple[str, ...] = EXTENSIONS
    script: dict[str, list[Answer]] = field(default_factory=dict)
    rcpt: dict[bytes, Answer] = field(default_factory=dict)
    final: dict[bytes, Answer] = field(default_factory=dict)
    port: int = 0
    host: str = "127.0.0.1"
    tls: ssl.SSLContext | None = None
    secure_extensions: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        self.messages: list[Received] = []
        self.lines: list[list[bytes]] = []
        """The lines of each connection, commands only."""
        self.handshakes: list[str | None] = []
        """The names that SNI asked for, one a finished handshake."""
        self._queues: defaultdict[str, deque[Answer]] = defaultdict(deque)
        for verb, answers in self.script.items():
            self._queues[verb].extend(answers)
        self._open: list[socket.socket] = []
        self._changed = threading.Condition()
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        self._listener = socket.create_server((self.host, self.port), family=family)
        self.port = self._listener.getsockname()[1]

    @property
    def connections(self) -> int:
        """How many connections were made."""
        return len(self.lines)

    @property
    def gateway(self) -> str:
        """Its address as `Gateway` takes it."""
        return f"{self.host}:{self.port}"

    def wait_for(self, count: int, deadline_s: float = 20.0) -> list[Received]:
        """The messages, once there are `count`; AssertionError at the deadline. Blocks the whole thread."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.messages) >= count, deadline_s), (
                f"{len(self.messages)} of {count} messages came within {deadline_s} s: {self.lines}"
            )
            return list(self.messages)

    def __enter__(self) -> Sink:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()
        for sock in self._open:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # the other side was faster

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(sock)
            lines: list[bytes] = []
            self.lines.append(lines)
            threading.Thread(target=_Session(self, sock, lines).run, daemon=True).start()

    def answer(self, verb: str, default: bytes) -> Answer:
        """The next scripted answer for a verb, or the default."""
        queue = self._queues[verb]
        return queue.popleft() if queue else default

    def add(self, message: Received) -> None:
        """Keep a message."""
        with self._changed:
            self.messages.append(message)
            self._changed.notify_all()


class _End(Exception):
    """The session is over."""


class _Session:
    """One connection."""

    def __init__(self, sink: Sink, sock: socket.socket, lines: list[bytes]) -> None:
        self.sink = sink
        self.sock = sock
        self.is_secure = False
        self.lines = lines
        self.buffer = bytearray()
        self.mail = b""
        self.rcpts: list[bytes] = []

    def run(self) -> None:
        try:
            self.say(self.sink.answer("BANNER", b"220 sink ready\r\n"))
            while True:
                line = self.line()
                self.lines.append(line)
                self.command(line)
        except (_End, OSError):
            self.sock.close()

    def fill(self) -> None:
        data = self.sock.recv(65_536)
        if not data:
            raise _End
        self.buffer += data

    def line(self) -> bytes:
        while b"\r\n" not in self.buffer:
            self.fill()
        line, _, rest = bytes(self.buffer).partition(b"\r\n")
        self.buffer[:] = rest
        return line

    def say(self, answer: Answer) -> bool:
        """Answer; whether it was a positive reply."""
        if answer == CUT:
            raise _End
        if answer == SILENT:
            while True:
                self.fill()
        assert isinstance(answer, bytes)
        self.sock.sendall(answer)
        return answer[:1] in b"23"

    def command(self, line: bytes) -> None:
        verb = line.split(b" ", 1)[0].upper().decode()
        match verb:
            case "EHLO" | "LHLO":
                offered = self.sink.extensions
                if self.is_secure and self.sink.secure_extensions is not None:
                    offered = self.sink.secure_extensions
                if self.sink.tls is not None and not self.is_secure:
                    offered += ("STARTTLS",)
                words = ["sink at your service", *offered]
                rows = [f"250{'-' if word is not words[-1] else ' '}{word}\r\n" for word in words]
                self.say(self.sink.answer(verb, "".join(rows).encode()))
            case "MAIL":
                self.mail, self.rcpts = line, []
                if not self.say(self.sink.answer(verb, b"250 2.1.0 sender ok\r\n")):
                    self.mail = b""
            case "RCPT":
                self.recipient(line)
            case "DATA":
                self.data()
            case "BDAT":
                self.chunk(line)
            case "STARTTLS":
                if self.say(self.sink.answer(verb, b"220 2.0.0 go ahead\r\n")):
                    self.begin_tls()
            case "XCLIENT":
                self.say(self.sink.answer(verb, b"220 sink ready again\r\n"))
            case "QUIT":
                self.say(self.sink.answer(verb, b"221 2.0.0 bye\r\n"))
                raise _End
            case _:
                if verb == "RSET":
                    self.mail, self.rcpts = b"", []
                self.say(self.sink.answer(verb, b"250 2.0.0 ok\r\n"))

    def begin_tls(self) -> None:
        answer = self.sink.answer("HANDSHAKE", b"")
        if answer:
            self.say(answer)
            raise _End
        assert self.sink.tls is not None
        asked: list[str | None] = [None]
        self.sink.tls.sni_callback = lambda _sock, name, _context: asked.append(name)
        self.sock = self.sink.tls.wrap_socket(self.sock, server_side=True)
        self.is_secure = True
        self.buffer.clear()
        self.sink.handshakes.append(asked[-1])

    def recipient(self, line: bytes) -> None:
        default = b"250 2.1.5 recipient ok\r\n" if self.mail else b"503 5.5.1 no sender\r\n"
        answer = self.sink.rcpt.get(address_of(line)) or self.sink.answer("RCPT", default)
        if self.say(answer):
            self.rcpts.append(line)

    def data(self) -> None:
        default = b"354 go on\r\n" if self.rcpts else b"503 5.5.1 no recipients\r\n"
        if not self.say(self.sink.answer("DATA", default)):
            return
        wire = bytearray(b"\r\n")
        start = 0
        while (found := wire.find(b"\r\n.\r\n", start)) < 0:
            start = max(len(wire) - 4, 0)
            if not self.buffer:
                self.fill()
            wire += self.buffer
            self.buffer.clear()
        end = found + 5
        self.buffer[:] = wire[end:]
        raw = bytes(wire[2:end])
        self.done(raw, (b"\r\n" + raw[:-3]).replace(b"\r\n.", b"\r\n")[2:])

    def chunk(self, line: bytes) -> None:
        size = int(line.split()[1])
        while len(self.buffer) < size:
            self.fill()
        body = bytes(self.buffer[:size])
        del self.buffer[:size]
        if self.rcpts:
            self.done(body, body)
        else:
            self.say(b"503 5.5.1 no recipients\r\n")

    def done(self, wire: bytes, body: bytes) -> None:
        message = Received(self.mail, self.rcpts, wire, body)
        answers: list[Answer]
        if self.sink.lmtp:
            names = [address_of(rcpt) for rcpt in self.rcpts]
            answers = [
                self.sink.final.get(name) or self.sink.answer("BODY", b"250 2.1.5 " + name + b" stored\r\n")
                for name in names
            ]
        else:
            answers = [self.sink.answer("BODY", b"250 2.0.0 taken\r\n")]
        self.mail, self.rcpts = b"", []
        if any(isinstance(answer, bytes) and answer[:1] == b"2" for answer in answers):
            self.sink.add(message)
        for answer in answers:
            self.say(answer)


def address_of(line: bytes) -> bytes:
    """The address in a MAIL or RCPT line."""
    return line[line.index(b"<") + 1 : line.index(b">")]


def main() -> None:
    """As a program: HOST PORT lmtp|smtp FILE, which gets every message's bytes as they come."""
    host, port, protocol, file = sys.argv[1:]
    with Sink(lmtp=protocol == "lmtp", host=host, port=int(port)) as sink, open(file, "wb", buffering=0) as out:
        written = 0
        while True:
            for message in sink.messages[written:]:
                out.write(message.body)
                written += 1
            time.sleep(0.02)


if __name__ == "__main__":
    main()
