"""kill -9 at each step and at random under load: what was confirmed is there, byte for byte, and no rests."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gsmtp.core.ids import number
from gsmtp.spool.base import State
from gsmtp.spool.inspect import Inspector
from tests.support.source import ROOT
from tests.support.spool import THRESHOLD, WALL, accept, body_of, open_spool, queued

LARGE = b"L" * (THRESHOLD * 3)


def _child(mode: str, base: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.spool_child", mode, str(base)], cwd=ROOT, stdout=subprocess.PIPE
    )


@pytest.mark.parametrize(
    ("mode", "messages", "unfinished", "orphans"),
    [
        ("before the row", 0, 0, 0),
        ("while the file is written", 0, 1, 0),
        ("after the file, before the row", 0, 0, 1),
        ("after the commit, before the callback", 1, 0, 0),
        ("after the delivery, before the unlink", 0, 0, 1),
    ],
)
def test_a_kill_at_each_step(tmp_path: Path, mode: str, messages: int, unfinished: int, orphans: int) -> None:
    with _child(mode, tmp_path) as child:
        assert child.wait(60) == -signal.SIGKILL
    spool = open_spool(tmp_path)
    assert spool.recovery.unfinished_removed == unfinished
    assert spool.recovery.orphans_removed == orphans
    assert spool.recovery.dead == []
    found = spool.due(WALL, 10)
    assert [body_of(spool, due.message_id) for due in found] == [LARGE] * messages
    spool.close()
    assert len([file for file in (tmp_path / "bodies").rglob("*") if file.is_file()]) == messages


@pytest.mark.durability
def test_random_kills_under_load_lose_nothing_confirmed(tmp_path: Path) -> None:
    confirmed: dict[str, str] = {}
    leaving: set[str] = set()
    for _ in range(8):
        with _child("load", tmp_path) as child:
            assert child.stdout is not None
            lines = [child.stdout.readline() for _ in range(random.randrange(20, 600))]
            child.kill()
            lines += child.stdout.readlines()
        for line in lines:
            if line.startswith(b"+") and line.endswith(b"\n"):
                message_id, digest = line[1:].decode().split()
                confirmed[message_id] = digest
            elif line.startswith(b"-"):
                leaving.add(line[1:].decode().strip())
    assert len(confirmed) > 100
    spool = open_spool(tmp_path)
    assert spool.recovery.dead == []
    there = {due.message_id: body_of(spool, due.message_id) for due in spool.due(WALL, 1_000_000)}
    missing = confirmed.keys() - leaving - there.keys()
    assert not missing
    assert all(hashlib.sha256(there[i]).hexdigest() == d for i, d in confirmed.items() if i in there)
    spool.close()


def test_a_missing_or_cut_body_file_fails_its_message_with_a_reason(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    missing, cut, whole = (
        accept(spool, LARGE, "a@example.com", "b@example.com"),
        accept(spool, LARGE),
        accept(spool, LARGE),
    )
    paths = {message_id: spool.body(message_id).path for message_id in (missing, cut)}
    spool.close()
    os.unlink(paths[missing])
    os.truncate(paths[cut], 100)
    again = open_spool(tmp_path)
    assert again.recovery.dead == [
        (missing, "the body file is missing"),
        (cut, f"the body file has 100 of {len(LARGE)} bytes"),
    ]
    assert [due.message_id for due in again.due(WALL, 10)] == [whole]
    inspector = Inspector(str(tmp_path))
    shown = inspector.message(missing)
    assert shown is not None
    assert {(r.state, r.reply) for r in shown.recipients} == {
        (State.DEAD, "554 5.3.0 [internal] the body file is missing")
    }
    inspector.close()
    again.close()
    third = open_spool(tmp_path)
    assert third.recovery.dead == [], "told once"
    third.close()


def test_strange_files_are_left_alone_and_empty_folders_removed(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    message_id = accept(spool, LARGE)
    spool.close()
    bodies = tmp_path / "bodies"
    (bodies / "AA" / "BB").mkdir(parents=True)
    (bodies / "AA" / "CC").mkdir()
    (bodies / "AA" / "CC" / "README").write_text("of an operator")
    (bodies / "new" / "1-1").write_bytes(b"half")
    orphan = bodies / "00" / "02" / f"{number('00/07-00001-00000200'):012X}"
    orphan.parent.mkdir()
    orphan.write_bytes(b"orphan")
    again = open_spool(tmp_path)
    assert (again.recovery.unfinished_removed, again.recovery.orphans_removed) == (1, 1)
    assert not (bodies / "AA" / "BB").exists()
    assert not orphan.parent.exists()
    assert (bodies / "AA" / "CC" / "README").exists()
    assert body_of(again, message_id) == LARGE
    again.close()


def test_a_lock_of_a_dead_process_is_no_lock(tmp_path: Path) -> None:
    with _child("before the row", tmp_path) as child:
        child.wait(60)
    assert (tmp_path / "lock").read_text().strip() == str(child.pid)
    open_spool(tmp_path).close()


def test_under_monkey_patching(tmp_path: Path) -> None:
    with _child("patched", tmp_path) as child:
        assert child.communicate(timeout=60)[0] == b"fine\n"
        assert child.returncode == 0


def test_leases_end_with_the_process(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    message_id = accept(spool, b"x")
    assert len(spool.due(WALL, 9)) == 1
    spool.record([queued(message_id, 0, WALL + 5)])
    spool.close()
    again = open_spool(tmp_path)
    assert again.next_due_wall() == WALL + 5, "what waited was written by close"
    again.close()
