"""What is said in one turn of the loop goes out together at its end, whatever becomes of one of those who say it."""

from __future__ import annotations

from typing import Any

import gevent

from gsmtp.server.outbox import MOST_WAITING, Outbox


class Speaker:
    """Stands for a connection."""

    def __init__(self, sent: list[Speaker], trouble: Exception | None = None) -> None:
        self.sent = sent
        self.trouble = trouble
        self.broken = False

    def send_now(self) -> None:
        """As a connection's."""
        if self.trouble is not None:
            raise self.trouble
        self.sent.append(self)

    def break_off(self) -> None:
        """As a connection's."""
        self.broken = True


def add(outbox: Outbox, *speakers: Speaker) -> None:
    for speaker in speakers:
        outbox.add(speaker)


def make() -> tuple[Outbox, list[Speaker]]:
    loop: Any = gevent.get_hub().loop
    return Outbox(loop), []


def test_nothing_goes_out_before_the_end_of_the_turn_and_all_of_it_then_in_order() -> None:
    outbox, sent = make()
    speakers = [Speaker(sent) for _ in range(3)]
    add(outbox, *speakers)
    assert sent == []
    gevent.sleep(0)
    assert sent == speakers
    add(outbox, speakers[0])
    gevent.sleep(0)
    assert sent == [*speakers, speakers[0]]


def test_nobody_waits_for_more_than_so_many_others() -> None:
    outbox, sent = make()
    speakers = [Speaker(sent) for _ in range(MOST_WAITING + 1)]
    add(outbox, *speakers)
    assert sent == speakers[:MOST_WAITING]
    gevent.sleep(0)
    assert sent == speakers


def test_one_that_breaks_is_closed_and_the_others_are_sent() -> None:
    outbox, sent = make()
    first, broken, last = Speaker(sent), Speaker(sent, RuntimeError("a bug")), Speaker(sent)
    add(outbox, first, broken, last)
    gevent.sleep(0)
    assert sent == [first, last]
    assert broken.broken
