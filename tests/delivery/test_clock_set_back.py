"""The wall clock is set back while mail is queued: nothing waits longer than it would have and the set-back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gsmtp.core.clock import FixedClock
from gsmtp.spool.memory import MemorySpool
from gsmtp.spool.sqlite import SqliteSpool
from tests.delivery.kit import configuration
from tests.delivery.test_queue import T0, House, house, wait
from tests.support.ports import free_port
from tests.support.sink import Sink

HOUR_S = 3600.0


def _set_back(clock: FixedClock, seconds: float) -> None:
    """Change the wall clock; the monotonic one knows nothing of it."""
    clock._wall_s -= seconds


@contextmanager
def _housed(kind: str, base: Path, port: int) -> Iterator[House]:
    conf = configuration(everywhere={"Gateway": f"127.0.0.1:{port}", "Retry_Interval": 1200})
    spool = MemorySpool() if kind == "memory" else SqliteSpool.open_at(str(base))
    with house(conf, spool) as home:
        yield home
    spool.close()


@pytest.mark.parametrize("kind", ["memory", "disk"])
def test_retries_go_on_when_the_clock_is_set_back(kind: str, tmp_path: Path) -> None:
    port = free_port()
    with _housed(kind, tmp_path, port) as home:
        home.accept("before@a.example")
        wait(lambda: home.delivery.stats().deferrals == 1, "the first try of what came before")
        _set_back(home.clock, HOUR_S)
        home.accept("after@a.example")
        wait(lambda: home.delivery.stats().deferrals == 2, "the first try of what came after")
        assert [attempt.due_wall for attempt in home.told.deliveries] == [T0 + 1200, T0 - HOUR_S + 1200]
        home.later(1200)
        wait(lambda: home.delivery.stats().deferrals == 3, "the second try of what came after")
        with Sink(port=port) as sink:
            home.later(HOUR_S)
            wait(lambda: home.delivery.stats().delivered == 2, "both")
            assert sorted(message.rcpts[0] for message in sink.messages) == [
                b"RCPT TO:<after@a.example>",
                b"RCPT TO:<before@a.example>",
            ]
        assert not home.told.problems
        assert all(attempt.age_s >= 0 for attempt in home.told.deliveries)


@pytest.mark.parametrize("kind", ["memory", "disk"])
def test_mail_that_was_never_tried_goes_out_when_the_clock_is_set_back(kind: str, tmp_path: Path) -> None:
    """It was accepted, and the queue was not told; whether its first look found it is a matter of luck."""
    with Sink() as sink, _housed(kind, tmp_path, sink.port) as home:
        home.accept("u@a.example", tell=False)
        _set_back(home.clock, HOUR_S)
        home.accept("v@a.example")
        wait(lambda: b"RCPT TO:<v@a.example>" in [message.rcpts[0] for message in sink.messages], "what came after")
        home.later(HOUR_S)
        wait(lambda: home.delivery.stats().delivered == 2, "what came before")
        assert len(sink.messages) == 2
        assert not home.told.problems


def test_a_message_expires_no_later_than_by_the_set_back(tmp_path: Path) -> None:
    port = free_port()
    with _housed("disk", tmp_path, port) as home:
        home.delivery.reconfigure(
            configuration(everywhere={"Gateway": f"127.0.0.1:{port}", "Message_Expiration": 1000})
        )
        home.accept("u@a.example")
        wait(lambda: home.delivery.stats().deferrals == 1, "the first try")
        _set_back(home.clock, HOUR_S)
        home.later(HOUR_S + 1000)
        wait(lambda: home.delivery.stats().failed == 1, "the last try")
