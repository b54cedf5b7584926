"""What breaks for one message again and again: it waits its turn, keeps its outcome, and holds up nobody else."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import gevent
import pytest

from gsmtp.core.errors import SpoolUnhealthy
from gsmtp.core.records import Attempt
from gsmtp.delivery.recorder import Recorder
from gsmtp.delivery.sockets import green_connect
from gsmtp.delivery.transport import HopSocket
from gsmtp.spool.base import Committed, Notice, Record, State
from gsmtp.spool.memory import MemorySpool
from tests.delivery.kit import configuration, envelope
from tests.delivery.test_queue import T0, House, Told, house, left, wait
from tests.support.sink import Answer, Sink
from tests.support.spool import WALL, accept, delivered, open_spool, queued


class Odd(BaseException):
    """What no `except Exception` sees."""


def _raising(error: type[BaseException]) -> Callable[..., HopSocket]:
    def connect(host: str, port: int, timeout_s: float, /, source: str = "") -> HopSocket:
        raise error

    return connect


@pytest.mark.parametrize("error", [Odd, SystemExit, KeyboardInterrupt, gevent.Timeout])
def test_whatever_a_transport_raises_is_a_temporary_failure(error: type[BaseException]) -> None:
    with house(configuration(everywhere={"Gateway": "127.0.0.1"}), connect=_raising(error)) as home:
        message_id = home.accept("u@a.example", "v@a.example")
        wait(lambda: home.delivery.stats().deferrals == 2, "first try")
        assert [(r.state, r.attempts, r.reply) for r in left(home.spool)] == [
            (State.QUEUED, 1, f"451 4.3.0 [internal] {error.__name__} in the transport, see the log")
        ] * 2
        assert len(home.told.problems) == 1
        assert home.told.problems[0].startswith(f"delivery of {message_id} by ")
        home.later(1200)
        wait(lambda: home.delivery.stats().deferrals == 4, "second try")
        assert home.delivery.drain(10), "nothing is held any more"


def test_a_transport_that_ends_its_own_green_thread_is_put_off() -> None:
    tries: list[str] = []

    def connect(host: str, port: int, timeout_s: float, /, source: str = "") -> HopSocket:
        tries.append(host)
        raise gevent.GreenletExit

    with house(configuration(everywhere={"Gateway": "127.0.0.1"}), connect=connect) as home:
        message_id = home.accept("u@a.example")
        wait(lambda: home.delivery.stats().deferrals == 1, "first try")
        assert [(r.state, r.attempts, r.reply) for r in left(home.spool)] == [
            (State.QUEUED, 1, "451 4.3.0 [internal] the attempt broke, see the log")
        ]
        assert home.told.problems == [f"the attempt for {message_id} broke: GreenletExit()"]
        home.later(1200)
        wait(lambda: home.delivery.stats().deferrals == 2, "second try")
        assert len(tries) == 2
        assert home.delivery.drain(10)


def test_who_has_the_message_when_a_transport_breaks_does_not_get_it_again() -> None:
    """By LMTP one recipient's answer has come when something odd is raised in place of the other's."""
    is_broken = threading.Event()

    class Breaking:
        def __init__(self, sock: HopSocket) -> None:
            self._sock = sock
            self.settimeout, self.sendall = sock.settimeout, sock.sendall
            self.getpeername, self.close = sock.getpeername, sock.close
            self._seen = b""

        def recv(self, size: int, /) -> bytes:
            if self._seen.endswith(b"2.0.0 first\r\n"):
                is_broken.set()
                raise Odd
            data = self._sock.recv(1)
            self._seen += data
            return data

    def connect(host: str, port: int, timeout_s: float, /, source: str = "") -> HopSocket:
        sock = green_connect(host, port, timeout_s)
        return sock if is_broken.is_set() else Breaking(sock)

    final: dict[bytes, Answer] = {b"u@a.example": b"250 2.0.0 first\r\n"}
    with Sink(lmtp=True, final=final) as sink:
        conf = configuration({"a.example": {"Gateway": sink.gateway, "Delivery_Method": "LMTP"}})
        with house(conf, connect=connect) as home:
            home.accept("u@a.example", "v@a.example")
            wait(lambda: home.delivery.stats().delivered == 1, "the first recipient")
            wait(lambda: home.delivery.stats().deferrals == 1, "the second one")
            assert [(r.state, r.attempts) for r in left(home.spool)] == [(State.DELIVERED, 1), (State.QUEUED, 1)]
            home.later(1200)
            wait(lambda: home.delivery.stats().delivered == 2, "the second recipient")
            assert sink.messages[-1].rcpts == [b"RCPT TO:<v@a.example>"]
            assert home.delivery.drain(10)


class Dumb(Told):
    """A log that can't be written."""

    def delivery(self, attempt: Attempt) -> None:
        """Break."""
        raise OSError(28, "No space left on device")


def test_a_log_that_breaks_makes_nothing_be_delivered_twice() -> None:
    with Sink() as sink:
        log = Dumb()
        with house(configuration(everywhere={"Gateway": sink.gateway}), log=log) as home:
            message_id = home.accept("u@a.example", "v@a.example")
            wait(lambda: home.delivery.stats().delivered == 2, "the record")
            assert not left(home.spool)
            home.later(10_000)
            assert home.delivery.drain(10)
        assert len(sink.messages) == 1
        assert (
            log.problems == [f"the outcome of {message_id} can't be told: OSError(28, 'No space left on device')"] * 2
        )


class Picky(MemorySpool):
    """A spool that can't keep some records, as SQLite can't keep every text.

    Args:
        refuses: which.
        raises: whether it says so by an exception.
    """

    def __init__(self, refuses: Callable[[Record], bool], *, raises: bool = False) -> None:
        super().__init__()
        self.tries = 0
        self._refuses = refuses
        self._raises = raises

    def record(self, records: Sequence[Record], done: Committed | None = None, notices: Sequence[Notice] = ()) -> None:
        """Keep them, or don't."""
        if not any(map(self._refuses, records)):
            super().record(records, done, notices)
            return
        self.tries += 1
        if self._raises:
            raise ValueError("can't be stored")
        assert done is not None
        self._mailbox.call_soon(done, SpoolUnhealthy("the message can't be stored: odd"))


def _sweep(home: House, times: int) -> None:
    """As many sweeps as that, each with what comes of it."""
    for _ in range(times):
        home.delivery.sweep()
        gevent.sleep(0.001)
        gevent.sleep(0.001)


@pytest.mark.parametrize("raises", [False, True])
def test_an_outcome_whose_text_cannot_be_kept_is_kept_without_it(raises: bool) -> None:
    spool = Picky(lambda record: "odd words" in record.reply, raises=raises)
    with Sink(rcpt={b"v@a.example": b"450 4.2.0 odd words\r\n"}) as sink:
        conf = configuration(everywhere={"Gateway": sink.gateway})
        with house(conf, spool) as home:
            home.accept("u@a.example", "v@a.example")
            wait(lambda: spool.tries, "the first try")
            _sweep(home, 20)
            wait(lambda: home.delivery.stats().delivered == 1 and home.delivery.stats().deferrals == 1, "the records")
            [first, second] = left(spool)
            assert (first.state, second.state, second.attempts, second.due_wall) == (
                State.DELIVERED,
                State.QUEUED,
                1,
                T0 + 1200,
            )
            assert second.reply == "451 4.3.0 [internal] the answer can't be kept, see the log"
            assert len(sink.messages) == 1
            assert home.delivery.drain(10)


@pytest.mark.parametrize("raises", [False, True])
def test_a_record_that_can_never_be_kept_is_tried_ever_less_often(raises: bool) -> None:
    """The one that is delivered waits for the end of the process, the one that isn't goes back into the queue; the
    third recipient's outcome, of the same attempt, is kept."""
    odd = ("u@a.example", "v@a.example")
    spool = Picky(lambda record: record.index < len(odd), raises=raises)
    with Sink(rcpt={b"v@a.example": b"450 4.2.0 later\r\n"}) as sink:
        conf = configuration(everywhere={"Gateway": sink.gateway})
        with house(conf, spool) as home:
            home.accept(*odd, "w@a.example")
            wait(lambda: spool.tries, "the first try")
            _sweep(home, 20)
            assert home.delivery.stats().delivered == 1, "w"
            assert len(sink.messages) == 1
            before = spool.tries
            _sweep(home, 100)
            assert spool.tries - before < 10
            _sweep(home, 600)
            home.later(0)
            wait(lambda: len([line for line in sink.lines[0] if b"v@a" in line]) == 2, "v is tried anew")
            assert len(sink.messages) == 1, "u has it"
            home.accept("x@b.example", "y@b.example", "z@b.example")
            assert not home.delivery.drain(0.0)


def test_notices_that_cannot_be_kept_leave_dead_letters() -> None:
    told = Told()
    spool = MemorySpool()
    settled: list[int] = []

    class Deaf(MemorySpool):
        def record(
            self, records: Sequence[Record], done: Committed | None = None, notices: Sequence[Notice] = ()
        ) -> None:
            if notices:
                raise ValueError("no")
            spool.record(records, done)

    recorder = Recorder(Deaf(), told, lambda count, _: settled.append(count), lambda _: None, lambda _: None)
    message = envelope("u@a.example", "v@a.example")
    writer = spool.open()
    spool.commit(message, writer, lambda _: None)
    failed = queued(message.message_id, 0, 0.0, state=State.BOUNCED)
    recorder.write([failed, replace(failed, index=1, state=State.DEAD)], [Notice(envelope("f@b.example"), b"")])
    for _ in range(20):
        recorder.write_again()
        gevent.sleep(0.001)
    wait(lambda: sum(settled) == 2, "the records")
    assert [(r.state, r.reply) for r in left(spool)] == [(State.DEAD, "451 4.3.0 later")] * 2
    assert [text for text in told.problems if "nobody can be told" in text] == [
        f"nobody can be told of {message.message_id}: what failed stays as a dead letter"
    ]


def test_a_name_of_a_hop_that_the_database_cannot_keep(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    try:
        message_id = accept(spool, b"1", "u@a.example", "v@a.example")
        settled: list[int] = []
        recorder = Recorder(spool, Told(), lambda count, _: settled.append(count), lambda _: None, lambda _: None)
        recorder.write([replace(queued(message_id, 0, WALL), hop="/mail/\udcff"), delivered(message_id, 1)])

        def is_settled() -> bool:
            recorder.write_again()
            return sum(settled) == 2

        wait(is_settled, "the records")
        [due] = spool.due(WALL + 1, 10)
        assert (due.index, due.attempts) == (0, 1)
    finally:
        spool.close()
