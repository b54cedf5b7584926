"""One RabbitMQ node for all tests of the folder, and servers in the test's process that publish to it."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from gsmtp.delivery.amqp import publisher
from tests.support.inprocess import Running, running
from tests.support.rabbitmq import Node, rabbitmq

BASE = """
spoolbase = "{spool}"
spool_reserve = 0
hostname = "mx.example.com"
drain_time = 1
relay_domains = ( "example.com" "example.org" )
retry_interval = 1
ESMTP_Listener {{
  smtp_extensions = ( ENHANCEDSTATUSCODES DSN )
  Listen "127.0.0.1:0" {{ }}
}}
maildir "local" {{ basedir = "{spool}-maildir" domains = "example.org" }}
"""
Serve = Callable[..., AbstractContextManager[Running]]


@pytest.fixture(scope="package")
def node() -> Iterator[Node]:
    """A node that runs."""
    with rabbitmq(tls=True) as cluster:
        yield cluster.nodes[0]


_numbers = itertools.count(1)


@pytest.fixture
def queue(node: Node) -> str:
    """A new quorum queue."""
    name = f"mail{next(_numbers)}"
    with node.channel() as channel:
        channel.queue_declare(name, durable=True, arguments={"x-queue-type": "quorum"})
    return name


@pytest.fixture
def serve(tmp_path: Path, node: Node, queue: str, monkeypatch: pytest.MonkeyPatch) -> Serve:
    """Runs a server whose mail for example.com goes to the queue: ``serve("confirm", 'confirm_timeout = 2')``."""
    monkeypatch.setattr(publisher, "_HOPE_S", 0.1)

    @contextmanager
    def start(mode: str = "confirm", more: str = "", *, url: str = "", target: str | None = None) -> Iterator[Running]:
        conf = stanza(mode, more, url or node.url(), target or f'routing_key = "{queue}"')
        with _Told() as told, running(tmp_path, conf, base=BASE) as server:
            told.go_to(server)
            yield server

    return start


def items(node: Node, queue: str) -> list[tuple[Any, bytes]]:
    """All that is in a queue, taken out: properties and body."""
    found: list[tuple[Any, bytes]] = []
    with node.channel() as channel:
        while True:
            method, properties, body = channel.basic_get(queue, auto_ack=True)
            if method is None:
                return found
            found.append((properties, body))


class _Told(logging.Handler):
    """What the publisher logs, written to the server's log, as `gsmtp run` does."""

    def __init__(self) -> None:
        super().__init__()
        self._early: list[bytes] = []
        self._write: Callable[[bytes], object] = self._early.append
        self._log = logging.getLogger("gsmtp.amqp")

    def emit(self, record: logging.LogRecord) -> None:
        self._write(record.getMessage().encode() + b"\n")

    def go_to(self, server: Running) -> None:
        self._write = server.log.write
        for line in self._early:
            server.log.write(line)

    def __enter__(self) -> _Told:
        self._log.addHandler(self)
        self._log.setLevel(logging.INFO)
        return self

    def __exit__(self, *_: object) -> None:
        self._log.removeHandler(self)
        self._log.setLevel(logging.NOTSET)


def stanza(mode: str, more: str, url: str, target: str) -> str:
    """An amqp stanza."""
    return f'amqp "mail" {{ domain = "example.com" url = "{url}" mode = "{mode}" {target} {more} }}\n'
