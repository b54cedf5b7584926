"""Who is told of what became of mail: bounces, dead letters, notices of delay and of delivery.

An attempt's failed recipients get one notice, which is stored in the commit that notes their failure: a crash can't
lose it, nor send it twice. Whatever can't be told to anybody is kept or dropped as `Failure_Action` says.

Sources: reference/policy-and-context.md section 5.2, RFC 3461 section 5.2, RFC 5321 section 4.5.5 (null sender),
RFC 8689 section 5 (REQUIRETLS).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import gevent

from gsmtp.config.view import View
from gsmtp.core.clock import Clock
from gsmtp.core.envelope import Envelope, Recipient
from gsmtp.core.errors import SpoolError
from gsmtp.delivery.bounce_options import (
    ALL,
    AUTO,
    BOUNCE,
    BOUNCES_INLINE_ORIGINAL,
    DELAY_DSN_ENABLED,
    DELAY_DSN_MAX_RETRY_INTERVAL,
    DELAY_DSN_RETRY_INTERVAL,
    DROP,
    FAILURE_ACTION,
    GENERATE_BOUNCES,
    GENERATE_DELAY_DSN,
    HEADERS,
    KEEP,
    MAILERDAEMON,
    MDN_FAILURES_NOTIFY,
    NONE,
)
from gsmtp.delivery.dsn import DELAYED, DELIVERED, FAILED, RELAYED, Composed, Report, Told, compose
from gsmtp.delivery.dsn_original import Original, read_original
from gsmtp.delivery.transport import TRANSPORTS, Native, Outcome
from gsmtp.spool.base import Due, Notice, Record, Spool, State, StoredBody, Wish

if TYPE_CHECKING:
    from gsmtp.delivery.router import Domains
    from gsmtp.delivery.worker import Batch

PROTOCOL = "internal"
"""`Envelope.protocol` of notices."""
DOUBLE = "double_bounce"
"""The message variable that tells a notice to Mdn_Failures_Notify."""
_SPOOL_WAIT_S = 300.0
_SMTP = ("lmtp", "smtp")
_logger = logging.getLogger("gsmtp.delivery")


class Bounces:
    """Settles failures and writes notices.

    Args:
        spool: gives bodies.
        native: reads them and composes notices.
        next_id: gives message ids that are unique in the spool.
        clock: wall time.
        hostname: what reports.
    """

    def __init__(self, spool: Spool, native: Native, next_id: Callable[[], str], clock: Clock, hostname: str) -> None:
        self._spool = spool
        self._native = native
        self._next_id = next_id
        self._clock = clock
        self._hostname = hostname
        self._warns = True

    def configure(self, configuration: Domains) -> None:
        """See `Failures.configure`."""
        self._warns = all(view[DELAY_DSN_ENABLED] for view in configuration.stanzas("delay_dsn"))

    def settle(
        self,
        envelope: Envelope,
        records: Sequence[Record],
        outcomes: Sequence[Outcome],
        batch: Batch,
        *,
        is_ending: bool = False,
    ) -> tuple[Sequence[Record], Sequence[Notice]]:
        """See `Failures.settle`."""
        settled = list(records)
        told: dict[str, list[Told]] = {}
        for place, (due, record, outcome) in enumerate(zip(batch.dues, records, outcomes, strict=True)):
            recipient = envelope.recipients[due.index]
            action = ""
            until = 0.0
            if record.state == State.DEAD:
                state = fate(envelope, recipient, due, outcome, batch)
                settled[place] = replace(record, state=state)
                action = FAILED if state == State.BOUNCED else ""
                if state == State.DROPPED:
                    _logger.warning("%s for <%s> is dropped: nobody is to be told", due.message_id, due.address)
                elif state == State.DEAD:
                    _logger.warning("%s for <%s> stays as a dead letter", due.message_id, due.address)
            elif record.state == State.QUEUED:
                warned = self._warning(envelope, recipient, due, record, batch.options)
                if warned > due.warned:
                    settled[place] = replace(record, warned=warned)
                    action = DELAYED
                    until = _since(envelope, due) + batch.policy.expiration_s
            else:
                action = _success(envelope, recipient, outcome, batch)
            if action:
                told.setdefault(action, []).append(_told(due, recipient, record, action, until, outcome, batch))
        if not told:
            return settled, ()
        return settled, [
            self._notice(envelope, batch.options, tuple(group), is_ending=is_ending) for group in told.values()
        ]

    def _warning(self, envelope: Envelope, recipient: Recipient, due: Due, record: Record, options: View) -> int:
        """How many notices of delay are due by now; as many as there were when no more is wished."""
        wished = not recipient.notify or "DELAY" in recipient.notify
        if not (wished and self._warns and envelope.reverse_path and options[GENERATE_DELAY_DSN]):
            return due.warned
        wait_s, longest_s = options[DELAY_DSN_RETRY_INTERVAL], options[DELAY_DSN_MAX_RETRY_INTERVAL]
        age_s = record.when_wall - _since(envelope, due)
        return max(due.warned, warnings_due(age_s, wait_s, longest_s))

    def _notice(self, envelope: Envelope, options: View, recipients: tuple[Told, ...], *, is_ending: bool) -> Notice:
        """The message that tells of these recipients, of one action."""
        is_failure = recipients[0].action == FAILED
        to = envelope.reverse_path or options[MDN_FAILURES_NOTIFY]
        is_double = not envelope.reverse_path
        is_utf8 = envelope.smtputf8 or not to.isascii()
        report = Report(
            notice_id=self._next_id(),
            hostname=self._hostname,
            mailer_daemon=options[MAILERDAEMON] or f"mailer-daemon@{self._hostname}",
            to=to,
            when_wall=self._clock.wall(),
            message_id=envelope.message_id,
            received_wall=envelope.received_wall,
            recipients=recipients,
            original=Original(),
            envid=envelope.envid,
            is_utf8=is_utf8,
            is_double=is_double,
        )
        wanted = wanted_original(envelope, options, is_failure=is_failure)
        composed = _composed_at_once(report, wanted) if is_ending else self._composed(report, wanted)
        notice = Envelope(
            message_id=report.notice_id,
            connection_id=envelope.connection_id,
            reverse_path="",
            recipients=[Recipient(to, to.rpartition("@")[2].lower().rstrip(".") if "@" in to else "")],
            received_wall=report.when_wall,
            size_bytes=len(composed.data),
            protocol=PROTOCOL,
            body="8BITMIME" if composed.is_8bit else "7BIT",
            smtputf8=is_utf8 and composed.is_8bit,
            priority=envelope.priority,  # RFC 6710 section 5.1
            mess={DOUBLE: "true"} if is_double else {},
        )
        return Notice(notice, composed.data)

    def _composed(self, report: Report, wanted: str) -> Composed:
        body: StoredBody | None = None
        if wanted != NONE:
            try:
                with gevent.Timeout(_SPOOL_WAIT_S, SpoolError(f"no answer within {_SPOOL_WAIT_S:g} s")):
                    body = self._spool.body(report.message_id)
            except SpoolError as error:
                report = replace(report, original=Original(note=f"Its text can't be read: {error}."))
        return self._native.call(_compose, report, body, wanted)


def _composed_at_once(report: Report, wanted: str) -> Composed:
    """The notice without the original, for which there is no time."""
    note = "" if wanted == NONE else "Its text isn't here: the server was stopping."
    return compose(replace(report, original=Original(note=note)))


def _compose(report: Report, body: StoredBody | None, wanted: str) -> Composed:
    """Read the original and write the notice. Runs in a native thread."""
    return compose(report if body is None else replace(report, original=read_original(body, wanted)))


def fate(envelope: Envelope, recipient: Recipient, due: Due, outcome: Outcome, batch: Batch) -> str:
    """The state of a recipient that failed for good: BOUNCED, DEAD or DROPPED."""
    if outcome.keep:
        return State.DEAD
    action = BOUNCE if due.wish == Wish.BOUNCE else _action(recipient, batch)
    if action in (KEEP, DROP):
        return State.DEAD if action == KEEP else State.DROPPED
    can_tell = bool(envelope.reverse_path or (batch.options[MDN_FAILURES_NOTIFY] and DOUBLE not in envelope.mess))
    if not can_tell or (recipient.notify and "FAILURE" not in recipient.notify):
        return State.DROPPED
    return State.BOUNCED if batch.options[GENERATE_BOUNCES] or due.wish == Wish.BOUNCE else State.DEAD


def _action(recipient: Recipient, batch: Batch) -> str:
    """`Failure_Action` in effect: of the transport's stanza, else of the domain; "auto" made into one of the others."""
    route = batch.route
    action = batch.options[FAILURE_ACTION]
    if route is not None and route.view is not route.domain_view:
        origin = route.view.origin(FAILURE_ACTION)
        action = origin.value if origin.setting is not None else action
    if action != AUTO:
        return action
    kind = TRANSPORTS.get(route.transport) if route is not None else None
    return KEEP if kind is not None and kind.keeps_refused and not recipient.failure else BOUNCE


def _success(envelope: Envelope, recipient: Recipient, outcome: Outcome, batch: Batch) -> str:
    """The action to tell of a recipient that went on: DELIVERED, RELAYED, or "" when its sender isn't to be told by us.

    A next hop that has taken the DSN parameters tells by itself (RFC 3461 section 5.2.1).
    """
    if "SUCCESS" not in recipient.notify or not envelope.reverse_path or recipient.drop or outcome.passes_dsn:
        return ""
    return RELAYED if batch.route is not None and batch.route.transport == "smtp" else DELIVERED


def _told(
    due: Due, recipient: Recipient, record: Record, action: str, until: float, outcome: Outcome, batch: Batch
) -> Told:
    is_smtp = batch.route is not None and batch.route.transport in _SMTP
    return Told(
        due.address,
        action,
        record.reply,
        record.hop,
        is_remote=is_smtp and bool(outcome.remote) and "[internal]" not in record.reply,
        orcpt=recipient.orcpt,
        last_wall=record.when_wall,
        until_wall=until,
    )


def wanted_original(envelope: Envelope, options: View, *, is_failure: bool) -> str:
    """What of a message goes back: RET before Bounces_Inline_Original; all of it with failures only."""
    wanted = {"FULL": ALL, "HDRS": HEADERS}.get(envelope.ret, options[BOUNCES_INLINE_ORIGINAL])
    if wanted == ALL and (envelope.requires_tls or not is_failure):  # RFC 3461 section 4.3
        return HEADERS
    return wanted


def warnings_due(age_s: float, wait_s: int, longest_s: int) -> int:
    """How many notices of delay a message of some age should have led to, the waits between them being doubled.

    >>> [warnings_due(age_s, 3600, 43200) for age_s in (3599, 3600, 10_800, 25_200)]
    [0, 1, 2, 3]
    """
    count = 0
    while age_s >= (wait := min(wait_s, longest_s)):
        count += 1
        age_s -= wait
        wait_s *= 2
        if wait_s >= longest_s:
            return count + int(age_s // longest_s)
    return count


def _since(envelope: Envelope, due: Due) -> float:
    return due.since_wall or envelope.received_wall
