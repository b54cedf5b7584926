"""A broker of AMQP 0-9-1 that does what a test says, the worst included: frames by pika's codec over real sockets.

It runs in the test's own hub. It logs everybody in, finds every exchange, and keeps what is published until the test
answers it; `silent_from` names the method from which on it reads and says nothing.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import gevent
import gevent.event
from gevent.server import StreamServer
from pika import frame, spec

_READ = 65_536
_ABILITIES = {"capabilities": {"publisher_confirms": True, "basic.nack": True, "connection.blocked": True}}


class Session:
    """One connection of a client.

    Args:
        sock: of the connection.
        broker: whose.

    Attributes:
        published: the message ids, in the order of their delivery tags.
        methods: the names of all methods that came, e.g. ``"Connection.Close"``.
        is_over: whether the client hung up.
    """

    def __init__(self, sock: socket.socket, broker: StubBroker) -> None:
        self._sock = sock
        self._broker = broker
        self.published: list[str] = []
        self.methods: list[str] = []
        self.is_over = False

    def send(self, channel: int, method: Any) -> None:
        """Send a method."""
        self.send_bytes(frame.Method(channel, method).marshal())

    def send_bytes(self, data: bytes) -> None:
        """Send anything."""
        self._sock.sendall(data)

    def ack(self, tag: int, *, multiple: bool = False) -> None:
        """Confirm."""
        self.send(1, spec.Basic.Ack(tag, multiple))

    def nack(self, tag: int, *, multiple: bool = False) -> None:
        """Refuse."""
        self.send(1, spec.Basic.Nack(tag, multiple))

    def give_back(self, message_id: str) -> None:
        """Return a message as unroutable; its confirm is the test's business."""
        properties = spec.BasicProperties(message_id=message_id)
        self.send(1, spec.Basic.Return(312, "NO_ROUTE", "", "q"))
        self.send_bytes(frame.Header(1, 0, properties).marshal())

    def close(self) -> None:
        """Hang up."""
        self._sock.close()

    def serve(self) -> None:
        """Read until the client hangs up, or for ever behind the method from which on nothing is said."""
        data = b""
        try:
            while piece := self._sock.recv(_READ):
                data += piece
                while data:
                    used, found = frame.decode_frame(data)
                    if found is None:
                        break
                    data = data[used:]
                    self._take(found)
        except OSError:
            pass
        self.is_over = True

    def _take(self, found: Any) -> None:
        if isinstance(found, frame.Header):
            self.published.append(found.properties.message_id or "")
        if isinstance(found, frame.ProtocolHeader):
            name = "header"
        elif isinstance(found, frame.Method):
            name = found.method.NAME
        else:
            return
        self.methods.append(name)
        if self._broker.silent_from in self.methods:
            if self._broker.stops_reading:
                self._broker.released.wait()
            return
        answer = self._broker.answers.get(name)
        if answer is not None:
            answer(self)


class StubBroker:
    """Listens on a port of loopback.

    Args:
        heartbeat_s: what it proposes; 0 for none.

    Attributes:
        sessions: all connections, in order.
        silent_from: a method's name (``"header"`` is the client's first word), "" for never.
        stops_reading: whether it doesn't even read any more from there on.
        released: ends that.
        answers: what it does about a method.
    """

    def __init__(self, heartbeat_s: int = 0) -> None:
        self.sessions: list[Session] = []
        self.silent_from = ""
        self.stops_reading = False
        self.released = gevent.event.Event()
        self.answers: dict[str, Callable[[Session], object]] = {
            "header": lambda one: one.send(0, spec.Connection.Start(0, 9, _ABILITIES, "PLAIN", "en_US")),
            "Connection.StartOk": lambda one: one.send(0, spec.Connection.Tune(1, 131_072, heartbeat_s)),
            "Connection.Open": lambda one: one.send(0, spec.Connection.OpenOk()),
            "Connection.Close": lambda one: one.send(0, spec.Connection.CloseOk()),
            "Channel.Open": lambda one: one.send(1, spec.Channel.OpenOk()),
            "Channel.Close": lambda one: one.send(1, spec.Channel.CloseOk()),
            "Confirm.Select": lambda one: one.send(1, spec.Confirm.SelectOk()),
            "Exchange.Declare": lambda one: one.send(1, spec.Exchange.DeclareOk()),
        }
        self._server = StreamServer(("127.0.0.1", 0), self._serve)
        self._server.start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.address[1])

    def close(self) -> None:
        """End it, and all its connections."""
        self.released.set()
        self._server.stop(timeout=0)
        for session in self.sessions:
            session.close()

    def _serve(self, sock: socket.socket, _address: object) -> None:
        session = Session(sock, self)
        self.sessions.append(session)
        session.serve()
