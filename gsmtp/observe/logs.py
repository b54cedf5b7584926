"""Log lines: readable ones for people, JSON objects on request, one event a line, on standard output.

    2026-11-22T17:44:36.123Z info     smtp     received id=00/01-00042-00000001 from=<a@example.net> to=<b@example.com>

`EventLog` formats the frequent events itself, because the standard library's records cost more than the reply they
tell of; everything rare goes through `logging` (loggers ``gsmtp.*``) and comes out in the same shape. Passwords and
AUTH lines never get here: nobody passes them.
"""

from __future__ import annotations

import json
import logging
import re
import time
from typing import Protocol


class Sink(Protocol):
    """Where finished lines go."""

    def write(self, line: bytes) -> None:
        """Take one line with its end. Must not block."""


LEVELS = {
    "critical": logging.CRITICAL,
    "error": logging.ERROR,
    "warning": logging.WARNING,
    "notice": logging.INFO,
    "info": logging.INFO,
    "debug": logging.DEBUG,
}
_PLAIN = re.compile(r"[!#-\[\]-~]*")


class EventLog:
    """Writes events as lines.

    Args:
        sink: takes the lines.
        as_json: one JSON object a line instead of text.
    """

    def __init__(self, sink: Sink, *, as_json: bool = False) -> None:
        self._sink = sink
        self.as_json = as_json
        self._second = -1
        self._stamp = ""

    def event(self, level: str, area: str, what: str, **fields: object) -> None:
        """Write one event.

        Args:
            level: "critical", "error", "warning", "info" or "debug".
            area: the part of the server, e.g. "smtp", "delivery", "start".
            what: the event in one to three words, or a sentence when there are no fields.
            fields: what belongs to it, in order; None values are left out.
        """
        stamp = self._time()
        if self.as_json:
            record = {"time": stamp, "level": level, "area": area, "event": what}
            record.update((key, value) for key, value in fields.items() if value is not None)  # type: ignore[misc]
            line = json.dumps(record, ensure_ascii=False, default=str)
        else:
            words = [f"{key}={value}" for key, value in fields.items() if value is not None]
            if not _PLAIN.fullmatch("".join(words)):
                words = [f"{key}={_quote(value)}" for key, value in fields.items() if value is not None]
            line = " ".join((f"{stamp} {level:<8} {area:<8} {_one_line(what)}", *words))
        self._sink.write(line.encode("utf-8", "backslashreplace") + b"\n")

    def plain(self, text: str) -> None:
        """Write a text line that the caller formatted: level, area and words of printable ASCII, with its line end."""
        self._sink.write(f"{self._time()} {text}".encode())

    def _time(self) -> str:
        now = time.time()
        second = int(now)
        if second != self._second:
            self._second = second
            self._stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._stamp}.{int((now - second) * 1000):03d}Z"


def _quote(value: object) -> str:
    text = str(value)
    if _PLAIN.fullmatch(text):
        return text
    return '"' + _one_line(text.replace("\\", "\\\\")).replace('"', '\\"') + '"'


def _one_line(text: str) -> str:
    """No peer can forge a line: controls are shown as escapes."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


class _Bridge(logging.Handler):
    """Brings the records of `logging` into the same shape."""

    def __init__(self, events: EventLog) -> None:
        super().__init__()
        self._events = events

    def emit(self, record: logging.LogRecord) -> None:
        area = record.name.removeprefix("gsmtp.") if record.name.startswith("gsmtp") else record.name
        text = record.getMessage()
        traceback = logging.Formatter().formatException(record.exc_info) if record.exc_info else None
        self._events.event(record.levelname.lower(), area, text, traceback=traceback)


def install(events: EventLog, level: int = logging.INFO) -> None:
    """Make `logging` of the whole process write through `events` from `level` up."""
    root = logging.getLogger()
    for handler in list(root.handlers):
        root.removeHandler(handler)
    root.addHandler(_Bridge(events))
    root.setLevel(logging.WARNING)
    logging.getLogger("gsmtp").setLevel(level)
