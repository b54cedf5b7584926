"""One client: its socket, its session machine and the turns in which they meet.

A connection waits on the loop as an io watcher, without a green thread. When bytes come, its turn (recv, machine,
replies, one send) runs right in the watcher's callback; a phase whose policy may block gets its turn in a green thread
of the listener's pool; a commit wakes the connection by callback (`server.reception` says which).

Nothing a client does costs another anything: what it may have buffered here is bounded (one recv, one turn's replies,
the body writer's buffer), a turn ends after 200 events, and a client that reads nothing is read from no more.
"""

from __future__ import annotations

import _socket
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gsmtp.core.reply import IDLE_TIMEOUT, SHUTTING_DOWN, TOO_MANY_SESSIONS, Reply
from gsmtp.policy.context import Context
from gsmtp.runtime.sockets import RawSocket
from gsmtp.server.reception import HANDLERS, Reception
from gsmtp.server.service import Plan, Service
from gsmtp.smtp.events import NEED_DATA
from gsmtp.smtp.session import Facts, Session

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
    """A client's connection from accept to close.

    Attributes:
        facts: addresses and the connection's id.
        session: the machine.
        reception: answers the machine's events.
        is_closed: whether the socket is gone.
    """

    __slots__ = (
        "_counted_in", "_has_turn", "_is_ended", "_is_reading", "_lingered", "_listener", "_out", "_plan", "_reader",
        "_service", "_socket", "_touched_mono", "_writer", "facts", "is_closed", "reception", "session",
    )  # fmt: skip

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
        context = Context(service.configuration, plan.view, facts, self.session)
        self.reception = Reception(self, service, self.session, context)
        self._out = b""
        self._writer: Any = None
        self._reader: Any = None
        self._is_reading = False
        self._is_ended = False  # the client sends no more
        self._has_turn = True  # False while a commit, a drain or a green thread owns the session
        self.is_closed = False
        self._lingered = -1
        self._touched_mono = time.monotonic()

    def _begin(self) -> None:
        service = self._service
        service.connections.add(self)
        self._counted_in = self._listener.session_began()
        try:
            for level, number, value in self._plan.tcp_options:
                self._socket.setsockopt(level, number, value)
        except OSError:  # the client is gone already
            self._close()
            return
        self._reader = self._listener.loop.io(self._socket.fileno(), 1)
        self._read_on()
        service.wheel.add(self)
        self._turn()

    @property
    def client(self) -> str:
        """The client's address and port, for the log."""
        facts = self.facts
        host = f"[{facts.client_ip}]" if ":" in facts.client_ip else facts.client_ip
        return f"{host}:{facts.client_port}"

    # --- reading

    def _read_on(self) -> None:
        if not self._is_reading and not self.is_closed:
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
        if self._lingered >= 0:
            self._linger(data)
            return
        self._touched_mono = time.monotonic()
        if not data:
            self._is_ended = True
            self._read_no_more()  # a level-triggered watcher would report the end for ever
        session.receive_data(data)
        if self._has_turn:
            self._turn()
        elif session.pending_bytes > MOST_PENDING_INPUT:
            self._read_no_more()

    # --- the turn

    def _turn(self) -> None:
        """Let the machine go on until it needs bytes, somebody else's answer, or room to write."""
        next_event = self.session.next_event
        reception = self.reception
        try:
            for _ in range(EVENTS_A_TURN):
                event = next_event()
                if event is NEED_DATA:
                    if not (self._is_reading or self.session.is_over):
                        self._read_on()  # too much was pending when the turn began; now the rest is wanted
                    break
                if not HANDLERS[type(event)](reception, event):
                    break
            else:
                # let the others have the loop; what is queued goes out, the rest follows
                self._has_turn = False
                self._listener.loop.run_callback(self.resume)
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
        self._read_on_unless_ended()
        self._turn()

    def break_off(self) -> None:
        """Close because of the exception that is being handled, and tell it."""
        log.exception("session %s failed and is closed", self.facts.connection_id)
        self._close()

    def submit(self, function: Callable[..., object], *args: Any) -> None:
        """Run a part of the turn in a green thread of the listener's pool."""
        self._listener.submit(function, *args)

    def _read_on_unless_ended(self) -> None:
        if not self.session.is_over and self.session.pending_bytes <= MOST_PENDING_INPUT:
            self._read_on()

    # --- writing

    def _flush(self) -> None:
        data = self.session.data_to_send()
        if self.is_closed:
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
            self.resume()

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
            client=self.client,
            state=self.session.state_name,
        )
        self.dismiss(IDLE_TIMEOUT)

    def dismiss(self, reply: Reply) -> None:
        """Say a last word and close, unless the client is in a message that may still be accepted."""
        if self.is_closed or self._lingered >= 0:
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
        self.reception.drop_body()
        if self._is_ended:
            self._close()
            return
        try:
            self._socket.shutdown(_socket.SHUT_WR)
        except OSError:
            self._close()
            return
        self._lingered = 0
        self._touched_mono = time.monotonic()  # from here on nothing moves it: lingering ends, whatever comes
        self._read_on()
        wheel = self._service.wheel
        wheel.discard(self)
        wheel.add(self)

    def _linger(self, data: bytes) -> None:
        """Read and forget until the client closes, for two seconds or a megabyte."""
        self._lingered += len(data)
        if not data or self._lingered > MOST_LINGER_BYTES:
            self._close()

    def _close(self) -> None:
        if self.is_closed:
            return
        self.is_closed = True
        self._read_no_more()
        for watcher in (self._reader, self._writer):
            if watcher is not None:
                watcher.stop()
                watcher.close()
        self.reception.drop_body()
        self._socket.close()
        service = self._service
        service.wheel.discard(self)
        service.connections.discard(self)
        service.counts.leave(self._plan.limits)
        self._listener.session_ended(self._counted_in)


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
