"""The spool on disk: bytes back after reopening, what is due, leases, outcomes, the end of a message, generations."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gsmtp.core.envelope import Envelope, Recipient
from gsmtp.core.errors import SpoolError, SpoolUnhealthy
from gsmtp.spool.base import Due, State
from gsmtp.spool.memory import MemorySpool
from gsmtp.spool.sqlite import SqliteSpool
from tests.support.spool import (
    THRESHOLD,
    WALL,
    accept,
    body_of,
    commit,
    delivered,
    make_envelope,
    note,
    open_spool,
    queued,
)

AnySpool = SqliteSpool | MemorySpool


@pytest.fixture(params=["sqlite", "memory"])
def spool(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[AnySpool]:
    made: AnySpool = open_spool(tmp_path) if request.param == "sqlite" else MemorySpool()
    yield made
    made.close()


BODIES = {
    "empty": b"",
    "one byte": b"x",
    "all bytes": bytes(range(256)) * 3,
    "just in memory": b"m" * THRESHOLD,
    "just in a file": b"f" * (THRESHOLD + 1),
    "large": os.urandom(3_000_000),
}


@pytest.mark.parametrize("data", BODIES.values(), ids=BODIES)
def test_exact_bytes_after_reopening(tmp_path: Path, data: bytes) -> None:
    spool = open_spool(tmp_path)
    message_id = accept(spool, data)
    assert body_of(spool, message_id) == data
    spool.close()
    again = open_spool(tmp_path)
    assert body_of(again, message_id) == data
    assert again.body(message_id).size_bytes == len(data)
    again.close()


def test_the_envelope_comes_back_as_it_was(tmp_path: Path) -> None:
    envelope = Envelope(
        "00/2A-01234-0000001F",
        "00/2A-01234-0000001E",
        "b\udcfcld\x01 \U0001f600@example.net",
        [
            Recipient('"quo\\"ted\udcff"@example.com', "example.com", "orig@x", ("FAILURE", "DELAY"), "rfc822;a+2Bb"),
            Recipient("ü@bücher.example", "bücher.example", drop=True),
            Recipient("postmaster", ""),
        ],
        1_735_689_600.123456,
        5,
        "[::1]:25",
        "helo 'name'",
        "UTF8SMTPSA",
        "BINARYMIME",
        True,
        "HDRS",
        "QQ+3D",
        True,
        -9,
    )
    spool = open_spool(tmp_path)
    assert commit(spool, envelope, b"12345") is None
    spool.close()
    again = open_spool(tmp_path)
    assert again.envelope(envelope.message_id) == envelope
    assert [due.address for due in again.due(envelope.received_wall, 9)] == [r.address for r in envelope.recipients]
    assert again.envelope("00/2A-01234-00000020") is None
    again.close()


def test_recipients_are_due_at_once_and_leased(spool: AnySpool) -> None:
    message_id = accept(spool, b"x", "a@one.example", "b@two.example")
    first = Due(message_id, 0, "a@one.example", "one.example", 0, WALL)
    second = Due(message_id, 1, "b@two.example", "two.example", 0, WALL)
    assert spool.due(WALL - 1, 10) == []
    assert spool.next_due_wall() == WALL
    assert spool.due(WALL, 10, ("one.example",)) == [second]
    assert spool.due(WALL, 10) == [first]
    assert spool.due(WALL, 10) == []
    assert spool.next_due_wall() is None
    spool.release(message_id, 0)
    spool.release(message_id, 0)
    assert spool.due(WALL, 10) == [first]


def test_what_is_due_says_how_urgent_it_is(spool: AnySpool) -> None:
    for priority, helo in ((0, '"prio":9'), (-4, "x"), (9, "x")):
        envelope = make_envelope(spool.generation)
        envelope.priority, envelope.helo = priority, helo
        assert commit(spool, envelope, b"x") is None
    assert [due.priority for due in spool.due(WALL, 10)] == [0, -4, 9]


def test_the_earliest_come_first_and_not_more_than_asked(spool: AnySpool) -> None:
    ids = [accept(spool, b"x", wall=WALL + offset) for offset in (3, 1, 2)]
    assert [due.message_id for due in spool.due(WALL + 9, 2)] == [ids[1], ids[2]]
    assert spool.next_due_wall() == WALL + 3
    assert [due.message_id for due in spool.due(WALL + 9, 2)] == [ids[0]]


def test_an_outcome_ends_the_lease_and_says_when_to_try_again(spool: AnySpool) -> None:
    message_id = accept(spool, b"x")
    assert len(spool.due(WALL, 1)) == 1
    note(spool, queued(message_id, 0, WALL + 60, attempts=1))
    assert spool.due(WALL + 59, 1) == []
    assert spool.next_due_wall() == WALL + 60
    assert [due.attempts for due in spool.due(WALL + 60, 1)] == [1]


def test_a_message_goes_with_its_last_delivered_recipient(spool: AnySpool) -> None:
    message_id = accept(spool, b"x" * 10, "a@example.com", "b@example.com")
    kept = accept(spool, b"y" * 10)
    note(spool, delivered(message_id, 0))
    assert body_of(spool, message_id) == b"x" * 10
    note(spool, delivered(message_id, 1))
    assert spool.envelope(message_id) is None
    with pytest.raises(SpoolError, match="not in the spool"):
        spool.body(message_id)
    assert body_of(spool, kept) == b"y" * 10


def test_one_group_may_finish_a_message_and_repeat_an_outcome(spool: AnySpool) -> None:
    message_id = accept(spool, b"x", "a@example.com", "b@example.com")
    note(spool, delivered(message_id, 0), delivered(message_id, 1), delivered(message_id, 1))
    assert spool.envelope(message_id) is None
    note(spool, delivered(message_id, 1))
    note(spool)


def test_a_failed_recipient_keeps_the_message(spool: AnySpool) -> None:
    message_id = accept(spool, b"x", "a@example.com", "b@example.com")
    note(spool, queued(message_id, 0, 0, state=State.DEAD), delivered(message_id, 1))
    assert spool.envelope(message_id) is not None
    assert spool.due(WALL + 9, 10) == []
    assert spool.next_due_wall() is None


@pytest.mark.parametrize("misuse", ["twice", "aborted", "no recipient", "bad id"])
def test_misuse_is_an_error_at_once(spool: AnySpool, misuse: str) -> None:
    envelope = Envelope("00/00-00001-00000001", "", "", [Recipient("a@example.com", "example.com")])
    body = spool.open()
    if misuse == "twice":
        spool.commit(envelope, body, lambda _: None)
    elif misuse == "aborted":
        body.abort()
        body.abort()
    elif misuse == "no recipient":
        envelope.recipients.clear()
    else:
        envelope.message_id = "nonsense"
    with pytest.raises(ValueError, match=r"not an open body|no recipient|not a message id"):
        spool.commit(envelope, body, lambda _: None)


def test_a_doubled_id_is_refused_and_harms_nobody(spool: AnySpool) -> None:
    for data in (b"small", b"L" * (THRESHOLD + 5)):
        message_id = accept(spool, data)
        envelope = Envelope(message_id, "", "", [Recipient("z@example.com", "example.com")], WALL)
        for other in (b"other", b"O" * (THRESHOLD + 9)):
            assert isinstance(commit(spool, envelope, other), SpoolUnhealthy)
        assert body_of(spool, message_id) == data
        assert spool.unhealthy_reason() is None


def test_a_closed_spool_takes_nothing(spool: AnySpool) -> None:
    spool.close()
    spool.close()
    assert isinstance(spool.unhealthy_reason(), SpoolUnhealthy)
    assert isinstance(commit(spool, make_envelope(0), b"x"), SpoolUnhealthy)
    if isinstance(spool, SqliteSpool):
        assert isinstance(commit(spool, make_envelope(0), b"L" * THRESHOLD * 50), SpoolUnhealthy)


def test_the_generation_grows_with_each_opening(tmp_path: Path) -> None:
    for generation in range(3):
        spool = open_spool(tmp_path)
        assert spool.generation == generation
        spool.close()


def test_a_generation_that_a_message_still_has_is_passed_over(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    envelope = Envelope("00/01-00001-00000001", "", "", [Recipient("a@example.com", "example.com")], WALL)
    assert commit(spool, envelope, b"x") is None
    spool.close()
    again = open_spool(tmp_path)
    assert again.generation == 2
    again.close()


def test_files_have_the_mode_and_large_bodies_a_file_that_goes_with_them(tmp_path: Path) -> None:
    spool = open_spool(tmp_path, mode=0o600)
    message_id = accept(spool, b"L" * (THRESHOLD + 1))
    path = spool.body(message_id).path
    found = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert {file.stat().st_mode & 0o777 for file in found} == {0o600}
    assert {"lock", "ballast", "spool.db", "spool.db-wal", "spool.db-shm", Path(path).name} == {
        file.name for file in found
    }
    assert {file.stat().st_mode & 0o777 for file in tmp_path.rglob("*") if file.is_dir()} == {0o700}
    note(spool, delivered(message_id, 0))
    spool.close()
    again = open_spool(tmp_path)
    assert not Path(path).exists()
    again.close()


def test_a_second_process_is_refused_and_told_who(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    code = "import sys; from gsmtp.spool.sqlite import SqliteSpool; SqliteSpool.open_at(sys.argv[1])"
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert f"SpoolUnhealthy: the spool {tmp_path} is in use by process {os.getpid()}" in run.stderr
    spool.close()
    open_spool(tmp_path).close()


def test_a_newer_or_foreign_database_is_refused_with_its_name(tmp_path: Path) -> None:
    open_spool(tmp_path).close()
    path = tmp_path / "spool.db"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 7")
    with pytest.raises(SpoolUnhealthy, match=r"spool\.db was written by a newer gsmtp.* version 7.* knows 2"):
        open_spool(tmp_path)
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA application_id = 1")
    with pytest.raises(SpoolUnhealthy, match="is not a gsmtp spool"):
        open_spool(tmp_path)


@pytest.mark.parametrize("damage", [b"this is no database, it is a text of some length" * 200, b"\x00" * 8192])
def test_a_broken_database_file_is_an_error_that_names_it(tmp_path: Path, damage: bytes) -> None:
    open_spool(tmp_path).close()
    (tmp_path / "spool.db").write_bytes(damage)
    with pytest.raises(SpoolUnhealthy, match=r"spool\.db"):
        open_spool(tmp_path)
    assert (tmp_path / "spool.db").read_bytes() == damage, "what may be mail is left for the operator"


def test_a_damaged_database_is_refused_with_what_helps(tmp_path: Path) -> None:
    open_spool(tmp_path).close()
    with sqlite3.connect(tmp_path / "spool.db") as database:
        (root,) = database.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'meta'").fetchone()
    database.close()
    with (tmp_path / "spool.db").open("r+b") as file:
        file.seek((root - 1) * 4096)
        file.write(b"\xff" * 4096)
    with pytest.raises(SpoolUnhealthy, match=r"malformed; `gsmtp spool repair` saves what is readable$"):
        open_spool(tmp_path)


def test_the_spool_directory_can_not_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SpoolUnhealthy, match="can't make the spool"):
        open_spool(tmp_path / "file" / "spool")


def test_a_domain_is_left_out_for_one_binding_or_for_all(spool: AnySpool) -> None:
    for address, binding in (
        ("u@same.example", ""),
        ("u@same.example", "a"),
        ("u@same.example", "b"),
        ("u@x.example", ""),
    ):
        message = make_envelope(spool.generation, address)
        message.recipients[0].binding = binding
        assert commit(spool, message, b"x") is None

    def found(*skipped: str) -> list[tuple[str, str]]:
        dues = spool.due(WALL + 9, 10, skipped)
        for due in dues:
            spool.release(due.message_id, due.index)
        return sorted((due.domain, due.binding) for due in dues)

    assert found("same.example") == [("x.example", "")]
    assert found("same.example\0a") == [("same.example", ""), ("same.example", "b"), ("x.example", "")]
    assert found("same.example\0", "same.example\0b", "x.example\0") == [("same.example", "a")]
    assert spool.next_due_wall(("same.example", "x.example")) is None
