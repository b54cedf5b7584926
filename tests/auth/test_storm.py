"""A login storm: look-ups wait for their own threads, and nobody else waits with them."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gevent
import pytest

from gsmtp.auth.authenticator import MOST_WAITING
from gsmtp.auth.store import STORES, Source
from gsmtp.runtime.native import native_lock
from gsmtp.sasl.need import Answer, Need, Status
from tests.support.inprocess import Client, Running, running

LOGINS = 200
TRANSACTIONS = 20
CONF = """
ThreadPool "Auth" {{ Concurrency = 2 }}
ESMTP_Listener {{
  SMTP_Extensions = ( "AUTH PLAIN" )
  AuthPlainParameters = [ uri = "{uri}" ]
  Listen "127.0.0.1:0" {{ }}
}}
"""


class GateStore:
    """Answers nobody until the gate is opened."""

    is_green = False

    def __init__(self) -> None:
        self.gate: Any = native_lock()
        self.gate.acquire()
        self.asked = 0

    def answer(self, need: Need, deadline_mono: float) -> Answer:
        self.asked += 1
        assert self.gate.acquire(True, 20)
        self.gate.release()
        return Answer(Status.PASS)

    def close(self) -> None:
        """Nothing is open."""


@contextmanager
def gate() -> Iterator[GateStore]:
    made = GateStore()

    def opened(_source: Source) -> GateStore:
        return made

    STORES.add("gate", opened, __name__)
    try:
        yield made
    finally:
        STORES._things.pop("gate")


def log_in(server: Running, order: list[str], password: bytes = b"secret") -> bytes:
    client = server.client().greet()
    got = client.say(b"AUTH PLAIN " + base64.b64encode(b"\0u\0" + password))
    order.append("login")
    client.close()
    return got


def transactions(client: Client, order: list[str]) -> None:
    for _ in range(TRANSACTIONS):
        assert client.transaction().startswith(b"250 ")
        order.append("message")


def test_mail_flows_while_every_login_waits(tmp_path: Path) -> None:
    with gate() as store, running(tmp_path, CONF.format(uri="gate://")) as server:
        order: list[str] = []
        other = server.client().greet()
        storm = [gevent.spawn(log_in, server, order) for _ in range(LOGINS)]
        authenticator = server.supervisor.service.authenticator
        server.wait_for(lambda: authenticator.waiting == LOGINS)
        transactions(other, order)
        assert order == ["message"] * TRANSACTIONS
        assert store.asked == 2  # no more at once than the pool has threads
        store.gate.release()
        gevent.joinall(storm, timeout=20)
        assert {job.value for job in storm} == {b"235 Authentication successful\r\n"}
        assert authenticator.waiting == 0
        other.close()


def test_mail_flows_while_argon2_works(tmp_path: Path) -> None:
    argon2 = pytest.importorskip("argon2")
    users = tmp_path / "users"
    users.write_text("u:" + argon2.PasswordHasher(time_cost=2, memory_cost=8192, parallelism=1).hash("secret") + "\n")
    with running(tmp_path, CONF.format(uri=f"file://{users}")) as server:
        order: list[str] = []
        other = server.client().greet()
        storm = [gevent.spawn(log_in, server, order) for _ in range(LOGINS)]
        server.wait_for(lambda: server.supervisor.service.authenticator.waiting > LOGINS // 2)
        transactions(other, order)
        gevent.joinall(storm, timeout=60)
        assert {job.value for job in storm} == {b"235 Authentication successful\r\n"}
        assert order.count("login") == LOGINS
        # all messages were through while logins still waited
        assert order.index("message") < order.index("login") + LOGINS // 2
        assert "login" in order[len(order) - order[::-1].index("message") :]
        other.close()


def test_what_waits_is_bounded(tmp_path: Path) -> None:
    with gate() as store, running(tmp_path, CONF.format(uri="gate://")) as server:
        server.supervisor.service.authenticator.waiting = MOST_WAITING
        client = server.client().greet()
        assert client.say(b"AUTH PLAIN AHUAcA==") == b"454 4.7.0 Temporary authentication failure\r\n"
        assert store.asked == 0
        server.supervisor.service.authenticator.waiting = 0
        client.close()


def test_a_client_that_goes_while_its_login_waits_leaves_nothing(tmp_path: Path) -> None:
    with gate() as store, running(tmp_path, CONF.format(uri="gate://")) as server:
        client = server.client().greet()
        client.send(b"AUTH PLAIN AHUAcA==\r\n")
        authenticator = server.supervisor.service.authenticator
        server.wait_for(lambda: authenticator.waiting == 1)
        client.reset()
        store.gate.release()
        server.wait_for(lambda: authenticator.waiting == 0 and server.sessions == 0)


def test_a_store_that_raises_costs_one_login(tmp_path: Path) -> None:
    with gate() as store, running(tmp_path, CONF.format(uri="gate://")) as server:
        store.gate = None
        client = server.client().greet()
        assert client.say(b"AUTH PLAIN AHUAcA==") == b"454 4.7.0 Temporary authentication failure\r\n"
        assert "the store failed: AttributeError" in str(server.log)
        assert client.transaction().startswith(b"250 ")
        client.close()
