"""The SMTP and LMTP client as a machine without I/O: bytes of replies in, bytes of commands out, Outcomes at the end.

A driver does, until `is_ready`, and then for each message until `transaction_done`: send what `data_to_send()` gives,
do the TLS handshake when `wants_handshake` and say `secured`, give the body when `wants_body`, else read and
`receive()`. `step` says what is awaited, so that the driver knows which time limit is running.

This file leads a connection from the banner to readiness: EHLO, STARTTLS, XCLIENT, and EHLO anew after each of them.
`transaction.py` decides about pipelining and who got what; what can be said to a hop that offers these extensions and
not those is told by `commands.py`.

Sources: RFC 5321, RFC 3207 (STARTTLS), RFC 2033 (LMTP).
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from gsmtp.core.envelope import Envelope, Recipient
from gsmtp.core.errors import LocalProtocolError
from gsmtp.core.stages import Stage
from gsmtp.delivery.commands import xclient_command
from gsmtp.delivery.line import Line
from gsmtp.delivery.replies import HopReply, ReplyReader
from gsmtp.delivery.steps import STAGES, Step
from gsmtp.delivery.terms import Terms, Use
from gsmtp.delivery.transaction import Transaction
from gsmtp.delivery.transport import Outcome
from gsmtp.smtp.abnf import is_greeting_name

CONNECTION_CLOSED = "451 4.4.2 [internal] connection closed by remote host"
TLS_NOT_OFFERED = "450 4.7.4 [internal] TLS is required, but was not offered"
TLS_FAILED = "450 4.7.5 [internal] TLS failed"
XCLIENT_NOT_TAKEN = "450 4.7.4 [internal] XCLIENT is required, but was not"


class Mode(Enum):
    """How to greet and what to expect after the body; the values of `Delivery_Method`."""

    ESMTP = "ESMTP"
    SMTP = "SMTP"
    LMTP = "LMTP"


_HELLO = {Mode.ESMTP: b"EHLO ", Mode.SMTP: b"HELO ", Mode.LMTP: b"LHLO "}


class Client:
    """One connection to a next hop.

    Args:
        mode: ESMTP, SMTP (HELO, no extensions) or LMTP.
        hello_name: what to call ourselves.
        hop: who is at the other end, for Outcomes.
        remote: its IP address, for Outcomes.
        terms: what is asked of the connection.

    Attributes:
        stage: how far the connection has come, as of the last reply.
        extensions: what the last EHLO offered.
        refusal: why the connection never became ready, or why it broke; None while all is well.
        is_unwilling: whether the refusal is about what we ask for (TLS, XCLIENT): the hop itself is there.
        is_introduced: whether XCLIENT has told whose mail it is.
        tls: what is told of TLS, e.g. ``TLSv1.3 TLS_AES_256_GCM_SHA384 verified``, "" in clear text.
        transactions: so far, the running one included.
        recipients: they were for.
        replies: whole replies so far: a driver restarts its time limit when this grows.
    """

    def __init__(self, mode: Mode, hello_name: str, hop: str, remote: str = "", terms: Terms | None = None) -> None:
        self.mode = mode
        self.hop = hop
        self.remote = remote
        self.stage = Stage.READING_BANNER
        self.extensions: dict[str, str] = {}
        self.refusal: str | None = None
        self.is_unwilling = False
        self.is_introduced = False
        self.tls = ""
        self.transactions = 0
        self.recipients = 0
        self.replies = 0
        self._terms = terms or Terms()
        self._hello_name = hello_name.encode("utf-8", "surrogateescape")
        self._reader = ReplyReader()
        self._line = Line()
        self._line.expect(Step.GREETING)
        self._closed = False
        self._ready = False
        self._handshaking = False
        self._xclient_said = False
        self._must_reset = False
        self._in_transaction = False
        self._transaction = Transaction(self._line, self._outcome, is_lmtp=False)

    # What the driver asks.

    @property
    def step(self) -> Step:
        """What is awaited now."""
        if self._closed:
            return Step.CLOSED
        if self._handshaking:
            return Step.HANDSHAKE
        if self.wants_body:
            return Step.BODY
        if self._line.awaiting:
            return self._line.awaiting[0].step
        return Step.READY

    @property
    def is_ready(self) -> bool:
        """Whether a transaction may begin."""
        return self._ready and not self._closed and not self._in_transaction

    @property
    def is_closed(self) -> bool:
        """Whether the connection is of no more use."""
        return self._closed

    @property
    def wants_handshake(self) -> bool:
        """Whether the TLS handshake is due; then `secured`, or `fail`."""
        return self._handshaking and not self._closed

    @property
    def wants_body(self) -> bool:
        """Whether the next hop waits for the body: call `body` for each piece, then `end_body`."""
        return self._in_transaction and self._transaction.wants_body

    @property
    def transaction_done(self) -> bool:
        """Whether every recipient of the transaction has its Outcome and no reply is outstanding."""
        return not self._in_transaction

    @property
    def has_answer(self) -> bool:
        """Whether the next hop answered anything in this transaction; if not, another connection may try it."""
        return self._transaction.is_answered

    @property
    def chunking_refused(self) -> bool:
        """Whether the hop offered CHUNKING and doesn't know BDAT: another connection may try by DATA."""
        return self._transaction.chunking_refused

    def data_to_send(self) -> bytes:
        """Bytes to send now; each call empties the store."""
        return self._line.take()

    def outcomes(self) -> list[Outcome]:
        """One Outcome a recipient of the last transaction, in order."""
        if self._in_transaction:
            raise LocalProtocolError("outcomes() before the transaction is done")
        return self._transaction.outcomes()

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
            if self._handshaking:
                # RFC 3207 section 6: what came in clear behind the 220 was put there by anybody.
                self._reader = ReplyReader()
            if self._closed or self._handshaking:
                return
        if self._reader.problem:
            self.fail(f"451 4.5.0 [internal] not an SMTP reply: {self._reader.problem}")

    def secured(self, tls: str) -> None:
        """The handshake is done: whatever the hop said before counts no more (RFC 3207 section 4.2)."""
        if not self.wants_handshake:
            raise LocalProtocolError(f"secured() while {self.step.value}")
        self._handshaking = False
        self.tls = tls
        self._say_hello()
        self._pump()

    def refuse_tls(self, text: str) -> None:
        """The handshake failed, or what it showed isn't good enough; `text` says why."""
        self._note_stage(Step.HANDSHAKE)
        self._unwilling(f"{TLS_FAILED}: {text}")

    def fail(self, text: str) -> None:
        """The connection is of no more use; recipients with no answer yet get `text`, which begins with a code."""
        if not self._closed:
            self._note_stage(self.step)
        self._break(text)

    def _break(self, text: str) -> None:
        self.refusal = self.refusal or text
        self._closed = True
        self._ready = False
        self._line.clear()
        if self._in_transaction:
            self._transaction.give_up(text)
            self._in_transaction = False

    def _unwilling(self, text: str) -> None:
        self.is_unwilling = True
        self._break(text)

    def begin(
        self, envelope: Envelope, recipients: Sequence[Recipient], size_bytes: int, *, is_small: bool = False
    ) -> None:
        """Start a transaction for some recipients of an envelope.

        Args:
            envelope: of the message.
            recipients: some of its.
            size_bytes: the body's exact length.
            is_small: whether the body is at hand, so that it may be asked for before the hop has answered.
        """
        if not self.is_ready:
            raise LocalProtocolError(f"begin() while {self.step.value}")
        self.transactions += 1
        self.recipients += len(recipients)
        self._note_stage(Step.READY)
        self._transaction = Transaction(self._line, self._outcome, is_lmtp=self.mode is Mode.LMTP)
        self._in_transaction = True
        if self._must_reset:
            self._line.say(Step.RSET, b"RSET\r\n")
        chunking = self._terms.uses_chunking
        self._transaction.begin(
            envelope, recipients, size_bytes, self.extensions, uses_chunking=chunking, is_small=is_small
        )
        if self._transaction.is_done or (self._must_reset and len(self._line.pending) == 1):
            self._line.pending.clear()  # nobody to send it to
            self._in_transaction = False
            return
        self._must_reset = False
        self._pump()

    def body(self, piece: bytes) -> bytes:
        """The bytes to send for one piece of the body. They are returned, not stored: send them at once."""
        return self._transaction.body(piece)

    def end_body(self) -> None:
        """The body is complete."""
        self._transaction.end_body()

    def quit(self) -> None:
        """Say goodbye; send what `data_to_send` gives and close without waiting for the 221."""
        polite = self._ready and not self._closed and not self._in_transaction
        self.fail(CONNECTION_CLOSED)
        if polite:
            self._line.add(b"QUIT\r\n")

    # Replies.

    def _on_reply(self, reply: HopReply) -> None:
        self.replies += 1
        if not self._line.awaiting:
            # In the middle of the body a hop may refuse and hang up; that refusal counts.
            refused = reply.code == 421 or (reply.code >= 400 and self.wants_body)
            self.fail(reply.text if refused else f"451 4.5.0 [internal] unexpected reply: {reply.text}")
            return
        command = self._line.answered()
        self._note_stage(command.step)
        match command.step:
            case Step.GREETING:
                self._on_greeting(reply)
            case Step.HELLO:
                self._on_hello(reply)
            case Step.STARTTLS:
                self._on_starttls(reply)
            case Step.XCLIENT:
                self._on_xclient(reply)
            case Step.RSET:
                if reply.code >= 300:
                    odd = f"451 4.5.0 [internal] RSET answered: {reply.text}"
                    self._break(reply.text if reply.code >= 400 else odd)
            case _:
                broken = self._transaction.on_reply(command, reply)
                if broken:
                    self._break(broken)
        if not self._closed:
            self._pump()
            if self._in_transaction and self._transaction.is_done:
                self._must_reset = self._transaction.needs_reset
                self._in_transaction = False

    def _say_hello(self) -> None:
        self.extensions = {}
        self._line.say(Step.HELLO, _HELLO[self.mode] + self._hello_name + b"\r\n")

    def _on_greeting(self, reply: HopReply) -> None:
        if reply.is_ok:
            self._say_hello()
        else:
            self._break(reply.text if reply.code >= 400 else f"451 4.5.0 [internal] greeting was: {reply.text}")

    def _on_hello(self, reply: HopReply) -> None:
        if reply.is_ok:
            if self.mode is not Mode.SMTP:
                self.extensions = reply.extensions()
            if not self.tls:
                self.extensions.pop("REQUIRETLS", None)  # RFC 8689 section 2: offered under TLS only
            self._go_on()
            return
        if reply.code >= 500 and self.mode is Mode.ESMTP and not self.tls:
            # RFC 5321 section 3.2: a server that doesn't know EHLO gets HELO.
            self.mode = Mode.SMTP
            self._say_hello()
            return
        self._break(reply.text if reply.code >= 400 else f"451 4.5.0 [internal] greeting answered: {reply.text}")

    def _go_on(self) -> None:
        """After each good EHLO: what is still to be done before mail."""
        terms = self._terms
        if terms.tls is not Use.NO and not self.tls:
            if "STARTTLS" in self.extensions:
                self._line.say(Step.STARTTLS, b"STARTTLS\r\n")
                return
            if terms.tls is Use.REQUIRED:
                self._unwilling(TLS_NOT_OFFERED)
                return
        if terms.xclient is not Use.NO and not self._xclient_said:
            if "XCLIENT" in self.extensions:
                self._xclient_said = True
                self._line.say(Step.XCLIENT, xclient_command(terms.identity, self.extensions["XCLIENT"]))
                return
            if terms.xclient is Use.REQUIRED:
                self._unwilling(f"{XCLIENT_NOT_TAKEN} offered")
                return
        self._ready = True

    def _on_starttls(self, reply: HopReply) -> None:
        if reply.is_ok:
            self._handshaking = True
        elif reply.code == 421:
            self._break(reply.text)
        else:
            self._unwilling(f"{TLS_FAILED}: STARTTLS answered: {reply.text}")

    def _on_xclient(self, reply: HopReply) -> None:
        """A positive reply is the greeting of the new session, in which the client is another (XCLIENT_README): Postfix
        takes what EHLO says then for that one's name, whatever HELO= said."""
        if reply.is_ok:
            self.is_introduced = True
            name = self._terms.identity.helo
            if name.isascii() and is_greeting_name(name):
                self._hello_name = name.encode()
            self._say_hello()
        elif reply.code == 421:
            self._break(reply.text)
        elif self._terms.xclient is Use.REQUIRED:
            self._unwilling(f"{XCLIENT_NOT_TAKEN} taken: {reply.text}")
        else:
            self._ready = True

    def _outcome(self, code: int, text: str, sent_bytes: int) -> Outcome:
        return Outcome(
            code,
            text,
            self.hop,
            self.stage,
            self.remote,
            sent_bytes,
            passes_dsn="DSN" in self.extensions,
            tls=self.tls,
        )

    def _note_stage(self, step: Step) -> None:
        self.stage = STAGES.get(step, Stage.UNKNOWN)

    def _pump(self) -> None:
        self._line.pump(pipelining="PIPELINING" in self.extensions)
