"""What the answers to events do: which replies are queued and how the session's state moves.

One method an event that is answered with a reply; `ANSWERS` is the table of them. Used through `Session.reply`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from gsmtp.core.errors import LocalProtocolError
from gsmtp.core.reply import AUTH_REPLIES, MAIL_OK, RCPT_OK, TLS_READY, TOO_MUCH_JUNK, Reply
from gsmtp.smtp import trace
from gsmtp.smtp.events import AuthEnd, BodyEnd, BodyStart, Connect, Greeting, Mail, Rcpt, StartTls
from gsmtp.smtp.text import TextMachine
from gsmtp.smtp.transaction import NOTHING


class Answers(TextMachine):
    """The answers, between the inner machine and `session.Session`."""

    __slots__ = ()

    def _answer_connect(self, event: Connect, reply: Reply | None) -> None:
        self._open = None
        if self._input.pending:
            self.is_early_talker = True
        if reply is not None:
            self.answer(reply if reply.is_positive else reply.closing())
            return
        for line in self.banner[:-1]:
            self._out += f"220-{line}\r\n".encode("utf-8", "surrogateescape")
        banner = self.profile.static_banner
        if self.banner and self.banner[-1]:
            banner = f"220 {self.banner[-1]}"
        elif not banner:
            banner = f"220 {self.profile.hostname} ESMTP gsmtp {trace.date_time(int(self._clock.wall()))}"
        self._out += f"{banner}\r\n".encode("utf-8", "surrogateescape")

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
            self._out += self._greeting_reply()
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
            self.candidate = NOTHING
            self._move(self._step.target)
        else:
            self._junk += 1
        self.answer(reply)

    def _answer_rcpt(self, event: Rcpt, reply: Reply | None) -> None:
        self._open = None
        if reply is None:
            reply = RCPT_OK
        if reply.code < 400:
            if self.transaction is NOTHING:
                raise LocalProtocolError("a recipient without a transaction")
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
            self._out += f"250 {code}OK {self.transaction.message_id}\r\n".encode()
        if reply is None or reply.is_positive:
            self.messages += 1
            self._junk = 0
        self.transaction = NOTHING
        self._chunks = None
        self._move(self._base)
        if reply is not None:
            self.answer(reply)

    def _answer_start_tls(self, event: StartTls, reply: Reply | None) -> None:
        """A positive answer leaves the event open until `tls_started`: nothing is taken in meanwhile."""
        if reply is None:
            self._out += TLS_READY.wire(self.is_enhanced)
            return
        self._open = None
        self._junk += 1
        self.answer(reply)

    def _answer_auth_end(self, event: AuthEnd, reply: Reply | None) -> None:
        self._open = None
        if reply is None:
            reply = AUTH_REPLIES[event.status.value]
        if reply.is_positive:
            self.is_authenticated = True
            self.auth_user = event.user
            self.auth_mechanism = event.mechanism
        else:
            self._junk += 1
        self.answer(reply)


ANSWERS: Final[dict[type, Callable[[Answers, Any, Reply | None], None]]] = {
    Connect: Answers._answer_connect,
    Greeting: Answers._answer_greeting,
    Mail: Answers._answer_mail,
    Rcpt: Answers._answer_rcpt,
    BodyStart: Answers._answer_body_start,
    BodyEnd: Answers._answer_body_end,
    StartTls: Answers._answer_start_tls,
    AuthEnd: Answers._answer_auth_end,
}
