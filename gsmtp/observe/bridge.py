"""Brings what goes through `logging` into the shape of our own lines (`observe.logs`)."""

from __future__ import annotations

import logging

from gsmtp.observe.logs import EventLog


class _Bridge(logging.Handler):
    """Takes the records."""

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
