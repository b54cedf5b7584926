"""The consumer of the docs turns queue items back into messages."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.broker.conftest import Serve
from tests.support.rabbitmq import Node
from tests.support.source import ROOT
from tests.support.waiting import wait_until

CONSUMER = ROOT / "conf" / "cluster" / "consumer.py"


@contextmanager
def consuming(node: Node, folder: Path) -> Iterator[Path]:
    """Run the consumer; gives the file of its output."""
    output = folder / "consumer.out"
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-u", str(CONSUMER), str(folder), node.url()], stdout=file, stderr=file
        )
    try:
        yield output
    finally:
        process.terminate()
        process.wait(20)


def test_the_docs_show_the_consumer() -> None:
    page = (ROOT / "docs" / "transports.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert CONSUMER.read_text(encoding="utf-8") in blocks


def test_whole_messages_and_claims_are_handled_once(serve: Serve, node: Node, tmp_path: Path) -> None:
    claims = tmp_path / "claims"
    claims.mkdir()
    with consuming(node, tmp_path) as output:
        wait_until(lambda: has_queue(node), "the consumer declares its queue")
        more = f'claim_check_path = "{claims}" claim_check_size = 2000'
        with serve(more=more, target='exchange = "mail"') as server:
            client = server.client().greet()
            assert client.transaction().startswith(b"250 ")
            assert client.transaction(b"Subject: l\r\n\r\n" + b"x\r\n" * 2_000, sender=b"").startswith(b"250 ")
        wait_until(lambda: output.read_text().count(" for b@example.com") == 2, "two messages")
        assert re.findall(r"^\d{3} bytes from <a@example.net>|^6\d{3} bytes from <>", output.read_text(), re.MULTILINE)
        wait_until(lambda: not files(claims), "the claim's file is removed after the ack")


def test_what_comes_twice_is_handled_once_and_a_wrong_file_never(serve: Serve, node: Node, tmp_path: Path) -> None:
    import pika

    claims = tmp_path / "claims"
    claims.mkdir()
    (claims / "wrong").write_bytes(b"not what was claimed")
    with consuming(node, tmp_path) as output:
        wait_until(lambda: has_queue(node), "the consumer declares its queue")
        headers = {"sender": "a@example.net", "recipients": ["b@example.com"]}
        with node.channel() as channel:
            for _ in range(2):
                properties = pika.BasicProperties("message/rfc822", headers=headers, message_id="one")
                channel.basic_publish("mail", "", b"twice", properties)
            claim = pika.BasicProperties("application/vnd.gsmtp.claim+json", headers=headers, message_id="two")
            channel.basic_publish("mail", "", b'{"path":"wrong","size":3,"sha256":"00"}', claim)
            last = pika.BasicProperties("message/rfc822", headers=headers, message_id="three")
            channel.basic_publish("mail", "", b"the last one", last)
        wait_until(lambda: "12 bytes" in output.read_text(), "the last message")
        assert output.read_text().count("bytes from") == 2
        assert files(claims) == [claims / "wrong"]


def has_queue(node: Node) -> bool:
    """Whether the consumer has made its queue and takes from it."""
    from pika.exceptions import ChannelClosedByBroker

    with node.channel() as channel:
        try:
            return bool(channel.queue_declare("mail", passive=True).method.consumer_count)
        except ChannelClosedByBroker:
            return False


def files(folder: Path) -> list[Path]:
    """All files below a folder."""
    return [path for path in folder.rglob("*") if path.is_file()]
