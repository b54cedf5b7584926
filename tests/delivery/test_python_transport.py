"""Handlers of mail in Python: what they get and may answer in each way to run them, deadlines, crashes, reloads."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest

from gsmtp.api import InboundMail, Refuse, Retry
from gsmtp.app import wiring
from gsmtp.app.loading import load
from gsmtp.config.view import View
from gsmtp.core.errors import ConfigError, DeliveryError
from gsmtp.delivery.handler_runs import InProcess
from gsmtp.delivery.pool import ConnectionPool, HopHealth
from gsmtp.delivery.sockets import green_connect
from gsmtp.delivery.transport import Job, Outcome, Tools
from gsmtp.delivery.transports.python import PythonTransport
from gsmtp.runtime.native import HubMailbox, NativePool
from gsmtp.spool.base import StoredBody
from gsmtp.testing import inbound_mail
from tests.delivery.kit import envelope, resolver, stored
from tests.support.inprocess import running

WAYS = ("greenlet", "thread", "process")
BODY = b"From: Ann <ann@example.net>\r\nSubject: =?utf-8?q?=C3=A4?=\r\n\r\nhello\r\n"

HANDLERS = """
import json, os, signal, sys, threading, time
import gevent
from gsmtp.api import Refuse, Retry

VERSION = 1

def note(mail):
    shown = dict(id=mail.id, key=mail.key, sender=mail.sender, recipients=list(mail.recipients), attempt=mail.attempt,
                 received=mail.received.isoformat(), user=mail.auth_user, mess=dict(mail.mess), size=len(mail.raw),
                 opened=len(mail.open().read()), subject=mail.parsed.subject, text=mail.parsed.text,
                 who=str(mail.parsed.from_[0]), pid=os.getpid(), thread=threading.get_ident(), version=VERSION)
    with open(os.environ["NOTES"], "a") as file:
        file.write(json.dumps(shown) + "\\n")

def refuse(mail):
    raise Refuse("550 5.1.1 no such\\r\\nticket")

def later(mail):
    return Retry("the data base is down", 90)

def each(mail):
    return {"bob@example.com": Refuse(), "cho@example.com": Retry("450 4.2.1 busy")}

def stranger(mail):
    return {"nobody@example.com": Refuse()}

def nonsense(mail):
    return True

def broken(mail):
    raise ValueError("a bug")

def leaves(mail):
    sys.exit(3)

def hangs(mail):
    if os.environ["WAY"] == "greenlet":
        gevent.sleep(30)
    else:
        time.sleep(2 if os.environ["WAY"] == "thread" else 30)

def dies(mail):
    if mail.attempt == 1:
        os.kill(os.getpid(), signal.SIGSEGV)

def exits(mail):
    os._exit(7)

async def coroutine(mail):
    pass

def wants_two(mail, more):
    pass

class Desk:
    @staticmethod
    def take(mail):
        pass
"""


class Bench:
    """A transport with native threads, and a file of handlers."""

    def __init__(self, folder: Path) -> None:
        wiring.load()
        self.folder = folder
        self.handlers = folder / "handlers.py"
        self.handlers.write_text(HANDLERS)
        self.mailbox = HubMailbox()
        self.native = NativePool("tests", 2, self.mailbox)
        self.tools = Tools(
            self.native,
            green_connect,
            ConnectionPool(time.monotonic),
            HopHealth(time.monotonic),
            "mx.example",
            resolver(),
        )
        self.transport = PythonTransport(self.tools)

    def configure(self, function: str, way: str, more: str = "", module: str = "handlers.py") -> View:
        """Load a stanza as the server does; its view."""
        path = self.folder / "python.conf"
        path.write_text(
            f'spoolbase = "{self.folder}"\n'
            f'python "desk" {{\n domain = ( "example.com" )\n'
            f' handler = "{module}:{function}"\n run_in = "{way}"\n {more}\n}}\n'
        )
        loaded = load(str(path), 1)
        assert loaded.configuration is not None, [str(problem) for problem in loaded.problems]
        views = loaded.configuration.stanzas("python")
        for view in views:
            PythonTransport.examine(view, self.tools.native)
        self.transport.configure(views)
        self.view = views[0]
        return self.view

    def deliver(self, body: bytes | StoredBody = BODY, **more: Any) -> list[Outcome]:
        """Deliver a message to three recipients, with an end."""
        given = more.pop("envelope", None) or envelope("ann@example.com", "bob@example.com", "cho@example.com")
        job = Job(given, stored(body) if isinstance(body, bytes) else body, given.recipients, self.view, **more)
        with gevent.Timeout(30, AssertionError("the delivery doesn't end")):
            return self.transport.deliver(job)

    def failure(self, **more: Any) -> str:
        """Deliver what fails for now; the text."""
        with pytest.raises(DeliveryError) as caught:
            self.deliver(**more)
        assert caught.value.temporary
        return str(caught.value)

    def notes(self) -> list[dict[str, Any]]:
        """What `note` noted."""
        return [json.loads(line) for line in (self.folder / "notes").read_text().splitlines()]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setenv("NOTES", str(tmp_path / "notes"))
    before = list(sys.path)
    made = Bench(tmp_path)
    yield made
    made.transport.close()
    made.native.close()
    made.mailbox.close()
    sys.path[:] = before


# --- what handlers get and say ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_a_handler_gets_the_message_and_its_envelope(bench: Bench, way: str, tmp_path: Path) -> None:
    given = envelope("ann@example.com", "bob@example.org", conn={"auth_user": "zoë"}, mess={"score": "5"})
    large = tmp_path / "body"
    large.write_bytes(BODY + b"x" * 200_000)
    bench.configure("note", way)
    marks: list[int] = []
    got = bench.deliver(envelope=given, attempts=2, mark=lambda: marks.append(1))
    assert got == [Outcome(250, "250 2.0.0 handled", "python desk")] * 2
    assert marks == [1]
    bench.deliver(StoredBody(large.stat().st_size, None, str(large)), envelope=given)
    small, big = bench.notes()
    here = (os.getpid(), gevent.get_hub().thread_ident)
    there = (small.pop("pid"), small.pop("thread"))
    assert (there[0] == here[0], there == here) == {"greenlet": (True, True), "thread": (True, False)}.get(
        way, (False, False)
    )
    assert small == {
        "id": given.message_id,
        "key": given.message_id,
        "sender": "from@example.net",
        "recipients": ["ann@example.com", "bob@example.org"],
        "attempt": 3,
        "received": "2025-01-01T00:00:00+00:00",
        "user": "zoë",
        "mess": {"score": "5"},
        "size": len(BODY),
        "opened": len(BODY),
        "subject": "ä",
        "text": "hello\n",
        "who": "Ann <ann@example.net>",
        "version": 1,
    }
    assert (big["size"], big["opened"], big["subject"]) == (len(BODY) + 200_000, len(BODY) + 200_000, "ä")


@pytest.mark.parametrize("way", WAYS)
def test_verdicts(bench: Bench, way: str) -> None:
    bench.configure("refuse", way)
    assert bench.deliver() == [Outcome(550, "550 5.1.1 no such ticket", "python desk")] * 3
    bench.configure("later", way)
    put_off = Outcome(451, "451 4.3.0 the data base is down", "python desk", retry_after_s=90)
    assert bench.deliver() == [put_off] * 3
    bench.configure("each", way)
    assert [one.reply for one in bench.deliver()] == [
        "250 2.0.0 handled",
        "554 5.3.0 refused by the handler",
        "450 4.2.1 busy",
    ]


@pytest.mark.parametrize("way", WAYS)
def test_whatever_a_handler_raises_is_temporary_with_one_traceback(
    bench: Bench, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    told = []
    for function in ("broken", "leaves", "stranger", "nonsense"):
        bench.configure(function, way)
        caplog.clear()
        told.append(bench.failure().partition(" in handler ")[0])
        (record,) = [one for one in caplog.records if one.name == "gsmtp.python"]
        text = logging.Formatter().format(record)
        assert text.count("Traceback (most recent call last)") == 1, text
        assert f"handlers.py:{function} failed with message 00/01-00042-00000001" in text
    assert told == [f"451 4.3.0 [internal] {kind}" for kind in ("ValueError", "SystemExit", "LookupError", "TypeError")]


@pytest.mark.parametrize("way", WAYS)
def test_a_handler_that_takes_too_long_is_tried_again(bench: Bench, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAY", way)
    bench.configure("hangs", way, "timeout = 1")
    text = bench.failure()
    assert text.startswith("451 4.3.0 [internal] handler handlers.py:hangs")
    assert ("was killed: no answer within 1 s" if way == "process" else "was not done within 1 s") in text


def test_a_code_of_the_wrong_class_is_part_of_the_text() -> None:
    from gsmtp.delivery.transports.python import _outcome

    assert _outcome(Refuse("450 4.2.1 busy"), "x").reply == "554 5.3.0 450 4.2.1 busy"
    assert _outcome(Retry("550 no"), "x").reply == "451 4.3.0 550 no"


# --- processes --------------------------------------------------------------------------------------------------------


def _pids(bench: Bench) -> list[int]:
    (run,) = bench.transport._runs.values()
    assert isinstance(run, InProcess)
    return run.workers.pids


def test_a_process_is_used_again_and_replaced_when_it_died(bench: Bench) -> None:
    bench.configure("note", "process")
    for _ in range(2):
        bench.deliver()
    (pid,) = _pids(bench)
    assert [one["pid"] for one in bench.notes()] == [pid, pid]
    os.kill(pid, signal.SIGKILL)
    _wait_until_gone(pid)
    bench.deliver()
    assert bench.notes()[2]["pid"] not in (pid, os.getpid())


def _wait_until_gone(pid: int) -> None:
    """Wait until a process can't be signalled, its zombie taken by the loop."""
    with gevent.Timeout(10, AssertionError("it lives")):
        while True:
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                return
            gevent.sleep(0.005)


@pytest.mark.parametrize(("function", "told"), [("dies", "died of signal 11"), ("exits", "ended with status 7")])
def test_a_process_that_ends_costs_its_message_a_retry(bench: Bench, function: str, told: str) -> None:
    bench.configure(function, "process")
    assert bench.failure() == f"451 4.3.0 [internal] handler handlers.py:{function}: its process {told}"
    assert _pids(bench) == []
    if function == "dies":
        assert [one.code for one in bench.deliver(attempts=1)] == [250] * 3


def test_processes_end_with_the_transport_and_with_a_reload(bench: Bench) -> None:
    bench.configure("note", "process")
    bench.deliver()
    (first,) = _pids(bench)
    bench.configure("note", "process")
    _wait_until_gone(first)
    bench.deliver()
    (second,) = _pids(bench)
    bench.transport.close()
    _wait_until_gone(second)
    assert first != second


def test_a_process_that_is_busy_ends_with_the_server(tmp_path: Path) -> None:
    """kill -9 of the server: its end of the socket closes, whatever the handler does."""
    (tmp_path / "h.py").write_text(
        "import os, time\n\ndef slow(mail):\n    print(os.getpid(), flush=True)\n    time.sleep(60)\n"
    )
    (tmp_path / "parent.py").write_text(
        "import sys\n"
        "from gsmtp.delivery.handler_processes import Workers\n"
        "from gsmtp.delivery.handlers import Source\n"
        "from gsmtp.testing import inbound_mail\n"
        f"Workers(Source.of('h.py:slow', {str(tmp_path)!r})).handle(inbound_mail(b'x'), 60)\n"
    )
    from gevent import subprocess

    parent = subprocess.Popen([sys.executable, str(tmp_path / "parent.py")], stderr=subprocess.PIPE)
    try:
        with gevent.Timeout(30, AssertionError("the handler isn't called")):
            assert parent.stderr is not None
            pid = int(parent.stderr.readline())  # what a handler prints goes to standard error
    finally:
        parent.kill()
        parent.wait()
    _wait_until_gone(pid)
    assert parent.poll() == -signal.SIGKILL


# --- loading ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("function", "problem"),
    [
        ("missing", "has no function missing"),
        ("VERSION", "has no function VERSION"),
        ("coroutine", "is a coroutine or generator: handlers are plain functions"),
        ("wants_two", "is called with one argument, the message: missing a required argument: 'more'"),
    ],
)
def test_what_is_no_handler_stops_the_load_with_its_place(bench: Bench, way: str, function: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        bench.configure(function, way)
    assert str(caught.value).startswith(f"{bench.folder}/python.conf:4:12: error: ")
    assert problem in str(caught.value)


@pytest.mark.parametrize("way", WAYS)
def test_a_handler_that_cannot_be_imported_stops_the_load(bench: Bench, way: str) -> None:
    bench.handlers.write_text("import no_such_module_at_all\n")
    with pytest.raises(ConfigError, match=r"handlers\.py can't be imported: ModuleNotFoundError: .*handlers\.py:1\)"):
        bench.configure("note", way)
    with pytest.raises(ConfigError, match=r"there is no file .*/gone\.py"):
        bench.configure("note", way, module="gone.py")


def test_a_module_beside_the_configuration_and_a_method_can_be_named(bench: Bench) -> None:
    (bench.folder / "desk_of_the_tests.py").write_text(HANDLERS)
    bench.configure("Desk.take", "thread", module="desk_of_the_tests")
    assert [one.code for one in bench.deliver()] == [250] * 3
    bench.transport.close()
    assert "desk_of_the_tests" not in sys.modules


@pytest.mark.parametrize("way", WAYS)
def test_a_reload_takes_what_changed_and_a_failed_one_changes_nothing(bench: Bench, way: str) -> None:
    bench.configure("note", way)
    bench.deliver()
    bench.handlers.write_text(HANDLERS.replace("VERSION = 1", "VERSION = 22"))
    bench.configure("note", way)
    bench.deliver()
    bench.handlers.write_text("def note(mail:\n")
    with pytest.raises(ConfigError, match="SyntaxError"):
        bench.configure("note", way)
    if way != "process":  # a process that has to be started anew meanwhile imports what there is
        bench.deliver()
        assert bench.notes().pop()["version"] == 22
    bench.handlers.write_text(HANDLERS.replace("VERSION = 1", "VERSION = 333"))
    bench.configure("note", way)
    bench.deliver()
    assert [one["version"] for one in bench.notes()][:2] == [1, 22]
    assert bench.notes().pop()["version"] == 333


@pytest.mark.parametrize("text", ["handlers", "pkg.module:", ":function", "pkg.module:fun-ction"])
def test_what_names_no_function_is_found_by_check(tmp_path: Path, text: str) -> None:
    wiring.load()
    path = tmp_path / "python.conf"
    path.write_text(f'python "desk" {{ domain = ( "example.com" ) handler = "{text}" }}')
    assert any("it is to be written pkg.module:function" in str(problem) for problem in load(str(path), 1).problems)


# --- a whole server, and help for authors -----------------------------------------------------------------------------

SERVER = """
spoolbase = "{spool}"
spool_reserve = 0
hostname = "mx.example.com"
drain_time = 1
relay_domains = ( "example.com" )
retry_interval = 1
ESMTP_Listener {{ Listen "127.0.0.1:0" {{ }} }}
"""
FICKLE = """
import json
from pathlib import Path
from gsmtp.api import Refuse, Retry

def take(mail):
    with open(Path(__file__).with_name("notes"), "a") as file:
        file.write(json.dumps([mail.key, mail.attempt, mail.sender, list(mail.recipients), mail.parsed.text]) + "\\n")
    if "refused@example.com" in mail.recipients:
        raise Refuse("550 5.1.1 not here")
    if mail.attempt == 1:
        raise Retry("not yet")
"""


def test_a_server_calls_its_handler_until_it_takes_the_message(tmp_path: Path) -> None:
    (tmp_path / "fickle.py").write_text(FICKLE)
    stanza = 'python "desk" { domain = ( "example.com" ) handler = "fickle.py:take" run_in = "thread" }'
    before = list(sys.path)
    try:
        with running(tmp_path, stanza, base=SERVER) as server:
            client = server.client().greet()
            said = client.transaction(b"Subject: x\r\n\r\nit works\r\n").decode()
            assert said.startswith("250 ")
            server.wait_for(lambda: "2, " in _notes(tmp_path) and not server.queued())
            client.transaction(b"Subject: x\r\n\r\nno\r\n", recipient=b"refused@example.com")
            server.wait_for(lambda: "refused@" in _notes(tmp_path) and "not here" in str(server.log))
            assert [address for _, address in server.queued()] == ["refused@example.com"]  # a dead letter
            client.close()
    finally:
        sys.path[:] = before
    first, second, refused = [json.loads(line) for line in _notes(tmp_path).splitlines()]
    assert first[0] == second[0]
    assert first[0] in said
    assert (first[1:], second[1]) == ([1, "a@example.net", ["b@example.com"], "it works\n"], 2)
    assert refused[3] == ["refused@example.com"]


def _notes(folder: Path) -> str:
    path = folder / "notes"
    return path.read_text() if path.exists() else ""


def test_a_handler_is_tested_without_a_server() -> None:
    def incoming(mail: InboundMail) -> Refuse | None:
        return Refuse("550 5.7.1 no") if "spam" in mail.parsed.subject else None

    assert incoming(inbound_mail(b"Subject: ham\r\n\r\n")) is None
    assert isinstance(incoming(inbound_mail(b"Subject: spam\r\n\r\n", ["ann@example.com"])), Refuse)
