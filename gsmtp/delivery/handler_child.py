"""A worker process of ``run_in = "process"``: imports one handler and calls it for one message after the other.

Started by `delivery.handler_processes` as ``python -m gsmtp.delivery.handler_child DESCRIPTOR``; the descriptor is a
stream socket. On it go frames, four bytes of length in network order and JSON; a message's frame is followed by one
with its bytes, unless it is in a file. The process ends when the other end closes, or with the server, whatever
happens to that. It imports no gevent and shares no memory with the server.
"""

from __future__ import annotations

import json
import math
import os
import select
import socket
import struct
import sys
import threading
import traceback
from datetime import UTC, datetime
from typing import Any

from gsmtp.core.inboundmail import InboundMail, Refuse, Retry, Verdict, verdicts
from gsmtp.core.surrogates import clean
from gsmtp.delivery.handlers import Handler, Handlers, Source
from gsmtp.runtime.modules import LoadError

_LONGEST_S = 366 * 86_400.0
_LENGTH = struct.Struct("!I")
FIELDS = (
    "id", "key", "sender", "attempt", "size_bytes", "client", "helo", "protocol", "auth_user", "smtputf8", "path",
)  # fmt: skip
"""Of a message, those that are JSON as they are."""


def frame(data: bytes) -> bytes:
    """Bytes with their length in front."""
    return _LENGTH.pack(len(data)) + data


def frame_length(head: bytes) -> int:
    """The length that the first four bytes of a frame tell."""
    return int(_LENGTH.unpack(head)[0])


def mail_frames(mail: InboundMail) -> bytes:
    """A message for the other process."""
    told: dict[str, Any] = {name: getattr(mail, name) for name in FIELDS}
    told.update(
        recipients=list(mail.recipients),
        received=mail.received.timestamp(),
        conn=dict(mail.conn),
        mess=dict(mail.mess),
        has_data=mail.data is not None,
    )
    return frame(json.dumps(told).encode()) + (frame(mail.data) if mail.data is not None else b"")


def verdicts_of(told: list[list[Any] | None]) -> list[Verdict]:
    """The verdicts of an answer's ``verdicts``."""
    return [_verdict(one) for one in told]


def _verdict(told: list[Any] | None) -> Verdict:
    if told is None:
        return None
    return Retry(told[1], told[2]) if told[0] == "retry" else Refuse(told[1])


def _told(verdict: Verdict) -> list[Any] | None:
    if isinstance(verdict, Retry):
        return ["retry", verdict.text, verdict.after_s]
    return None if verdict is None else ["refuse", verdict.text]


class _Stream:
    """The child's end."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._file = sock.makefile("rb")

    def read(self) -> bytes | None:
        """A frame, None at the end."""
        head = self._file.read(_LENGTH.size)
        if len(head) < _LENGTH.size:
            return None
        length = frame_length(head)
        data = self._file.read(length)
        return data if len(data) == length else None

    def write(self, told: dict[str, Any]) -> None:
        self._sock.sendall(frame(json.dumps(told).encode()))


def _die_with_the_server(descriptor: int) -> None:
    """End this process when the server's end closes, even in the middle of a handler."""
    poll = select.poll()
    poll.register(descriptor, select.POLLRDHUP | select.POLLHUP | select.POLLERR)
    while not poll.poll():
        pass
    os._exit(0)


def _mail(told: dict[str, Any], data: bytes | None) -> InboundMail:
    return InboundMail(
        recipients=tuple(told["recipients"]),
        received=datetime.fromtimestamp(told["received"], UTC),
        conn=told["conn"],
        mess=told["mess"],
        data=data,
        **{name: told[name] for name in FIELDS},
    )


def judged(handler: Handler, mail: InboundMail) -> list[Verdict]:
    """Call a handler; a Retry or Refuse that it raises is its verdict. Raises whatever else it raises."""
    try:
        answer = handler(mail)
    except (Retry, Refuse) as verdict:
        answer = verdict
    return [_plain(one) for one in verdicts(mail.recipients, answer)]


def _plain(verdict: Verdict) -> Verdict:
    """A verdict whose parts are of their kinds: what a queue and a log can keep. Raises TypeError, ValueError."""
    if verdict is None:
        return None
    text = "" if verdict.text is None else clean(str(verdict.text))
    if isinstance(verdict, Refuse):
        return Refuse(text)
    after_s = float(verdict.after_s)
    return Retry(text, min(max(after_s, 0.0), _LONGEST_S) if not math.isnan(after_s) else 0.0)


def _answer(handler: Handler, mail: InboundMail) -> dict[str, Any]:
    try:
        return {"verdicts": [_told(one) for one in judged(handler, mail)]}
    except BaseException as error:  # noqa: BLE001 - a sys.exit() of a handler ends no worker
        return {"error": f"{type(error).__name__}: {error}"[:500], "traceback": traceback.format_exc()}


def main(descriptor: int) -> int:
    """Serve until the other end closes."""
    sock = socket.socket(fileno=descriptor)
    sock.set_inheritable(False)  # what a handler starts would keep the server from seeing this process's end
    sock.setblocking(True)
    stream = _Stream(sock)
    first = stream.read()
    if first is None:
        return 0
    told = json.loads(first)
    sys.path[:] = told["path"]
    source = Source(told["module"], told["name"], told["folder"])
    try:
        handler = Handlers().adopt([source])[source]
    except LoadError as error:
        stream.write({"error": str(error)})
        return 1
    stream.write({"ready": True})
    threading.Thread(target=_die_with_the_server, args=(descriptor,), daemon=True).start()
    while (data := stream.read()) is not None:
        told = json.loads(data)
        body = stream.read() if told["has_data"] else None
        stream.write(_answer(handler, _mail(told, body)))
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
