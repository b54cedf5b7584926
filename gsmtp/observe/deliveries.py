"""Deliveries as events: one line an attempt, with the same ids as the reception's."""

from __future__ import annotations

import traceback

from gsmtp.core.records import Attempt
from gsmtp.observe.logs import EventLog

_LEVELS = {"delivered": "info", "deferred": "warning", "failed": "error"}


class DeliveryEvents:
    """What the delivery side tells (`gsmtp.delivery.worker.DeliveryLog`), written to the event log.

    Args:
        events: the log.
    """

    def __init__(self, events: EventLog) -> None:
        self._events = events

    def delivery(self, attempt: Attempt) -> None:
        """One recipient's attempt ended."""
        self._events.event(
            _LEVELS.get(attempt.kind, "info"),
            "delivery",
            attempt.kind,
            id=attempt.message_id,
            session=attempt.connection_id,
            sender=f"<{attempt.sender}>",
            recipient=f"<{attempt.recipient}>",
            hop=attempt.hop,
            attempt=attempt.attempts,
            age_s=f"{attempt.age_s:.1f}",
            reply=attempt.reply,
        )

    def problem(self, text: str, error: BaseException | None = None) -> None:
        """Something is wrong on our side; `error` carries the traceback."""
        shown = "".join(traceback.format_exception(error)) if error is not None else None
        self._events.event("error", "delivery", text, traceback=shown)
