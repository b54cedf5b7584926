"""An SMTP client that does exactly what a test says, and no more."""

from __future__ import annotations

import socket
from types import TracebackType


class Wire:
    """A connection; every reply is read whole and returned without its last CRLF."""

    def __init__(self, port: int, timeout_s: float = 20.0) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout_s)
        self._buffer = b""

    def __enter__(self) -> Wire:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.socket.sendall(data)

    def line(self) -> bytes:
        """The next line of the server, without its CRLF. Raises ConnectionError at the end."""
        while b"\r\n" not in self._buffer:
            piece = self.socket.recv(65536)
            if not piece:
                raise ConnectionError(f"closed by the server, after {self._buffer!r}")
            self._buffer += piece
        line, _, self._buffer = self._buffer.partition(b"\r\n")
        return line

    def reply(self) -> bytes:
        """The next reply: its last line, the one with a blank after the code."""
        while True:
            line = self.line()
            if line[3:4] != b"-":
                return line

    def say(self, command: bytes) -> bytes:
        """Send a command line and return its reply."""
        self.send(command + b"\r\n")
        return self.reply()

    def greet(self) -> Wire:
        """Read the banner and say EHLO."""
        banner = self.reply()
        assert banner.startswith(b"220 "), banner
        reply = self.say(b"EHLO client.example.net")
        assert reply.startswith(b"250 "), reply
        return self

    def envelope(self, recipient: bytes, sender: bytes = b"sender@example.net") -> None:
        """MAIL and RCPT, both accepted."""
        for command in (b"MAIL FROM:<" + sender + b">", b"RCPT TO:<" + recipient + b">"):
            reply = self.say(command)
            assert reply.startswith(b"250 "), reply

    def message(self, recipient: bytes, content: bytes) -> bytes:
        """A whole transaction by DATA; the reply to the final dot, or the first refusal."""
        for command in (b"MAIL FROM:<sender@example.net>", b"RCPT TO:<" + recipient + b">", b"DATA"):
            reply = self.say(command)
            if reply[:1] not in (b"2", b"3"):
                return reply
        stuffed = content.replace(b"\r\n.", b"\r\n..")
        self.send((b"." if content[:1] == b"." else b"") + stuffed + b".\r\n")
        return self.reply()

    def is_closed(self) -> bool:
        """Whether the server closes now: waits for the end, and that nothing comes before it."""
        try:
            return self._buffer == b"" and self.socket.recv(1) == b""
        except ConnectionResetError:
            return True
