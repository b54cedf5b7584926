"""One client: its socket, its session machine and the turns in which they meet.

A connection waits on the loop (`server.channel`). When bytes come, its turn (recv, machine, replies, one send) runs
right in the watcher's callback; a phase whose policy may block gets its turn in a green thread of the listener's pool;
a commit wakes the connection by callback (`server.reception` says which).

Nothing a client does costs another anything: what it may have buffered here is bounded, a turn ends after 200 events,
and a client that reads nothing is read from no more.
"""

from __future__ import annotations

import _socket
import logging
import time
from collections.abc import Callable
from sys import intern
from typing import TYPE_CHECKING, Any, Final

from gsmtp.core.records import Peering, SessionBegin, SessionEnd
from gsmtp.core.reply import IDLE_TIMEOUT, SHUTTING_DOWN, TOO_MANY_SESSIONS, Reply
from gsmtp.policy.context import Context
from gsmtp.runtime.later import Later
from gsmtp.runtime.sockets import RawSocket
from gsmtp.server.channel import BODY_RECV, COMMAND_RECV, LINGER_S
from gsmtp.server.peering import address_text, name_of, peering_of
from gsmtp.server.reception import HANDLERS, Reception
from gsmtp.server.securing import Securing
from gsmtp.server.service import Plan, Service
from gsmtp.smtp.events import NEED_DATA
from gsmtp.smtp.facts import Facts

if TYPE_CHECKING:
    from gsmtp.config.scopes import Configuration
    from gsmtp.config.view import View
    from gsmtp.server.listener import Listener

log = logging.getLogger("gsmtp.smtp")

MOST_PENDING_INPUT: Final = 65_536
EVENTS_A_TURN: Final = 200


class Connection(Securing):
    """A client's connection from accept to close.

    Attributes:
        facts: addresses and the connection's id.
        began_mono: when, in seconds of `time.monotonic`.
    """

    __slots__ = ("_counted_in", "_peering", "_service", "began_mono")

    @classmethod
    def establish(cls, listener: Listener, raw: RawSocket, address: Any) -> None:
        """Admit the client, or tell it in one line why not."""
        service = listener.service
        client_ip, client_port = name_of(address)
        view = service.configuration.view_for(listener.stanza, client_ip)
        plan = service.plan(view, raw.family)
        service.totals.sessions += 1
        local_ip, local_port = name_of(raw.getsockname())
        facts = Facts(
            client_ip,
            client_port,
            intern(local_ip),
            local_port,
            listener.stanza.name,
            service.ids.next(),
            service.hostname,
        )
        if not service.counts.admit(plan.limits):
            service.refuse_session(peering_of(facts, view, is_unix=not isinstance(address, tuple)), TOO_MANY_SESSIONS)
            _say_and_close(raw, b"" if plan.tls_from_start else TOO_MANY_SESSIONS.wire(True))
            return
        try:
            connection = cls(listener, raw, plan, facts)
        except BaseException:
            service.counts.leave(plan.limits)
            raise
        try:
            connection._begin()
        except Exception:  # noqa: BLE001 - told by break_off
            connection.break_off()

    def __init__(self, listener: Listener, raw: RawSocket, plan: Plan, facts: Facts) -> None:
        super().__init__(raw, listener, plan)
        service = listener.service
        self._service: Service = service
        self.session = service.make_session(plan.view, facts, service.clock)
        context = Context(service.configuration, plan.view, facts, self.session)
        self.reception = Reception(self, service, self.session, context)
        self._peering: Peering | None = None
        self.began_mono = self._touched_mono

    def _begin(self) -> None:
        service = self._service
        service.connections.add(self)
        self._counted_in = self.listener.session_began()
        try:
            for level, number, value in self._plan.tcp_options:
                self._socket.setsockopt(level, number, value)
        except OSError:  # the client is gone already
            self._close()
            return
        self._reader = self._outbox.loop.io(self._socket.fileno(), 1)
        self._read_on()
        if self._plan.proxy_versions:
            self._await_header()
            service.wheel.add(self)
        else:
            service.wheel.add(self)
            self._start()

    def _start(self) -> None:
        service = self._service
        if service.tells_begins:
            service.journal.record(SessionBegin(self.peering))
        if self._plan.tls_from_start is not None:
            self._has_turn = False
            self.start_tls(self._plan.tls_from_start)
        else:
            self._turn()

    @property
    def facts(self) -> Facts:
        """Addresses and ids, as they are now: XCLIENT and PROXY change them."""
        return self.session.facts

    @property
    def peering(self) -> Peering:
        """Both ends, for records."""
        peering = self._peering
        if peering is None:
            facts = self.facts
            is_unix = self.family == _socket.AF_UNIX and (facts.client_ip, facts.client_port) == name_of("")
            peering = self._peering = peering_of(facts, self.session.view, is_unix=is_unix)
        return peering

    @property
    def family(self) -> int:
        """Of its socket."""
        return self._socket.family

    @property
    def client(self) -> str:
        """The client's address and port, for the log."""
        facts = self.facts
        return address_text(facts.client_ip, facts.client_port)

    def moved(self) -> None:
        """The facts or the view of the session have changed."""
        self._peering = None

    # --- reading

    def _recv_size(self) -> int:
        return BODY_RECV if self.session.in_body else COMMAND_RECV

    def _received(self, data: bytes) -> None:
        session = self.session
        session.receive_data(data)
        if self._has_turn:
            self._turn()
        elif session.pending_bytes > MOST_PENDING_INPUT:
            self._read_no_more()
        elif self.reception.waits_in_vain:
            self.reason = self.reason or "peer closed"
            self._close()

    # --- the turn

    def _turn(self) -> None:
        """Let the machine go on until it needs bytes, somebody else's answer, or room to write."""
        session = self.session
        reception = self.reception
        try:
            for _ in range(EVENTS_A_TURN):
                event = session.next_event()
                if event is NEED_DATA:
                    if not (self._is_reading or session.is_over):
                        self._read_on()  # too much was pending when the turn began; now the rest is wanted
                    break
                if not HANDLERS[type(event)](reception, event):
                    break
            else:
                # let the others have the loop; what is queued goes out, the rest follows
                self._has_turn = False
                self._outbox.loop.run_callback(self.resume)
        except Exception:  # noqa: BLE001 - told by break_off
            # a bug of ours: without this the level-triggered watcher would call us again for ever
            self.break_off()
        self._flush()

    def pause(self, *, keep_reading: bool = True) -> None:
        """Somebody else has the turn until `resume`. Input is still taken, up to a limit, unless told otherwise."""
        self._has_turn = False
        if not keep_reading:
            self._read_no_more()

    def resume(self) -> None:
        """Whoever had the turn gives it back."""
        self._has_turn = True
        if self.is_closed or self._out:
            return  # with output pending _writable goes on when the client has read
        if not self.session.is_over and self.session.pending_bytes <= MOST_PENDING_INPUT and not self._is_ended:
            self._read_on()
        self._turn()

    def hold(self, delay_s: float, go_on: Callable[[], object]) -> None:
        """Go on after a while."""
        Later(delay_s, go_on).arm()

    def break_off(self) -> None:
        """Close because of the exception that is being handled, and tell it."""
        log.exception("session %s failed and is closed", self.facts.connection_id)
        self._close()

    def submit(self, function: Callable[..., object], *args: Any) -> None:
        """Run a part of the turn in a green thread of the listener's pool."""
        self.listener.submit(function, *args)

    # --- writing

    def _flush(self) -> None:
        data = self.session.data_to_send()
        if self.is_closed:
            return
        if self.session.is_over and self._has_turn and not self._out:
            self._end(data)
        elif data or self._tls is not None:
            self._send(data)

    def _written(self) -> None:
        if not self._has_turn:
            if self.shakes_hands:
                self._read_on()
        elif self.session.is_over:
            self._end()
        else:
            self.resume()

    # --- the end

    @property
    def has_turn(self) -> bool:
        """Whether the session waits for its client, not for a hook, a commit or a look-up."""
        return self._has_turn

    @property
    def is_floating(self) -> bool:
        """Whether a hook, a store or the disk is at work for it."""
        return not (self._has_turn or self.shakes_hands or self.awaits_header)

    @property
    def since_mono(self) -> float:
        """When the client was last heard of."""
        return self._touched_mono

    def due_mono(self) -> float:
        """When the client was silent for too long; not while we are the ones who work."""
        if self._lingered >= 0:
            return self._touched_mono + LINGER_S
        if self.awaits_header:
            return self._proxy_due_mono
        if self._tls_due_mono:
            return self._tls_due_mono
        if not self._has_turn:
            return time.monotonic() + self._plan.idle_s
        return self._touched_mono + self._plan.idle_s

    def expired(self) -> None:
        """The client was silent for Idle_Time."""
        if self.awaits_header:
            self.header_failed("it took too long")
            return
        if self.shakes_hands:
            self.tls_failed("the handshake took too long")
            return
        if self._lingered >= 0 or self._out:
            self._close()
            return
        self.reason = "idle timeout"
        if self.session.in_exchange:
            self.reception.login_timed_out()
        self._service.events.event(
            "info",
            "smtp",
            "idle timeout",
            session=self.facts.connection_id,
            client=self.client,
            state=self.session.state_name,
        )
        self.dismiss(IDLE_TIMEOUT)

    def dismiss(self, reply: Reply) -> None:
        """Say a last word and close, unless the client is in a message that may still be accepted."""
        if self.is_closed or self._lingered >= 0:
            return
        if self.shakes_hands or self.awaits_header:
            self._close()
            return
        self.session.close_with(reply)
        self._flush()

    def drain(self) -> None:
        """The server stops: transactions go on for now, everybody else is told."""
        if self.awaits_header or self.shakes_hands or (self._has_turn and not self.session.in_transaction):
            self.dismiss(SHUTTING_DOWN)

    def outdate(self, reply: Reply) -> None:
        """What the session began under holds no more: it is told at its next MAIL or RSET (Reconfig_Message)."""
        self.session.outdated = reply

    def adopt(self, configuration: Configuration, view: View) -> None:
        """Go on under a new configuration that says the same for this session."""
        context = self.reception.context
        context.configuration = configuration
        context.view = view
        self.session.move(view, self.facts)

    @property
    def is_working(self) -> bool:
        """Whether a transaction is open that may still be accepted."""
        return not self.session.is_over and (self.session.in_transaction or not self._has_turn)

    def abandon(self) -> None:
        """Close without a word: the process ends."""
        self._close()

    def _end(self, last: bytes = b"") -> None:
        """All is said, but for the last bytes."""
        self.reception.drop_body()
        self._hang_up(last, at_once=self.reason == "quit" and not self.session.leftover)
        if not self.is_closed:
            wheel = self._service.wheel
            wheel.discard(self)
            wheel.add(self)

    def _lost(self) -> None:
        self.reception.closed()
        service = self._service
        service.wheel.discard(self)
        service.connections.discard(self)
        service.counts.leave(self._plan.limits)
        self.listener.session_ended(self._counted_in)
        if service.tells_ends:
            service.journal.record(self._end_record())
        if self._has_turn:  # else somebody else is at work with it
            self._part()

    def _part(self) -> None:
        """Cut what would hold connection, reception and context in a circle: they go now, not when the collector looks
        through everything that is alive, which other clients would wait for."""
        self.reception.context.around = None
        del self.reception

    def _end_record(self) -> SessionEnd:
        session = self.session
        return SessionEnd(
            self.peering,
            self.reason or "peer closed",
            time.monotonic() - self.began_mono,
            session.messages,
            session.state_name,
            session.tls_cipher,
            session.auth_user,
        )


def _say_and_close(raw: RawSocket, last_word: bytes) -> None:
    try:
        if last_word:
            raw.send(last_word)
        raw.shutdown(_socket.SHUT_WR)
    except OSError:
        pass
    raw.close()
