"""Handlers in Python at their worst: odd verdicts, exceptions that are none, children that outlive their process."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from gsmtp.delivery.transports.python import PythonTransport
from tests.delivery.test_python_transport import WAYS, Bench
from tests.support.waiting import wait_until

T = TypeVar("T")
HANDLERS = """
import os, subprocess, sys, time
import gevent
from gsmtp.api import Refuse, Retry

class Own(BaseException):
    pass

def own(mail):
    raise Own("mine")

def its_own_timeout(mail):
    with gevent.Timeout(0.01):
        gevent.sleep(30)

def _odd(mail):
    return {
        "ann@example.com": Retry("soon", float("inf")),
        "bob@example.com": Retry(None, float("nan")),
        "cho@example.com": Refuse("\\ud800 " + "x" * 10_000),
    }

def odd(mail):
    return _odd(mail)

def far(mail):
    return Retry("later", "never")

def parses(mail):
    mail.parsed

def number(mail):
    return Refuse(5)

def forks(mail):
    child = os.fork()
    if not child:
        time.sleep(60)
    with open(os.environ["NOTES"], "w") as file:
        file.write(str(child))
    os._exit(3)

def starts(mail):
    with open(os.environ["NOTES"], "w") as file:
        file.write(str(os.spawnlp(os.P_NOWAIT, "sleep", "sleep", "60")))
    os._exit(3)

def babbles(mail):
    if mail.attempt == 1:
        for word in (b"5", b'{"verdicts": [null]}', b'{"verdicts": [["retry"]]}', b'{"verdicts": 7}'):
            os.write(int(sys.argv[1]), len(word).to_bytes(4, "big") + word)
        time.sleep(0.1)

def short(mail):
    os.write(int(sys.argv[1]), (20).to_bytes(4, "big") + b'{"verdicts": [null]}')
    time.sleep(60)
"""


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setenv("NOTES", str(tmp_path / "notes"))
    before = list(sys.path)
    made = Bench(tmp_path)
    made.handlers.write_text(HANDLERS)
    yield made
    made.transport.close()
    made.native.close()
    made.mailbox.close()
    sys.path[:] = before


@pytest.mark.parametrize("way", WAYS)
def test_an_exception_that_no_except_catches_is_temporary_all_the_same(desk: Bench, way: str) -> None:
    desk.configure("own", way)
    assert desk.failure() == "451 4.3.0 [internal] Own in handler handlers.py:own, see the log"


def test_a_time_limit_of_the_handlers_own_is_temporary(desk: Bench) -> None:
    desk.configure("its_own_timeout", "greenlet")
    said = desk.failure()
    assert said == "451 4.3.0 [internal] Timeout in handler handlers.py:its_own_timeout, see the log"


@pytest.mark.parametrize("way", WAYS)
def test_odd_verdicts_are_made_ones_that_the_queue_can_keep(desk: Bench, way: str) -> None:
    desk.configure("odd", way)
    ann, bob, cho = desk.deliver()
    assert (ann.reply, ann.code) == ("451 4.3.0 soon", 451)
    assert ann.retry_after_s == 366 * 86_400
    assert (bob.reply, bob.retry_after_s) == ("451 4.3.0 put off by the handler", 0.0)
    assert cho.code == 554
    assert len(cho.reply) < 600
    cho.reply.encode()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("function", ["far", "number"])
def test_verdicts_of_the_wrong_kind_are_text_or_temporary(desk: Bench, way: str, function: str) -> None:
    desk.configure(function, way)
    if function == "number":
        assert {one.reply for one in desk.deliver()} == {"554 5.3.0 5"}
    else:
        assert desk.failure() == "451 4.3.0 [internal] ValueError in handler handlers.py:far, see the log"


def test_no_message_is_taken_apart_on_the_hub(desk: Bench) -> None:
    called: list[object] = []

    class Noting:
        def call(self, function: Callable[..., T], *args: Any) -> T:
            called.append(function)
            return desk.native.call(function, *args)

    desk.transport = PythonTransport(replace(desk.tools, native=Noting()))
    desk.configure("parses", "greenlet")
    assert [one.code for one in desk.deliver()] == [250] * 3
    assert len(called) == 1


@pytest.mark.parametrize("function", ["forks", "starts"])
def test_what_a_dead_process_started_ends_with_it(desk: Bench, tmp_path: Path, function: str) -> None:
    desk.configure(function, "process", "timeout = 1")
    said = desk.failure()
    assert said.startswith(f"451 4.3.0 [internal] handler handlers.py:{function}: its process ")
    if function == "starts":  # it has nothing of ours, so that the end is seen at once
        assert said.endswith("its process ended with status 3")
    child = int((tmp_path / "notes").read_text())
    wait_until(lambda: _is_gone(child), "the child's end", 10)


@pytest.mark.parametrize("function", ["babbles", "short"])
def test_a_process_that_talks_out_of_turn_answers_for_no_message(desk: Bench, function: str) -> None:
    desk.configure(function, "process", "timeout = 5")
    assert "its process was killed: it gave nonsense" in desk.failure()
    if function == "babbles":
        assert [one.code for one in desk.deliver(attempts=1)] == [250] * 3


def _is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"
    except (ProcessLookupError, FileNotFoundError):
        return True
