"""Webhooks: what goes over the wire, what answers mean, circuits, deadlines, TLS, and a whole server that posts."""

from __future__ import annotations

import base64
import email.utils
import gc
import hashlib
import hmac
import json
import logging
import os
import re
import resource
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest

from gsmtp.app import wiring
from gsmtp.app.loading import load
from gsmtp.config.view import View
from gsmtp.core.errors import ConfigError, DeliveryError, SpoolError
from gsmtp.delivery.circuit import Circuit, CircuitLimits
from gsmtp.delivery.pool import ConnectionPool, HopHealth
from gsmtp.delivery.sockets import green_connect
from gsmtp.delivery.transport import Job, Outcome, Throttled, Tools
from gsmtp.delivery.transports.webhook import WebhookTransport
from gsmtp.runtime.native import HubMailbox, NativePool
from gsmtp.spool.base import StoredBody
from tests.delivery.kit import envelope, resolver, stored
from tests.support.certificates import Authority
from tests.support.inprocess import running
from tests.support.receiver import OK, Receiver, Taken, answer
from tests.support.source import ROOT

SECRET = "a secret of the tests"
NASTY = (
    b"From: =?utf-8?q?M=C3=BCller=2C_J=C3=B6rg?= <joerg@example.net>\r\n"
    b'To: "Lee, Ann" <ann@example.com>, bob@example.com\r\n'
    b"Reply-To: =?iso-8859-1?b?4g==?= <a@example.net>\r\n"
    b"Cc: broken <\r\n"
    b"Subject: =?utf-8?b?w6Q=?=\r\n =?utf-8?b?w7Y=?= \xff raw\r\n"
    b"Date: Thu, 32 Foo 2025 99:99:99\r\n"
    b"Message-ID: <1@example.net>\r\n"
    b"MIME-Version: 1.0\r\n"
    b"Content-Type: multipart/mixed; boundary=outer\r\n\r\n"
    b"--outer\r\nContent-Type: multipart/alternative; boundary=inner\r\n\r\n"
    b"--inner\r\nContent-Type: text/plain; charset=no-such-charset\r\n\r\nGr\xc3\xbc\xc3\x9fe\r\n"
    b"--inner\r\nContent-Type: text/html; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    b"<b>=FC</b>\r\n--inner--\r\n"
    b"--outer\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\nforwarded\r\n"
    b"--outer\r\nContent-Type: image/png; name*0*=utf-8''%e2%82%ac%20; name*1=rate.png\r\n"
    b"Content-ID: <logo@example.net>\r\nContent-Disposition: inline\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    b"iVBORw0KGgo=\r\n"
    b'--outer\r\nContent-Disposition: attachment; filename="=?utf-8?q?=C3=BC?=.txt"\r\n\r\nlast\r\n'
)


class Bench:
    """A transport with real sockets and native threads, and a stanza for a receiver."""

    def __init__(self, folder: Path) -> None:
        wiring.load()
        self.folder = folder
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
        self.transport = WebhookTransport(self.tools)

    def configure(self, url: str, more: str = "", secret: str = f'"{SECRET}"') -> View:
        """Load a stanza as the server does; its view."""
        path = self.folder / "webhook.conf"
        path.write_text(
            f'spoolbase = "{self.folder}"\n'
            f'webhook "app" {{\n domain = ( "example.com" )\n url = "{url}"\n secret = ( {secret} )\n {more}\n}}\n'
        )
        loaded = load(str(path), 1)
        assert loaded.configuration is not None, [str(problem) for problem in loaded.problems]
        views = loaded.configuration.stanzas("webhook")
        for view in views:
            WebhookTransport.examine(view, self.tools.native)
        self.transport.configure(views)
        self.view = views[0]
        return self.view

    def job(self, body: bytes | StoredBody = b"Subject: x\r\n\r\nhello\r\n", **more: Any) -> Job:
        """A job for all recipients of a message, or for those of `recipients`."""
        given = more.pop("envelope", None) or envelope("ann@example.com", "bob@example.com")
        recipients = more.pop("recipients", given.recipients)
        return Job(given, stored(body) if isinstance(body, bytes) else body, recipients, self.view, **more)

    def deliver(self, *arguments: Any, **more: Any) -> list[Outcome]:
        """Deliver a job, with an end."""
        with gevent.Timeout(20, AssertionError("the delivery doesn't end")):
            return self.transport.deliver(self.job(*arguments, **more))

    def one(self, *arguments: Any, **more: Any) -> Outcome:
        """Deliver; the outcome that all recipients share."""
        outcomes = set(self.deliver(*arguments, **more))
        assert len(outcomes) == 1
        return outcomes.pop()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.tools.connections.close_all()
    made.native.close()
    made.mailbox.close()


def verify(taken: Taken, secret: bytes = SECRET.encode()) -> str:
    """Check a request's signatures as docs/transports.md says, with code of our own; the body's in hexadecimal."""
    timestamp = taken.headers["x-gsmtp-timestamp"]
    assert abs(time.time() - int(timestamp)) < 300
    signature = hmac.digest(secret, timestamp.encode() + b"." + taken.body, "sha256").hex()
    assert f"v1={signature}" in taken.headers["x-gsmtp-signature"].split(",")
    shown = taken.headers.get("x-gsmtp-envelope")
    if shown is not None:
        made = hmac.digest(secret, f"{timestamp}.{signature}.{shown}".encode(), "sha256").hex()
        assert f"v1={made}" in taken.headers["x-gsmtp-envelope-signature"].split(",")
    return signature


# --- what is sent -----------------------------------------------------------------------------------------------------


def test_the_raw_form_is_the_message_with_its_envelope_in_a_signed_field(bench: Bench) -> None:
    body = b"Subject: \xc3\xa4\r\n\r\n\x00bytes\xff\r\n"
    given = envelope("ann@example.com", "Jörg@example.com", conn={"auth_user": "zoë"}, mess={"score": "5"})
    with Receiver() as app:
        bench.configure(app.url)
        got = bench.one(body, envelope=given, attempts=2)
    assert (got.code, got.reply, got.hop, got.remote) == (250, "250 2.0.0 HTTP 200 OK", "webhook app", "127.0.0.1")
    assert got.sent_bytes == len(body)
    (taken,) = app.requests
    assert taken.line == "POST /mail?from=gsmtp HTTP/1.1"
    assert taken.body == body
    assert taken.headers["host"] == f"127.0.0.1:{app.port}"
    assert taken.headers["content-type"] == "message/rfc822"
    assert taken.headers["idempotency-key"] == taken.headers["x-gsmtp-id"] == given.message_id
    assert taken.headers["x-gsmtp-attempt"] == "3"
    verify(taken)
    assert json.loads(taken.headers["x-gsmtp-envelope"]) == {
        "version": 1,
        "id": given.message_id,
        "key": given.message_id,
        "attempt": 3,
        "sender": "from@example.net",
        "recipients": ["ann@example.com", "Jörg@example.com"],
        "indexes": [0, 1],
        "received": "2025-01-01T00:00:00.000Z",
        "size": 0,
        "client": "",
        "helo": "",
        "protocol": "SMTP",
        "auth_user": "zoë",
        "smtputf8": False,
        "context": {"connection": {"auth_user": "zoë"}, "message": {"score": "5"}},
    }


def test_the_json_form_holds_what_a_nasty_message_says(bench: Bench) -> None:
    with Receiver() as app:
        bench.configure(app.url, 'format = "json"')
        assert bench.one(NASTY).code == 250
    (taken,) = app.requests
    assert taken.headers["content-type"] == "application/json"
    assert "x-gsmtp-envelope" not in taken.headers
    verify(taken)
    whole = json.loads(taken.body.decode("utf-8"))
    assert whole["recipients"] == ["ann@example.com", "bob@example.com"]
    message = whole["message"]
    assert message["from"] == [{"name": "Müller, Jörg", "address": "joerg@example.net"}]
    assert message["reply_to"] == [{"name": "â", "address": "a@example.net"}]
    assert message["to"][0] == {"name": "Lee, Ann", "address": "ann@example.com"}
    assert message["subject"] == "äö \ufffd raw"
    assert message["date"] is None
    assert message["message_id"] == "<1@example.net>"
    assert message["text"] == "Grüße"
    assert message["html"] == "<b>ü</b>"
    forwarded, picture, last = message["attachments"]
    assert forwarded["content_type"] == "message/rfc822"
    assert base64.b64decode(forwarded["content"]) == b"Subject: inner\r\n\r\nforwarded"
    assert (picture["name"], picture["content_id"], picture["disposition"], picture["size"]) == (
        "€ rate.png", "logo@example.net", "inline", 8,
    )  # fmt: skip
    assert base64.b64decode(picture["content"]) == b"\x89PNG\r\n\x1a\n"
    assert (last["name"], last["content_type"], last["disposition"]) == ("ü.txt", "text/plain", "attachment")
    assert ["Message-ID", "<1@example.net>"] in message["headers"]
    assert any("date" in defect for defect in message["defects"])


def test_a_message_too_large_for_json_goes_raw_and_whole(bench: Bench) -> None:
    body = b"Subject: x\r\n\r\n" + b"x" * 2000 + b"\r\n"
    with Receiver() as app:
        bench.configure(app.url, 'format = "json" json_max_message_size = 2000')
        assert bench.one(body).code == 250
        assert bench.one(b"\r\nsmall\r\n").code == 250
    assert [one.headers["content-type"] for one in app.requests] == ["message/rfc822", "application/json"]
    assert app.requests[0].body == body
    verify(app.requests[0])


def test_each_secret_signs(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "new").write_text("the new secret, from a file\n")
    with Receiver() as app:
        bench.configure(app.url, secret=f'"file:{tmp_path}/new" "{SECRET}"')
        bench.one()
    verify(app.requests[0])
    verify(app.requests[0], b"the new secret, from a file")
    with pytest.raises(AssertionError):
        verify(app.requests[0], b"another")


def test_the_key_is_the_same_at_a_retry_and_names_a_part_of_the_recipients(bench: Bench) -> None:
    given = envelope("a@example.com", "b@example.org", "c@example.com")
    part = [given.recipients[0], given.recipients[2]]
    answers = iter((answer("503 Busy"), OK, OK))
    with Receiver(lambda _: next(answers)) as app:
        bench.configure(app.url)
        codes = [bench.one(envelope=given, recipients=part, attempts=tries).code for tries in (0, 1)]
        bench.one(envelope=given)
    assert codes == [451, 250]
    keys = [one.headers["idempotency-key"] for one in app.requests]
    assert keys == [f"{given.message_id}#0,2", f"{given.message_id}#0,2", given.message_id]
    assert json.loads(app.requests[0].headers["x-gsmtp-envelope"])["recipients"] == ["a@example.com", "c@example.com"]


def test_many_recipients_are_spread_over_requests_whose_header_servers_take(bench: Bench) -> None:
    given = envelope(*(f"{number:03}-{'x' * 60}@example.com" for number in range(100)), mess={"big": "y" * 8000})
    with Receiver() as app:
        bench.configure(app.url)
        assert len(bench.deliver(envelope=given)) == 100
    assert len(app.requests) > 1
    told = [json.loads(one.headers["x-gsmtp-envelope"]) for one in app.requests]
    assert [one for part in told for one in part["recipients"]] == [one.address for one in given.recipients]
    assert all(sum(map(len, one.headers.values())) < 7000 for one in app.requests)
    assert told[0]["context"] is None
    assert len({one.headers["idempotency-key"] for one in app.requests}) == len(app.requests)


def test_requests_that_were_answered_count_when_a_later_one_of_the_job_is_not_made(bench: Bench) -> None:
    given = envelope(*(f"{number:03}-{'x' * 60}@example.com" for number in range(60)))
    asked: list[int] = []

    def once() -> None:
        asked.append(1)
        if len(asked) > 1:
            raise Throttled("451 4.4.5 [internal] not now")

    with Receiver(lambda _: answer("200 OK", b"", "Connection: close")) as app:
        bench.configure(app.url)
        got = bench.deliver(envelope=given, connecting=once)
    told = json.loads(app.requests[0].headers["x-gsmtp-envelope"])["recipients"]
    assert len(app.requests) == 1
    assert [one.code for one in got] == [250] * len(told) + [451] * (60 - len(told))
    assert got[-1].reply == "451 4.3.0 [internal] not posted: 451 4.4.5 [internal] not now"


def test_a_connection_is_used_again_and_replaced_when_it_was_closed_meanwhile(bench: Bench) -> None:
    """The receiver closes after the second answer, as one does whose patience with idle connections is over."""
    with Receiver(lambda taken: b"" if taken.connection == 1 and len(app.requests) == 3 else OK) as app:
        bench.configure(app.url)
        assert [bench.one().code for _ in range(3)] == [250, 250, 250]
    assert app.connections == 2
    assert [one.connection for one in app.requests] == [1, 1, 1, 2]


def test_a_throttle_is_asked_for_connections_alone_and_leaves_the_circuit_as_it_is(bench: Bench) -> None:
    asked: list[int] = []

    def no_more() -> None:
        raise Throttled("451 4.4.5 [internal] not now")

    with Receiver() as app:
        bench.configure(app.url, "circuit_failures = 1")
        with pytest.raises(Throttled):
            bench.deliver(connecting=no_more)
        assert [bench.one(connecting=lambda: asked.append(1)).code for _ in range(2)] == [250, 250]
    assert asked == [1]
    assert app.connections == 1


def test_a_large_body_is_streamed_from_its_file(bench: Bench, tmp_path: Path) -> None:
    size = 96 << 20
    path = tmp_path / "body"
    with path.open("wb") as file:
        for number in range(size >> 20):
            file.write(bytes([number]) * (1 << 20))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    gc.collect()
    with Receiver() as app:
        bench.configure(app.url)
        before = _rss_bytes()
        grown = [0]
        watcher = gevent.spawn(_watch_memory, before, grown)
        assert bench.one(StoredBody(size, None, str(path))).code == 250
        watcher.kill()
    assert (app.requests[0].size, app.requests[0].sha256) == (size, digest)
    assert grown[0] < 24 << 20


def _rss_bytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def _watch_memory(before: int, grown: list[int]) -> None:
    while True:
        grown[0] = max(grown[0], _rss_bytes() - before)
        gevent.sleep(0.002)


def test_a_mark_is_made_before_the_last_bytes_and_no_byte_follows_one_that_fails(bench: Bench) -> None:
    seen: list[int] = []

    def broken() -> None:
        raise SpoolError("the disk is gone")

    with Receiver() as app:
        bench.configure(app.url)
        bench.one(mark=lambda: seen.append(len(app.requests)))
        assert seen == [0]
        with pytest.raises(SpoolError):
            bench.deliver(mark=broken)
        assert bench.one().code == 250
    assert len(app.requests) == 2


def test_a_body_file_that_is_gone_is_the_spools_trouble(bench: Bench, tmp_path: Path) -> None:
    with Receiver() as app:
        bench.configure(app.url)
        with pytest.raises(SpoolError):
            bench.deliver(StoredBody(10, None, str(tmp_path / "gone")))


# --- what answers mean ------------------------------------------------------------------------------------------------

JSON_PROBLEM = "Content-Type: application/problem+json"
MEANINGS = [
    ("204 No Content", 250, "250 2.0.0 HTTP 204 No Content"),
    ("202 Accepted", 250, "250 2.0.0 HTTP 202 Accepted"),
    ("400 Bad Request", 554, "554 5.3.0 HTTP 400 Bad Request: why"),
    ("401 Unauthorized", 554, "554 5.3.0 HTTP 401 Unauthorized: why"),
    ("408 Request Timeout", 451, "451 4.3.0 HTTP 408 Request Timeout: why"),
    ("410 Gone", 554, "554 5.3.0 HTTP 410 Gone: why"),
    ("425 Too Early", 451, "451 4.3.0 HTTP 425 Too Early: why"),
    ("429 Too Many Requests", 451, "451 4.3.0 HTTP 429 Too Many Requests: why"),
    ("500 Internal Server Error", 451, "451 4.3.0 HTTP 500 Internal Server Error: why"),
    ("503 Service Unavailable", 451, "451 4.3.0 HTTP 503 Service Unavailable: why"),
]


@pytest.mark.parametrize(("status", "code", "reply"), MEANINGS, ids=[one[0][:3] for one in MEANINGS])
def test_each_class_of_answers(bench: Bench, status: str, code: int, reply: str) -> None:
    body = b"" if status.startswith("204") else b" why\r\n"
    with Receiver(lambda _: answer(status, body)) as app:
        bench.configure(app.url)
        got = bench.one()
    assert (got.code, got.reply, got.keep) == (code, reply, status.startswith("410"))


def test_a_redirect_is_refused_and_not_followed(bench: Bench) -> None:
    with Receiver(lambda _: answer("302 Found", b"", "Location: https://elsewhere.example/")) as app:
        bench.configure(app.url)
        got = bench.one()
    assert len(app.requests) == 1
    assert got.code == 554
    assert got.reply == (
        "554 5.3.5 [internal] HTTP 302 Found: redirects are not followed, set url to where it leads: "
        "https://elsewhere.example/"
    )


@pytest.mark.parametrize(
    ("field", "least", "most"),
    [
        ("120", 120, 120),
        ("999999999", 3600, 3600),
        ("in ten minutes", 500, 600),
        (email.utils.formatdate(1, usegmt=True), 0, 0),
        ("-5", 0, 0),
        ("soon", 0, 0),
        ("²", 0, 0),
    ],
    ids=["seconds", "too-long", "date", "past", "negative", "word", "superscript"],
)
def test_retry_after_is_honoured_within_an_hour(bench: Bench, field: str, least: float, most: float) -> None:
    if field == "in ten minutes":
        field = email.utils.formatdate(time.time() + 600, usegmt=True)
    said = answer("429 Slow Down").replace(b"\r\n\r\n", f"\r\nRetry-After: {field}\r\n\r\n".encode())
    with Receiver(lambda _: said) as app:
        bench.configure(app.url)
        assert least <= bench.one().retry_after_s <= most


def test_no_text_of_an_answer_breaks_a_line_of_ours(bench: Bench) -> None:
    with Receiver(lambda _: answer("400 Bad", "a\r\nb\x00\u2028\x85c".encode() + b"\xff" * 100_000)) as app:
        bench.configure(app.url)
        reply = bench.one().reply
    assert reply.startswith("554 5.3.0 HTTP 400 Bad: a b c\ufffd")
    assert len(reply) < 260


def test_requiretls_goes_over_tls_or_not_at_all(bench: Bench) -> None:
    bench.configure("http://receiver.example/")
    with pytest.raises(DeliveryError, match=r"^550 5.7.30 ") as caught:
        bench.deliver(envelope=envelope("a@example.com", requires_tls=True))
    assert not caught.value.temporary


# --- receivers that misbehave -----------------------------------------------------------------------------------------


def _dribble(sock: socket.socket) -> None:
    sock.recv(65536)
    try:
        while True:
            sock.sendall(b"HTTP/1.1 200 OK\r\nX: "[:1])
            time.sleep(0.05)
    except OSError:
        pass


def _half_an_answer(sock: socket.socket) -> None:
    sock.recv(65536)
    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly")


def _body_without_end(sock: socket.socket) -> None:
    sock.recv(65536)
    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly")
    sock.recv(1)


def _half_a_head(sock: socket.socket) -> None:
    sock.recv(65536)
    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Le")


def _half_a_line(sock: socket.socket) -> None:
    sock.recv(65536)
    sock.sendall(b"HTTP/1.1 2")


def _garbage(sock: socket.socket) -> None:
    sock.recv(65536)
    sock.sendall(b"220 mx.example ESMTP\r\n")


def _hang_up(sock: socket.socket) -> None:
    sock.recv(65536)


def _endless(sock: socket.socket) -> None:
    sock.recv(65536)
    sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        sock.sendall(b"x" * 65536)


@pytest.mark.parametrize(
    ("rough", "reply"),
    [
        (_dribble, "450 4.4.1 [internal] Connection Timed Out (waiting for the answer)"),
        (_half_an_answer, "250 2.0.0 HTTP 200 OK"),
        (_body_without_end, "250 2.0.0 HTTP 200 OK"),
        (_half_a_head, "250 2.0.0 HTTP 200 OK"),
        (_half_a_line, "451 4.5.0 [internal] the receiver's answer is no HTTP: BadStatusLine"),
        (_garbage, "451 4.5.0 [internal] the receiver's answer is no HTTP: BadStatusLine"),
        (_hang_up, "451 4.4.2 [internal] connection closed by the receiver"),
        (_endless, "250 2.0.0 HTTP 200 OK"),
    ],
)
def test_a_receiver_that_breaks_the_protocol_is_cut(bench: Bench, rough: Callable[[Any], None], reply: str) -> None:
    with Receiver(rough=rough) as app:
        bench.configure(app.url, "timeout = 1")
        assert bench.one().reply == reply
        assert app.connections == 1


def test_a_receiver_that_answers_before_it_has_read_all_is_heard(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "body"
    path.write_bytes(b"x" * (32 << 20))

    def refuse(sock: socket.socket) -> None:
        sock.recv(100)
        sock.sendall(answer("413 Content Too Large", b"10 MB at most"))
        sock.recv(1 << 30, socket.MSG_PEEK)
        done.wait(10)

    done = threading.Event()
    with Receiver(rough=refuse) as app:
        bench.configure(app.url, "timeout = 1")
        got = bench.one(StoredBody(32 << 20, None, str(path)))
        done.set()
    assert got.reply == "554 5.3.0 HTTP 413 Content Too Large: 10 MB at most"


def test_a_receiver_that_is_not_there(bench: Bench) -> None:
    with Receiver() as app:
        bench.configure(app.url)
        app.down()
        got = bench.one()
    assert got.reply.startswith("451 4.4.1 [internal] the receiver can't be reached: 127.0.0.1")
    assert got.code == 451


def test_no_more_requests_at_once_than_concurrency_says(bench: Bench) -> None:
    bench.configure("http://127.0.0.1:1/", "concurrency = 3")
    assert WebhookTransport.most_at_once(bench.view) == 3


# --- circuit ----------------------------------------------------------------------------------------------------------


def test_a_circuit_opens_probes_and_closes(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """While it is open nobody connects; one probe passes after the pause; the first success closes it."""
    caplog.set_level(logging.INFO, "gsmtp.webhook")
    is_up = False
    with Receiver(lambda _: OK if is_up else answer("500 Oops", b"", "Connection: close")) as app:
        bench.configure(app.url, "circuit_failures = 3 circuit_pause = 0.2 circuit_max_pause = 0.3")
        assert [bench.one().reply[:20] for _ in range(3)] == ["451 4.3.0 HTTP 500 O"] * 3
        assert app.connections == 3
        got = bench.one()
        assert got.reply == ("451 4.4.1 [internal] circuit open: 3 failures in a row, last: 451 4.3.0 HTTP 500 Oops")
        assert 0 < got.retry_after_s <= 0.2
        assert app.connections == 3
        gevent.sleep(got.retry_after_s + 0.01)
        probes = [gevent.spawn(bench.one) for _ in range(4)]
        gevent.joinall(probes, timeout=10)
        assert sorted(one.get().reply[:27] for one in probes)[1:] == ["451 4.4.1 [internal] circui"] * 3
        assert app.connections == 4
        is_up = True
        gevent.sleep(bench.one().retry_after_s + 0.01)
        assert [bench.one().code for _ in range(2)] == [250, 250]
    told = [record.getMessage() for record in caplog.records if record.name == "gsmtp.webhook"]
    assert len(told) == 2
    assert told[0].startswith("webhook app: circuit opened after 3 failures in a row, next try in ")
    assert told[1] == "webhook app answers again: circuit closed"


def test_a_circuit_outlives_a_reload_and_counts_no_refusals(bench: Bench) -> None:
    status = "500 Oops"
    with Receiver(lambda _: answer(status)) as app:
        bench.configure(app.url, "circuit_failures = 2 circuit_pause = 60")
        bench.one()
        status = "404 Not Found"
        bench.one()
        status = "500 Oops"
        bench.one()
        assert len(app.requests) == 3
        bench.configure(app.url, "circuit_failures = 2 circuit_pause = 60 timeout = 5")
        bench.one()
        assert bench.one().reply.startswith("451 4.4.1 [internal] circuit open: 2 failures in a row")
    assert len(app.requests) == 4


def test_pauses_double_up_to_the_longest() -> None:
    now = [0.0]
    circuit = Circuit(lambda: now[0])
    limits = CircuitLimits(1, 5, 30)
    assert circuit.failed("x", limits, was_probe=False)
    pauses = []
    for _ in range(4):
        pauses.append(circuit.wait_s)
        now[0] += circuit.wait_s
        assert circuit.permits()
        assert not circuit.permits()
        circuit.failed("x", limits, was_probe=True)
    assert pauses == [5, 10, 20, 30]
    now[0] += 30
    assert circuit.permits()
    circuit.undecided(was_probe=True)
    assert circuit.permits()
    assert circuit.worked()
    assert circuit.permits()
    assert not circuit.worked()


# --- TLS --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority("tests")


def _server_context(authority: Authority, folder: Path, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.issue(name).write(folder / "server.pem"))
    return context


def test_https_is_verified_by_our_authorities(bench: Bench, authority: Authority, tmp_path: Path) -> None:
    authority.write(tmp_path / "ca.pem")
    with Receiver(context=_server_context(authority, tmp_path, "localhost")) as app:
        bench.configure(app.url, f'tls_ca = "{tmp_path}/ca.pem"')
        assert [bench.one(envelope=envelope("a@example.com", requires_tls=True)).code for _ in range(2)] == [250, 250]
        assert app.connections == 1
        bench.configure(app.url)
        got = bench.one()
    assert got.reply.startswith("454 4.7.5 [internal] TLS with the receiver failed: ")
    assert len(app.requests) == 2


def test_https_of_another_name_is_refused(bench: Bench, authority: Authority, tmp_path: Path) -> None:
    authority.write(tmp_path / "ca.pem")
    with Receiver(context=_server_context(authority, tmp_path, "other.example")) as app:
        bench.configure(app.url, f'tls_ca = "{tmp_path}/ca.pem"')
        assert bench.one().reply.startswith("454 4.7.5 [internal] TLS with the receiver failed: ")
    assert not app.requests


# --- configuration ----------------------------------------------------------------------------------------------------


def _problems(folder: Path, stanza: str) -> list[str]:
    wiring.load()
    path = folder / "webhook.conf"
    path.write_text(stanza)
    return [str(problem) for problem in load(str(path), 1).problems]


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ('url = "ftp://x/" secret = "0123456789abcdef"', "is not valid for option 'url': it must begin with https://"),
        ('url = "https://u:p@x/" secret = "0123456789abcdef"', "it holds a user or a password"),
        ('url = "https://x:99999/" secret = "0123456789abcdef"', "is not valid for option 'url': it Port out of range"),
        ('url = "http://x.example/" secret = "0123456789abcdef"', "mail goes to x.example in clear text"),
        ('url = "https://x/" secret = ( "short" )', "a secret of 5 characters can be guessed"),
        ('url = "https://x/" secret = ( "" )', "an empty secret signs nothing"),
        ('url = "https://x/"', "secret"),
        ('secret = "0123456789abcdef"', "url"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, settings: str, problem: str) -> None:
    found = _problems(tmp_path, f'webhook "app" {{ domain = ( "example.com" ) {settings} }}')
    assert any(problem in one for one in found), found


def test_others_go_on_while_a_secret_is_read(bench: Bench, tmp_path: Path) -> None:
    """From a slow disk; here from a pipe into which a green thread writes."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    def write() -> None:
        while True:
            try:
                end = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
            except OSError:  # nobody reads yet
                gevent.sleep(0.005)
            else:
                os.write(end, SECRET.encode())
                os.close(end)
                return

    writer = gevent.spawn(write)
    rescue = threading.Timer(10, pipe.write_bytes, [b"late"])  # or a hub that waits would wait for ever
    rescue.daemon = True
    rescue.start()
    bench.configure("http://127.0.0.1:1/mail", secret=f'"file:{pipe}"')
    rescue.cancel()
    assert writer.ready()


def test_a_secret_that_cannot_be_read_stops_the_load_with_its_place(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"webhook\.conf:5:\d+: error: the secret's file /no/such can't be read"):
        bench.configure("https://x/", secret='"file:/no/such"')
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(ConfigError, match="is empty"):
        bench.configure("https://x/", secret=f'"file:{tmp_path}/empty"')
    with pytest.raises(ConfigError, match=r"webhook\.conf:6:\d+: error: the authorities in /no/such can't be used"):
        bench.configure("https://x/", 'tls_ca = "/no/such"')


@pytest.mark.parametrize("form", ["raw", "json"])
def test_the_receiver_of_the_docs_takes_what_is_ours_and_nothing_else(bench: Bench, tmp_path: Path, form: str) -> None:
    text = (ROOT / "docs" / "transports.md").read_text(encoding="utf-8")
    (source,) = re.findall(r'^```python\n("""Takes mail from gsmtp.*?)^```$', text, re.MULTILINE | re.DOTALL)
    (tmp_path / "receiver.py").write_text(source)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    words = [sys.executable, str(tmp_path / "receiver.py"), str(port), SECRET]
    application = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        bench.configure(f"http://127.0.0.1:{port}/", f'format = "{form}" circuit_failures = 0')
        with gevent.Timeout(20, AssertionError("it doesn't listen")):
            while (first := bench.one()).reply.startswith("451 4.4.1"):
                gevent.sleep(0.02)
        again = bench.one()
        bench.configure(f"http://127.0.0.1:{port}/", f'format = "{form}"', secret='"another secret of the tests"')
        forged = bench.one(envelope=envelope("ann@example.com", message_id="00/01-00042-00000002"))
    finally:
        application.kill()
        shown = application.communicate()[0].decode()
    assert (first.code, again.code) == (250, 250)
    assert forged.reply == "554 5.3.0 HTTP 403 Forbidden"
    assert shown.count("from@example.net ['ann@example.com', 'bob@example.com']") == 1
    assert len(shown.splitlines()) == 1


# --- a whole server ---------------------------------------------------------------------------------------------------

SERVER = """
spoolbase = "{spool}"
spool_reserve = 0
hostname = "mx.example.com"
drain_time = 1
relay_domains = ( "example.com" )
retry_interval = 1
"""


def test_a_server_posts_what_it_took_again_until_the_receiver_has_it(tmp_path: Path) -> None:
    answers = iter((answer("503 Busy"), OK))
    with Receiver(lambda _: next(answers)) as app:
        stanza = (
            f'webhook "app" {{ domain = ( "example.com" ) url = "{app.url}" secret = ( "{SECRET}" ) format = json }}'
        )
        with running(tmp_path, stanza + '\nESMTP_Listener { Listen "127.0.0.1:0" { } }', base=SERVER) as server:
            client = server.client().greet()
            said = client.transaction(b"Subject: hello\r\n\r\nit works\r\n").decode()
            assert said.startswith("250 ")
            server.wait_for(lambda: len(app.requests) == 2 and not server.queued())
            client.close()
    first, second = app.requests
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]
    assert first.headers["x-gsmtp-id"] in said
    assert [one.headers["x-gsmtp-attempt"] for one in app.requests] == ["1", "2"]
    whole = json.loads(second.body)
    assert (whole["sender"], whole["recipients"], whole["helo"]) == (
        "a@example.net",
        ["b@example.com"],
        "client.example",
    )
    assert (whole["message"]["subject"], whole["message"]["text"]) == ("hello", "it works\n")


def test_a_server_keeps_to_the_concurrency_and_loses_nothing(tmp_path: Path) -> None:
    gate = threading.Event()

    def slow(taken: Taken) -> bytes:
        gate.wait(10)
        return OK

    with Receiver(slow) as app:
        stanza = (
            f'webhook "app" {{ domain = ( "example.com" ) url = "{app.url}" secret = ( "{SECRET}" ) concurrency = 3 }}'
        )
        with running(tmp_path, stanza + '\nESMTP_Listener { Listen "127.0.0.1:0" { } }', base=SERVER) as server:
            client = server.client().greet()
            for _ in range(12):
                assert client.transaction().startswith(b"250 ")
            server.wait_for(lambda: len(app.requests) == 3)
            gate.set()
            server.wait_for(lambda: len(app.requests) == 12 and not server.queued())
            client.close()
    assert app.at_once == 3
    assert len({one.headers["idempotency-key"] for one in app.requests}) == 12
