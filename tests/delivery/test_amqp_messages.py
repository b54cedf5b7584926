"""Broker messages: ids that no other node uses, parts that fit into a frame, URLs that never show their password."""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import gevent
import pytest

from gsmtp.core.envelope import Recipient
from gsmtp.delivery.amqp import claim
from gsmtp.delivery.amqp.budget import Budget
from gsmtp.delivery.amqp.message import parts, unique_id
from gsmtp.delivery.amqp.settings import Broker, parse_url
from gsmtp.spool.base import StoredBody
from tests.delivery.kit import envelope, stored


def test_two_nodes_that_use_one_id_publish_under_two() -> None:
    first = envelope("b@example.com", client_address="192.0.2.1:1024", received_wall=1_735_689_600.25)
    second = envelope("b@example.com", client_address="192.0.2.1:1024", received_wall=1_735_689_600.5)
    assert first.message_id == second.message_id
    assert unique_id(first) != unique_id(second)
    assert unique_id(first) == unique_id(first)
    assert unique_id(first).startswith(f"{first.message_id}.")


def test_a_whole_message_has_the_id_and_its_parts_have_their_own() -> None:
    message = envelope("a@example.com", "b@example.com", "c@example.com")
    [whole] = parts(message, message.recipients)
    assert whole.message_id == unique_id(message)
    [some] = parts(message, message.recipients[:2])
    [other] = parts(message, message.recipients[2:])
    assert len({whole.message_id, some.message_id, other.message_id}) == 3
    assert some.headers["recipients"] == ["a@example.com", "b@example.com"]
    assert parts(message, message.recipients[:2])[0].message_id == some.message_id


def test_equal_addresses_are_told_apart_by_their_places() -> None:
    message = envelope("a@example.com", "a@example.com")
    assert message.recipients[0] == message.recipients[1]
    [first], [second] = parts(message, message.recipients[:1]), parts(message, message.recipients[1:])
    assert first.message_id != second.message_id


def test_all_recipients_are_in_one_part_each_and_parts_fit_into_a_frame() -> None:
    message = envelope()
    message.recipients = [
        Recipient("ü" * 60 + f"{number}@example.com", "example.com", orcpt="rfc822;" + "x" * 400, notify=("NEVER",))
        for number in range(500)
    ]
    found = parts(message, message.recipients)
    assert len(found) > 1
    assert [index for part in found for index in part.recipients] == list(range(500))
    for part in found:
        assert sum(len(str(value).encode()) for value in part.headers.values()) < 120_000
    named = [address for part in found for address in part.headers["recipients"]]  # type: ignore[attr-defined]
    assert named == [recipient.address for recipient in message.recipients]


def test_bytes_that_are_no_utf8_are_shown() -> None:
    message = envelope(b"a\xff@example.com".decode("utf-8", "surrogateescape"))
    [part] = parts(message, message.recipients)
    assert part.headers["recipients"] == ["a\\xff@example.com"]


@pytest.mark.parametrize(
    ("url", "broker"),
    [
        ("amqp://h", Broker("h", 5672)),
        ("amqps://u:p%40ss@h:99/v%2Fw", Broker("h", 99, True, "u", "p@ss", "v/w")),
        ("amqp://u@[::1]/", Broker("::1", 5672, False, "u")),
    ],
)
def test_urls_are_taken_apart(url: str, broker: Broker) -> None:
    assert parse_url(url) == broker


@pytest.mark.parametrize(
    "url",
    ["http://u:secret@h", "amqp://", "amqp://u:secret@h:x/", "amqp://u:secret@h/a/b", "amqp://u:secret@h?x=1", ""],
)
def test_bad_urls_are_refused_without_their_password(url: str) -> None:
    with pytest.raises(ValueError, match=r"expected|parameters") as caught:
        parse_url(url)
    assert "secret" not in str(caught.value)
    assert "secret" not in repr(Broker("h", 1, password="secret"))


def test_a_claim_names_what_is_in_its_file_and_storing_again_changes_nothing(tmp_path: Path) -> None:
    source = tmp_path / "body"
    source.write_bytes(b"x" * 3_000_000)
    shared = tmp_path / "shared"
    shared.mkdir()
    first = claim.store(str(shared), "00/01-00042-00000001.abc", StoredBody(3_000_000, None, str(source)))
    said = json.loads(first)
    assert (shared / said["path"]).read_bytes() == source.read_bytes()
    assert said["sha256"] == sha256(source.read_bytes()).hexdigest()
    assert claim.store(str(shared), "00/01-00042-00000001.abc", stored(source.read_bytes())) == first
    assert len([path for path in shared.rglob("*") if path.is_file()]) == 1


def test_a_try_that_was_given_up_does_not_disturb_the_next_one(tmp_path: Path) -> None:
    class Slow(StoredBody):
        """While it is read, the same message is stored a second time."""

        def pieces(self, size_bytes: int = 131_072) -> Iterator[bytes]:
            if not second:
                second.append(b"")
                second[0] = claim.store(str(tmp_path), "id", self)
            return super().pieces(size_bytes)

    second: list[bytes] = []
    first = claim.store(str(tmp_path), "id", Slow(3, b"abc", ""))
    assert first == second[0]
    [folder] = tmp_path.iterdir()
    assert [path.read_bytes() for path in folder.iterdir()] == [b"abc"]


def test_a_shared_directory_that_is_not_there_is_never_made(tmp_path: Path) -> None:
    with pytest.raises(NotADirectoryError):
        claim.store(str(tmp_path / "missing"), "id", stored(b"x"))
    assert not (tmp_path / "missing").exists()


def test_large_messages_wait_for_room_in_order() -> None:
    budget = Budget(100)
    assert budget.take(80, 1.0)
    assert not budget.take(30, 0.01)
    order: list[int] = []

    def take(size: int) -> None:
        assert budget.take(size, 10.0)
        order.append(size)

    threads = [gevent.spawn(take, size) for size in (90, 10)]
    gevent.sleep(0)
    assert order == []
    budget.give(80)
    gevent.joinall(threads, timeout=10)
    assert order == [90, 10]
    budget.give(90)
    budget.give(10)
    assert budget.take(1_000, 1.0)
