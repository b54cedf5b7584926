"""The SMTP and LMTP client as a machine without I/O: bytes of replies in, bytes of commands out, Outcomes at the end.

A driver does, until `transaction_done`: send what `data_to_send()` gives, give the body when `wants_body`, else read
and `receive()`. `step` says what is awaited, so that the driver knows which time limit is running.

The machine decides about pipelining and who got what; it never looks into a message but for dots. What can be said to a
hop that offers these extensions and not those is told by `commands.py`; what can't becomes an Outcome.

Sources: RFC 5321, RFC 2920 (PIPELINING), RFC 3030 (CHUNKING), RFC 2033 (LMTP).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from gsmtp.core.envelope import Envelope, Recipient
from gsmtp.core.errors import LocalProtocolError
from gsmtp.core.stages import Stage
from gsmtp.delivery.commands import cannot_address, cannot_send, mail_command, rcpt_command
from gsmtp.delivery.dots import DotStuffer
from gsmtp.delivery.replies import HopReply, ReplyReader
from gsmtp.delivery.steps import STAGES, Step
from gsmtp.delivery.transport import Outcome

_PIPELINE_BYTES = 4096
"""Unanswered command bytes at the most: small enough for any peer's receive buffer (RFC 2920 section 3.1)."""

CONNECTION_CLOSED = "451 4.4.2 [internal] connection closed by remote host"


class Mode(Enum):
    """How to greet and what to expect after the body; the values of `Delivery_Method`."""

    ESMTP = "ESMTP"
    SMTP = "SMTP"
    LMTP = "LMTP"


@dataclass(frozen=True, slots=True)
class _Command:
    step: Step
    wire: bytes
    index: int = -1


class Client:
    """One connection to a next hop.

    Args:
        mode: ESMTP, SMTP (HELO, no extensions) or LMTP.
        hello_name: what to call ourselves.
        hop: who is at the other end, for Outcomes.
        remote: its IP address, for Outcomes.
    """

    def __init__(self, mode: Mode, hello_name: str, hop: str, remote: str = "") -> None:
        self.mode = mode
        self.hop = hop
        self.remote = remote
        self.stage = Stage.READING_BANNER
        """How far the connection has come, as of the last reply."""
        self.extensions: dict[str, str] = {}
        self.refusal: str | None = None
        """Why the connection never became ready, or why it broke; None while all is well."""
        self.transactions = 0
        self.replies = 0
        """Whole replies so far: a driver restarts its time limit when this grows."""
        self._hello_name = hello_name.encode("utf-8", "surrogateescape")
        self._reader = ReplyReader()
        self._out = bytearray()
        self._pending: deque[_Command] = deque()
        self._awaiting: deque[_Command] = deque([_Command(Step.GREETING, b"")])
        self._unanswered_bytes = 0
        self._closed = False
        self._ready = False
        self._must_reset = False
        self._outcomes: list[Outcome | None] = []
        self._accepted: list[int] = []
        self._mail_accepted = False
        self._answered = False
        self._transaction = False
        self._body: DotStuffer | None = None
        self._chunk_left = -1
        self._size_bytes = 0
        self._sent_bytes = 0

    # What the driver asks.

    @property
    def step(self) -> Step:
        """What is awaited now."""
        if self._closed:
            return Step.CLOSED
        if self.wants_body:
            return Step.BODY
        if self._awaiting:
            return self._awaiting[0].step
        return Step.READY

    @property
    def is_ready(self) -> bool:
        """Whether a transaction may begin."""
        return self._ready and not self._closed and not self._transaction

    @property
    def is_closed(self) -> bool:
        """Whether the connection is of no more use."""
        return self._closed

    @property
    def wants_body(self) -> bool:
        """Whether the next hop waits for the body: call `body` for each piece, then `end_body`."""
        return self._body is not None or self._chunk_left >= 0

    @property
    def transaction_done(self) -> bool:
        """Whether every recipient of the transaction has its Outcome and no reply is outstanding."""
        return not self._transaction

    @property
    def has_answer(self) -> bool:
        """Whether the next hop answered anything in this transaction; if not, another connection may try it."""
        return self._answered

    def data_to_send(self) -> bytes:
        """Bytes to send now; each call empties the store."""
        data = bytes(self._out)
        self._out.clear()
        return data

    def outcomes(self) -> list[Outcome]:
        """One Outcome a recipient of the last transaction, in order."""
        if self._transaction:
            raise LocalProtocolError("outcomes() before the transaction is done")
        return [outcome for outcome in self._outcomes if outcome is not None]

    # What the driver tells.

    def receive(self, data: bytes) -> None:
        """Take bytes from the next hop, b"" when it closed the connection."""
        if self._closed:
            return
        if not data:
            self.fail(CONNECTION_CLOSED)
            return
        for reply in self._reader.feed(data):
            self._on_reply(reply)
            if self.is_closed:
                return
        if self._reader.problem:
            self.fail(f"451 4.5.0 [internal] not an SMTP reply: {self._reader.problem}")

    def fail(self, text: str) -> None:
        """The connection is of no more use; recipients with no answer yet get `text`, which begins with a code."""
        if not self._closed:
            self._note_stage(self.step)
        self._break(text)

    def _break(self, text: str) -> None:
        self.refusal = self.refusal or text
        self._closed = True
        self._ready = False
        self._awaiting.clear()
        self._pending.clear()
        self._out.clear()
        self._body = None
        self._chunk_left = -1
        if self._transaction:
            self._answer_the_rest(int(text[:3]), text)
            self._transaction = False

    def begin(self, envelope: Envelope, recipients: Sequence[Recipient], size_bytes: int) -> None:
        """Start a transaction for some recipients of an envelope; `size_bytes` is the body's exact length."""
        if not self.is_ready:
            raise LocalProtocolError(f"begin() while {self.step.value}")
        self.transactions += 1
        self._outcomes = [None] * len(recipients)
        self._accepted = []
        self._mail_accepted = False
        self._answered = False
        self._size_bytes = size_bytes
        self._sent_bytes = 0
        self._note_stage(Step.READY)
        self._transaction = True
        problem = cannot_send(envelope, size_bytes, self.extensions)
        for index, recipient in enumerate(recipients):
            refused = problem or cannot_address(recipient.address, self.extensions)
            if refused:
                self._outcomes[index] = self._outcome(int(refused[:3]), refused)
        if all(self._outcomes):
            self._transaction = False
            return
        if self._must_reset:
            self._must_reset = False
            self._pending.append(_Command(Step.RSET, b"RSET\r\n"))
        self._pending.append(_Command(Step.MAIL, mail_command(envelope, size_bytes, self.extensions)))
        for index, recipient in enumerate(recipients):
            if self._outcomes[index] is None:
                self._pending.append(_Command(Step.RCPT, rcpt_command(recipient, self.extensions), index))
        if envelope.body == "BINARYMIME":
            self._pending.append(_Command(Step.DATA, b""))
        else:
            self._pending.append(_Command(Step.DATA, b"DATA\r\n"))
        self._pump()

    def body(self, piece: bytes) -> bytes:
        """The bytes to send for one piece of the body. They are returned, not stored: send them at once."""
        self._sent_bytes += len(piece)
        if self._body is not None:
            return self._body.stuff(piece)
        if self._chunk_left < len(piece):
            raise LocalProtocolError("more body than its size said")
        self._chunk_left -= len(piece)
        return piece

    def end_body(self) -> None:
        """The body is complete."""
        if self._body is not None:
            self._out += self._body.end()
            self._body = None
        elif self._chunk_left:
            raise LocalProtocolError("less body than its size said")
        self._chunk_left = -1
        self._await_final()

    def quit(self) -> None:
        """Say goodbye; send what `data_to_send` gives and close without waiting for the 221."""
        polite = self._ready and not self._closed and not self._transaction
        self.fail(CONNECTION_CLOSED)
        if polite:
            self._out += b"QUIT\r\n"

    # Replies.

    def _on_reply(self, reply: HopReply) -> None:
        self.replies += 1
        if not self._awaiting:
            # In the middle of the body a hop may refuse and hang up; that refusal counts.
            refused = reply.code == 421 or (reply.code >= 400 and self.wants_body)
            self.fail(reply.text if refused else f"451 4.5.0 [internal] unexpected reply: {reply.text}")
            return
        command = self._awaiting.popleft()
        self._note_stage(command.step)
        self._unanswered_bytes -= len(command.wire)
        match command.step:
            case Step.GREETING:
                self._on_greeting(reply)
            case Step.HELLO:
                self._on_hello(reply)
            case Step.RSET:
                if reply.code >= 300:
                    odd = f"451 4.5.0 [internal] RSET answered: {reply.text}"
                    self._break(reply.text if reply.code >= 400 else odd)
            case _:
                self._on_transaction_reply(command, reply)
        if not self._closed:
            self._pump()

    def _on_greeting(self, reply: HopReply) -> None:
        if not reply.is_ok:
            self._break(reply.text if reply.code >= 400 else f"451 4.5.0 [internal] greeting was: {reply.text}")
            return
        word = {Mode.ESMTP: b"EHLO ", Mode.SMTP: b"HELO ", Mode.LMTP: b"LHLO "}[self.mode]
        self._pending.append(_Command(Step.HELLO, word + self._hello_name + b"\r\n"))

    def _on_hello(self, reply: HopReply) -> None:
        if reply.is_ok:
            self._ready = True
            if self.mode is not Mode.SMTP:
                self.extensions = reply.extensions()
            return
        if reply.code >= 500 and self.mode is Mode.ESMTP:
            # RFC 5321 section 3.2: a server that doesn't know EHLO gets HELO.
            self.mode = Mode.SMTP
            self._pending.append(_Command(Step.HELLO, b"HELO " + self._hello_name + b"\r\n"))
            return
        self._break(reply.text if reply.code >= 400 else f"451 4.5.0 [internal] greeting answered: {reply.text}")

    def _on_transaction_reply(self, command: _Command, reply: HopReply) -> None:
        if reply.code == 421:
            # RFC 5321 section 3.8: the hop shuts the channel; nobody else will get an answer.
            self._break(reply.text)
            return
        self._answered = True
        wanted = 3 if command.step is Step.DATA else 2
        if reply.code < 400 and reply.code // 100 != wanted:
            self._break(f"451 4.5.0 [internal] unexpected reply to {command.step.value}: {reply.text}")
            return
        match command.step:
            case Step.MAIL:
                self._on_mail(reply)
            case Step.RCPT:
                self._on_rcpt(command.index, reply)
            case Step.DATA:
                self._on_data(reply)
            case _:
                self._on_final(command.index, reply)
        if not self._closed:
            self._finish_if_done()

    def _on_mail(self, reply: HopReply) -> None:
        if reply.is_ok:
            self._mail_accepted = True
            return
        self._answer_the_rest(reply.code, reply.text)
        self._pending.clear()

    def _on_rcpt(self, index: int, reply: HopReply) -> None:
        if reply.is_ok:
            if self._mail_accepted:
                self._accepted.append(index)
        elif self._outcomes[index] is None:
            self._outcomes[index] = self._outcome(_rcpt_code(reply), reply.text)
        if self._pending and self._pending[0].step is Step.DATA and not self._more_recipients_awaited():
            if not self._accepted:
                self._pending.clear()
                self._must_reset = True
            elif not self._pending[0].wire:
                self._pending.clear()
                self._begin_chunk()

    def _more_recipients_awaited(self) -> bool:
        return any(command.step is Step.RCPT for command in self._awaiting)

    def _begin_chunk(self) -> None:
        """One BDAT with the whole body: its size is known (RFC 3030 section 2)."""
        self._out += b"BDAT %d LAST\r\n" % self._size_bytes
        self._chunk_left = self._size_bytes

    def _on_data(self, reply: HopReply) -> None:
        if reply.code >= 400:
            self._answer_the_rest(reply.code, reply.text)
            self._accepted = []
            self._must_reset = True
        elif self._accepted:
            self._body = DotStuffer()
        elif self.mode is Mode.LMTP:
            # RFC 2033 section 4.2 forbids this 354; how many replies would follow a dot nobody knows.
            self._break("451 4.5.0 [internal] DATA was accepted without a recipient")
        else:
            # RFC 2920 section 3.1: the 354 came for nobody; an empty body ends it.
            self._out += b".\r\n"
            self._await_final()

    def _await_final(self) -> None:
        if self.mode is Mode.LMTP:
            self._awaiting.extend(_Command(Step.FINAL, b"", index) for index in self._accepted)
        else:
            self._awaiting.append(_Command(Step.FINAL, b""))

    def _on_final(self, index: int, reply: HopReply) -> None:
        outcome = self._outcome(reply.code, reply.text)
        for place in [index] if index >= 0 else self._accepted:
            self._outcomes[place] = outcome

    def _finish_if_done(self) -> None:
        if not self._awaiting and not self._pending and not self.wants_body:
            self._transaction = False
            if not all(self._outcomes):
                raise LocalProtocolError("a transaction ended with a recipient that has no outcome")

    def _answer_the_rest(self, code: int, text: str) -> None:
        outcome = self._outcome(code, text)
        self._outcomes = [known or outcome for known in self._outcomes]

    def _outcome(self, code: int, text: str) -> Outcome:
        return Outcome(code, text, self.hop, self.stage, self.remote, self._sent_bytes)

    def _note_stage(self, step: Step) -> None:
        self.stage = STAGES.get(step, Stage.UNKNOWN)

    def _pump(self) -> None:
        """Send what may be sent: everything in one go when the hop takes it, else one command at a time."""
        pipelining = "PIPELINING" in self.extensions
        while self._pending:
            command = self._pending[0]
            if not command.wire or (self._awaiting and not pipelining):
                return
            if self._awaiting and self._unanswered_bytes + len(command.wire) > _PIPELINE_BYTES:
                return
            self._pending.popleft()
            self._out += command.wire
            self._unanswered_bytes += len(command.wire)
            self._awaiting.append(command)


def _rcpt_code(reply: HopReply) -> int:
    """552 to a RCPT with no other meaning says "too many recipients" and is temporary (RFC 5321 section 4.5.3.1.10)."""
    if reply.code == 552 and reply.enhanced in ("", "5.5.3"):
        return 452
    return reply.code
