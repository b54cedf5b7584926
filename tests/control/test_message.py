"""``message details``, ``retry``, ``fail`` and ``fail quiet``: exact shapes, with real mail in a real spool."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.console import ConsoleClient, console_of
from tests.support.inprocess import Running, running
from tests.support.sink import Sink

CONF = """
suspend_delivery = false
generate_bounces = true
relay_domains = ( "later.example" "still.example" "example.net" )
ESMTP_Listener {{ Listen "127.0.0.1:0" {{ }} }}
Control_Listener {{ Listen "{folder}/control" {{ }} }}
Domain "later.example" {{ gateway = "{hop}"  retry_interval = 1000 }}
Domain "example.net" {{ gateway = "{hop}" }}
Domain "still.example" {{ suspend_delivery = true }}
"""


@pytest.fixture
def hop() -> Iterator[Sink]:
    with Sink(script={"RCPT": [b"451 4.2.1 later, please\r\n"]}) as sink:
        yield sink


@pytest.fixture
def server(tmp_path: Path, hop: Sink) -> Iterator[Running]:
    with running(tmp_path, CONF.format(folder=tmp_path, hop=hop.gateway)) as started:
        yield started


@pytest.fixture
def console(server: Running) -> Iterator[ConsoleClient]:
    client = console_of(server)
    yield client
    client.close()


def _send(server: Running, recipient: str, body: bytes = b"Subject: x\r\n\r\nhello\r\n") -> str:
    """A message's id, once it was refused for now or put where nothing is tried."""
    client = server.client().greet()
    reply = client.transaction(body, recipient=recipient.encode())
    client.close()
    found = re.search(rb"[0-9A-F]{2}/[0-9A-F]{2}-\d{5}-[0-9A-F]{8}", reply)
    assert found is not None, reply
    if "later" in recipient:
        server.wait_for(lambda: server.supervisor._delivery.stats().deferrals == 1)
    return found[0].decode()


def _told(wall_s: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(wall_s))


def test_details_have_the_documented_lines(server: Running, console: ConsoleClient) -> None:
    id_ = _send(server, "b@later.example")
    (data,) = console.data(f"message details {id_}")
    assert console.lines(f"message details {id_.lower()}") == [
        f"Message: {id_}",
        "Message Type: full message",
        f"               Created: {_told(data['created'])}",
        f"          Next Attempt: {_told(data['next_try'])}",
        "               Retries: 1",
        "          Received Via: ESMTP 127.0.0.1 (IPv4)",
        "                Sender: a@example.net",
        "             Recipient: b@later.example",
        "                  Code: 451 4.2.1 later, please",
        f"                  Size: {data['size']}",
    ]
    assert (data["state"], data["reply"]) == ("queued", "451 4.2.1 later, please")
    assert [(past["attempts"], past["reply"]) for past in data["history"]] == [(1, "451 4.2.1 later, please")]
    assert data["next_try"] > data["created"]
    console.lines(f"queue hold {id_}")
    assert console.lines(f"message details {id_}")[3] == "          Next Attempt: none, it is held"
    assert console.data(f"message details {id_}")[0]["history"][-1]["state"] == "held"


def test_the_text_is_shown_line_by_line(server: Running, console: ConsoleClient) -> None:
    id_ = _send(server, "b@still.example", b"Subject: x\r\n\r\n..hello\r\n\xff\x1b[31m\r\n")
    lines = console.lines(f"message details body {id_}")
    assert "Subject: x" in lines
    assert lines[-3:] == ["", ".hello", "\\xff\\x1b[31m"]  # neither the console nor a terminal is fooled
    full = console.lines(f"message details full {id_}")
    assert full[0] == f"Message: {id_}"
    assert full[full.index("") + 1 :] == lines
    text = console.data(f"message details body {id_}")[0]
    assert "\r\n\r\n.hello\r\n" in text["body"]
    assert text["is_whole"] is True


def test_a_large_text_is_read_from_its_file(server: Running, console: ConsoleClient) -> None:
    line = b"0123456789" * 7 + b"\r\n"
    id_ = _send(server, "b@still.example", b"Subject: x\r\n\r\n" + line * 30_000)
    lines = console.lines(f"message details body {id_}")
    assert lines[-30_000:] == [line.decode().strip()] * 30_000
    text = console.data(f"message details body {id_}")[0]
    assert (len(text["body"]), text["is_whole"]) == (1 << 20, False)


def test_what_is_no_message_is_refused(console: ConsoleClient) -> None:
    id_ = "00/00-00000-0000FFFF"
    gone = f"ERR there is no message {id_}: it was delivered, bounced or removed, or never came"
    for what in ("details", "details full", "details body", "retry", "fail", "fail quiet"):
        assert console.say(f"message {what} {id_}") == [gone]
        assert console.say(f"message {what} x") == ["ERR 'x' is not a message id such as 00/2A-01234-0000001F"]
    assert console.say("message details") == ["ERR an id is expected: message details [full | body] ID"]
    assert console.say("message retry") == ["ERR an id is expected: message retry ID"]


def test_a_message_is_tried_now(server: Running, console: ConsoleClient, hop: Sink) -> None:
    id_ = _send(server, "b@later.example")
    assert console.lines(f"message retry {id_}") == ["Message requeued for delivery"]
    server.wait_for(lambda: len(hop.messages) == 1, "it is delivered at once")
    server.wait_for(lambda: not server.queued())


def test_a_message_is_failed_and_its_sender_told(server: Running, console: ConsoleClient, hop: Sink) -> None:
    id_ = _send(server, "b@later.example")
    assert console.lines(f"message fail {id_}") == ["Message failed"]
    server.wait_for(lambda: len(hop.messages) == 1, "the bounce")
    assert hop.messages[0].mail.startswith(b"MAIL FROM:<>")
    assert hop.messages[0].rcpts[0].startswith(b"RCPT TO:<a@example.net>")
    server.wait_for(lambda: not server.queued())


def test_a_message_is_failed_without_a_word(server: Running, console: ConsoleClient) -> None:
    id_ = _send(server, "b@later.example")
    assert console.lines(f"message fail quiet {id_}") == ["Message failed"]
    assert server.queued() == []
