"""Programs that are run for a green thread: input, output, statuses, deadlines; nobody else waits."""

from __future__ import annotations

import os
from pathlib import Path

import gevent
import pytest

from gsmtp.runtime.programs import Ended, Programs

ENVIRONMENT = {"PATH": os.environ["PATH"]}


@pytest.fixture
def programs() -> Programs:
    return Programs("test")


def test_input_output_and_environment(programs: Programs, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for _ in range(2):
        ended = programs.run(
            ["/bin/sh", "-c", 'cat; printf "%s|%s" "$WORD" "$HOME"'],
            (b"one ", b"two\r\n"),
            {**ENVIRONMENT, "WORD": "a b;c"},
            10,
            output=str(out),
        )
        assert ended == Ended(0)
    assert out.read_bytes() == b"one two\r\na b;c|" * 2


def test_a_large_input_that_nobody_reads_is_no_trouble(programs: Programs) -> None:
    assert programs.run(["/bin/true"], (b"x" * 65536 for _ in range(100)), ENVIRONMENT, 10) == Ended(0)


@pytest.mark.parametrize(("script", "status"), [("exit 0", 0), ("exit 75", 75), ("kill -9 $$", 137)])
def test_statuses(programs: Programs, script: str, status: int) -> None:
    assert programs.run(["/bin/sh", "-c", script], (), ENVIRONMENT, 10) == Ended(status)


def test_what_can_not_be_started_is_told(programs: Programs, tmp_path: Path) -> None:
    missing = programs.run(["/no/such/program"], (), ENVIRONMENT, 10)
    assert (missing.status, missing.reason) == (-1, "/no/such/program can't be started: No such file or directory")
    unwritable = programs.run(["/bin/true"], (), ENVIRONMENT, 10, output=str(tmp_path / "none" / "out"))
    assert (unwritable.status, unwritable.reason) == (-1, f"No such file or directory: {tmp_path / 'none' / 'out'}")


def test_a_deadline_kills_the_program_and_what_it_started(programs: Programs, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    turns = 0

    def count() -> None:
        nonlocal turns
        while True:
            gevent.sleep(0.01)
            turns += 1

    counter = gevent.spawn(count)
    ended = programs.run(["/bin/sh", "-c", f"sleep 60 & echo $! > {pid}; wait"], (), ENVIRONMENT, 0.5)
    counter.kill()
    assert (ended.status, ended.reason) == (-1, "/bin/sh was killed: it had not ended after 0.5 s")
    assert turns > 5
    with gevent.Timeout(10):
        while _is_running(int(pid.read_text())):
            gevent.sleep(0.01)


def _is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
