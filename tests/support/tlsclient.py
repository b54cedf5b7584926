"""A line-wise SMTP client that can begin TLS, by the standard library's sockets."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path
from types import TracebackType


def context(
    *,
    cert: Path | None = None,
    least: ssl.TLSVersion | None = None,
    most: ssl.TLSVersion | None = None,
    ciphers: str = "",
) -> ssl.SSLContext:
    """A client that trusts everybody; what is verified is what the tests look at."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    made.set_ciphers(ciphers or "ALL:@SECLEVEL=0")
    if cert is not None:
        made.load_cert_chain(cert)
    if least is not None:
        made.minimum_version = least
    if most is not None:
        made.maximum_version = most
    return made


class TlsClient:
    """A connection; every reply is read whole.

    Args:
        port: on 127.0.0.1.
        source: address to come from.
    """

    def __init__(self, port: int, source: str = "127.0.0.1") -> None:
        self.socket: socket.socket | ssl.SSLSocket = socket.create_connection(("127.0.0.1", port), 10, (source, 0))
        self._buffer = b""

    def __enter__(self) -> TlsClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    @property
    def tls(self) -> ssl.SSLSocket:
        """The socket once TLS is on."""
        assert isinstance(self.socket, ssl.SSLSocket)
        return self.socket

    def wrap(self, made: ssl.SSLContext | None = None, name: str | None = None, **more: object) -> TlsClient:
        """Shake hands."""
        self.socket = (made or context()).wrap_socket(self.socket, server_hostname=name, **more)  # type: ignore[arg-type]
        return self

    def reply(self) -> bytes:
        """The next reply with its line ends; b"" when the server has closed."""
        lines = b""
        while True:
            while b"\r\n" not in self._buffer:
                piece = self.socket.recv(65536)
                if not piece:
                    return lines
                self._buffer += piece
            line, _, self._buffer = self._buffer.partition(b"\r\n")
            lines += line + b"\r\n"
            if line[3:4] != b"-":
                return lines

    def say(self, line: bytes) -> bytes:
        """Send a line and read its reply."""
        self.socket.sendall(line + b"\r\n")
        return self.reply()

    def starttls(self, made: ssl.SSLContext | None = None, name: str | None = None, **more: object) -> TlsClient:
        """Banner, EHLO, STARTTLS, handshake, EHLO."""
        assert self.reply().startswith(b"220")
        assert b"STARTTLS" in self.say(b"EHLO client.example")
        assert self.say(b"STARTTLS") == b"220 Ready to start TLS\r\n"
        self.wrap(made, name, **more)
        assert b"STARTTLS" not in self.say(b"EHLO client.example")
        return self

    def message(self, body: bytes, recipient: bytes = b"b@example.com") -> bytes:
        """A whole transaction; its last reply."""
        for line in (b"MAIL FROM:<a@example.net>", b"RCPT TO:<%s>" % recipient, b"DATA"):
            got = self.say(line)
            if got[:1] not in b"23":
                return got
        self.socket.sendall(body + b".\r\n")
        return self.reply()
