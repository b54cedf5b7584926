"""From the first byte of a body to the reply: the writer, the message phases of policy, the commit.

What the 250 rests on stands here and in `gsmtp.spool`. `server.reception` builds on this with what is asked before.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gsmtp.core.envelope import Envelope, Recipient
from gsmtp.core.errors import DeliveryError, GsmtpError, SpoolFull
from gsmtp.core.records import Reception as ReceptionRecord
from gsmtp.core.records import Rejection
from gsmtp.core.reply import SHUTTING_DOWN, SPOOL_FULL, TRANSACTION_FAILED, Reply
from gsmtp.core.reply import reply as make_reply
from gsmtp.policy.context import Context
from gsmtp.policy.decision import Decision, Phase
from gsmtp.policy.headers import split_head
from gsmtp.policy.keep import EXCLUDE_VCTX_CONN, EXCLUDE_VCTX_MESS, GENERATE_BOUNCES_FOR_REJECTIONS
from gsmtp.policy.keep import kept as kept_variables
from gsmtp.policy.message import Message, Recipients
from gsmtp.policy.script_options import LEGACY_MESSAGE_THRESHOLD
from gsmtp.server.phases import MessagePhases, SpooledText, show_recipient
from gsmtp.server.service import Service
from gsmtp.server.sink import DropWriter
from gsmtp.smtp.events import Body, BodyAbort, BodyEnd, BodyStart, Connect
from gsmtp.smtp.session import Session
from gsmtp.spool.base import BodyWriter

if TYPE_CHECKING:
    from gsmtp.server.link import Link
    from gsmtp.server.throttle import Throttle


class Acceptance:
    """Decides events by policy, takes bodies in and answers for them.

    Args:
        connection: whose turn it is; paused and resumed here.
        service: spool, policy, journal, counters.
        session: the machine.
        context: what hooks see.
    """

    __slots__ = (
        "_body", "_chain", "_connection", "_head", "_message_id", "_phases", "_service", "_throttle", "context",
        "session",
    )  # fmt: skip

    def __init__(self, connection: Link, service: Service, session: Session, context: Context) -> None:
        self._connection = connection
        self._service = service
        self.session = session
        self.context = context
        self._body: BodyWriter | None = None
        self._chain = service.chain  # of the message under way: a reload must not change its hooks halfway
        self._head: bytes | None = None
        self._phases: MessagePhases | None = None
        self._message_id = ""
        self._throttle: Throttle | None = None  # that this session waits for

    # --- the body

    def _on_body_start(self, _event: BodyStart) -> bool:
        recipients = self.session.transaction.recipients
        chain = self._chain = self._service.chain
        drop = not chain.reads_messages and all(recipient.drop for recipient in recipients)
        self._body = DropWriter() if drop else self._service.spool.open()
        self._head = None
        self._message_id = self._service.ids.next()
        self.session.accept_body(self._message_id)
        return True

    def _on_body(self, event: Body) -> bool:
        body = self._body
        assert body is not None
        if self._head is None and self._chain.reads_messages:
            # the machine gives the whole header section with the first piece
            self._head = event.data[: split_head(event.data)]
        if body.write(event.data):
            return True
        self._connection.pause(keep_reading=False)
        body.on_drain(self._connection.resume)
        return False

    def _on_body_end(self, _event: BodyEnd) -> bool:
        if self.session.transaction.is_date_missing:
            self.context.mess["rfc2822_date_missing"] = "true"
        if not self._chain.reads_messages:
            return self._commit()
        phases = self._phases = MessagePhases(self._chain, self.context, self._message())
        if phases.may_block:
            self._connection.pause()
            self._connection.submit(self._run_phases, phases)
            return False
        return self._answer(Phase.DATA, phases.run())

    def _message(self) -> Message:
        """The message as hooks see it, once its text is there."""
        body = self._body
        assert body is not None
        peering = self._connection.peering
        transaction = self.session.transaction
        message = Message(
            self._message_id,
            peering.connection_id,
            transaction.reverse_path,
            Recipients(transaction.recipients),
            head=self._head or b"",
            text=SpooledText(body, self._service.native),
            most_bytes=self.context.configuration.view[LEGACY_MESSAGE_THRESHOLD],
        )
        message.local_address, message.remote_address = peering.local, peering.remote
        return message

    def _run_phases(self, phases: MessagePhases) -> None:
        connection = self._connection
        try:
            decision = phases.run()
            if not connection.is_closed and (self.session.is_over or self._answer(Phase.DATA, decision)):
                connection.resume()
        except Exception:  # noqa: BLE001 - told by break_off
            connection.break_off()

    def _on_body_abort(self, event: BodyAbort) -> bool:
        self.drop_body()
        if event.reply is not None:
            self._tell_rejection("reading body", Decision(event.reply))
        self._message_id = ""
        return True

    def drop_body(self) -> None:
        """Forget the body that is coming in, if there is one."""
        body, self._body = self._body, None
        self._head = self._phases = None
        if body is not None:
            body.abort()

    # --- decisions

    def _decide(self, phase: Phase, event: object) -> bool:
        chain = self._service.chain
        if phase in chain.blocking:
            self._connection.pause()
            self._connection.submit(self._decide_in_green_thread, phase, event)
            return False
        return self._answer(phase, chain.run(phase, self.context, event))

    def _decide_in_green_thread(self, phase: Phase, event: object) -> None:
        connection = self._connection
        try:
            decision = self._service.chain.run(phase, self.context, event)
            # a session that was told its last word meanwhile (Drain_Time is over) gets no answer and keeps no message
            if not connection.is_closed and (self.session.is_over or self._answer(phase, decision)):
                connection.resume()
        except Exception:  # noqa: BLE001 - told by break_off
            connection.break_off()  # or nobody would ever give the turn back

    def _answer(self, phase: Phase, decision: Decision) -> bool:
        if decision.delay_s:
            return self._answer_later(phase, decision)
        if decision.is_discard:
            return self._discard(phase, decision)
        if decision.reply is not None:
            return self._refuse(phase, decision)
        if phase is Phase.CONNECT and self._service.chain.has(Phase.BANNER):
            return self._decide(Phase.BANNER, Connect())
        if phase is Phase.DATA:
            return self._commit()
        if phase is Phase.MAIL:
            throttle = self._service.throttles.of(self.context.view)
            if throttle is not None and not self._is_gone and not throttle.take(self._begin_throttled):
                self._throttle = throttle
                self._connection.pause()
                return False
        self.session.reply()
        return True

    def _begin_throttled(self) -> bool:
        """Inbound_Throttle_Messages lets this message begin now. False: there is nobody any more who wants to."""
        self._throttle = None
        connection = self._connection
        session = self.session
        if connection.is_closed or session.is_over:
            return False
        try:
            session.reply(SHUTTING_DOWN if self._service.is_draining else None)
            connection.resume()
        except Exception:  # noqa: BLE001 - told by break_off
            connection.break_off()
        return True

    @property
    def waits_in_vain(self) -> bool:
        """Whether the turn that is waited for would bring no message any more."""
        return self._throttle is not None and self._is_gone

    @property
    def _is_gone(self) -> bool:
        """Whether the client has ended and all it said was used."""
        return self._connection.is_ended and not self.session.pending_bytes

    def _wait_no_more(self) -> None:
        throttle, self._throttle = self._throttle, None
        if throttle is not None:
            throttle.leave(self._begin_throttled)

    def _answer_later(self, phase: Phase, decision: Decision) -> bool:
        """Hold the answer back; nobody else waits, and the time is not the client's."""
        self._connection.pause()
        self._connection.hold(decision.delay_s, lambda: self._answer_now(phase, decision.without_delay()))
        return False

    def _answer_now(self, phase: Phase, decision: Decision) -> None:
        connection = self._connection
        try:
            if not connection.is_closed and (self.session.is_over or self._answer(phase, decision)):
                connection.resume()
        except Exception:  # noqa: BLE001 - told by break_off
            connection.break_off()

    def _refuse(self, phase: Phase, decision: Decision) -> bool:
        reply = decision.reply
        assert reply is not None
        state = self._state_name(phase)
        if phase is Phase.DATA:
            self.drop_body()
        self._tell_rejection(state, decision)
        if phase is Phase.DATA:
            self._message_id = ""
        self.session.reply(reply)
        return True

    def _discard(self, phase: Phase, decision: Decision) -> bool:
        """Say yes and forget: the recipient, or the message."""
        self._tell_rejection(self._state_name(phase), decision)
        if phase is Phase.DATA:
            self.drop_body()
            self._message_id = ""
        self.session.reply()
        if phase is Phase.RCPT:
            self.session.transaction.recipients[-1].drop = True
        return True

    def _state_name(self, phase: Phase) -> str:
        """Momentum's name of the state in which a phase decides."""
        return self._phases.state if phase is Phase.DATA and self._phases is not None else self.session.state_name

    def _tell_rejection(self, state: str, decision: Decision) -> None:
        """Count and log a refusal; the peer gets the reply, the log the reason too."""
        service = self._service
        service.totals.rejections += 1
        reply = decision.reply
        assert reply is not None
        context = self.context
        service.journal.record(
            Rejection(
                self._connection.peering,
                state,
                reply,
                decision.check,
                decision.reason,
                context.conn,
                context.mess,
                self._message_id,
            )
        )

    # --- acceptance

    def _commit(self) -> bool:
        envelope = self.session.envelope(self._message_id)
        body = self._body
        assert body is not None
        kept = [recipient for recipient in envelope.recipients if not recipient.drop]
        if self._phases is not None:
            kept = self._after_phases(self._phases, body, kept)
            envelope.size_bytes = body.size_bytes
        if not kept:
            self.drop_body()
            self._accepted(envelope, is_dropped=True)
            return True
        envelope.recipients = kept
        context = self.context
        envelope.conn = kept_variables(context.conn, EXCLUDE_VCTX_CONN, context.configuration, kept)
        envelope.mess = kept_variables(context.mess, EXCLUDE_VCTX_MESS, context.configuration, kept)
        self._body = self._phases = None
        self._connection.pause()
        service = self._service
        if service.handover is not None and service.handover.takes(envelope):
            service.handover.commit(envelope, body, lambda error: self._committed(envelope, error, is_kept=False))
        else:
            service.spool.commit(envelope, body, lambda error: self._committed(envelope, error))
        return False

    def _after_phases(self, phases: MessagePhases, body: BodyWriter, kept: list[Recipient]) -> list[Recipient]:
        """Do what policy said: edit, forget, and note refused recipients. Gives those that go into the spool."""
        message = phases.message
        mess = self.context.mess
        for recipient, decision in (*phases.discarded, *phases.refused):
            show_recipient(mess, recipient)
            self._tell_rejection(self.session.state_name, decision)
        gone = {id(recipient) for recipient, _ in phases.discarded}
        wants_bounces = self.context.view[GENERATE_BOUNCES_FOR_REJECTIONS]
        for recipient, decision in phases.refused:
            if wants_bounces and decision.reply is not None:
                recipient.failure = str(decision.reply)
            else:
                gone.add(id(recipient))
        if message.is_edited:
            body.replace_head(message.head_bytes, message.head)
        return [recipient for recipient in kept if id(recipient) not in gone]

    def _committed(self, envelope: Envelope, error: GsmtpError | None, *, is_kept: bool = True) -> None:
        """The answer of the spool, or of who took the message in its place (then `is_kept` is False).

        The client may be gone by now, the message is taken all the same (RFC 1047).
        """
        if error is None:
            self._accepted(envelope, is_dropped=False)
            if is_kept:
                self._service.accepted(envelope)
        else:
            self._refuse(Phase.DATA, Decision(reply_to(error), str(error), "spool" if is_kept else "handover"))
        if self._service.is_draining:
            self.session.close_with(SHUTTING_DOWN)
        self._connection.resume()

    def _accepted(self, envelope: Envelope, *, is_dropped: bool) -> None:
        service = self._service
        totals = service.totals
        totals.messages += 1
        totals.recipients += len(envelope.recipients)
        totals.bytes += envelope.size_bytes
        context = self.context
        told = envelope
        if any(recipient.failure for recipient in envelope.recipients):
            told = replace(envelope, recipients=[one for one in envelope.recipients if not one.failure])
        if told.recipients:
            service.journal.record(
                ReceptionRecord(self._connection.peering, told, context.conn, context.mess, is_dropped)
            )
        self._message_id = ""
        self.session.reply()
        context.conn["connection_message_count"] = str(self.session.messages)


def reply_to(error: GsmtpError) -> Reply:
    """What the peer is told about trouble with the spool, or with who takes mail in its place."""
    if isinstance(error, DeliveryError):
        code, enhanced, _ = str(error).split(" ", 2)
        return make_reply(int(code), f"{enhanced} {'not handed on, try again later' if error.temporary else 'refused'}")
    return SPOOL_FULL if isinstance(error, SpoolFull) else TRANSACTION_FAILED
