"""One webhook's receiver: makes signed requests of messages, exchanges them, and judges the answers.

A circuit keeps jobs off a receiver that is down; connections are kept for the next request; every wait has an end. A
message in the raw form is streamed from the spool's file, so that a delivery holds a few pieces of 128 KiB.

Source: RFC 9110 sections 10.2.3 and 15; docs/transports.md.
"""

from __future__ import annotations

import email.utils
import json
import logging
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC
from typing import TYPE_CHECKING

import gevent

from gsmtp import __version__
from gsmtp.core.envelope import Recipient
from gsmtp.core.errors import DeliveryError, SpoolError
from gsmtp.core.inboundmail import INLINE_BYTES, inbound_mail, places
from gsmtp.core.stages import Stage
from gsmtp.core.surrogates import clean
from gsmtp.delivery.by_name import ByName
from gsmtp.delivery.circuit import Circuit, CircuitLimits
from gsmtp.delivery.http_client import NOT_READ, TIMED_OUT, Answer, HttpConnection, HttpTrouble
from gsmtp.delivery.mailjson import to_header, to_json
from gsmtp.delivery.signing import sign_body, sign_envelope, signature_field
from gsmtp.delivery.transport import Job, Outcome, Tools
from gsmtp.delivery.url import Target
from gsmtp.spool.base import StoredBody

if TYPE_CHECKING:
    from gevent.ssl import SSLContext

log = logging.getLogger("gsmtp.webhook")

LONGEST_RETRY_AFTER_S = 3600.0
TLS_NEEDED = "550 5.7.30 [internal] REQUIRETLS support required, and this webhook's URL is http"

_TEMPORARY = frozenset((408, 425, 429))
_IDLE_S = 30.0
_LAST_WORDS_S = 1.0
"""How long to look for an answer after a receiver stopped taking the body."""
_MOST_ENVELOPE_BYTES = 6_144
"""Of X-Gsmtp-Envelope: many servers refuse more than 8 KiB of header."""
_MOST_ADDRESS_BYTES = 3_072
"""Of recipients in it; a job with more becomes several requests."""
_CONTROLS = re.compile(r"[\x00-\x20\x7f-\x9f\u2028\u2029]+")


@dataclass(frozen=True, slots=True)
class Settings:
    """What a webhook stanza says.

    Args:
        name: of the stanza.
        target: its URL.
        is_json: whether messages are taken apart.
        secrets: keys of the signatures.
        timeout_s: for the whole request.
        connect_timeout_s: for connecting, TLS included.
        json_bytes: larger messages go in the raw form; 0 for no limit.
        circuit: when the circuit opens.
        context: that verifies the receiver, None for http.
    """

    name: str
    target: Target
    is_json: bool
    secrets: tuple[bytes, ...] = field(repr=False)
    timeout_s: float
    connect_timeout_s: float
    json_bytes: int
    circuit: CircuitLimits
    context: SSLContext | None


@dataclass(frozen=True, slots=True)
class Request:
    """A request that is ready to be sent."""

    fields: tuple[tuple[str, str], ...]
    body: StoredBody


class Receiver:
    """Hands messages to one receiver.

    Args:
        settings: of its stanza.
        circuit: of its URL.
        tools: of the process.
    """

    def __init__(self, settings: Settings, circuit: Circuit, tools: Tools) -> None:
        self.settings = settings
        self.circuit = circuit
        self._tools = tools
        self._by_name = ByName(tools.connect, tools.resolver)
        self._key = ("webhook", settings.name, settings.target, id(settings.context))

    @property
    def hop(self) -> str:
        """What stands in the log and the queue."""
        return f"webhook {self.settings.name}".strip()

    def deliver(self, job: Job) -> list[Outcome]:
        """One Outcome a recipient, in order. Raises DeliveryError for a message that must not go in clear text."""
        target = self.settings.target
        if job.envelope.requires_tls and not (target.is_tls or target.is_local):
            raise DeliveryError(TLS_NEEDED, temporary=False)
        size = job.body.size_bytes
        is_json = self.settings.is_json and (not self.settings.json_bytes or size <= self.settings.json_bytes)
        mark = _once(job.mark)
        outcomes: list[Outcome] = []
        for recipients in [list(job.recipients)] if is_json else _groups(job.recipients):
            try:
                outcome = self._judged(job, recipients, is_json, mark)
            except (DeliveryError, SpoolError) as error:
                if not outcomes:
                    raise
                # others of this job were answered already, and are not to be asked again
                outcome = Outcome(451, f"451 4.3.0 [internal] not posted: {error}", self.hop)
            outcomes += [outcome] * len(recipients)
        return outcomes

    def _judged(self, job: Job, recipients: Sequence[Recipient], is_json: bool, mark: Callable[[], None]) -> Outcome:
        circuit = self.circuit
        if not circuit.permits():
            text = f"451 4.4.1 [internal] circuit open: {circuit.failures} failures in a row, last: {circuit.last}"
            return Outcome(451, text, self.hop, retry_after_s=circuit.wait_s)
        was_probe = circuit.is_open
        try:
            outcome, is_up = self._post(job, recipients, is_json, mark)
        except BaseException:
            circuit.undecided(was_probe=was_probe)
            raise
        if is_up:
            if circuit.worked():
                log.warning("%s answers again: circuit closed", self.hop)
        elif circuit.failed(outcome.reply, self.settings.circuit, was_probe=was_probe):
            what = "%s: circuit opened after %d failures in a row, next try in %g s at the earliest; last: %s"
            log.warning(what, self.hop, circuit.failures, circuit.wait_s, outcome.reply)
        return outcome

    def _post(
        self, job: Job, recipients: Sequence[Recipient], is_json: bool, mark: Callable[[], None]
    ) -> tuple[Outcome, bool]:
        """Make the request; what came of it, and whether the receiver is up."""
        # taking a message apart may take its sender's pleasure: never on the hub
        small = not is_json and job.body.size_bytes <= INLINE_BYTES and job.body.data is not None
        request = (self._request if small else self._in_thread)(job, recipients, is_json)
        end = time.monotonic() + self.settings.timeout_s
        connection: HttpConnection | None = None
        try:
            found = self._tools.connections.take(self._key)
            if isinstance(found, HttpConnection):
                connection = found
                try:
                    answer = self._exchange(connection, request, mark, end)
                except HttpTrouble as error:
                    if not error.is_early:
                        raise
                    connection.close()  # it was closed while it was idle; the key tells a receiver that isn't so sure
                    connection = None
            if connection is None:
                job.connecting()
                connection = self._connect(end)
                answer = self._exchange(connection, request, mark, end)
        except HttpTrouble as error:
            remote, sent = (connection.remote, connection.sent_bytes) if connection else ("", 0)
            outcome = Outcome(int(error.text[:3]), error.text, self.hop, error.stage, remote, sent)
            return outcome, False
        finally:
            if connection is not None:
                self._keep(connection)
        outcome = outcome_of(answer, self.hop, time.time())
        outcome = replace(
            outcome, stage=Stage.READING_CONFIRMATION, remote=connection.remote, sent_bytes=connection.sent_bytes
        )
        return outcome, answer.status < 500

    def _connect(self, end: float) -> HttpConnection:
        settings = self.settings
        limit_s = max(min(settings.connect_timeout_s, end - time.monotonic()), 0.001)
        return HttpConnection.open(settings.target, self._by_name, limit_s, settings.context)

    def _keep(self, connection: HttpConnection) -> None:
        if connection.is_reusable:
            self._tools.connections.give(self._key, connection, _IDLE_S)
        else:
            connection.close()

    def _exchange(self, connection: HttpConnection, request: Request, mark: Callable[[], None], end: float) -> Answer:
        """Send a request and read the answer. Raises HttpTrouble, and SpoolError when the body can't be read."""
        is_taken = True
        waiting = b""
        try:
            with _until(end, connection):
                connection.begin(request.fields, request.body.size_bytes)
                for piece in self._pieces(request.body):
                    if waiting and not connection.send(waiting):
                        is_taken = False
                        break
                    waiting = piece
            if is_taken:
                began = time.monotonic()
                mark()
                end += time.monotonic() - began  # what our own disk takes is nothing against the receiver
                with _until(end, connection):
                    is_taken = connection.send(waiting)
        except HttpTrouble as trouble:
            last_words = self._last_words(connection) if connection.stage == Stage.SENDING_BODY else None
            if last_words is None:
                raise trouble
            return last_words
        try:
            with _until(end, connection):
                found = connection.answer(is_whole=is_taken)
        except HttpTrouble:
            if connection.said is None:
                raise
            found = connection.said  # the head was in time, and its status is what counts
        return found if is_taken else _unread(found, connection)

    def _last_words(self, connection: HttpConnection) -> Answer | None:
        """The answer of a receiver that stopped taking the body, if it has said one."""
        try:
            with _until(time.monotonic() + _LAST_WORDS_S, connection):
                return _unread(connection.answer(is_whole=False), connection)
        except HttpTrouble:
            return None

    def _pieces(self, body: StoredBody) -> Iterator[bytes]:
        """The body in pieces; a file is read in native threads."""
        pieces = body.pieces()
        if body.data is not None:
            yield from pieces
            return
        while True:
            try:
                piece = self._tools.native.call(next, pieces, b"")
            except OSError as error:
                raise SpoolError(f"{error.strerror or error}: {body.path}") from error
            if not piece:
                return
            yield piece

    def _in_thread(self, job: Job, recipients: Sequence[Recipient], is_json: bool) -> Request:
        return self._tools.native.call(self._request, job, recipients, is_json)

    def _request(self, job: Job, recipients: Sequence[Recipient], is_json: bool) -> Request:
        """Take apart, sign. Runs in a native thread for JSON, and for a large message."""
        mail = inbound_mail(job.envelope, recipients, job.attempts, job.body.data, job.body.path)
        indexes = places(job.envelope, recipients)
        secrets = self.settings.secrets
        now = int(time.time())
        try:
            if is_json:
                data = to_json(mail, indexes)
                body = StoredBody(len(data), data, "")
            else:
                body = job.body
            signatures = sign_body(secrets, now, body.pieces())
        except OSError as error:
            raise SpoolError(f"{error.strerror or error}: {job.body.path}") from error
        fields = [
            ("User-Agent", f"gsmtp/{__version__}"),
            ("Content-Type", "application/json" if is_json else "message/rfc822"),
            ("Idempotency-Key", mail.key),
            ("X-Gsmtp-Id", mail.id),
            ("X-Gsmtp-Attempt", str(mail.attempt)),
            ("X-Gsmtp-Timestamp", str(now)),
            ("X-Gsmtp-Signature", signature_field(signatures)),
        ]
        if not is_json:
            envelope = to_header(mail, indexes, _MOST_ENVELOPE_BYTES)
            fields += [
                ("X-Gsmtp-Envelope", envelope),
                ("X-Gsmtp-Envelope-Signature", signature_field(sign_envelope(secrets, now, signatures, envelope))),
            ]
        return Request(tuple(fields), body)


def _unread(answer: Answer, connection: HttpConnection) -> Answer:
    """The answer to a message that wasn't read to its end. Raises HttpTrouble for a 2xx: nobody has all of it."""
    if 200 <= answer.status < 300:
        raise HttpTrouble(f"{NOT_READ}: HTTP {answer.status}", connection.stage)
    return answer


def outcome_of(answer: Answer, hop: str, now_wall: float) -> Outcome:
    """What an answer means for the message: 2xx delivered, 408, 425, 429 and 5xx try again, all else refused."""
    status = answer.status
    said = f"HTTP {status} {_line(answer.reason)}".rstrip()
    excerpt = _line(answer.excerpt)
    whole = f"{said}: {excerpt}" if excerpt else said
    if 200 <= status < 300:
        return Outcome(250, f"250 2.0.0 {said}", hop)
    if status in _TEMPORARY or status >= 500:
        return Outcome(451, f"451 4.3.0 {whole}", hop, retry_after_s=retry_after_s(answer.retry_after, now_wall))
    if 300 <= status < 400:
        text = f"554 5.3.5 [internal] {said}: redirects are not followed, set url to where it leads"
        return Outcome(554, f"{text}: {_line(answer.location)}" if answer.location else text, hop)
    if status < 200:
        return Outcome(451, f"451 4.5.0 [internal] {said} is no answer", hop)
    return Outcome(554, f"554 5.3.0 {whole}", hop, keep=status == 410)


def retry_after_s(value: str, now_wall: float) -> float:
    """The seconds that a Retry-After field asks for: a number or a date (RFC 9110 section 10.2.3); 0 for neither."""
    text = value.strip()
    try:
        if text.isdecimal():
            wanted = float(text[:12])
        else:
            when = email.utils.parsedate_to_datetime(text)
            wanted = (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() - now_wall
    except (ValueError, TypeError, OverflowError, IndexError):
        return 0.0
    return min(max(wanted, 0.0), LONGEST_RETRY_AFTER_S)


def _groups(recipients: Sequence[Recipient]) -> list[list[Recipient]]:
    """Recipients that go with one request each in the raw form, whose envelope is in a header field."""
    groups: list[list[Recipient]] = [[]]
    size = 0
    for one in recipients:
        more = len(json.dumps(clean(one.address))) + 8
        if groups[-1] and size + more > _MOST_ADDRESS_BYTES:
            groups.append([])
            size = 0
        groups[-1].append(one)
        size += more
    return groups


@contextmanager
def _until(end_mono: float, connection: HttpConnection) -> Iterator[None]:
    """Break off at a point in time. Raises HttpTrouble then."""
    deadline = gevent.Timeout(max(end_mono - time.monotonic(), 0.001))
    deadline.start()
    try:
        yield
    except gevent.Timeout as fired:
        if fired is not deadline:
            raise
        what = "sending" if connection.stage == Stage.SENDING_BODY else "waiting for the answer"
        raise HttpTrouble(f"{TIMED_OUT} ({what})", connection.stage) from fired
    finally:
        deadline.close()


def _once(mark: Callable[[], None]) -> Callable[[], None]:
    """A mark that is made the first time only."""
    is_made: list[bool] = []

    def mark_once() -> None:
        if not is_made:
            mark()
            is_made.append(True)

    return mark_once


def _line(text: str) -> str:
    """A receiver's words on one short line."""
    line = _CONTROLS.sub(" ", text).strip()
    return line if len(line) <= 200 else f"{line[:199]}…"
