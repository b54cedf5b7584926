"""Deliveries as events: one line an attempt, with the same ids as the reception's."""

from __future__ import annotations

import traceback

from gsmtp.observe.logs import EventLog

_LEVELS = {"delivered": "info", "deferred": "warning", "failed": "error"}


class DeliveryEvents:
    """What the delivery side tells (`gsmtp.delivery.worker.DeliveryLog`), written to the event log.

    Args:
        events: the log.
    """

    def __init__(self, events: EventLog) -> None:
        self._events = events

    def delivery(self, kind: str, **fields: object) -> None:
        """One recipient's attempt ended: ``"delivered"``, ``"deferred"`` or ``"failed"``."""
        self._events.event(
            _LEVELS.get(kind, "info"),
            "delivery",
            kind,
            id=fields["message_id"],
            sender=f"<{fields['sender']}>",
            recipient=f"<{fields['recipient']}>",
            hop=fields["hop"],
            attempt=fields["attempts"],
            age_s=f"{fields['age_s']:.1f}",
            reply=fields["reply"],
        )

    def problem(self, text: str, error: BaseException | None = None) -> None:
        """Something is wrong on our side; `error` carries the traceback."""
        shown = "".join(traceback.format_exception(error)) if error is not None else None
        self._events.event("error", "delivery", text, traceback=shown)
