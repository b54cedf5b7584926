"""A web application on loopback, for webhooks: takes requests byte by byte, notes them, and answers as it is told.

It runs in native threads of its own and reads HTTP by hand, so that it shares no code with what it judges.
"""

from __future__ import annotations

import hashlib
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

WAIT_S = 15.0
KEEP_BYTES = 1 << 20


@dataclass
class Taken:
    """One request.

    Args:
        line: the request line.
        headers: by name in lower case.
        body: up to a MiB of it.
        size: of all of it.
        sha256: of all of it.
        connection: the number of the connection it came by, from 1.
    """

    line: str
    headers: dict[str, str]
    body: bytes
    size: int
    sha256: str
    connection: int


Answers = Callable[[Taken], bytes]
Rough = Callable[[socket.socket], None]


def answer(status: str, body: bytes = b"", *fields: str) -> bytes:
    """The bytes of an answer."""
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Content-Type: text/plain", *fields]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


OK = answer("200 OK", b"thanks")


@dataclass
class Receiver:
    """The application.

    Args:
        answers: gives the bytes of an answer; what ends with b"" closes the connection.
        rough: handles a connection instead, for those that break the protocol.
        context: for TLS.
        requests: what came.
        connections: how many were accepted.
        at_once: requests at one time at the most.
    """

    answers: Answers = lambda _: OK
    rough: Rough | None = None
    context: ssl.SSLContext | None = None
    requests: list[Taken] = field(default_factory=list)
    connections: int = 0
    at_once: int = 0

    def __enter__(self) -> Receiver:
        self._lock = threading.Lock()
        self._busy = 0
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.down()
        for one in self._open:
            one.close()

    def down(self) -> None:
        """Listen no more; connections that are open go on."""
        try:
            self._listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._listener.close()

    @property
    def url(self) -> str:
        """Of the application."""
        if self.context is not None:
            return f"https://localhost:{self.port}/mail"
        return f"http://127.0.0.1:{self.port}/mail?from=gsmtp"

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self.connections += 1
                self._open.append(sock)
            threading.Thread(target=self._serve, args=(sock, self.connections), daemon=True).start()

    def _serve(self, sock: socket.socket, number: int) -> None:
        sock.settimeout(WAIT_S)
        try:
            if self.context is not None:
                sock = self.context.wrap_socket(sock, server_side=True)
            if self.rough is not None:
                self.rough(sock)
                return
            with sock.makefile("rb") as file:
                while (taken := read_request(file, number)) is not None:
                    with self._lock:
                        self.requests.append(taken)
                        self._busy += 1
                        self.at_once = max(self.at_once, self._busy)
                    try:
                        said = self.answers(taken)
                    finally:
                        with self._lock:
                            self._busy -= 1
                    if not said:
                        return
                    sock.sendall(said)
        except OSError:
            pass
        finally:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            sock.close()


def read_request(file: object, number: int = 1) -> Taken | None:
    """Read one request with a Content-Length; None at the end of the connection."""
    read = file.readline, file.read  # type: ignore[attr-defined]
    line = read[0]().decode("ascii").rstrip("\r\n")
    if not line:
        return None
    headers = {}
    while field_ := read[0]().decode("ascii").rstrip("\r\n"):
        name, _, value = field_.partition(": ")
        assert name.lower() not in headers, f"{name} twice"
        headers[name.lower()] = value
    left = int(headers["content-length"])
    body, size, digest = b"", 0, hashlib.sha256()
    while left:
        piece = read[1](min(left, 65_536))
        if not piece:
            return None
        left -= len(piece)
        size += len(piece)
        digest.update(piece)
        if len(body) < KEEP_BYTES:
            body += piece
    return Taken(line, headers, body, size, digest.hexdigest(), number)
