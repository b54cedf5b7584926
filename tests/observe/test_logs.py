"""Log lines: their exact shape, as text and as JSON, and that nobody can forge or break one."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Iterator

import gevent
import pytest

from gsmtp.core.records import Attempt
from gsmtp.observe.bridge import install
from gsmtp.observe.journal import Journal
from gsmtp.observe.logs import EventLog
from gsmtp.observe.writer import LineWriter
from gsmtp.runtime.native import HubMailbox, NativePool


class Lines(list[str]):
    """Takes lines as text, the time cut off."""

    def write(self, line: bytes) -> None:
        self.append(line.decode())


STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z ")


def _text(lines: Lines) -> list[str]:
    assert all(STAMP.match(line) for line in lines)
    return [line[25:] for line in lines]


def test_an_event_is_one_line_of_words() -> None:
    lines = Lines()
    EventLog(lines).event("info", "smtp", "received", id="00/01-00042-00000001", size=12, hop=None, sender="<>")
    assert _text(lines) == ["info     smtp     received id=00/01-00042-00000001 size=12 sender=<>\n"]


def test_values_with_blanks_quotes_and_controls_are_quoted_and_shown_as_escapes() -> None:
    lines = Lines()
    EventLog(lines).event(
        "info", "smtp", "rejected", reply="550 5.7.1 no", sender='<"a\nb"@x>', name="b\u00fccher", path="a\\b"
    )
    assert _text(lines) == [
        'info     smtp     rejected reply="550 5.7.1 no" sender="<\\"a\\nb\\"@x>" name="b\u00fccher" path="a\\\\b"\n'
    ]


def test_json_has_the_same_fields() -> None:
    lines = Lines()
    EventLog(lines, as_json=True).event("info", "smtp", "received", id="x", size=12, hop=None)
    record = json.loads(lines[0])
    assert STAMP.match(record.pop("time") + " ")
    assert record == {"level": "info", "area": "smtp", "event": "received", "id": "x", "size": 12}


def test_bytes_that_are_no_text_do_not_break_the_log() -> None:
    lines = Lines()
    EventLog(lines).event("info", "smtp", "rejected", sender="<\udcff@x>")
    EventLog(lines, as_json=True).event("info", "smtp", "rejected", sender="<\udcff@x>")
    assert len(lines) == 2


@pytest.fixture
def logging_restored() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("gsmtp")
    before = list(root.handlers), root.level, ours.level
    yield
    root.handlers[:], root.level = before[0], before[1]
    ours.setLevel(before[2])


@pytest.mark.usefixtures("logging_restored")
def test_the_standard_loggers_come_out_in_the_same_shape() -> None:
    lines = Lines()
    install(EventLog(lines), logging.INFO)
    logging.getLogger("gsmtp.spool").warning("%d rows", 3)
    logging.getLogger("gsmtp.spool").debug("not shown")
    logging.getLogger("somebody.else").info("not shown either")
    try:
        raise ZeroDivisionError("oops")
    except ZeroDivisionError:
        logging.getLogger("gsmtp.policy").exception("hook failed")
    first, second = _text(lines)
    assert first == "warning  spool    3 rows\n"
    assert second.startswith('error    policy   hook failed traceback="Traceback (most recent call last):\\n')
    assert second.count("\n") == 1


def test_a_delivery_is_told_with_its_ids_and_its_answer() -> None:
    lines = Lines()
    log = Journal(EventLog(lines))
    ids = ("00/01-00042-00000001", "00/01-00042-00000000")
    log.delivery(Attempt("deferred", *ids, "a@x", "b@y", "y", "10.0.0.1:25", "451 4.3.0 later", 2, 61.25))
    assert _text(lines) == [
        "warning  delivery deferred id=00/01-00042-00000001 session=00/01-00042-00000000 sender=<a@x> recipient=<b@y> "
        'hop=10.0.0.1:25 attempt=2 age_s=61.2 reply="451 4.3.0 later"\n'
    ]


def _read_until(descriptor: int, count: int) -> bytes:
    data = b""
    with gevent.Timeout(10, AssertionError("the lines did not come")):
        while data.count(b"\n") < count:
            try:
                data += os.read(descriptor, 1 << 20)
            except BlockingIOError:
                gevent.sleep(0.01)
    return data


def test_lines_come_out_whole_and_in_order_through_a_slow_pipe() -> None:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    writer = LineWriter(writing, NativePool("log", 1, HubMailbox()))
    expected = [b"line %06d %s\n" % (number, b"x" * 60) for number in range(5000)]
    for line in expected:
        writer.write(line)
    assert _read_until(reading, 5000).splitlines(keepends=True) == expected
    with gevent.Timeout(10, AssertionError("never idle")):
        while not writer.is_idle:
            gevent.sleep(0.01)
    os.close(reading)


def test_a_reader_that_stops_reading_costs_lines_and_not_the_server() -> None:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    writer = LineWriter(writing, NativePool("log", 1, HubMailbox()))
    line = b"y" * 1023 + b"\n"
    for _ in range(20):
        for _ in range(1024):
            writer.write(line)
        writer.flush()  # 20 MiB in all, 16 MiB may wait
    writer.write(b"after the flood\n")
    data = b""
    with gevent.Timeout(20, AssertionError("the last line did not come")):
        while not data.endswith(b"after the flood\n"):
            try:
                data = data[-200:] + os.read(reading, 1 << 20)
                if b"log lines dropped: nobody read them fast enough" in data:
                    dropped = data
            except BlockingIOError:
                writer.write(b"after the flood\n")
                gevent.sleep(0.01)
    assert b"log lines dropped" in dropped
