"""Log lines: readable ones for people, JSON objects on request, one event a line, on standard output.

    2026-11-22T17:44:36.123Z info     smtp     received id=00/01-00042-00000001 from=<a@example.net> to=<b@example.com>

`EventLog` formats the frequent events itself, because the standard library's records cost more than the reply they
tell of; everything rare goes through `logging` (loggers ``gsmtp.*``) and comes out in the same shape (`bridge.py`).
Passwords and AUTH lines never get here: nobody passes them.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol


class Sink(Protocol):
    """Where finished lines go."""

    def write(self, line: bytes) -> None:
        """Take one line with its end. Must not block."""


LEVELS: Final = {
    "critical": logging.CRITICAL,
    "error": logging.ERROR,
    "warning": logging.WARNING,
    "notice": logging.INFO,
    "info": logging.INFO,
    "debug": logging.DEBUG,
}
_TO_KEEP: Final = ("critical", "error", "warning")
_KEPT: Final = 10
_PLAIN: Final = re.compile(r"[!#-\[\]-~]*")
_THOUSANDTHS: Final = tuple(f".{number:03d}Z" for number in range(1000))


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something went wrong with the server itself.

    Args:
        wall: when, seconds since the epoch.
        level: "critical", "error" or "warning".
        area: the part of the server.
        text: what, with its values, in one line.
    """

    wall: float
    level: str
    area: str
    text: str


class EventLog:
    """Writes events as lines.

    Args:
        sink: takes the lines.
        as_json: one JSON object a line instead of text.

    Attributes:
        recent: the last ten troubles of each level, the oldest first.
        on_trouble: told of each trouble, None for nobody.
    """

    def __init__(self, sink: Sink, *, as_json: bool = False) -> None:
        self._sink = sink
        self.as_json = as_json
        self.recent: dict[str, deque[Trouble]] = {level: deque(maxlen=_KEPT) for level in _TO_KEEP}
        self.on_trouble: Callable[[Trouble], object] | None = None
        self._second = -1
        self._stamp = ""
        self._format = ""
        self._formatted = ""

    def event(self, level: str, area: str, what: str, **fields: object) -> None:
        """Write one event.

        Args:
            level: "critical", "error", "warning", "info" or "debug".
            area: the part of the server, e.g. "smtp", "delivery", "start".
            what: the event in one to three words, or a sentence when there are no fields.
            fields: what belongs to it, in order; None values are left out.
        """
        if level in _TO_KEEP:
            self._keep(level, area, what, fields)
        self.line(level, area, what, fields)

    def line(self, level: str, area: str, what: str, fields: dict[str, object]) -> None:
        """Write one event that is no trouble of the server, whatever its level: e.g. that a message was refused."""
        if self.as_json:
            record = {"time": self._time(), "level": level, "area": area, "event": what}
            record.update((key, value) for key, value in fields.items() if value is not None)  # type: ignore[misc]
            line = json.dumps(record, ensure_ascii=False, default=str)
        else:
            line = " ".join((f"{self._prefix()}{level:<8} {area:<8} {_one_line(what)}", *_words(fields)))
        self._sink.write(line.encode("utf-8", "backslashreplace") + b"\n")

    def plain(self, text: str) -> None:
        """Write a text line that the caller formatted: level, area and words of printable ASCII, with its line end."""
        self._sink.write((self._prefix() + text).encode())

    def use_stamp(self, form: str) -> None:
        """Let text lines begin with the local time in this strftime form; with ISO 8601 in UTC when it is empty."""
        self._format = form
        self._second = -1

    def _keep(self, level: str, area: str, what: str, fields: dict[str, object]) -> None:
        trouble = Trouble(time.time(), level, area, " ".join((_one_line(what), *_words(fields))))
        self.recent[level].append(trouble)
        if self.on_trouble is not None:
            self.on_trouble(trouble)

    def _time(self) -> str:
        now = time.time()
        second = int(now)
        if second != self._second:
            self._second = second
            self._stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            if self._format:
                self._formatted = _one_line(time.strftime(self._format, time.localtime(second)))
        return self._stamp + _THOUSANDTHS[int((now - second) * 1000)]

    def _prefix(self) -> str:
        stamp = self._time()
        return self._formatted if self._format else stamp + " "


def _words(fields: dict[str, object]) -> list[str]:
    words = []
    for key, value in fields.items():
        if value is not None:
            words.append(f"{key}={shown(value if type(value) is str else str(value))}")
    return words


def shown(text: str) -> str:
    """A field's value as it stands in a line: quoted unless it is one word of plain characters."""
    if _PLAIN.fullmatch(text):
        return text
    if "\\" in text or '"' in text:
        text = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{_one_line(text)}"'


def _one_line(text: str) -> str:
    """No peer can forge a line: controls are shown as escapes."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)
