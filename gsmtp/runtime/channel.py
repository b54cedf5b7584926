"""Questions and answers between a parent and its worker, over a pair of Unix sockets that both hold an end of.

A frame is two lengths of four bytes, a JSON object and raw bytes; descriptors travel beside its first byte. A question
is `{"ask": number, "kind": …, "body": …, "fds": count}`, what is only told has no `ask`; an answer is
`{"answer": number, "body": …}` or `{"answer": number, "error": text}`. Each question is handled in a green thread of
its own, so a slow one holds up nobody, and an end that doesn't read holds up only who writes to it.

What becomes of raw bytes is the handler's business: a worker trusts those of its parent, the parent reads JSON only.
"""

from __future__ import annotations

import array
import json
import logging
import os
import socket
import struct
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import gevent
from gevent.event import AsyncResult
from gevent.lock import BoundedSemaphore

from gsmtp.core.errors import GsmtpError

log = logging.getLogger("gsmtp.workers")

_LENGTHS = struct.Struct("!II")
_ONLY_FDS = _LENGTHS.pack(0, 0)
"""An empty frame: descriptors that belong to the next one came with it."""
_READ_BYTES = 65_536
_MOST_FDS: Final = 250
"""Descriptors beside one frame; the kernel takes 253."""
_MOST_BYTES: Final = 256 << 20

Json = Any
"""What `json` reads and writes."""


class ChannelError(GsmtpError):
    """The other end gave no answer: it is gone, or the time is over."""


class Refused(GsmtpError):
    """The other end's answer is an error; the text is its own."""


@dataclass(frozen=True, slots=True)
class Question:
    """What came from the other end.

    Args:
        kind: says which handler.
        body: JSON.
        raw: bytes beside it.
        fds: descriptors that came with it; the handler owns them.
    """

    kind: str
    body: Json
    raw: bytes = b""
    fds: list[int] = field(default_factory=list)


Handler = Callable[[Question], Json]
"""Answers a question in a green thread, with JSON or by raising GsmtpError."""


class Channel:
    """One end.

    Args:
        sock: connected, of the family AF_UNIX; it is closed by `close`.
        handlers: by kind; may be added to.
        ended: called once, in a green thread, when the other end is gone.
    """

    def __init__(
        self, sock: socket.socket, handlers: Mapping[str, Handler], ended: Callable[[], object] = lambda: None
    ) -> None:
        self._sock = sock
        self._handlers = handlers
        self._ended = ended
        self._sending = BoundedSemaphore(1)
        self._number = 0
        self._waiting: dict[int, AsyncResult[dict[str, Any] | None]] = {}
        self._buffer = bytearray()
        self._fds: deque[int] = deque()
        self.is_closed = False

    def start(self) -> None:
        """Begin to read."""
        gevent.spawn(self._read_all)

    def ask(
        self, kind: str, body: Json = None, *, raw: bytes = b"", fds: Sequence[int] = (), timeout_s: float = 10.0
    ) -> Json:
        """Ask, and wait in the calling green thread.

        Args:
            kind: of the question.
            body: JSON.
            raw: bytes beside it.
            fds: descriptors that the other end gets copies of; ours stay open.
            timeout_s: for sending and for the answer, together.

        Raises:
            Refused: the other end says why not.
            ChannelError: there is no answer.
        """
        self._number += 1
        number = self._number
        answer = self._waiting[number] = AsyncResult()
        timer = gevent.Timeout.start_new(timeout_s)
        try:
            self._send({"ask": number, "kind": kind, "body": body, "fds": len(fds)}, raw, fds)
            found = answer.get()
        except gevent.Timeout as late:
            if late is not timer:
                raise
            raise ChannelError(f"{kind}: no answer within {timeout_s:g} s") from None
        finally:
            timer.close()
            del self._waiting[number]
        if found is None:
            raise ChannelError(f"{kind}: the process is gone")
        if "error" in found:
            raise Refused(str(found["error"]))
        return found.get("body")

    def tell(self, kind: str, body: Json = None, *, raw: bytes = b"", fds: Sequence[int] = ()) -> None:
        """Say something that is not answered. Blocks only while the other end doesn't read. Raises ChannelError."""
        self._send({"kind": kind, "body": body, "fds": len(fds)}, raw, fds)

    def close(self) -> None:
        """Close this end; who waits for an answer is told. `ended` is not called."""
        if self.is_closed:
            return
        self.is_closed = True
        self._sock.close()
        while self._fds:
            os.close(self._fds.popleft())
        for answer in self._waiting.values():
            answer.set(None)

    def _send(self, head: dict[str, Any], raw: bytes, fds: Sequence[int]) -> None:
        text = json.dumps(head).encode()
        data = memoryview(_LENGTHS.pack(len(text), len(raw)) + text + raw)
        with self._sending:
            if self.is_closed:
                raise ChannelError("the process is gone")
            is_begun = False
            try:
                while len(fds) > _MOST_FDS:
                    self._sock.sendmsg([_ONLY_FDS], _rights(fds[:_MOST_FDS]))
                    fds = fds[_MOST_FDS:]
                rights = _rights(fds)
                while data:
                    data = data[self._sock.sendmsg([data], rights) :]
                    is_begun, rights = True, []
            except OSError as error:
                raise ChannelError(f"the process is gone ({error.strerror})") from error
            except gevent.Timeout:
                if is_begun:  # half a frame is out: nothing that follows could be read
                    self._end()
                raise

    def _end(self) -> None:
        if not self.is_closed:
            self.close()
            gevent.spawn(self._ended)

    def _read_all(self) -> None:
        try:
            while self._receive():
                self._take_frames()
        except (OSError, ValueError) as error:
            if not self.is_closed:
                log.error("a worker's channel broke: %s", error)
        self._end()

    def _receive(self) -> bool:
        room = socket.CMSG_SPACE(_MOST_FDS * 4)
        data, ancillary, _, _ = self._sock.recvmsg(_READ_BYTES, room, socket.MSG_CMSG_CLOEXEC)
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                found = array.array("i")
                found.frombytes(content[: len(content) - len(content) % found.itemsize])
                self._fds.extend(found)
        self._buffer += data
        return bool(data)

    def _take_frames(self) -> None:
        while len(self._buffer) >= _LENGTHS.size:
            text_bytes, raw_bytes = _LENGTHS.unpack_from(self._buffer)
            if text_bytes + raw_bytes > _MOST_BYTES:
                raise ValueError("a frame that is too large")
            begin, middle = _LENGTHS.size, _LENGTHS.size + text_bytes
            end = middle + raw_bytes
            if len(self._buffer) < end:
                return
            if not text_bytes:
                del self._buffer[:end]
                continue
            head = json.loads(self._buffer[begin:middle])
            raw = bytes(self._buffer[middle:end])
            del self._buffer[:end]
            self._take(head, raw)

    def _take(self, head: dict[str, Any], raw: bytes) -> None:
        if "answer" in head:
            waiting = self._waiting.get(head["answer"])
            if waiting is not None:  # else it came too late
                waiting.set(head)
            return
        fds = [self._fds.popleft() for _ in range(head["fds"])]
        gevent.spawn(self._handle, head.get("ask"), Question(head["kind"], head["body"], raw, fds))

    def _handle(self, number: int | None, question: Question) -> None:
        answer: dict[str, Any] = {"answer": number}
        handler = self._handlers.get(question.kind)
        try:
            if handler is None:
                raise GsmtpError(f"no such question: {question.kind}")
            answer["body"] = handler(question)
        except GsmtpError as error:
            answer["error"] = str(error)
        except Exception as error:
            log.exception("the question %s broke", question.kind)
            answer["error"] = repr(error)
        if number is not None:
            try:
                self._send(answer, b"", ())
            except ChannelError:
                pass  # whoever asked is gone


def _rights(fds: Sequence[int]) -> list[tuple[int, int, array.array[int]]]:
    return [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
