"""One client: its socket, its session machine and the turns in which they meet.

A connection waits on the loop as an io watcher, without a green thread. When bytes come, its turn (recv, machine,
replies, one send) runs right in the watcher's callback; a phase whose policy may block gets its turn in a green thread
of the listener's pool; a commit wakes the connection by callback. `_decide` is the one place that chooses.

Nothing a client does costs another anything: what it may have buffered here is bounded (one recv, one turn's replies,
the body writer's buffer), a turn ends after 200 events, and a client that reads nothing is read from no more.
"""

from __future__ import annotations

import _socket
import logging
import time
from typing import TYPE_CHECKING, Any

from gsmtp.core.envelope import Envelope
from gsmtp.core.errors import RemoteProtocolError, SpoolError, SpoolFull
from gsmtp.core.reply import (
    IDLE_TIMEOUT,
    SHUTTING_DOWN,
    SPOOL_FULL,
    TOO_MANY_SESSIONS,
    TRANSACTION_FAILED,
    Reply,
)
from gsmtp.policy.context import Context
from gsmtp.policy.decision import Decision, Phase
from gsmtp.runtime.sockets import RawSocket
from gsmtp.server.service import Plan, Service
from gsmtp.server.sink import DropWriter
from gsmtp.smtp.events import (
    NEED_DATA,
    Body,
    BodyAbort,
    BodyEnd,
    BodyStart,
    Connect,
    Greeting,
    Mail,
    Quit,
    Rcpt,
)
from gsmtp.smtp.options import CONTEXT
from gsmtp.smtp.session import Facts, Session
from gsmtp.spool.base import BodyWriter

if TYPE_CHECKING:
    from gsmtp.server.listener import Listener

log = logging.getLogger("gsmtp.smtp")

COMMAND_RECV = 16_384
BODY_RECV = 131_072
"""Never 256 KiB: there glibc maps and unmaps memory on every call (docs/decisions.md)."""
MOST_PENDING_INPUT = 65_536
EVENTS_A_TURN = 200
LINGER_S = 2.0
MOST_LINGER_BYTES = 1_048_576


class Connection:
    """A client's connection from accept to close."""

    __slots__ = (
        "_body",
        "_context",
        "_has_turn",
        "_is_closed",
        "_is_reading",
        "_lingered",
        "_listener",
        "_message_id",
        "_out",
        "_plan",
        "_reader",
        "_service",
        "_socket",
        "_touched_mono",
        "_writer",
        "facts",
        "session",
    )

    @classmethod
    def establish(cls, listener: Listener, raw: RawSocket, address: Any) -> None:
        """Admit the client, or tell it in one line why not."""
        service = listener.service
        client_ip, client_port = _name_of(address)
        configuration = service.configuration
        view = configuration.view_for(listener.stanza, client_ip)
        plan = service.plan(view, raw.family)
        service.totals.sessions += 1
        if not service.counts.admit(plan.limits):
            service.totals.refused_sessions += 1
            service.events.event(
                "info", "smtp", "refused", client=f"{client_ip}:{client_port}", reply=str(TOO_MANY_SESSIONS)
            )
            _say_and_close(raw, TOO_MANY_SESSIONS)
            return
        local_ip, local_port = _name_of(raw.getsockname())
        facts = Facts(
            client_ip, client_port, local_ip, local_port, listener.stanza.name, service.ids.next(), service.hostname
        )
        connection = cls(listener, raw, plan, facts)
        connection._begin()

    def __init__(self, listener: Listener, raw: RawSocket, plan: Plan, facts: Facts) -> None:
        service = listener.service
        self._listener = listener
        self._service: Service = service
        self._socket = raw
        self._plan = plan
        self.facts = facts
        self.session = Session(plan.view, facts, service.clock)
        self._context = Context(service.configuration, plan.view, facts, self.session)
        self._body: BodyWriter | None = None
        self._message_id = ""
        self._out = b""
        self._writer: Any = None
        self._reader: Any = None
        self._is_reading = False
        self._has_turn = True  # False while a commit, a drain or a green thread owns the session
        self._is_closed = False
        self._lingered = -1
        self._touched_mono = time.monotonic()

    def _begin(self) -> None:
        service = self._service
        for level, number, value in self._plan.tcp_options:
            self._socket.setsockopt(level, number, value)
        service.connections.add(self)
        self._listener.session_began()
        view = self._plan.view
        configured = view[CONTEXT]
        self._context.conn.update(configured, pathway=view.pathway)
        self._reader = self._listener.loop.io(self._socket.fileno(), 1)
        self._read_on()
        service.wheel.add(self)
        self._turn()

    # --- reading

    def _read_on(self) -> None:
        if not self._is_reading and not self._is_closed:
            self._is_reading = True
            self._reader.start(self._readable)

    def _read_no_more(self) -> None:
        if self._is_reading:
            self._is_reading = False
            self._reader.stop()

    def _readable(self) -> None:
        session = self.session
        try:
            data = self._socket.recv(BODY_RECV if session.in_body else COMMAND_RECV)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
            self._out = b""
        self._touched_mono = time.monotonic()
        if self._lingered >= 0:
            self._linger(data)
            return
        if not data:
            self._read_no_more()  # a level-triggered watcher would report the end for ever
        session.receive_data(data)
        if self._has_turn:
            self._turn()
        elif session.pending_bytes > MOST_PENDING_INPUT:
            self._read_no_more()

    # --- the turn

    def _turn(self) -> None:
        """Let the machine go on until it needs bytes, somebody else's answer, or room to write."""
        session = self.session
        try:
            for _ in range(EVENTS_A_TURN):
                event = session.next_event()
                if event is NEED_DATA:
                    break
                if not _HANDLERS[type(event)](self, event):
                    break
            else:
                # let the others have the loop; what is queued goes out, the rest follows
                self._has_turn = False
                self._listener.loop.run_callback(self._resume)
        except RemoteProtocolError as error:
            session.close_with(error.reply)
        except Exception:
            # a bug of ours: without this the level-triggered watcher would call us again for ever
            log.exception("session %s failed and is closed", self.facts.connection_id)
            self._close()
        self._flush()

    def _resume(self) -> None:
        """The owner of the session gives it back."""
        self._has_turn = True
        if self._is_closed:
            return
        if self._out:
            return  # _writable goes on when the client has read
        self._read_on_unless_ended()
        self._turn()

    def _read_on_unless_ended(self) -> None:
        if not self.session.is_over and self.session.pending_bytes <= MOST_PENDING_INPUT:
            self._read_on()

    # --- writing

    def _flush(self) -> None:
        data = self.session.data_to_send()
        if self._is_closed:
            return
        if self._out:
            self._out += data
        elif data:
            try:
                sent = self._socket.send(data)
            except (BlockingIOError, InterruptedError):
                sent = 0
            except OSError:
                self._close()
                return
            if sent < len(data):
                self._wait_writable(data[sent:])
        if self.session.is_over and self._has_turn and not self._out:
            self._end()

    def _wait_writable(self, rest: bytes) -> None:
        """The client doesn't read: keep the rest of this turn's replies and read nothing more from it."""
        self._out = rest
        self._read_no_more()
        self._writer = self._listener.loop.io(self._socket.fileno(), 2)
        self._writer.start(self._writable)

    def _writable(self) -> None:
        try:
            sent = self._socket.send(self._out)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._close()
            return
        self._touched_mono = time.monotonic()
        self._out = self._out[sent:]
        if self._out:
            return
        self._writer.stop()
        self._writer.close()
        self._writer = None
        if self.session.is_over and self._has_turn:
            self._end()
        elif self._has_turn:
            self._resume()

    # --- events of the machine; each returns whether the turn goes on

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
            self.session.reply(SHUTTING_DOWN)
            return True
        trouble = service.spool.unhealthy_reason()
        if trouble is None and event.size and not service.spool.has_room(event.size):
            trouble = SpoolFull("no room for a message of the declared size")
        if trouble is not None:
            return self._refuse(Phase.MAIL, Decision(_reply_to(trouble), str(trouble), "spool"))
        self._context.mess = {
            "mailfrom_string": event.line,
            "mailfrom_localpart": event.reverse_path[: -len(event.domain) - 1] if event.domain else event.reverse_path,
            "mailfrom_domain": event.domain,
        }
        return self._decide(Phase.MAIL, event)

    def _on_rcpt(self, event: Rcpt) -> bool:
        mess = self._context.mess
        recipient = event.recipient
        mess["rcptto_string"] = event.line
        mess["rcptto_localpart"] = recipient.address[: -len(recipient.domain) - 1]
        mess["rcptto_domain"] = recipient.domain
        return self._decide(Phase.RCPT, event)

    def _on_body_start(self, _event: BodyStart) -> bool:
        recipients = self.session.transaction.recipients
        drop = all(recipient.drop for recipient in recipients)
        self._body = DropWriter() if drop else self._service.spool.open()
        self._message_id = self._service.ids.next()
        self.session.accept_body(self._message_id)
        return True

    def _on_body(self, event: Body) -> bool:
        body = self._body
        assert body is not None
        if body.write(event.data):
            return True
        self._has_turn = False
        self._read_no_more()
        body.on_drain(self._resume)
        return False

    def _on_body_end(self, event: BodyEnd) -> bool:
        return self._decide(Phase.DATA, event)

    def _on_body_abort(self, _event: BodyAbort) -> bool:
        self._drop_body()
        return True

    def _on_quit(self, _event: Quit) -> bool:
        return False

    # --- decisions

    def _decide(self, phase: Phase, event: object) -> bool:
        chain = self._service.chain
        if chain.may_block(phase):
            self._has_turn = False
            self._listener.submit(self._decide_in_green_thread, phase, event)
            return False
        return self._answer(phase, chain.run(phase, self._context, event))

    def _decide_in_green_thread(self, phase: Phase, event: object) -> None:
        decision = self._service.chain.run(phase, self._context, event)
        if not self._is_closed and self._answer(phase, decision):
            self._resume()

    def _answer(self, phase: Phase, decision: Decision) -> bool:
        if decision.reply is not None:
            return self._refuse(phase, decision)
        if phase is Phase.DATA:
            return self._commit()
        self.session.reply()
        return True

    def _refuse(self, phase: Phase, decision: Decision) -> bool:
        reply = decision.reply
        assert reply is not None
        service = self._service
        service.totals.rejections += 1
        mess = self._context.mess
        sender = mess.get("mailfrom_string") if phase is not Phase.MAIL else None
        service.events.event(
            "info",
            "smtp",
            "rejected",
            session=self.facts.connection_id,
            client=self._client(),
            phase=phase.value,
            reply=str(reply),
            check=decision.check,
            reason=decision.reason or None,
            sender=sender,
            recipient=mess.get("rcptto_string") if phase is Phase.RCPT else None,
        )
        if phase is Phase.DATA:
            self._drop_body()
        self.session.reply(reply)
        return True

    # --- acceptance

    def _commit(self) -> bool:
        envelope = self.session.envelope(self._message_id)
        body = self._body
        assert body is not None
        kept = [recipient for recipient in envelope.recipients if not recipient.drop]
        if not kept:
            self._drop_body()
            self._accepted(envelope, is_dropped=True)
            return True
        envelope.recipients = kept
        self._body = None
        self._has_turn = False
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
            self.session.close_with(SHUTTING_DOWN)
        self._resume()

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
            session=self.facts.connection_id,
            client=self._client(),
            sender=f"<{envelope.reverse_path}>",
            recipients=_some_of(envelope),
            size=envelope.size_bytes,
            protocol=envelope.protocol,
        )
        self.session.reply(Reply(250, "2.0.0", (f"OK {envelope.message_id}",)))

    def _drop_body(self) -> None:
        body, self._body = self._body, None
        if body is not None:
            body.abort()

    # --- the end

    def due_mono(self) -> float:
        """When the client was silent for too long; not while we are the ones who work."""
        if self._lingered >= 0:
            return self._touched_mono + LINGER_S
        if not self._has_turn:
            return time.monotonic() + self._plan.idle_s
        return self._touched_mono + self._plan.idle_s

    def expired(self) -> None:
        """The client was silent for Idle_Time."""
        if self._lingered >= 0 or self._out:
            self._close()
            return
        self._service.events.event(
            "info",
            "smtp",
            "idle timeout",
            session=self.facts.connection_id,
            client=self._client(),
            state=self.session.state_name,
        )
        self.dismiss(IDLE_TIMEOUT)

    def dismiss(self, reply: Reply) -> None:
        """Say a last word and close, unless the client is in a message that may still be accepted."""
        if self._is_closed or self._lingered >= 0:
            return
        self.session.close_with(reply)
        self._flush()

    def drain(self) -> None:
        """The server stops: transactions go on for now, everybody else is told."""
        if self._has_turn and not self.session.in_transaction:
            self.dismiss(SHUTTING_DOWN)

    @property
    def is_working(self) -> bool:
        """Whether a transaction is open that may still be accepted."""
        return not self.session.is_over and (self.session.in_transaction or not self._has_turn)

    def abandon(self) -> None:
        """Close without a word: the process ends."""
        self._close()

    def _end(self) -> None:
        """All is said. Closing with unread input would make the kernel reset the connection and lose the reply."""
        self._drop_body()
        if not self._is_reading:
            self._close()
            return
        self._lingered = 0
        try:
            self._socket.shutdown(_socket.SHUT_WR)
        except OSError:
            self._close()
            return
        wheel = self._service.wheel
        wheel.discard(self)
        wheel.add(self)

    def _linger(self, data: bytes) -> None:
        """Read and forget until the client closes, for two seconds or a megabyte."""
        self._lingered += len(data)
        if not data or self._lingered > MOST_LINGER_BYTES:
            self._close()

    def _close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        self._read_no_more()
        for watcher in (self._reader, self._writer):
            if watcher is not None:
                watcher.stop()
                watcher.close()
        self._drop_body()
        self._socket.close()
        service = self._service
        service.wheel.discard(self)
        service.connections.discard(self)
        service.counts.leave(self._plan.limits)
        self._listener.session_ended()

    def _client(self) -> str:
        facts = self.facts
        return (
            f"[{facts.client_ip}]:{facts.client_port}"
            if ":" in facts.client_ip
            else (f"{facts.client_ip}:{facts.client_port}")
        )


_HANDLERS: dict[type, Any] = {
    Connect: Connection._on_connect,
    Greeting: Connection._on_greeting,
    Mail: Connection._on_mail,
    Rcpt: Connection._on_rcpt,
    BodyStart: Connection._on_body_start,
    Body: Connection._on_body,
    BodyEnd: Connection._on_body_end,
    BodyAbort: Connection._on_body_abort,
    Quit: Connection._on_quit,
}


def _name_of(address: Any) -> tuple[str, int]:
    """IP and port of a socket address; a Unix-socket peer counts as 127.0.0.1 port 0."""
    if isinstance(address, tuple):
        return address[0].partition("%")[0], address[1]
    return "127.0.0.1", 0


def _say_and_close(raw: RawSocket, reply: Reply) -> None:
    try:
        raw.send(reply.wire(True))
        raw.shutdown(_socket.SHUT_WR)
    except OSError:
        pass
    raw.close()


def _reply_to(error: SpoolError) -> Reply:
    return SPOOL_FULL if isinstance(error, SpoolFull) else TRANSACTION_FAILED


def _some_of(envelope: Envelope) -> str:
    """The first three recipients and how many more there are."""
    if len(envelope.recipients) == 1:
        return f"<{envelope.recipients[0].address}>"
    shown = ",".join(f"<{recipient.address}>" for recipient in envelope.recipients[:3])
    more = len(envelope.recipients) - 3
    return f"{shown},+{more}" if more > 0 else shown
