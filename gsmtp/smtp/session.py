"""The SMTP machine of one session, as its driver uses it: bytes in, events out, replies in, bytes out. No I/O.

The driver's loop: `next_event()` until it gives NEED_DATA; then send `data_to_send()`, read, `receive_data(...)`. An
event that is to be answered (see `events`) must be answered before the next one comes, so replies keep the order of the
commands under PIPELINING. Everything that no policy can change the machine answers alone.

What a peer can make this hold is bounded: one command line, a header section of 256 KiB, a line being broken, and what
the driver fed without asking for events.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from gsmtp.core.envelope import Envelope
from gsmtp.core.errors import LocalProtocolError
from gsmtp.core.reply import MAIL_OK, RCPT_OK, START_DATA, TOO_MUCH_JUNK, Reply
from gsmtp.smtp import trace
from gsmtp.smtp.body import DataReader
from gsmtp.smtp.buffer import LineFault
from gsmtp.smtp.events import (
    NEED_DATA,
    BodyEnd,
    BodyStart,
    Connect,
    Event,
    Greeting,
    Mail,
    NeedData,
    Rcpt,
)
from gsmtp.smtp.facts import Facts
from gsmtp.smtp.machine import Machine
from gsmtp.smtp.message import MessageFilter, Rank
from gsmtp.smtp.state import State

__all__ = ["Facts", "Session"]


class Session(Machine):
    """One session from connect to the last word.

    Args:
        view: the options that apply to this client.
        facts: the connection.
        clock: for the banner, Received, Date and the envelope's time.

    Attributes:
        transaction: the open one, or one with nothing in it.
        helo: what the client called itself, "" before it did.
        esmtp: whether it said EHLO.
        is_over: whether nothing more will be read or answered.
        messages: accepted on this connection.
        recipients: accepted on this connection.
        is_early_talker: whether bytes were there before the banner, or behind a command that a client must wait behind
            (RFC 2920 section 3.1). A fact for policy, which depends on timing; the machine does nothing about it.
        tls_cipher: the suite, "" without TLS; for Received.
        is_authenticated: for Received.
        is_enhanced: whether success replies carry enhanced codes; extensions set it.
        candidate: the transaction that a positive answer to the open Mail event makes `transaction`.
        rcpt_commands: RCPT commands that were put to policy on this connection.
        profile: the options as the machine reads them; for verbs and extensions.
    """

    __slots__ = ()

    # --- bytes and events

    def receive_data(self, data: bytes) -> None:
        """Take what was read; b"" means that the peer will send no more."""
        source = self._input
        if data and source.pos == len(source.data) and not self.is_over:
            source.data = data
            source.pos = 0
        elif not self.is_over:
            source.feed(data)

    def data_to_send(self) -> bytes:
        """Everything that is to be sent; it is forgotten here."""
        out = self._out
        if not out:
            return b""
        data = out[0] if len(out) == 1 else b"".join(out)
        out.clear()
        return data

    def next_event(self) -> Event | NeedData:
        """What happens next, or NEED_DATA when more bytes must come first.

        Raises:
            LocalProtocolError: the last event has not been answered.
        """
        events = self._events
        if events:
            return events.pop(0)
        if self._open is not None:
            raise LocalProtocolError(f"{type(self._open).__name__} has not been answered")
        source = self._input
        found: Event | NeedData | None
        while not self.is_over:
            if self._reader is not None:
                found = self._read_text()
            elif source.pos == len(source.data) and not source.is_ended:
                source.clear()
                return NEED_DATA
            else:
                try:
                    line = source.line()
                except LineFault as fault:
                    self._bad_line(fault)
                    continue
                found = self._starved() if line is None else self._command(line)
            if found is not None:
                return found
            if events:
                break
        return events.pop(0) if events else NEED_DATA

    def reply(self, reply: Reply | None = None) -> None:
        """Answer the open event; None is the standard positive reply (for BodyEnd: ``250 2.0.0 OK <message id>``).

        After `close_with` an answer that comes late is dropped.

        Raises:
            LocalProtocolError: no event is open, or it is a BodyStart and the reply is positive.
        """
        event = self._open
        if event is None:
            if self.is_over:
                return
            raise LocalProtocolError("there is no event to answer")
        _ANSWERS[type(event)](self, event, reply)

    def accept_body(self, message_id: str) -> None:
        """Answer BodyStart: DATA gets its 354, BDAT nothing.

        Args:
            message_id: the queue id, which goes into Received.

        Raises:
            LocalProtocolError: the open event isn't a BodyStart.
        """
        event = self._open
        if not isinstance(event, BodyStart):
            if self.is_over:
                return
            raise LocalProtocolError("there is no BodyStart to answer")
        self._open = None
        transaction = self.transaction
        transaction.message_id = message_id
        rules = self.profile.message
        wall_s = int(self._clock.wall())
        fields = self._trace_fields(wall_s) if rules.adds_trace else b""
        self._filter = MessageFilter(rules, fields, message_id, wall_s, transaction.body == "BINARYMIME")
        if event.chunking:
            self._reader = self._chunks
            self._move(self._step.target)
        else:
            self._reader = DataReader()
            self._out.append(START_DATA.wire(self.is_enhanced))

    def refuse_body(self, reply: Reply) -> None:
        """Give up the message that is being read: no more Body comes, and its end is answered with `reply`.

        Raises:
            LocalProtocolError: no message is being read.
        """
        if self._filter is None or self._open is not None:
            raise LocalProtocolError("no message is being read")
        self._filter.refuse(Rank.DRIVER, reply)

    def close_with(self, reply: Reply) -> None:
        """Say a last word that nobody asked for (shutdown, idle time); the session is over."""
        if self.is_over:
            return
        self._out.append(reply.wire(self.is_enhanced))
        self._finish("closed by reply")
        self._open = None

    def envelope(self, message_id: str) -> Envelope:
        """The envelope of the open transaction, as it is known now."""
        transaction = self.transaction
        facts = self.facts
        ip = f"[{facts.client_ip}]" if ":" in facts.client_ip else facts.client_ip
        return Envelope(
            message_id,
            facts.connection_id,
            transaction.reverse_path,
            list(transaction.recipients),
            self._clock.wall(),
            self._filter.kept_bytes if self._filter is not None else 0,
            f"{ip}:{facts.client_port}" if ip else "",
            self.helo,
            self.protocol,
            transaction.body,
            transaction.smtputf8,
            transaction.ret,
            transaction.envid,
        )

    # --- what a driver may want to know

    @property
    def in_body(self) -> bool:
        """Whether message text is being read."""
        return self._reader is not None

    @property
    def in_transaction(self) -> bool:
        """Whether a MAIL was accepted and its transaction has not ended."""
        return self._state is not self._base

    @property
    def is_waiting(self) -> bool:
        """Whether an event that was given out is unanswered."""
        return self._open is not None and not self._events

    @property
    def pending_bytes(self) -> int:
        """Input that was received and not used."""
        return self._input.pending

    @property
    def state_name(self) -> str:
        """Momentum's name of the reception state (reference/console-and-logs.md section 4)."""
        if self._reader is not None:
            return "reading body"
        if self._open is not None:
            return _STATE_NAMES[type(self._open)]
        if self._state is State.START:
            return "awaiting ehlo/helo"
        return "awaiting rcptto" if self.in_transaction else "awaiting mailfrom"

    # --- answers

    def _answer_connect(self, event: Connect, reply: Reply | None) -> None:
        self._open = None
        if self._input.pending:
            self.is_early_talker = True
        if reply is not None:
            self.answer(reply if reply.is_positive else reply.closing())
            return
        banner = self.profile.static_banner
        if not banner:
            banner = f"220 {self.profile.hostname} ESMTP gsmtp {trace.date_time(int(self._clock.wall()))}"
        self._out.append(f"{banner}\r\n".encode("utf-8", "surrogateescape"))

    def _answer_greeting(self, event: Greeting, reply: Reply | None) -> None:
        self._open = None
        self._junk += 1
        if self.profile.most_junk and self._junk > self.profile.most_junk:
            reply = TOO_MUCH_JUNK
        if reply is not None and not reply.is_positive:
            self.answer(reply)
            return
        # RFC 5321 section 4.1.4: a greeting begins anew, as RSET does.
        self._base = self._step.target
        self.end_transaction()
        self.helo = event.domain
        self.esmtp = event.verb == "EHLO"
        self.is_enhanced = False
        self._received_from = ""
        if reply is not None:
            self.answer(reply)
        else:
            self._out.append(self._greeting_reply())
        if self.esmtp:
            for switch in self.profile.at_greeting:
                switch(self)

    def _greeting_reply(self) -> bytes:
        """RFC 2034 section 4 leaves enhanced codes out of it."""
        host = self.profile.hostname
        whom = self.facts.client_ip or "localhost"
        if self.esmtp:
            return f"250-{host} says EHLO to {whom}\r\n".encode() + self.profile.ehlo_lines
        return f"250 {host} says HELO to {whom}\r\n".encode()

    def _answer_mail(self, event: Mail, reply: Reply | None) -> None:
        self._open = None
        if reply is None:
            reply = MAIL_OK
        if reply.code < 400:
            self.transaction = self.candidate
            self.candidate = self._nothing
            self._move(self._step.target)
        else:
            self._junk += 1
        self.answer(reply)

    def _answer_rcpt(self, event: Rcpt, reply: Reply | None) -> None:
        self._open = None
        if reply is None:
            reply = RCPT_OK
        if reply.code < 400:
            self.transaction.recipients.append(event.recipient)
            self.recipients += 1
            if self._state is not self._step.target:
                self._move(self._step.target)
        self.answer(reply)

    def _answer_body_start(self, event: BodyStart, reply: Reply | None) -> None:
        if reply is None or reply.is_positive:
            raise LocalProtocolError("BodyStart is accepted with accept_body")
        self._open = None
        if event.chunking and not reply.close:
            self._chunk_refusal = reply
            self._reader = self._chunks
            return
        self.end_transaction()
        self.answer(reply)

    def _answer_body_end(self, event: BodyEnd, reply: Reply | None) -> None:
        self._open = None
        self._filter = None
        if reply is None:
            code = "2.0.0 " if self.is_enhanced else ""
            self._out.append(f"250 {code}OK {self.transaction.message_id}\r\n".encode())
        if reply is None or reply.is_positive:
            self.messages += 1
            self._junk = 0
        self.transaction = self._nothing
        self._chunks = None
        self._move(self._base)
        if reply is not None:
            self.answer(reply)


_ANSWERS: Final[dict[type, Callable[[Session, Any, Reply | None], None]]] = {
    Connect: Session._answer_connect,
    Greeting: Session._answer_greeting,
    Mail: Session._answer_mail,
    Rcpt: Session._answer_rcpt,
    BodyStart: Session._answer_body_start,
    BodyEnd: Session._answer_body_end,
}

_STATE_NAMES: Final[dict[type, str]] = {
    Connect: "just connected",
    Greeting: "awaiting ehlo/helo",
    Mail: "awaiting mailfrom",
    Rcpt: "awaiting rcptto",
    BodyStart: "data phase",
    BodyEnd: "async body response",
}
