"""Where records go: the readable or JSON lines on standard output, and the files of each ec_logger.

A record is made for each message and each refusal, so the frequent ones are formatted here by hand: with no ec_logger
a record costs no more than a call of `EventLog.event`.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Final, Protocol

from gsmtp.core.envelope import Envelope
from gsmtp.core.records import (
    Attempt,
    AuthAttempt,
    Authorization,
    Reception,
    Record,
    Rejection,
    SessionBegin,
    SessionEnd,
    TlsFailure,
)
from gsmtp.observe.logs import EventLog, Trouble, shown

_PLAIN_WORDS: Final = re.compile(r"[ !#-\[\]-~]*")
_PHASES: Final = {
    "just connected": "connect",
    "sending banner": "connect",
    "concurrency limit": "connect",
    "awaiting ehlo/helo": "ehlo",
    "sending ehlo/helo response": "ehlo",
    "awaiting mailfrom": "mailfrom",
    "sending mailfrom response": "mailfrom",
    "awaiting rcptto": "rcptto",
    "sending rcptto response": "rcptto",
    "relaying denied": "rcptto",
    "data phase": "data",
    "reading body": "body",
    "sending body response": "data",
    "async body handler": "data",
    "async body response": "data",
}
"""Short words for Momentum's state names (reference/console-and-logs.md section 4)."""


_DELIVERY_LEVELS: Final = {"delivered": "info", "deferred": "warning", "failed": "error"}
_AUTH_WORDS: Final = {
    "pass": "logged in",
    "fail": "login failed",
    "error": "login not judged",
    "timeout": "login timed out",
}


_known = lru_cache(maxsize=256)(shown)  # for words of which there are few


class RecordLog(Protocol):
    """Something else that takes every record (`observe.ec_logger`)."""

    def record(self, record: Record) -> None:
        """Take one record. Must not block."""

    def trouble(self, trouble: Trouble) -> None:
        """Take an error of the server itself. Must not block."""


class Journal:
    """Takes records and has them written; what the delivery side tells comes here too (`delivery.worker.DeliveryLog`).

    Args:
        events: readable or JSON lines.
    """

    def __init__(self, events: EventLog) -> None:
        self._events = events
        self._logs: Sequence[RecordLog] = ()
        events.on_trouble = self._trouble

    def record(self, record: Record) -> None:
        """Write a record wherever it belongs. Never blocks."""
        _TELLERS[type(record)](self, record)
        for log in self._logs:
            log.record(record)

    def delivery(self, record: Attempt) -> None:
        """One recipient's attempt ended."""
        self.record(record)

    def problem(self, text: str, error: BaseException | None = None) -> None:
        """Something is wrong on our side with a delivery; `error` carries the traceback."""
        shown = "".join(traceback.format_exception(error)) if error is not None else None
        self._events.event("error", "delivery", text, traceback=shown)

    def use(self, logs: Sequence[RecordLog]) -> None:
        """Have records written to these from now on, and to none that were there before."""
        self._logs = logs

    def _trouble(self, trouble: Trouble) -> None:
        if trouble.level != "warning":
            for log in self._logs:
                log.trouble(trouble)

    # --- readable lines

    def _tell_reception(self, record: Reception) -> None:
        envelope = record.envelope
        peering = record.peering
        events = self._events
        what = "dropped" if record.is_dropped else "received"
        recipients = shown_recipients(envelope)
        client = peering.remote or ("internal" if record.protocol == "internal" else "unix")
        if not events.as_json:
            words = (
                f"id={envelope.message_id} session={peering.connection_id} client={client} "
                f"sender=<{envelope.reverse_path}> recipients={recipients} size={envelope.size_bytes} "
                f"protocol={envelope.protocol}"
            )
            if words.count(" ") == 6 and _PLAIN_WORDS.fullmatch(words):
                events.plain(f"info     smtp     {what} {words}\n")
                return
        events.line(
            "info",
            "smtp",
            what,
            {
                "id": envelope.message_id,
                "session": peering.connection_id,
                "client": client,
                "sender": f"<{envelope.reverse_path}>",
                "recipients": recipients,
                "size": envelope.size_bytes,
                "protocol": envelope.protocol,
            },
        )

    def _tell_rejection(self, record: Rejection) -> None:
        peering = record.peering
        phase = _PHASES.get(record.state, record.state)
        mess = record.mess
        self._events.line(
            "info",
            "smtp",
            "rejected",
            {
                "id": record.message_id or None,
                "session": peering.connection_id,
                "client": peering.remote or "unix",
                "phase": phase,
                "reply": str(record.reply),
                "check": record.check,
                "reason": record.reason or None,
                "sender": mess.get("mailfrom_string"),
                "recipient": mess.get("rcptto_string") if phase == "rcptto" else None,
            },
        )

    def _tell_auth(self, record: AuthAttempt) -> None:
        peering = record.peering
        self._events.line(
            "info" if record.status == "pass" else "warning",
            "auth",
            _AUTH_WORDS.get(record.status, record.status),
            {
                "session": peering.connection_id,
                "client": peering.remote or "unix",
                "mechanism": record.mechanism,
                "user": record.user or None,
                "reason": record.reason or None,
            },
        )

    def _tell_authorization(self, record: Authorization) -> None:
        peering = record.peering
        self._events.line(
            "info" if record.verdict > 0 else "warning",
            "control",
            {1: "command", 0: "command denied"}.get(record.verdict, "command not judged"),
            {
                "session": peering.connection_id,
                "client": peering.remote or "unix",
                "user": record.user or None,
                "command": record.command,
                "role": record.role or None,
            },
        )

    def _tell_attempt(self, record: Attempt) -> None:
        self._events.line(
            _DELIVERY_LEVELS.get(record.kind, "info"),
            "delivery",
            record.kind,
            {
                "id": record.message_id,
                "session": record.connection_id or None,
                "sender": f"<{record.sender}>",
                "recipient": f"<{record.recipient}>",
                "hop": record.hop,
                "attempt": record.attempts,
                "age_s": f"{record.age_s:.1f}",
                "tls": record.tls or None,
                "reply": record.reply,
            },
        )

    def _tell_begin(self, record: SessionBegin) -> None:
        peering = record.peering
        self._events.line(
            "debug",
            "smtp",
            "connected",
            {
                "session": peering.connection_id,
                "client": peering.remote or "unix",
                "listen": peering.endpoint,
                "pathway": peering.pathway,
            },
        )

    def _tell_end(self, record: SessionEnd) -> None:
        peering = record.peering
        events = self._events
        client = peering.remote or "unix"
        if not (events.as_json or record.tls or record.user):
            events.plain(
                f"info     smtp     disconnected session={peering.connection_id} client={client} "
                f"end={_known(record.reason)} seconds={record.seconds:.3f} messages={record.messages} "
                f"state={_known(record.state)}\n"
            )
            return
        events.line(
            "info",
            "smtp",
            "disconnected",
            {
                "session": peering.connection_id,
                "client": client,
                "end": record.reason,
                "seconds": f"{record.seconds:.3f}",
                "messages": record.messages,
                "state": record.state,
                "tls": record.tls or None,
                "user": record.user or None,
            },
        )

    def _tell_tls_failure(self, record: TlsFailure) -> None:
        peering = record.peering
        self._events.line(
            "info",
            "tls",
            "TLS broke" if record.was_on else "handshake failed",
            {
                "session": peering.connection_id,
                "client": peering.remote or "unix",
                "reason": record.reason,
            },
        )


_TELLERS: Final[dict[type, Callable[[Journal, Any], None]]] = {
    Reception: Journal._tell_reception,
    Rejection: Journal._tell_rejection,
    AuthAttempt: Journal._tell_auth,
    Authorization: Journal._tell_authorization,
    SessionBegin: Journal._tell_begin,
    SessionEnd: Journal._tell_end,
    TlsFailure: Journal._tell_tls_failure,
    Attempt: Journal._tell_attempt,
}


def shown_recipients(envelope: Envelope) -> str:
    """The first three recipients and how many more there are."""
    recipients = envelope.recipients
    if len(recipients) == 1:
        return f"<{recipients[0].address}>"
    shown = ",".join([f"<{recipient.address}>" for recipient in recipients[:3]])
    more = len(recipients) - 3
    return f"{shown},+{more}" if more > 0 else shown
