"""Mail that goes to RabbitMQ: what a queue item holds, and what a client hears when the broker does not take it."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import gevent
import pytest

from tests.broker.conftest import Serve, items, stanza
from tests.support.inprocess import Running
from tests.support.rabbitmq import Node

BODY = b"Subject: x\r\n\r\nhello\r\n"


def wait_items(server: Running, node: Node, queue: str, count: int) -> list[tuple[Any, bytes]]:
    """Take items out until there were so many."""
    found: list[tuple[Any, bytes]] = []

    def enough() -> bool:
        found.extend(items(node, queue))
        return len(found) >= count

    server.wait_for(enough)
    return found


def id_of(reply: bytes) -> str:
    """The message id of a 250."""
    return next(word for word in reply.decode().split() if "/" in word and "-" in word)


def wait_connected(server: Running) -> None:
    server.wait_for(lambda: "connected to" in str(server.log))


def test_confirm_mode_answers_250_for_what_the_broker_has_and_keeps_nothing(
    serve: Serve, node: Node, queue: str
) -> None:
    with serve() as server:
        client = server.client().greet()
        assert client.code(b"MAIL FROM:<a@example.net> SIZE=100 RET=HDRS ENVID=e1") == 250
        assert client.code(b"RCPT TO:<b@example.com> NOTIFY=FAILURE,DELAY ORCPT=rfc822;b@old.example") == 250
        assert client.code(b"RCPT TO:<C@Example.COM>") == 250
        assert client.code(b"DATA") == 354
        client.send(BODY + b".\r\n")
        reply = client.reply()
        assert reply.startswith(b"250 2.0.0 OK ")
        assert server.queued() == []
        [(properties, body)] = items(node, queue)
        assert body.endswith(b"\r\n\r\nhello\r\n")
        assert body.startswith(b"Return-Path: <a@example.net>\r\nReceived: from ")
        headers = properties.headers
        assert headers["gsmtp-id"] == id_of(reply)
        assert properties.message_id.startswith(f"{id_of(reply)}.")
        assert properties.content_type == "message/rfc822"
        assert properties.delivery_mode == 2
        assert properties.app_id == "gsmtp"
        assert headers["sender"] == "a@example.net"
        assert headers["recipients"] == ["b@example.com", "C@Example.COM"]
        assert headers["notify"] == ["FAILURE,DELAY", ""]
        assert headers["orcpt"] == ["rfc822;b@old.example", ""]
        assert (headers["ret"], headers["envid"], headers["helo"]) == ("HDRS", "e1", "client.example")
        assert (headers["size"], headers["gsmtp-format"]) == (len(body), 1)
        server.wait_for(lambda: str(server.log).count("delivered ") == 2)
        assert "250 2.0.0 confirmed by 127.0.0.1:" in str(server.log)


def test_spool_mode_answers_250_at_once_and_publishes_afterwards(serve: Serve, node: Node, queue: str) -> None:
    with serve("spool") as server:
        reply = server.client().greet().transaction()
        assert reply.startswith(b"250 2.0.0 OK ")
        [(properties, body)] = wait_items(server, node, queue, 1)
        assert properties.headers["gsmtp-id"] == id_of(reply)
        assert body.endswith(b"\r\n\r\nhello\r\n")
        server.wait_for(lambda: server.queued() == [])


def test_recipients_elsewhere_make_the_whole_message_go_through_the_spool(
    serve: Serve, node: Node, queue: str, tmp_path: Path
) -> None:
    with serve() as server:
        wait_connected(server)
        client = server.client().greet()
        assert client.code(b"MAIL FROM:<a@example.net>") == 250
        for recipient in (b"b@example.com", b"c@example.org", b"d@example.com"):
            assert client.code(b"RCPT TO:<%s>" % recipient) == 250
        assert client.code(b"DATA") == 354
        client.send(BODY + b".\r\n")
        reply = client.reply()
        assert reply.startswith(b"250 ")
        [(properties, _)] = wait_items(server, node, queue, 1)
        assert properties.headers["recipients"] == ["b@example.com", "d@example.com"]
        assert properties.headers["gsmtp-id"] == id_of(reply)
        server.wait_for(lambda: len(list(tmp_path.glob("spool-maildir/example.org/c/new/*"))) == 1)
        server.wait_for(lambda: server.queued() == [])


def test_what_no_queue_takes_is_refused_for_now(serve: Serve, node: Node, queue: str) -> None:
    with serve(target='exchange = "amq.direct" routing_key = "nobody"') as server:
        wait_connected(server)
        assert server.client().greet().transaction() == b"451 4.3.5 not handed on, try again later\r\n"
        assert "no queue takes it: 312 NO_ROUTE" in str(server.log)
        assert server.queued() == []


def test_what_a_full_queue_refuses_is_refused_for_now(serve: Serve, node: Node) -> None:
    limits = {"x-queue-type": "quorum", "x-max-length": 1, "x-overflow": "reject-publish"}
    with node.channel() as channel:
        channel.queue_declare("full", durable=True, arguments=limits)
    with serve(target='routing_key = "full"') as server:
        replies = []

        def is_refused() -> bool:  # the limit of a quorum queue is a soft one
            replies.append(server.client().greet().transaction())
            return replies[-1].startswith(b"451 ")

        server.wait_for(is_refused)
        assert replies[-1] == b"451 4.3.0 not handed on, try again later\r\n"
        assert "the broker refused it (nack)" in str(server.log)
        taken = [reply for reply in replies if reply.startswith(b"250 ")]
        assert [properties.headers["gsmtp-id"] for properties, _ in items(node, "full")] == list(map(id_of, taken))
        assert server.queued() == []


def test_an_exchange_that_is_not_there_is_named(serve: Serve) -> None:
    with serve(target='exchange = "nowhere"') as server:
        server.wait_for(lambda: "no exchange 'nowhere' in vhost '/'" in str(server.log))
        assert server.client().greet().transaction() == b"451 4.3.5 not handed on, try again later\r\n"
        assert server.queued() == []


def test_an_exchange_that_goes_away_is_named_to_whom_it_concerns(serve: Serve, node: Node, queue: str) -> None:
    with node.channel() as channel:
        channel.exchange_declare("passing", "fanout")
        channel.queue_bind(queue, "passing")
        with serve(target='exchange = "passing"') as server:
            client = server.client().greet()
            assert client.transaction().startswith(b"250 ")
            channel.exchange_delete("passing")
            assert client.transaction() == b"451 4.3.5 not handed on, try again later\r\n"
            assert "the broker closed the channel: 404 NOT_FOUND - no exchange 'passing' in vhost '/'" in str(
                server.log
            )
            channel.exchange_declare("passing", "fanout")
            channel.queue_bind(queue, "passing")
            server.wait_for(lambda: client.transaction().startswith(b"250 "))


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("amqp://guest:wrong@127.0.0.1:{port}", "ACCESS_REFUSED"),
        ("amqp://guest:guest@127.0.0.1:{port}/nothing", "vhost nothing not found"),
        ("amqp://guest:guest@127.0.0.1:1", "Connection refused"),
    ],
)
def test_a_broker_that_does_not_want_us_is_told_at_once_and_the_password_never(
    serve: Serve, node: Node, url: str, says: str
) -> None:
    with serve(url=url.format(port=node.port)) as server:
        server.wait_for(lambda: says in str(server.log))
        assert server.client().greet().transaction()[:8] in (b"451 4.3.", b"451 4.4.")
        assert "wrong" not in str(server.log)
        assert server.queued() == []


def test_a_message_above_the_size_is_claimed(serve: Serve, node: Node, queue: str, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    with serve(more=f'claim_check_path = "{shared}" claim_check_size = 300000') as server:
        line = b"x" * 78 + b"\r\n"
        small = server.client().greet().transaction(b"Subject: s\r\n\r\n" + line * 3_000)
        large = server.client().greet().transaction(b"Subject: l\r\n\r\n" + line * 5_000)
        assert small.startswith(b"250 ")
        assert large.startswith(b"250 ")
        [(first, whole), (second, claim)] = items(node, queue)
        assert first.content_type == "message/rfc822"
        assert whole.endswith(line * 3_000)
        assert second.content_type == "application/vnd.gsmtp.claim+json"
        said = json.loads(claim)
        stored = (shared / said["path"]).read_bytes()
        assert stored.endswith(line * 5_000)
        assert (said["size"], said["sha256"]) == (len(stored), sha256(stored).hexdigest())
        assert len([path for path in shared.rglob("*") if path.is_file()]) == 1
        assert not list((tmp_path / "spool" / "bodies" / "new").iterdir())


def test_a_claim_that_cannot_be_stored_is_refused_for_now(serve: Serve, tmp_path: Path) -> None:
    with serve(more=f'claim_check_path = "{tmp_path}/missing" claim_check_size = 1000') as server:
        wait_connected(server)
        client = server.client().greet()
        assert client.transaction(BODY + 20 * (b"x" * 78 + b"\r\n")) == b"451 4.3.0 not handed on, try again later\r\n"
        assert client.transaction().startswith(b"250 ")


def test_without_a_shared_directory_what_the_broker_would_not_take_is_refused_for_good(serve: Serve) -> None:
    with serve(more="") as server:
        wait_connected(server)
        client = server.client().greet()
        line = b"x" * 998 + b"\r\n"
        assert client.transaction(BODY + line * 17_000) == b"552 5.3.4 refused\r\n"


def test_many_long_addresses_become_parts_that_tell_apart(serve: Serve, node: Node, queue: str) -> None:
    with serve() as server:
        client = server.client().greet()
        addresses = [b"%s%03d@example.com" % (b"u" * 60, number) for number in range(300)]
        client.send(b"MAIL FROM:<a@example.net>\r\n")
        client.send(b"".join(b"RCPT TO:<%s>\r\n" % address for address in addresses))
        assert {client.reply()[:3] for _ in range(301)} == {b"250"}
        assert client.code(b"DATA") == 354
        client.send(BODY + b".\r\n")
        assert client.reply().startswith(b"250 ")
        found = items(node, queue)
        assert len(found) > 1
        assert len({properties.message_id for properties, _ in found}) == len(found)
        got = [address for properties, _ in found for address in properties.headers["recipients"]]
        assert sorted(got) == sorted(address.decode() for address in addresses)


def test_a_broker_alarm_is_a_failure_after_the_deadline_and_passes(serve: Serve, node: Node) -> None:
    with serve(more="confirm_timeout = 1") as server:
        client = server.client().greet()
        assert client.transaction().startswith(b"250 ")
        node.control("set_vm_memory_high_watermark", "absolute", "1")
        try:
            client.send(b"MAIL FROM:<a@example.net>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n")
            assert [client.reply()[:3] for _ in range(3)] == [b"250", b"250", b"354"]
            client.send(BODY + b".\r\n")
            assert client.reply() == b"451 4.3.1 not handed on, try again later\r\n"
            assert "the broker takes no messages now: low on memory" in str(server.log)
        finally:
            node.control("set_vm_memory_high_watermark", "0.8")
        server.wait_for(lambda: client.transaction().startswith(b"250 "))


def test_a_broker_that_falls_silent_is_a_failure_after_the_deadline(serve: Serve, node: Node) -> None:
    with serve(more="confirm_timeout = 1") as server:
        client = server.client().greet()
        assert client.transaction().startswith(b"250 ")
        node.freeze()
        try:
            assert client.transaction() == b"451 4.4.2 not handed on, try again later\r\n"
        finally:
            node.thaw()
        server.wait_for(lambda: client.transaction().startswith(b"250 "))


def test_a_client_that_goes_while_it_waits_does_not_cost_the_message(serve: Serve, node: Node, queue: str) -> None:
    with serve() as server:
        wait_connected(server)
        client = server.client().greet()
        client.send(b"MAIL FROM:<a@example.net>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n")
        assert [client.reply()[:3] for _ in range(3)] == [b"250", b"250", b"354"]
        node.freeze()
        try:
            client.send(BODY + b".\r\n")
            publisher = server.supervisor.delivery._worker.transport("amqp")._publishers["mail"]  # type: ignore[attr-defined]
            server.wait_for(lambda: publisher.pending == 1)
            client.reset()
        finally:
            node.thaw()
        assert len(wait_items(server, node, queue, 1)) == 1
        server.wait_for(lambda: "delivered " in str(server.log))
        assert server.queued() == []


def test_a_reload_keeps_the_connection_of_a_stanza_that_did_not_change(serve: Serve, node: Node, queue: str) -> None:
    with serve() as server:
        client = server.client().greet()
        assert client.transaction().startswith(b"250 ")
        text = server.path.read_text()
        server.reconfigure(text + "# more\n")
        assert client.transaction().startswith(b"250 ")
        assert str(server.log).count("connected to") == 1
        server.reconfigure(text.replace('mode = "confirm"', 'mode = "confirm" heartbeat = 20'))
        server.wait_for(lambda: str(server.log).count("connected to") == 2)
        assert client.transaction().startswith(b"250 ")
        server.reconfigure(text.replace('mode = "confirm"', 'mode = "spool"'))
        assert client.transaction().startswith(b"250 ")
        assert len(wait_items(server, node, queue, 4)) == 4
        assert str(server.log).count("connected to") == 3
        gevent.sleep(0)


def test_the_stanza_is_checked(tmp_path: Path) -> None:
    from gsmtp.app import wiring
    from gsmtp.app.loading import load

    wiring.load()
    path = tmp_path / "gsmtp.conf"

    def problems(text: str) -> list[str]:
        path.write_text(text)
        return [problem.message for problem in load(str(path), 1).problems]

    assert "Amqp" not in str(problems(stanza("spool", "", "amqp://a:b@h:1/v", 'routing_key = "q"')))
    [said] = problems(stanza("spool", "", "http://a:secret@h", 'routing_key = "q"'))
    assert said == "value is not valid for option 'url': expected an address that begins with amqp:// or amqps://"
    [said] = problems(stanza("spool", "", "amqp://h", ""))
    assert said == 'amqp "mail" has neither exchange nor routing_key: the default exchange needs the name of a queue'
    [said] = problems('amqp "mail" { routing_key = "q" url = "amqp://h" }')
    assert "domain" in said
