"""Webhooks: receivers that answer early, in several answers, or never; messages made to keep the server busy."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from gsmtp.delivery.circuit import Circuit, CircuitLimits
from gsmtp.delivery.transports.webhook import WebhookTransport
from gsmtp.delivery.url import parse_url
from gsmtp.runtime.dns_answers import Answer, LookupFailed
from gsmtp.runtime.native import NativePool
from gsmtp.spool.base import StoredBody
from tests.delivery.kit import resolver
from tests.delivery.test_webhook import Bench
from tests.support.receiver import OK, Receiver, answer

T = TypeVar("T")


class Noting:
    """Native threads, and what was called in them."""

    def __init__(self, pool: NativePool) -> None:
        self._pool = pool
        self.called: list[str] = []

    def call(self, function: Callable[..., T], *args: Any) -> T:
        self.called.append(getattr(function, "__name__", ""))
        return self._pool.call(function, *args)


@pytest.fixture
def hooks(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.tools.connections.close_all()
    made.native.close()
    made.mailbox.close()


def test_interim_answers_are_passed_over(hooks: Bench) -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\n"
    with Receiver(lambda _: interim + OK) as app:
        hooks.configure(app.url)
        assert [hooks.one().reply for _ in range(2)] == ["250 2.0.0 HTTP 200 OK"] * 2
        assert (len(app.requests), app.connections) == (2, 1)


@pytest.mark.parametrize("status", ["100 Continue", "102 Processing"])
def test_interim_answers_without_end_are_no_answer(hooks: Bench, status: str) -> None:
    def rough(sock: socket.socket) -> None:
        sock.recv(65536)
        while True:
            sock.sendall(f"HTTP/1.1 {status}\r\n\r\n".encode() * 100)

    with Receiver(rough=rough) as app:
        hooks.configure(app.url, "timeout = 5")
        got = hooks.one()
    assert got.reply == "451 4.5.0 [internal] the receiver's answer is no HTTP: HTTPException"


@pytest.mark.parametrize("hangs_up", [True, False])
def test_a_success_before_the_message_was_read_is_none(hooks: Bench, tmp_path: Path, hangs_up: bool) -> None:
    path = tmp_path / "body"
    path.write_bytes(b"x" * (32 << 20))
    done = threading.Event()

    def early(sock: socket.socket) -> None:
        sock.recv(100)
        sock.sendall(answer("200 OK", b"maintenance"))
        if not hangs_up:
            done.wait(10)

    with Receiver(rough=early) as app:
        hooks.configure(app.url, "timeout = 1")
        got = hooks.one(StoredBody(32 << 20, None, str(path)))
        done.set()
    # where it hangs up, the system may have thrown the answer away with the connection
    assert got.code in (450, 451)
    assert not got.is_delivered


def test_a_small_message_that_takes_long_to_be_taken_apart_does_not_do_so_on_the_hub(hooks: Bench) -> None:
    deep = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (at, at) for at in range(90))
    body = deep + b"Content-Type: text/plain\r\n\r\n" + b"a\r\n" * 8_000
    assert len(body) < 32_768
    native = Noting(hooks.native)
    hooks.transport = WebhookTransport(replace(hooks.tools, native=native))
    with Receiver() as app:
        hooks.configure(app.url, 'format = "json"')
        assert hooks.one(body).is_delivered
    assert "_request" in native.called


@pytest.mark.parametrize("url", ["https://x.example/a b", "https://x.example/\x7f", "https:// x.example/"])
def test_an_address_that_no_request_can_name_is_refused_at_the_start(url: str) -> None:
    with pytest.raises(ValueError, match="holds a space or a control character"):
        parse_url(url)


def test_a_name_is_looked_up_by_the_servers_own_resolver_and_all_its_addresses_are_tried(hooks: Bench) -> None:
    known: dict[str, Answer | LookupFailed] = {
        "app.example": Answer(exists=True, addresses=("::1", "127.0.0.1", "127.66.0.1")),
        "dark.example": LookupFailed("192.0.2.1: no answer in time"),
        "gone.example": Answer(exists=False),
    }
    hooks.transport = WebhookTransport(replace(hooks.tools, resolver=resolver(known)))
    with Receiver() as app:
        hooks.configure(f"http://app.example:{app.port}/mail")
        got = hooks.one()
    assert (got.code, got.remote) == (250, "127.0.0.1")
    assert app.requests[0].headers["host"] == f"app.example:{app.port}"
    says = "454 4.4.4 [internal] the receiver's name can't be resolved: "
    for name, reason in (("dark", "192.0.2.1: no answer in time"), ("gone", "gone.example has no address")):
        hooks.configure(f"http://{name}.example/mail")
        assert hooks.one().reply == says + reason


def test_requests_from_before_a_circuit_opened_say_nothing_about_its_probe() -> None:
    now = [0.0]
    circuit = Circuit(lambda: now[0])
    limits = CircuitLimits(1, 5, 30)
    assert circuit.failed("x", limits, was_probe=False)
    now[0] = 5
    assert circuit.permits()
    assert not circuit.failed("late", limits, was_probe=False)
    circuit.undecided(was_probe=False)
    assert not circuit.permits()  # the probe has not answered yet
    assert circuit.wait_s == 0
    circuit.failed("x", limits, was_probe=True)
    assert circuit.wait_s == 10
