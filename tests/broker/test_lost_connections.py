"""What a lost connection to the broker costs: nothing but time, and a message that may be there twice under one id."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import gevent
import pytest
from gevent import socket
from gevent.server import StreamServer

from tests.broker.conftest import Serve, items
from tests.support.inprocess import Client, Running
from tests.support.rabbitmq import Node

TRANSACTION = b"MAIL FROM:<a@example.net>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n"


class Wire:
    """A way to a node that can be cut, and that can keep to itself what the node says."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.is_mute = False
        self.kept = 0
        self.connections = 0
        self._sockets: list[socket.socket] = []
        self._server = StreamServer(("127.0.0.1", 0), self._serve)
        self._server.start()
        self.port = int(self._server.address[1])

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}"

    def _serve(self, near: socket.socket, _address: object) -> None:
        far = socket.create_connection(("127.0.0.1", self._node.port))
        self.connections += 1
        self._sockets += [near, far]
        gevent.joinall([gevent.spawn(self._copy, near, far, False), gevent.spawn(self._copy, far, near, True)])

    def _copy(self, source: socket.socket, target: socket.socket, is_answer: bool) -> None:
        try:
            while data := source.recv(65536):
                if is_answer and self.is_mute:
                    self.kept += len(data)
                else:
                    target.sendall(data)
        except OSError:
            pass
        for one in (source, target):
            one.close()

    def cut(self) -> None:
        """End all connections."""
        for one in self._sockets:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self._sockets.clear()

    def stop(self) -> None:
        """Take no more connections."""
        self._server.stop()

    def start(self) -> None:
        """Take connections again, on the same port."""
        self._server = StreamServer(("127.0.0.1", self.port), self._serve)
        self._server.start()


@contextmanager
def wire_to(node: Node) -> Iterator[Wire]:
    wire = Wire(node)
    try:
        yield wire
    finally:
        wire.stop()
        wire.cut()


def begin(server: Running) -> Client:
    """A session that may send its text."""
    client = server.client().greet()
    client.send(TRANSACTION)
    assert [client.reply()[:3] for _ in range(3)] == [b"250", b"250", b"354"]
    return client


def test_what_was_not_confirmed_is_published_again_under_the_same_id(serve: Serve, node: Node, queue: str) -> None:
    with wire_to(node) as wire, serve(url=wire.url) as server:
        server.wait_for(lambda: "connected to" in str(server.log))
        clients = [begin(server) for _ in range(5)]
        wire.is_mute = True
        for client in clients:
            client.send(b"Subject: x\r\n\r\nhello\r\n.\r\n")
        server.wait_for(lambda: wire.kept > 0 and node_has(node, queue, 5))
        wire.is_mute = False
        wire.cut()
        assert {client.reply()[:4] for client in clients} == {b"250 "}
        ids = [properties.message_id for properties, _ in items(node, queue)]
        assert len(ids) == 10
        assert len(set(ids)) == 5
        assert server.queued() == []


def test_a_message_that_waits_for_its_confirm_is_work_when_the_server_drains(serve: Serve, node: Node) -> None:
    with wire_to(node) as wire, serve(url=wire.url) as server:
        server.wait_for(lambda: "connected to" in str(server.log))
        client = begin(server)
        wire.is_mute = True
        client.send(b"Subject: x\r\n\r\nhello\r\n.\r\n")
        server.wait_for(lambda: wire.kept > 0)
        stopping = gevent.spawn(server.supervisor.stop)
        server.wait_for(lambda: "draining" in str(server.log))
        wire.is_mute = False
        wire.cut()
        assert client.reply().startswith(b"250 ")
        assert client.reply().startswith(b"421 ")
        stopping.join(10)
        server.supervisor.stop = lambda: None  # type: ignore[method-assign]  # it is stopped


def test_a_message_whose_confirm_does_not_come_while_the_server_drains_is_cut_off(
    serve: Serve, node: Node, capfd: pytest.CaptureFixture[str]
) -> None:
    with wire_to(node) as wire:
        with serve(url=wire.url) as server:
            server.wait_for(lambda: "connected to" in str(server.log))
            client = begin(server)
            wire.is_mute = True
            client.send(b"Subject: x\r\n\r\nhello\r\n.\r\n")
            server.wait_for(lambda: wire.kept > 0)
        assert client.reply().startswith(b"421 ")
        assert server.queued() == []
    assert "Traceback" not in capfd.readouterr().err


def node_has(node: Node, queue: str, count: int) -> bool:
    """Whether so many messages are in a queue."""
    with node.channel() as channel:
        return bool(channel.queue_declare(queue, passive=True).method.message_count >= count)


def test_a_broker_that_is_away_is_451_in_confirm_mode_until_it_is_back(serve: Serve, node: Node, queue: str) -> None:
    with wire_to(node) as wire, serve(url=wire.url) as server:
        server.wait_for(lambda: "connected to" in str(server.log))
        wire.stop()
        wire.cut()
        server.wait_for(lambda: "451 4.4.1 [internal] no broker" in str(server.log))
        client = server.client().greet()
        assert client.transaction() == b"451 4.4.1 not handed on, try again later\r\n"
        wire.start()
        server.wait_for(lambda: client.transaction().startswith(b"250 "))
        assert len(items(node, queue)) == 1


def test_a_broker_that_is_away_only_delays_mail_in_spool_mode(serve: Serve, node: Node, queue: str) -> None:
    with wire_to(node) as wire, serve("spool", url=wire.url) as server:
        server.wait_for(lambda: "connected to" in str(server.log))
        wire.stop()
        wire.cut()
        server.wait_for(lambda: "451 4.4.1 [internal] no broker" in str(server.log))
        assert server.client().greet().transaction().startswith(b"250 ")
        assert len(server.queued()) == 1
        wire.start()
        server.wait_for(lambda: server.queued() == [])
        assert len(items(node, queue)) == 1


def test_connecting_anew_leaves_no_descriptors_behind(serve: Serve, node: Node) -> None:
    with wire_to(node) as wire, serve(url=wire.url) as server:
        client = server.client().greet()
        assert client.transaction().startswith(b"250 ")

        def again() -> int:
            before = wire.connections
            wire.cut()
            server.wait_for(lambda: wire.connections > before)
            server.wait_for(lambda: client.transaction().startswith(b"250 "))
            return len(os.listdir("/proc/self/fd"))

        first = again()
        for _ in range(5):
            last = again()
        assert last <= first
