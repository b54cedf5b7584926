"""A client's login in a running session: stores asked, policy heard, failures slowed down and cut off, all told.

The machine says what a mechanism needs (`Credentials`) and how an exchange ended (`AuthEnd`); what that means for the
session (context, relaying, the field for its messages, the reply and when it is sent) is decided here.

Source: reference/esmtp-listener.md sections 6.3 and 11.3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gsmtp.auth.attempts import delay_after
from gsmtp.config.kinds import BOOLEAN_WORDS
from gsmtp.core.records import AuthAttempt
from gsmtp.core.reply import AUTH_CUT_OFF, AUTH_REPLIES, SHUTTING_DOWN, Reply
from gsmtp.policy.context import Context
from gsmtp.policy.decision import Decision, Phase
from gsmtp.runtime.later import Later
from gsmtp.sasl.mechanism import load_mechanisms
from gsmtp.sasl.need import Answer, CheckPassword, Status
from gsmtp.server.acceptance import Acceptance
from gsmtp.server.service import Service
from gsmtp.smtp import trace
from gsmtp.smtp.auth_options import (
    ALWAYS_ALLOW,
    ALWAYS_DENY,
    AUTH_FAILURE_DELAY,
    AUTH_FAILURE_WINDOW,
    AUTH_FAILURES_PER_ADDRESS,
    AUTH_FAILURES_PER_SESSION,
)
from gsmtp.smtp.events import AuthEnd, Credentials
from gsmtp.smtp.ext.auth import parameters_of
from gsmtp.smtp.session import Session

if TYPE_CHECKING:
    from gsmtp.server.link import Link

ANONYMOUS: Final = "anonymous"
"""Who everybody is under Always_Allow."""

_DENIED: Final = Answer(Status.FAIL, reason="Always_Deny")
_ALLOWED: Final = Answer(Status.PASS, reason="Always_Allow")
_CUT_OFF: Final = Answer(Status.FAIL, reason="too many failed logins from this address")
_WORDS: Final = {Status.PASS: "pass", Status.FAIL: "fail", Status.ERROR: "temperror"}
"""In Authentication-Results (RFC 8601 section 2.7.4)."""


class Login(Acceptance):
    """Answers the events of AUTH; the rest of a session is in `server.reception`."""

    __slots__ = ("_failed_logins",)

    def __init__(self, connection: Link, service: Service, session: Session, context: Context) -> None:
        super().__init__(connection, service, session, context)
        self._failed_logins = 0

    # --- what holds without a login

    def _begin_login(self) -> None:
        """The session begins, or begins anew under TLS or as another client's: who is anonymous by Always_Allow."""
        conn = self.context.conn
        if self._always_allows():
            conn.setdefault("auth_user", ANONYMOUS)
            conn.setdefault("auth_status", Status.PASS.value)
            conn["can_relay"] = "true"
        elif conn.get("auth_user") == ANONYMOUS and "auth_name" not in conn:
            del conn["auth_user"], conn["auth_status"]

    def _always_allows(self) -> bool:
        view = self.context.view
        return view[ALWAYS_ALLOW] and not view[ALWAYS_DENY]

    # --- the store

    def _on_credentials(self, event: Credentials) -> bool:
        answer = self._own_answer(event)
        if answer is None:
            answer = self._service.authenticator.ask(
                self._parameters(event.mechanism),
                event.mechanism,
                event.need,
                self._answered,
                self.session.profile.hostname,
            )
            if answer is None:
                self._connection.pause()
                return False
        self.session.answer_credentials(answer)
        return True

    def _own_answer(self, event: Credentials) -> Answer | None:
        """The answer when no store is to be asked, else None."""
        view = self.context.view
        if view[ALWAYS_DENY]:
            return _DENIED
        if self._always_allows():
            return _ALLOWED if isinstance(event.need, CheckPassword) else None
        return _CUT_OFF if self._is_cut_off() else None

    def _answered(self, answer: Answer) -> None:
        """A store has answered."""
        connection = self._connection
        if connection.is_closed:
            return
        try:
            self.session.answer_credentials(answer)
            if self._service.is_draining:
                self.session.close_with(SHUTTING_DOWN)
            connection.resume()
        except Exception:  # noqa: BLE001 - told by break_off
            connection.break_off()  # or nobody would ever give the turn back

    def _parameters(self, name: str) -> dict[str, str]:
        mechanism = load_mechanisms().get(name)
        return parameters_of(mechanism, self.context.view) if mechanism is not None else {}

    # --- the outcome

    def _on_auth_end(self, event: AuthEnd) -> bool:
        if self._always_allows() and event.status is not Status.PASS:
            event = AuthEnd(event.mechanism, event.user or ANONYMOUS, Status.PASS, "Always_Allow")
        conn = self.context.conn
        conn["auth_name"] = event.mechanism
        conn["auth_status"] = event.status.value
        conn["auth_user"] = event.user
        chain = self._service.chain
        if Phase.AUTH in chain.blocking:
            self._connection.pause()
            self._connection.submit(self._judge_in_green_thread, event)
            return False
        return self._judged(event, chain.run(Phase.AUTH, self.context, event))

    def _judge_in_green_thread(self, event: AuthEnd) -> None:
        connection = self._connection
        try:
            decision = self._service.chain.run(Phase.AUTH, self.context, event)
            if not connection.is_closed and (self.session.is_over or self._judged(event, decision)):
                connection.resume()
        except Exception:  # noqa: BLE001 - told by break_off
            connection.break_off()

    def _judged(self, event: AuthEnd, decision: Decision) -> bool:
        """Answer an attempt: the mechanism's verdict, or what a hook made of it."""
        reply = decision.reply or AUTH_REPLIES[event.status.value]
        delay_s = decision.delay_s
        status, reason = event.status, decision.reason or event.reason
        if reply.is_positive:
            status = Status.PASS
            self.context.conn["can_relay"] = "true"
        elif reply.code < 500:  # trouble of a store or of a hook: not the client's fault
            status = Status.ERROR
        else:
            status = Status.FAIL
            reply, slowed_s = self._slow_down(reply)
            delay_s = max(delay_s, slowed_s)
        self._tell(event, status, reason)
        if not reply.is_positive:
            check = "auth" if decision.reply is None else decision.check
            self._tell_rejection(self.session.state_name, Decision(reply, reason, check))
        if delay_s:
            self._connection.pause()
            Later(delay_s, lambda: self._reply_now(reply)).arm()
            return False
        self.session.reply(reply)
        return True

    def _reply_now(self, reply: Reply) -> None:
        connection = self._connection
        try:
            if not connection.is_closed:
                self.session.reply(reply)
                connection.resume()
        except Exception:  # noqa: BLE001 - told by break_off
            connection.break_off()

    def _slow_down(self, reply: Reply) -> tuple[Reply, float]:
        """Count a failed login: the reply, and how long it is held back."""
        if self._is_cut_off():
            return AUTH_CUT_OFF, 0.0
        view = self.context.view
        self._failed_logins += 1
        client_ip = self.session.facts.client_ip
        failures = self._failed_logins
        if client_ip:
            failures = self._service.attempts.failed(client_ip, view[AUTH_FAILURE_WINDOW])
        limit = view[AUTH_FAILURES_PER_SESSION]
        if limit and self._failed_logins >= limit:
            reply = AUTH_CUT_OFF
        return reply, delay_after(failures, view[AUTH_FAILURE_DELAY])

    def _is_cut_off(self) -> bool:
        """Whether this address has failed too often to be listened to; not for those who may relay anyway."""
        view = self.context.view
        limit = view[AUTH_FAILURES_PER_ADDRESS]
        if not limit or self.context.can_relay:
            return False
        client_ip = self.session.facts.client_ip
        return self._service.attempts.count(client_ip, view[AUTH_FAILURE_WINDOW]) >= limit

    # --- what is told

    def _tell(self, event: AuthEnd, status: Status, reason: str) -> None:
        session = self.session
        self.context.conn["auth_status"] = status.value
        session.auth_result = trace.authentication_results(session.profile.message.hostname, _WORDS[status], event.user)
        self._record(event.user, event.mechanism, status.value, reason)

    def login_timed_out(self) -> None:
        """The client was silent for Idle_Time in the middle of an exchange."""
        exchange = self.session.exchange
        if exchange is not None:
            self._record(exchange.user, exchange.mechanism.name, "timeout", "")

    def _record(self, user: str, mechanism: str, status: str, reason: str) -> None:
        flag = self._parameters(mechanism).get("log_authentication", "").lower()
        is_accounted = BOOLEAN_WORDS.get(flag, False)
        peering = self._connection.peering
        self._service.journal.record(AuthAttempt(peering, user, mechanism, status, is_accounted, reason))
