r"""The console's protocol on a socket: UTF-8 lines, answers with a status line, ended by a dot. Ours.

A client sends one command a line. An answer is ``OK``, ``OK text``, ``ERR text`` or (in a login) ``MORE base64``, then
any number of text lines of which a leading dot is doubled, then a line with a single dot. The greeting is an answer,
too. Source: reference/console-and-logs.md section 1; docs/console.md.

What a client may have buffered here is bounded, and one that reads nothing is waited for no longer than the timeout.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, Final

import gevent

LONGEST_LINE: Final = 65_536
_PIECE: Final = 32_768
_STRETCH_S: Final = 0.005
"""How long a listing is made before sessions get their turns."""


class BadLine(Exception):
    """A client sent what is no line of the protocol; the text says why."""


class Gone(Exception):
    """The client is gone, or waited too long; the text says which."""


class Wire:
    """One client.

    Args:
        sock: of gevent, connected.
    """

    def __init__(self, sock: Any) -> None:
        self._socket = sock
        self._data = b""

    def line(self, timeout_s: float) -> str:
        """The next line without its end.

        Raises:
            Gone: closed, or nothing whole within the time.
            BadLine: too long, no UTF-8, or with control characters.
        """
        with gevent.Timeout(timeout_s, Gone("idle timeout")):
            while b"\n" not in self._data:
                if len(self._data) > LONGEST_LINE:
                    raise BadLine("line too long")
                try:
                    piece = self._socket.recv(4096)
                except OSError:
                    piece = b""
                if not piece:
                    raise Gone("peer closed")
                self._data += piece
        raw, _, self._data = self._data.partition(b"\n")
        if len(raw) > LONGEST_LINE:
            raise BadLine("line too long")
        try:
            text = raw.removesuffix(b"\r").decode()
        except UnicodeDecodeError:
            raise BadLine("not UTF-8") from None
        if any(char < " " and char != "\t" for char in text):
            raise BadLine("control characters")
        return text

    def answer(self, status: str, lines: Iterable[str], timeout_s: float) -> None:
        """Send an answer, piece by piece; others have their turns in between.

        Raises:
            Gone: closed, or the client reads nothing.
        """
        piece = bytearray(_encoded(status))
        began_mono = time.monotonic()
        for text in lines:
            for line in text.split("\n"):
                piece += _encoded("." + line if line.startswith(".") else line)
            if len(piece) >= _PIECE:
                self._send(bytes(piece), timeout_s)
                piece.clear()
            if time.monotonic() - began_mono > _STRETCH_S:
                gevent.sleep(0)
                began_mono = time.monotonic()
        piece += b".\n"
        self._send(bytes(piece), timeout_s)

    def _send(self, data: bytes, timeout_s: float) -> None:
        view = memoryview(data)
        while view:
            with gevent.Timeout(timeout_s, Gone("does not read")):
                try:
                    sent = self._socket.send(view[:_PIECE])
                except OSError:
                    raise Gone("peer closed") from None
            view = view[sent:]
        gevent.sleep(0)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


def _encoded(line: str) -> bytes:
    """A line that can't be two, and can't move a terminal's cursor."""
    if not line.isprintable():
        line = "".join(char if char.isprintable() or char == "\t" else _escaped(char) for char in line)
    return line.encode("utf-8", "backslashreplace") + b"\n"


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode()
