"""The SMTP machine of one session, as its driver uses it: bytes in, events out, replies in, bytes out. No I/O.

The driver's loop: `next_event()` until it gives NEED_DATA; then send `data_to_send()`, read, `receive_data(...)`. An
event that is to be answered (see `events`) must be answered before the next one comes, so replies keep the order of the
commands under PIPELINING. Everything that no policy can change the machine answers alone.

What a peer can make this hold is bounded: one command line, a header section of 256 KiB, a line being broken, and what
the driver fed without asking for events.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from gsmtp.config.view import View
from gsmtp.core.envelope import Envelope
from gsmtp.core.errors import LocalProtocolError
from gsmtp.core.reply import START_DATA, Reply
from gsmtp.sasl.need import Answer
from gsmtp.smtp.answers import ANSWERS, Answers
from gsmtp.smtp.body import DataReader
from gsmtp.smtp.buffer import LineFault
from gsmtp.smtp.events import (
    NEED_DATA,
    Ask,
    BodyStart,
    Connect,
    Credentials,
    Event,
    NeedData,
    StartTls,
)
from gsmtp.smtp.facts import Facts
from gsmtp.smtp.message import MessageFilter, Rank
from gsmtp.smtp.state import State

if TYPE_CHECKING:
    from gsmtp.smtp.driver import Driver

__all__ = ["Facts", "Session"]


class Session(Answers):
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
        leftover: octets that had come behind what ended the session.
        messages: accepted on this connection.
        recipients: accepted on this connection.
        is_early_talker: whether bytes were there before the banner, or behind a command that a client must wait behind
            (RFC 2920 section 3.1). A fact for policy, which depends on timing; the machine does nothing about it.
        tls_cipher: the suite, "" without TLS; for Received.
        is_authenticated: for Received and policy.
        auth_user: who logged in, "" before.
        auth_mechanism: by which mechanism, "" before.
        auth_result: the Authentication-Results field of the last attempt, b"" before; set by the driver.
        channel_bindings: of TLS by type (RFC 5929, RFC 9266); empty without TLS.
        certified_user: whom a verified client certificate names, "" without one.
        exchange: the AUTH exchange that goes on, for the extension.
        outdated: what MAIL and RSET are answered with because the configuration has changed, else None.
        is_enhanced: whether success replies carry enhanced codes; extensions set it.
        candidate: the transaction that a positive answer to the open Mail event makes `transaction`.
        bad_commands: known commands that were refused for their syntax.
        unrecognized_commands: lines that were no command.
        banner: lines of the banner; the last one "" for the usual one at the end, () for that alone.
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
        data = self._out
        self._out = b""
        return data

    def next_event(self) -> Event | NeedData:
        """What happens next, or NEED_DATA when more bytes must come first.

        Raises:
            LocalProtocolError: the last event has not been answered.
        """
        events = self._events
        if events:
            self._events = events[1:]
            return events[0]
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
                    break
                if line is None:
                    found = self._starved()
                else:
                    found = self._command(line) if self._taker is None else self._take(line)
            if found is not None:
                return found
            if self._events:
                break
        events = self._events
        if not events:
            return NEED_DATA
        self._events = events[1:]
        return events[0]

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
        answer = ANSWERS.get(type(event))
        if answer is None:
            raise LocalProtocolError(f"{type(event).__name__} is not answered with a reply")
        answer(self, event, reply)

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
            self._out += START_DATA.wire(self.is_enhanced)

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
        self._out += reply.wire(self.is_enhanced)
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
            transaction.requires_tls,
            transaction.priority,
        )

    # --- what a driver does for extensions

    def serve(self, driver: Driver) -> None:
        """Answer the open Ask.

        Raises:
            LocalProtocolError: the open event isn't an Ask.
        """
        event = self._open
        if not isinstance(event, Ask):
            if self.is_over:
                return
            raise LocalProtocolError("there is no Ask to answer")
        self._open = None
        reply = event.serve(driver)
        if reply is None:
            return
        if reply.is_positive:
            self.answer(reply)
        else:
            self.refuse(reply)

    def answer_credentials(self, answer: Answer) -> None:
        """Answer the open Credentials event with what the store said; what follows comes as the next event.

        Raises:
            LocalProtocolError: the open event isn't a Credentials.
        """
        if not isinstance(self._open, Credentials):
            if self.is_over:
                return
            raise LocalProtocolError("there is no Credentials to answer")
        self._open = event = self.exchange.answered(answer)
        if event is not None:
            self._events += (event,)

    def drop_pending(self) -> None:
        """Forget input that was received and not used: what came in clear behind STARTTLS (RFC 3207 section 4.2)."""
        self._input.clear()

    def tls_started(self, cipher: str, *, channel_bindings: Mapping[str, bytes], certified_user: str = "") -> None:
        """TLS is on: forget all that was said in clear, and offer what is offered under TLS.

        Closes the open StartTls event; may come before the first event, for TLS from the first byte.

        Args:
            cipher: name of the suite, for Received.
            channel_bindings: by type.
            certified_user: whom a verified client certificate names, "" without one.
        """
        if isinstance(self._open, StartTls):
            self._open = None
        self.tls_cipher = cipher
        self.channel_bindings = channel_bindings
        self.certified_user = certified_user
        self._begin_anew()
        self._use(
            replace(
                self.profile.offer,
                is_tls=True,
                channel_bindings=tuple(channel_bindings),
                has_certificate=certified_user != "",
            )
        )

    def begin_again(self) -> None:
        """Begin as after the connect, with a new Connect event and banner (XCLIENT)."""
        self._begin_anew()
        self._open = Connect()
        self._events += (self._open,)

    def assume_greeting(self, helo: str, *, is_esmtp: bool) -> None:
        """Count the client as having greeted so, until it does (XCLIENT)."""
        self.helo = helo
        self.esmtp = is_esmtp
        self._base = State.GREETED
        self._move(State.GREETED)
        self._received_from = ""

    def move(self, view: View, facts: Facts) -> None:
        """Take another view and other facts from now on; what was said stays."""
        self.facts = facts
        self._use(replace(self.profile.offer, view=view))

    def disown(self) -> None:
        """The client is another one than who showed a certificate and logged in: neither counts for it."""
        self.certified_user = ""
        self.is_authenticated = False
        self.auth_user = self.auth_mechanism = ""
        self._use(replace(self.profile.offer, has_certificate=False))

    def change_offer(self, *, add: Collection[str] = (), remove: Collection[str] = ()) -> None:
        """Offer other extensions to this session from the next EHLO on; keywords in upper case."""
        added = (self.profile.offer.added | frozenset(add)) - frozenset(remove)
        removed = (self.profile.offer.removed | frozenset(remove)) - frozenset(add)
        self._use(replace(self.profile.offer, added=added, removed=removed))

    # --- what a driver may want to know

    @property
    def in_exchange(self) -> bool:
        """Whether an AUTH exchange goes on: what comes is secret."""
        return self._taker is not None

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
