"""What is answered: the machine's events put to policy, stores and TLS, and what the journal is told of them.

A handler in `HANDLERS` returns whether the turn goes on. Where the answer comes from somebody else (the spool's commit,
a credential store, a handshake, a hook in a green thread) the handler takes the turn from the connection and gives it
back when it is there. Bodies are in `server.acceptance`, and so is the one place that decides between inline and a
green thread (`_decide`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gsmtp.core.errors import SpoolFull
from gsmtp.core.records import AuthAttempt
from gsmtp.core.reply import SHUTTING_DOWN
from gsmtp.policy.context import Context
from gsmtp.policy.decision import Decision, Phase
from gsmtp.sasl.need import Answer
from gsmtp.server.acceptance import Acceptance, reply_to
from gsmtp.server.service import Service
from gsmtp.smtp.events import (
    Ask,
    AuthEnd,
    Body,
    BodyAbort,
    BodyEnd,
    BodyStart,
    Connect,
    Credentials,
    Greeting,
    Mail,
    Quit,
    Rcpt,
    Refused,
    StartTls,
)
from gsmtp.smtp.options import CONTEXT
from gsmtp.smtp.session import Facts, Session

if TYPE_CHECKING:
    from gsmtp.runtime.tls import TlsFacts
    from gsmtp.server.connection import Connection


class Reception(Acceptance):
    """Answers the events of one session; the `smtp.driver.Driver` of its extensions."""

    __slots__ = ()

    def __init__(self, connection: Connection, service: Service, session: Session, context: Context) -> None:
        super().__init__(connection, service, session, context)
        configured = context.view[CONTEXT]
        context.conn.update(configured, pathway=context.view.pathway)

    # --- the driver of extensions

    @property
    def conn(self) -> dict[str, str]:
        """Connection variables."""
        return self.context.conn

    @property
    def mess(self) -> dict[str, str]:
        """Message variables."""
        return self.context.mess

    def move_client(self, facts: Facts) -> None:
        """Count the client as coming from elsewhere: Peers, pathway, context and relay rights are found anew."""
        context = self.context
        stanza = self._connection.listener.stanza
        view = context.configuration.view_for(stanza, facts.client_ip, context.pathway_override)
        context.facts = facts
        context.view = view
        configured = view[CONTEXT]
        context.conn.update(configured, pathway=view.pathway)
        self.session.move(view, facts)
        self._connection.moved()

    # --- events

    def _on_connect(self, event: Connect) -> bool:
        return self._decide(Phase.CONNECT, event)

    def _on_greeting(self, event: Greeting) -> bool:
        conn = self.context.conn
        conn["ehlo_string"] = event.line
        conn["ehlo_domain"] = event.domain
        return self._decide(Phase.EHLO, event)

    def _on_mail(self, event: Mail) -> bool:
        service = self._service
        if service.is_draining:
            self.session.reply(SHUTTING_DOWN)
            return True
        self.context.mess = {
            "mailfrom_string": event.line,
            "mailfrom_localpart": event.reverse_path.rpartition("@")[0] or event.reverse_path,
            "mailfrom_domain": event.domain,
        }
        trouble = service.spool.unhealthy_reason()
        if trouble is None and event.size and not service.spool.has_room(event.size):
            trouble = SpoolFull("no room for a message of the declared size")
        if trouble is not None:
            return self._refuse(Phase.MAIL, Decision(reply_to(trouble), str(trouble), "spool"))
        return self._decide(Phase.MAIL, event)

    def _on_rcpt(self, event: Rcpt) -> bool:
        mess = self.context.mess
        recipient = event.recipient
        mess["rcptto_string"] = event.line
        mess["rcptto_localpart"] = recipient.address.rpartition("@")[0] or recipient.address
        mess["rcptto_domain"] = recipient.domain
        return self._decide(Phase.RCPT, event)

    def _on_ask(self, _event: Ask) -> bool:
        self.session.serve(self)
        return True

    def _on_refused(self, event: Refused) -> bool:
        self._tell_rejection(event.state, Decision(event.reply))
        return True

    def _on_quit(self, event: Quit) -> bool:
        connection = self._connection
        connection.reason = connection.reason or event.reason
        return False

    def closed(self) -> None:
        """The connection is gone: nothing is kept for it."""
        self.drop_body()

    # --- TLS

    def _on_start_tls(self, event: StartTls) -> bool:
        raise NotImplementedError

    def tls_started(self, facts: TlsFacts) -> None:
        """The handshake is over."""
        self.session.tls_started(facts.cipher, channel_bindings=facts.channel_bindings)

    # --- AUTH

    def _on_credentials(self, event: Credentials) -> bool:
        raise NotImplementedError

    def _answered(self, answer: Answer) -> None:
        """A store has answered."""
        connection = self._connection
        if not connection.is_closed:
            self.session.answer_credentials(answer)
            connection.resume()

    def _on_auth_end(self, event: AuthEnd) -> bool:
        conn = self.context.conn
        conn["auth_name"] = event.mechanism
        conn["auth_status"] = event.status.value
        conn["auth_user"] = event.user
        self._service.journal.record(
            AuthAttempt(self._connection.peering, event.user, event.mechanism, event.status.value, False, event.reason)
        )
        return self._decide(Phase.AUTH, event)


HANDLERS: dict[type, Callable[[Reception, Any], bool]] = {
    Connect: Reception._on_connect,
    Greeting: Reception._on_greeting,
    Mail: Reception._on_mail,
    Rcpt: Reception._on_rcpt,
    BodyStart: Reception._on_body_start,
    Body: Reception._on_body,
    BodyEnd: Reception._on_body_end,
    BodyAbort: Reception._on_body_abort,
    StartTls: Reception._on_start_tls,
    Credentials: Reception._on_credentials,
    AuthEnd: Reception._on_auth_end,
    Ask: Reception._on_ask,
    Refused: Reception._on_refused,
    Quit: Reception._on_quit,
}
