"""The SMTP machine of one session: bytes in, events out, replies in, bytes out. No I/O.

The driver's loop: `next_event()` until it gives NEED_DATA; then send `data_to_send()`, read, `receive_data(...)`. An
event that is to be answered (see `events`) must be answered before the next one comes, so replies keep the order of the
commands under PIPELINING. Everything that no policy can change the machine answers alone.

What a peer can make this hold is bounded: one command line, a header section of 256 KiB, a line being broken, and what
the driver fed without asking for events.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from gsmtp.config.view import View
from gsmtp.core.clock import Clock
from gsmtp.core.envelope import Envelope
from gsmtp.core.errors import LocalProtocolError
from gsmtp.core.reply import (
    BARE_LINE_FEED,
    LINE_TOO_LONG,
    MAIL_OK,
    MISSING_TERMINATOR,
    RCPT_OK,
    START_DATA,
    TOO_BIG,
    TOO_MUCH_JUNK,
    UNRECOGNIZED,
    Reply,
)
from gsmtp.smtp import trace
from gsmtp.smtp.body import ChunkReader, DataReader
from gsmtp.smtp.buffer import BareLineFeed, InputBuffer, LineFault
from gsmtp.smtp.events import (
    NEED_DATA,
    Body,
    BodyAbort,
    BodyEnd,
    BodyStart,
    Connect,
    Event,
    Greeting,
    Mail,
    NeedData,
    Quit,
    Rcpt,
)
from gsmtp.smtp.message import MessageFilter, Rank
from gsmtp.smtp.profile import profile_for
from gsmtp.smtp.state import State
from gsmtp.smtp.transaction import Transaction
from gsmtp.smtp.verbs import FOREIGN

RUNAWAY_FACTOR: Final = 10
"""A message of more than this times Max_Message_Size isn't read to its end (reference/esmtp-listener.md 10.1)."""


@dataclass(slots=True)
class Facts:
    """What is known about the connection.

    Args:
        client_ip: the peer's address, "" when it has none.
        client_port: its port.
        local_ip: our end's address.
        local_port: our end's port.
        endpoint: the Listen stanza's instance name.
        connection_id: as `core.ids` makes them.
        hostname: what the system calls itself, where no option says it.
    """

    client_ip: str
    client_port: int
    local_ip: str
    local_port: int
    endpoint: str
    connection_id: str
    hostname: str


class Session:
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

    __slots__ = (
        "_base", "_chunk_refusal", "_chunks", "_clock", "_events", "_filter", "_input", "_is_begun", "_junk",
        "_nothing", "_open", "_out", "_reader", "_received_from", "_row", "_state", "_step", "candidate", "esmtp",
        "facts", "helo", "is_authenticated", "is_early_talker", "is_enhanced", "is_over", "messages", "profile",
        "rcpt_commands", "recipients", "tls_cipher", "transaction", "view",
    )  # fmt: skip

    def __init__(self, view: View, facts: Facts, clock: Clock) -> None:
        self.view = view
        self.facts = facts
        self.profile = profile_for(view, facts.hostname)
        self._clock = clock
        self._input = InputBuffer(self.profile.longest_command)
        self._out: list[bytes] = []
        self._events: list[Event] = []
        self._open: Event | None = None
        self._is_begun = False
        self._base = self._state = State.START
        self._row = self.profile.steps[State.START]
        self._step = self._row[b"NOOP"]
        self._reader: DataReader | ChunkReader | None = None
        self._chunks: ChunkReader | None = None
        self._chunk_refusal: Reply | None = None
        self._filter: MessageFilter | None = None
        self._received_from = ""
        self._junk = 0
        self._nothing = self.transaction = self.candidate = Transaction()
        self.helo = ""
        self.esmtp = False
        self.is_over = False
        self.is_enhanced = False
        self.is_early_talker = False
        self.is_authenticated = False
        self.tls_cipher = ""
        self.messages = 0
        self.recipients = 0
        self.rcpt_commands = 0

    # --- for the driver: bytes and events

    def receive_data(self, data: bytes) -> None:
        """Take what was read; b"" means that the peer will send no more."""
        if not self.is_over:
            self._input.feed(data)

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
        if self._events:
            return self._events.pop(0)
        if self._open is not None:
            raise LocalProtocolError(f"{type(self._open).__name__} has not been answered")
        if not self._is_begun and not self.is_over:
            self._is_begun = True
            self._open = event = Connect()
            return event
        while not self.is_over:
            if self._reader is not None:
                found = self._read_body()
            else:
                try:
                    line = self._input.line()
                except LineFault as fault:
                    self._bad_line(fault)
                    continue
                found = self._starved() if line is None else self._command(line)
            if found is not None:
                return found
            if self._events:
                break
        return self._events.pop(0) if self._events else NEED_DATA

    def reply(self, reply: Reply | None = None) -> None:
        """Answer the open event; None is the standard positive reply.

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
        if self._filter is None:
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

    # --- for the driver: what it may want to know

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
        """Whether an event is unanswered."""
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
        if not self._is_begun:
            return "just connected"
        if self._state is State.START:
            return "awaiting ehlo/helo"
        return "awaiting rcptto" if self.in_transaction else "awaiting mailfrom"

    @property
    def protocol(self) -> str:
        """The word for Received and the envelope (RFC 3848)."""
        return trace.protocol_word(
            esmtp=self.esmtp,
            tls=bool(self.tls_cipher),
            authenticated=self.is_authenticated,
            utf8=self.transaction.smtputf8,
        )

    # --- for verbs and extensions

    def answer(self, reply: Reply) -> Event | None:
        """Send a reply, and end the session if it says so. Gives None, for a handler to return: there is no event."""
        self._out.append(reply.wire(self.is_enhanced))
        if reply.close:
            self._finish("closed by reply")
        return None

    def answer_junk(self, reply: Reply) -> Event | None:
        """Answer a command that brings no transaction forward; one too many ends the session instead."""
        self._junk += 1
        limit = self.profile.most_junk
        return self.answer(TOO_MUCH_JUNK if limit and self._junk > limit else reply)

    refuse = answer_junk

    def end_transaction(self) -> None:
        """Forget the transaction, and a message that came in part."""
        if self._filter is not None:
            self._filter = None
            self._events.append(BodyAbort())
        self.transaction = self._nothing
        self._reader = self._chunks = None
        self._move(self._base)

    def say_goodbye(self) -> Event | None:
        """Answer QUIT (RFC 5321 section 4.1.1.10)."""
        self.answer(Reply(221, "2.0.0", (f"{self.profile.hostname} closing connection",)))
        self._finish("quit")
        return None

    def begin_chunk(self, size_bytes: int, is_last: bool, refusal: Reply | None) -> Event | None:
        """A BDAT command: its chunk follows.

        Args:
            size_bytes: the chunk's length.
            is_last: whether the message ends with it.
            refusal: what to say when the chunk has been thrown away, or None when it is welcome.
        """
        limit = self.profile.message.max_size
        so_far = self._filter.size_bytes if self._filter is not None else 0
        if limit and so_far + size_bytes > limit * RUNAWAY_FACTOR:
            return self.answer(TOO_BIG.closing())
        chunks = self._chunks
        is_first = chunks is None
        if chunks is None:
            chunks = self._chunks = ChunkReader()
        chunks.begin(size_bytes, is_last)
        if refusal is not None or not is_first:
            self._chunk_refusal = refusal
            self._reader = chunks
            return None
        return BodyStart(True)

    # --- commands

    def _move(self, state: State) -> None:
        self._state = state
        self._row = self.profile.steps[state]

    def _command(self, line: bytes) -> Event | None:
        word, _, argument = line.partition(b" ")
        step = self._row.get(word) or self._row.get(word.upper())
        if step is None:
            name = word.upper()
            is_hopeless = name in FOREIGN or name in self.profile.diverting
            return self.refuse(UNRECOGNIZED.closing() if is_hopeless else UNRECOGNIZED)
        verb = step.verb
        if verb.ends_pipelining and self._input.pending:
            self.is_early_talker = True
        if step.refusal is not None:
            if verb.run_refused is not None:
                verb.run_refused(self, argument, step.refusal)
            else:
                self.refuse(step.refusal)
            return None
        self._step = step
        event = verb.run(self, argument, line)
        if event is not None:
            self._open = event
        return event

    def _bad_line(self, fault: LineFault) -> None:
        if isinstance(fault, BareLineFeed):
            self.answer(BARE_LINE_FEED)
        elif fault.is_fatal:
            self.answer(LINE_TOO_LONG.closing())
        else:
            self.refuse(LINE_TOO_LONG)

    def _starved(self) -> Event | NeedData | None:
        """All input is used: wait for more, or notice that there will be none."""
        if not self._input.is_ended:
            return NEED_DATA
        if isinstance(self._reader, DataReader):
            # The peer may still listen: it learns that its message was not taken.
            self._out.append(MISSING_TERMINATOR.wire(self.is_enhanced))
        self._finish("peer closed")
        return None

    def _finish(self, reason: str) -> None:
        if self.is_over:
            return
        if self._filter is not None and not isinstance(self._open, BodyEnd):
            self._events.append(BodyAbort())
        self._filter = None
        self._reader = None
        self._input.clear()
        self._events.append(Quit(reason))
        self.is_over = True

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
            self._move(self._step.target)
        else:
            self._junk += 1
        self._out.append(reply.wire(self.is_enhanced))
        if reply.close:
            self._finish("closed by reply")

    def _answer_rcpt(self, event: Rcpt, reply: Reply | None) -> None:
        self._open = None
        if reply is None:
            reply = RCPT_OK
        if reply.code < 400:
            self.transaction.recipients.append(event.recipient)
            self.recipients += 1
            self._move(self._step.target)
        self._out.append(reply.wire(self.is_enhanced))
        if reply.close:
            self._finish("closed by reply")

    def _answer_body_start(self, event: BodyStart, reply: Reply | None) -> None:
        if reply is None or reply.is_positive:
            raise LocalProtocolError("BodyStart is accepted with accept_body")
        self._open = None
        if event.chunking and not reply.close:
            self._chunk_refusal = reply
            self._reader = self._chunks
            return
        self._chunks = None
        self.end_transaction()
        self.answer(reply)

    def _answer_body_end(self, event: BodyEnd, reply: Reply | None) -> None:
        self._open = None
        if reply is None:
            code = "2.0.0 " if self.is_enhanced else ""
            self._out.append(f"250 {code}OK {self.transaction.message_id}\r\n".encode())
            is_positive = True
        else:
            self._out.append(reply.wire(self.is_enhanced))
            is_positive = reply.is_positive
        if is_positive:
            self.messages += 1
            self._junk = 0
        self._filter = None
        self.end_transaction()
        if reply is not None and reply.close:
            self._finish("closed by reply")

    # --- the message text

    def _trace_fields(self, wall_s: int) -> bytes:
        transaction = self.transaction
        if not self._received_from:
            facts = self.facts
            self._received_from = trace.received_from(
                facts.client_ip, facts.client_port, self.helo, self.profile.message.hostname
            )
        recipients = transaction.recipients
        return trace.return_path(transaction.reverse_path) + trace.received(
            self._received_from,
            transaction.original,
            f"{self.protocol} (cipher={self.tls_cipher})" if self.tls_cipher else self.protocol,
            transaction.message_id,
            recipients[0].original if len(recipients) == 1 else "",
            wall_s,
        )

    def _read_body(self) -> Event | NeedData | None:
        """Use what came of the text; None when a chunk ended and commands follow."""
        reader = self._reader
        if self._chunk_refusal is not None:
            return self._skip_chunk()
        source = self._input
        message = self._filter
        assert reader is not None
        assert message is not None
        content, source.pos = reader.read(source.data, source.pos)
        kept = message.feed(content, reader.is_lone, reader.scan.has_false_end) if content else b""
        limit = self.profile.message.max_size
        if limit and message.size_bytes > limit * RUNAWAY_FACTOR:
            self._filter = None
            self._events.append(BodyAbort(TOO_BIG))
            return self.answer(TOO_BIG.closing())
        if isinstance(reader, DataReader):
            if reader.is_done:
                return self._end_message(kept)
        elif not reader.remaining:
            return self._end_message(kept) if reader.is_last else self._end_chunk(reader, kept)
        return Body(kept) if kept else self._starved()

    def _end_message(self, kept: bytes) -> Event:
        message = self._filter
        assert message is not None
        self._reader = None
        kept += message.finish()
        self.transaction.is_date_missing = message.is_date_missing
        fault = message.fault
        if fault is not None:
            self._filter = None
            self.end_transaction()
            self.answer(fault)
            return BodyAbort(fault)
        self._open = end = BodyEnd()
        if not kept:
            return end
        self._events.append(end)
        return Body(kept)

    def _end_chunk(self, reader: ChunkReader, kept: bytes) -> Event | None:
        message = self._filter
        assert message is not None
        self._reader = None
        if message.fault is not None:
            self._filter = None
            self._move(State.CHUNKS_FAILED)
            self.refuse(message.fault)
            return BodyAbort(message.fault)
        self.answer(Reply(250, "2.0.0", (f"{reader.size_bytes} octets received",)))
        return Body(kept) if kept else None

    def _skip_chunk(self) -> NeedData | Event | None:
        reader = self._chunks
        refusal = self._chunk_refusal
        assert reader is not None
        assert refusal is not None
        source = self._input
        source.pos = reader.skip(source.data, source.pos)
        if reader.remaining:
            return self._starved()
        self._reader = None
        self._chunk_refusal = None
        if self._state in (State.RCPT, State.CHUNKS, State.CHUNKS_FAILED):
            if reader.is_last:
                self.end_transaction()
            else:
                self._abort_message()
                self._move(State.CHUNKS_FAILED)
        else:
            self._chunks = None
        self.refuse(refusal)
        return None

    def _abort_message(self) -> None:
        if self._filter is not None:
            self._filter = None
            self._events.append(BodyAbort())


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
