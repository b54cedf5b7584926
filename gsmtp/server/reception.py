"""What is answered: the machine's events put to policy, stores and TLS, and what the journal is told of them.

A handler in `HANDLERS` returns whether the turn goes on. Where the answer comes from somebody else (the spool's commit,
a credential store, a handshake, a hook in a green thread) the handler takes the turn from the connection and gives it
back when it is there. Bodies are in `server.acceptance`, and so is the one place that decides between inline and a
green thread (`_decide`). Logins are in `server.login`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from gsmtp.core.errors import ConfigError, SpoolFull
from gsmtp.core.reply import BAD_SEQUENCE, SHUTTING_DOWN, TLS_UNAVAILABLE
from gsmtp.policy.checks.relay import trust
from gsmtp.policy.context import Context
from gsmtp.policy.decision import Decision, Phase
from gsmtp.runtime.tls import tls_variables
from gsmtp.server.acceptance import reply_to
from gsmtp.server.login import Login
from gsmtp.server.service import Plan, Service
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
from gsmtp.smtp.tls_options import STARTTLS_INJECTION_POLICY, TLS_VERIFIED_PEER_CAN_RELAY

log = logging.getLogger("gsmtp.ssl")

if TYPE_CHECKING:
    from gsmtp.config.scopes import Configuration
    from gsmtp.runtime.tls import TlsFacts
    from gsmtp.server.link import Link


class Reception(Login):
    """Answers the events of one session; the `smtp.driver.Driver` of its extensions."""

    __slots__ = ()

    def __init__(self, connection: Link, service: Service, session: Session, context: Context) -> None:
        super().__init__(connection, service, session, context)
        configured = context.view[CONTEXT]
        context.conn.update(configured, pathway=context.view.pathway, connection_message_count="0")
        context.around = self
        self._begin_login()

    # --- what hooks may ask of the server (gsmtp.policy.handles.Around)

    def change_pathway(self, name: str) -> None:
        """Take the options of another pathway from now on. Raises ValueError when there is none of that name.

        Socket and TLS stay as they are (reference/scopes-and-fallback.md section 5).
        """
        context = self.context
        configuration = context.configuration
        if not configuration.has_pathway(name):
            raise ValueError(f"there is no pathway {name!r}")
        facts = self.session.facts
        context.pathway_override = name
        context.view = configuration.view_for(self._connection.listener.stanza, facts.client_ip, name)
        context.conn["pathway"] = name
        if context.mess:
            context.mess["pathway"] = name
        self.session.move(context.view, facts)
        self._connection.moved()

    def session_count(self, network: str, endpoint: str) -> int:
        """Sessions that are open now, from a network ("" for any) and on a Listen ("" for any)."""
        return self._service.session_count(network, endpoint)

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
        """Count the client as coming from elsewhere: Peers, pathway, context and relay rights are found anew.

        So is whether it is trusted with XCLIENT and its like, as with Postfix: behind a proxy that has said whom it
        speaks for come that client's own commands. A certificate that was shown and a login are the proxy's: nobody it
        speaks for may relay by them.
        """
        self._move(facts, self.context.configuration)
        self.session.disown()
        for name in ("auth_name", "auth_status", "auth_user"):
            self.context.conn.pop(name, None)
        self._failed_logins = 0
        self._trust_anew()

    def place_client(self, facts: Facts) -> Plan:
        """Resolve what accept resolves, for a client whose proxy has just said who it is."""
        service = self._service
        self._move(facts, service.configuration)
        self._trust_anew()
        stanza = self._connection.listener.stanza
        if any(stanza is one for one in service.configuration.listens):  # else its Listen is gone
            self.session.outdated = None
        return service.plan(self.context.view, self._connection.family)

    def _move(self, facts: Facts, configuration: Configuration) -> None:
        context = self.context
        context.configuration = configuration
        stanza = self._connection.listener.stanza
        view = configuration.view_for(stanza, facts.client_ip, context.pathway_override)
        conn = context.conn
        for name, value in context.view[CONTEXT].items():
            if conn.get(name) == value:
                del conn[name]
        context.facts = facts
        context.view = view
        configured = view[CONTEXT]
        conn.update(configured, pathway=view.pathway)
        if context.mess:
            context.mess["pathway"] = view.pathway
        self.session.move(view, facts)
        self._connection.moved()

    def _trust_anew(self) -> None:
        """Find out whether this client may relay without a login."""
        context = self.context
        conn = context.conn
        conn.pop("can_relay", None)
        self._begin_login()
        trust(context, Connect())

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
            "pathway": self.context.view.pathway,
        }
        conn = self.context.conn
        conn["message_rcpt_count"] = "0"
        trouble = service.spool.unhealthy_reason()
        if trouble is None and event.size and not service.spool.has_room(event.size):
            trouble = SpoolFull("no room for a message of the declared size")
        if trouble is not None:
            return self._refuse(Phase.MAIL, Decision(reply_to(trouble), str(trouble), "spool"))
        if self.session.is_authenticated and self.session.candidate.submitter:
            self.context.mess["mailfrom_auth"] = self.session.candidate.submitter
        return self._decide(Phase.MAIL, event)

    def _on_rcpt(self, event: Rcpt) -> bool:
        context = self.context
        mess = context.mess
        recipient = event.recipient
        conn = context.conn
        conn["connection_rcpt_count"] = str(self.session.rcpt_commands)
        conn["message_rcpt_count"] = str(int(conn.get("message_rcpt_count", "0")) + 1)
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
        self._wait_no_more()
        self.drop_body()
        chain = self._service.chain
        if chain.has(Phase.CLOSE):
            if Phase.CLOSE in chain.blocking:
                self._connection.submit(chain.run, Phase.CLOSE, self.context, None)
            else:
                chain.run(Phase.CLOSE, self.context, None)

    # --- TLS

    def _on_start_tls(self, event: StartTls) -> bool:
        view = self.context.view
        session = self.session
        try:
            context = self._service.tls.of(view)
        except ConfigError as error:  # a certificate that was good at load and isn't any more
            log.error("%s", error)
            context = None
        if context is None:
            session.reply(TLS_UNAVAILABLE)
            return True
        if event.bytes_behind and not self._takes_injected(view[STARTTLS_INJECTION_POLICY]):
            return True
        session.reply()
        self._connection.pause()
        self._connection.start_tls(context)
        return False

    def _takes_injected(self, policy: str) -> bool:
        """Whether STARTTLS goes on although something followed it in clear (CVE-2011-0411)."""
        if policy == "reject":
            reason = "data in clear behind STARTTLS"
            decision = Decision(BAD_SEQUENCE.closing(), reason, "starttls_injection_policy")
            self._tell_rejection(self.session.state_name, decision)
            self.session.reply(BAD_SEQUENCE.closing())
            return False
        if policy == "ignore":
            self.session.drop_pending()
        else:
            log.warning(
                "session %s: commands that came in clear behind STARTTLS are taken as if under TLS",
                self.context.facts.connection_id,
            )
        return True

    def tls_started(self, facts: TlsFacts) -> None:
        """The handshake is over: what the client said before is forgotten, its login too (RFC 3207 section 4.2)."""
        context = self.context
        conn = context.conn
        session = self.session
        if session.is_authenticated:
            conn.pop("can_relay", None)
            trust(context, Connect())
        for name in ("ehlo_string", "ehlo_domain", "auth_name", "auth_status", "auth_user"):
            conn.pop(name, None)
        context.mess = {}
        conn.update(tls_variables(facts))
        if facts.is_verified and context.view[TLS_VERIFIED_PEER_CAN_RELAY]:
            conn["can_relay"] = "true"
        certified_user = facts.client_subject_cn if facts.is_verified else ""
        session.tls_started(facts.cipher, channel_bindings=facts.channel_bindings, certified_user=certified_user)
        self._begin_login()


HANDLERS: Final[dict[type, Callable[[Reception, Any], bool]]] = {
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
