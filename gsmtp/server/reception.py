"""What is answered: the machine's events put to policy, bodies to the spool, and what the log says of both.

A handler in `HANDLERS` returns whether the turn goes on. Where the answer comes from somebody else (the spool's commit,
large body, a hook in a green thread) the handler takes the turn from the connection and gives it back when it is there.
`_decide` is the one place that chooses between inline and a green thread, from what the phase's hooks declare.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gsmtp.core.envelope import Envelope
from gsmtp.core.errors import SpoolError, SpoolFull
from gsmtp.core.reply import SHUTTING_DOWN, SPOOL_FULL, TRANSACTION_FAILED, Reply
from gsmtp.policy.context import Context
from gsmtp.policy.decision import Decision, Phase
from gsmtp.server.service import Service
from gsmtp.server.sink import DropWriter
from gsmtp.smtp.events import Body, BodyAbort, BodyEnd, BodyStart, Connect, Greeting, Mail, Quit, Rcpt
from gsmtp.smtp.options import CONTEXT
from gsmtp.smtp.session import Session
from gsmtp.spool.base import BodyWriter

if TYPE_CHECKING:
    from gsmtp.server.connection import Connection


class Reception:
    """Answers the events of one session.

    Args:
        connection: whose turn it is; paused and resumed here.
        service: spool, policy, log, counters.
        session: the machine.
        context: what hooks see.
    """

    __slots__ = ("_body", "_connection", "_context", "_message_id", "_service", "_session")

    def __init__(self, connection: Connection, service: Service, session: Session, context: Context) -> None:
        self._connection = connection
        self._service = service
        self._session = session
        self._context = context
        self._body: BodyWriter | None = None
        self._message_id = ""
        configured = context.view[CONTEXT]
        context.conn.update(configured, pathway=context.view.pathway)

    @property
    def context(self) -> Context:
        """What hooks see of this connection."""
        return self._context

    # --- events

    def _on_connect(self, event: Connect) -> bool:
        return self._decide(Phase.CONNECT, event)

    def _on_greeting(self, event: Greeting) -> bool:
        conn = self._context.conn
        conn["ehlo_string"] = event.line
        conn["ehlo_domain"] = event.domain
        return self._decide(Phase.EHLO, event)

    def _on_mail(self, event: Mail) -> bool:
        service = self._service
        if service.is_draining:
            self._session.reply(SHUTTING_DOWN)
            return True
        self._context.mess = {
            "mailfrom_string": event.line,
            "mailfrom_localpart": event.reverse_path.rpartition("@")[0] or event.reverse_path,
            "mailfrom_domain": event.domain,
        }
        trouble = service.spool.unhealthy_reason()
        if trouble is None and event.size and not service.spool.has_room(event.size):
            trouble = SpoolFull("no room for a message of the declared size")
        if trouble is not None:
            return self._refuse(Phase.MAIL, Decision(_reply_to(trouble), str(trouble), "spool"))
        return self._decide(Phase.MAIL, event)

    def _on_rcpt(self, event: Rcpt) -> bool:
        mess = self._context.mess
        recipient = event.recipient
        mess["rcptto_string"] = event.line
        mess["rcptto_localpart"] = recipient.address.rpartition("@")[0] or recipient.address
        mess["rcptto_domain"] = recipient.domain
        return self._decide(Phase.RCPT, event)

    def _on_body_start(self, _event: BodyStart) -> bool:
        recipients = self._session.transaction.recipients
        drop = all(recipient.drop for recipient in recipients)
        self._body = DropWriter() if drop else self._service.spool.open()
        self._message_id = self._service.ids.next()
        self._session.accept_body(self._message_id)
        return True

    def _on_body(self, event: Body) -> bool:
        body = self._body
        assert body is not None
        if body.write(event.data):
            return True
        self._connection.pause(keep_reading=False)
        body.on_drain(self._connection.resume)
        return False

    def _on_body_end(self, event: BodyEnd) -> bool:
        return self._decide(Phase.DATA, event)

    def _on_body_abort(self, event: BodyAbort) -> bool:
        self.drop_body()
        if event.reply is not None:
            self._tell_rejection("body", Decision(event.reply))
        return True

    def _on_quit(self, _event: Quit) -> bool:
        return False

    # --- decisions

    def _decide(self, phase: Phase, event: object) -> bool:
        chain = self._service.chain
        if phase in chain.blocking:
            self._connection.pause()
            self._connection.submit(self._decide_in_green_thread, phase, event)
            return False
        return self._answer(phase, chain.run(phase, self._context, event))

    def _decide_in_green_thread(self, phase: Phase, event: object) -> None:
        connection = self._connection
        try:
            decision = self._service.chain.run(phase, self._context, event)
            # a session that was told its last word meanwhile (Drain_Time is over) gets no answer and keeps no message
            if not connection.is_closed and (self._session.is_over or self._answer(phase, decision)):
                connection.resume()
        except Exception:  # noqa: BLE001 - told by break_off
            connection.break_off()  # or nobody would ever give the turn back

    def _answer(self, phase: Phase, decision: Decision) -> bool:
        if decision.reply is not None:
            return self._refuse(phase, decision)
        if phase is Phase.DATA:
            return self._commit()
        self._session.reply()
        return True

    def _refuse(self, phase: Phase, decision: Decision) -> bool:
        reply = decision.reply
        assert reply is not None
        if phase is Phase.DATA:
            self.drop_body()
        self._tell_rejection(phase.value, decision)
        self._session.reply(reply)
        return True

    def _tell_rejection(self, phase: str, decision: Decision) -> None:
        """Count and log a refusal; the peer gets the reply, the log the reason too."""
        service = self._service
        service.totals.rejections += 1
        mess = self._context.mess
        service.events.event(
            "info",
            "smtp",
            "rejected",
            session=self._context.facts.connection_id,
            client=self._connection.client,
            phase=phase,
            reply=str(decision.reply),
            check=decision.check,
            reason=decision.reason or None,
            sender=mess.get("mailfrom_string"),
            recipient=mess.get("rcptto_string") if phase == Phase.RCPT.value else None,
        )

    # --- acceptance

    def _commit(self) -> bool:
        envelope = self._session.envelope(self._message_id)
        body = self._body
        assert body is not None
        kept = [recipient for recipient in envelope.recipients if not recipient.drop]
        if not kept:
            self.drop_body()
            self._accepted(envelope, is_dropped=True)
            return True
        envelope.recipients = kept
        self._body = None
        self._connection.pause()
        self._service.spool.commit(envelope, body, lambda error: self._committed(envelope, error))
        return False

    def _committed(self, envelope: Envelope, error: SpoolError | None) -> None:
        """The spool's answer; the client may be gone by now, the message is kept all the same (RFC 1047)."""
        if error is None:
            self._accepted(envelope, is_dropped=False)
            self._service.accepted(envelope)
        else:
            self._refuse(Phase.DATA, Decision(_reply_to(error), str(error), "spool"))
        if self._service.is_draining:
            self._session.close_with(SHUTTING_DOWN)
        self._connection.resume()

    def _accepted(self, envelope: Envelope, *, is_dropped: bool) -> None:
        service = self._service
        totals = service.totals
        totals.messages += 1
        totals.recipients += len(envelope.recipients)
        totals.bytes += envelope.size_bytes
        service.events.event(
            "info",
            "smtp",
            "dropped" if is_dropped else "received",
            id=envelope.message_id,
            session=self._context.facts.connection_id,
            client=self._connection.client,
            sender=f"<{envelope.reverse_path}>",
            recipients=_some_of(envelope),
            size=envelope.size_bytes,
            protocol=envelope.protocol,
        )
        self._session.reply()

    def drop_body(self) -> None:
        """Forget the body that is coming in, if there is one."""
        body, self._body = self._body, None
        if body is not None:
            body.abort()


HANDLERS: dict[type, Callable[[Reception, Any], bool]] = {
    Connect: Reception._on_connect,
    Greeting: Reception._on_greeting,
    Mail: Reception._on_mail,
    Rcpt: Reception._on_rcpt,
    BodyStart: Reception._on_body_start,
    Body: Reception._on_body,
    BodyEnd: Reception._on_body_end,
    BodyAbort: Reception._on_body_abort,
    Quit: Reception._on_quit,
}


def _reply_to(error: SpoolError) -> Reply:
    return SPOOL_FULL if isinstance(error, SpoolFull) else TRANSACTION_FAILED


def _some_of(envelope: Envelope) -> str:
    """The first three recipients and how many more there are."""
    if len(envelope.recipients) == 1:
        return f"<{envelope.recipients[0].address}>"
    shown = ",".join(f"<{recipient.address}>" for recipient in envelope.recipients[:3])
    more = len(envelope.recipients) - 3
    return f"{shown},+{more}" if more > 0 else shown
