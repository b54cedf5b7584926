"""What an operator does to mail that a transport is handing on at that moment: nothing, and it is said.

Nothing is lost, nothing comes twice. Also: what a reload and a stop do to it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

import gevent
import pytest

from tests.support.console import ConsoleClient
from tests.support.inprocess import Running, running
from tests.support.receiver import OK, Receiver, Taken
from tests.support.stub_broker import Session, StubBroker

SERVER = """
spoolbase = "{spool}"
spool_reserve = 0
hostname = "mx.example.com"
drain_time = 1
relay_domains = ( "example.com" )
retry_interval = 1
ESMTP_Listener {{ Listen "127.0.0.1:0" {{ }} }}
"""
HANDLER = """
import os, time
from pathlib import Path

def take(mail):
    here = Path(__file__).parent
    with open(here / "taken", "a") as file:
        file.write(mail.key + "\\n")
    while not (here / "go").exists():
        time.sleep(0.005)
"""


class Other(Protocol):
    """Who takes mail, as slowly as a test wants."""

    stanza: str

    def taken(self) -> list[str]:
        """What names each message that came, also those that came again."""

    def go(self) -> None:
        """Answer what came, and what comes."""


class Web:
    def __init__(self, stack: ExitStack) -> None:
        self._gate = threading.Event()
        self._app = stack.enter_context(Receiver(self._answer))
        stack.callback(self._gate.set)
        self.stanza = f'webhook "x" {{ domain = ( "example.com" ) url = "{self._app.url}" secret = ( "{"s" * 32}" ) }}'

    def _answer(self, _taken: Taken) -> bytes:
        self._gate.wait(10)
        return OK

    def taken(self) -> list[str]:
        return [one.headers["idempotency-key"] for one in self._app.requests]

    def go(self) -> None:
        self._gate.set()


class Rabbit:
    def __init__(self, stack: ExitStack) -> None:
        self.broker = StubBroker()
        stack.callback(self.broker.close)
        self.stanza = (
            'amqp "x" { domain = ( "example.com" ) exchange = "x" '
            f'url = "amqp://127.0.0.1:{self.broker.port}" confirm_timeout = 20 }}'
        )

    def taken(self) -> list[str]:
        return [name for session in self.broker.sessions for name in session.published]

    def go(self) -> None:
        for session in self.broker.sessions:
            if not session.is_over:
                session.ack(0, multiple=True)


class Handler:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "slow.py").write_text(HANDLER)
        self.stanza = 'python "x" { domain = ( "example.com" ) handler = "slow.py:take" run_in = "process" }'

    def taken(self) -> list[str]:
        path = self._folder / "taken"
        return path.read_text().split() if path.exists() else []

    def go(self) -> None:
        (self._folder / "go").write_text("")


@contextmanager
def other_of(kind: str, folder: Path) -> Iterator[Other]:
    with ExitStack() as stack:
        if kind == "webhook":
            yield Web(stack)
        elif kind == "amqp":
            yield Rabbit(stack)
        else:
            yield Handler(folder)


@contextmanager
def serving(kind: str, folder: Path, **more: Any) -> Iterator[tuple[Running, Other, ConsoleClient]]:
    """A server that is handing a message on."""
    with other_of(kind, folder) as other:
        control = f'Control_Listener {{ Listen "{folder / "control"}" {{ }} }}\n'
        with running(folder, control + other.stanza, base=SERVER) as server:
            client = server.client().greet()
            assert client.transaction().startswith(b"250 ")
            client.close()
            server.wait_for(other.taken, "the message never came")
            console = ConsoleClient(str(folder / "control"))
            yield server, other, console
            console.close()


@pytest.mark.parametrize("kind", ["webhook", "amqp", "python"])
def test_what_is_being_handed_on_is_left_alone(kind: str, tmp_path: Path) -> None:
    with serving(kind, tmp_path) as (server, other, console):
        for command in ("hold", "retry", "bounce", "delete"):
            said = console.lines(f"queue {command} all")
            assert "; 1 was being delivered just then, and is as it was" in said[0], said
        assert len(server.queued()) == 1
        other.go()
        server.wait_for(lambda: not server.queued(), "it isn't delivered")
        server.wait_for(lambda: console.data("summary")["delivered"])
        assert console.data("summary")["delivered"] == len(other.taken()) == 1


def test_a_reload_that_changes_the_address_of_a_broker_lets_what_is_on_its_way_end_there(tmp_path: Path) -> None:
    with serving("amqp", tmp_path) as (server, old, console), ExitStack() as stack:
        new = Rabbit(stack)
        assert isinstance(old, Rabbit)
        text = server.path.read_text()
        server.reconfigure(text.replace(str(old.broker.port), str(new.broker.port)))
        client = server.client().greet()
        assert client.transaction().startswith(b"250 ")
        client.close()
        server.wait_for(new.taken)
        new.go()
        old.go()
        server.wait_for(lambda: not server.queued())
        server.wait_for(lambda: old.broker.sessions[0].is_over)  # it has nothing more to do there
        assert (len(old.taken()), len(new.taken())) == (1, 1)
        server.wait_for(lambda: console.data("summary")["delivered"] == 2)


@pytest.mark.parametrize("kind", ["webhook", "amqp", "python"])
def test_what_a_stop_cuts_off_is_kept_and_comes_again_under_the_same_key(kind: str, tmp_path: Path) -> None:
    with other_of(kind, tmp_path) as other:
        for round_ in range(2):
            with running(tmp_path, other.stanza, base=SERVER) as server:
                if not round_:
                    client = server.client().greet()
                    assert client.transaction().startswith(b"250 ")
                    client.close()
                server.wait_for(lambda round_=round_: len(other.taken()) > round_, "the message never came")
                if round_:
                    other.go()
                    server.wait_for(lambda: not server.queued())
        first, second = other.taken()
        assert first == second


@pytest.mark.parametrize("how", ["never", "stop", "hangs up", "reload"])
def test_a_client_hears_250_for_a_confirm_alone(tmp_path: Path, how: str) -> None:
    """In confirm mode this server keeps nothing, so that nothing else may be said, and not for ever."""
    with ExitStack() as stack:
        rabbit = Rabbit(stack)
        stanza = rabbit.stanza.replace("confirm_timeout = 20", 'mode = "confirm" confirm_timeout = 1')
        said: list[bytes] = []

        def send(client: Any) -> None:
            try:
                said.append(client.transaction())
            except (OSError, AssertionError, EOFError):
                said.append(b"")

        with running(tmp_path, stanza, base=SERVER) as server:
            server.wait_for(lambda: rabbit.broker.sessions and "Exchange.Declare" in rabbit.broker.sessions[0].methods)
            sender = gevent.spawn(send, server.client().greet())
            server.wait_for(rabbit.taken)
            if how == "hangs up":
                rabbit.broker.answers["Basic.Publish"] = Session.close
                rabbit.broker.sessions[0].close()
            elif how == "reload":
                server.reconfigure(server.path.read_text().replace("confirm_timeout = 1", "confirm_timeout = 2"))
                rabbit.broker.sessions[0].ack(1)
            if how != "stop":
                server.wait_for(lambda: said)
            assert server.queued() == []
        sender.join(10)
        if how == "reload":
            assert said[0].startswith(b"250 OK ")
        else:
            assert not said[0].startswith(b"2")
        if how == "never":
            assert said[0].startswith(b"451 4.4.2 ")
