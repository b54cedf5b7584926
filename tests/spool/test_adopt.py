"""Spools of workers that are no more: all mail comes to the first spool, once, also when it is killed in the middle."""

from __future__ import annotations

import subprocess
import sys
import time
from itertools import count
from pathlib import Path

import pytest

from gsmtp.core.errors import SpoolUnhealthy
from gsmtp.core.ids import number
from gsmtp.spool.adopt import adopt_all, slots_of, spool_of
from gsmtp.spool.base import State
from gsmtp.spool.sqlite import SqliteSpool
from tests.support.crew import ids_in
from tests.support.source import ROOT
from tests.support.spool import THRESHOLD, accept, body_of, note, open_spool, queued

SMALL, LARGE = b"small\r\n", b"large\r\n" * THRESHOLD


def _open(base: Path, slot: int, slots: int) -> SqliteSpool:
    """A slot's spool, as a worker of so many opens it."""
    opening = adopt_all(str(base), slots).opening
    return open_spool(Path(spool_of(str(base), slot)), first_opening=opening)


def _filled(base: Path, slots: int, small: int, large: int) -> dict[str, bytes]:
    """Bodies by id of messages in so many spools."""
    bodies = {}
    for slot in range(1, slots + 1):
        spool = _open(base, slot, slots)
        for _ in range(small):
            bodies[accept(spool, SMALL)] = SMALL
        for _ in range(large):
            bodies[accept(spool, LARGE)] = LARGE
        spool.close()
    return bodies


def test_all_mail_comes_to_the_first_spool(tmp_path: Path) -> None:
    bodies = _filled(tmp_path, 3, 5, 2)
    assert len({number(one) for one in bodies}) == len(bodies) == 21, "no two have one number"
    adopted = adopt_all(str(tmp_path), 1)
    assert (adopted.moved, adopted.problems) == ({2: 7, 3: 7}, [])
    assert sorted(one.name for one in tmp_path.iterdir()) == ["ballast", "bodies", "lock", "spool.db"]
    spool = _open(tmp_path, 1, 1)
    try:
        assert sorted(ids_in(tmp_path)) == sorted(bodies)
        assert {one: body_of(spool, one) for one in bodies} == bodies
        assert (spool.recovery.dead, spool.recovery.orphans_removed) == ([], 0)
        assert spool.generation == 3
    finally:
        spool.close()


def test_fewer_workers_leave_the_others_theirs(tmp_path: Path) -> None:
    _filled(tmp_path, 3, 2, 0)
    second = ids_in(tmp_path / "worker-2")
    assert adopt_all(str(tmp_path), 2).moved == {3: 2}
    assert slots_of(str(tmp_path)) == [2]
    assert ids_in(tmp_path / "worker-2") == second
    assert len(ids_in(tmp_path)) == 4


def test_what_is_known_of_recipients_comes_along(tmp_path: Path) -> None:
    spool = _open(tmp_path, 2, 2)
    message_id = accept(spool, SMALL, "a@example.com", "b@example.com")
    note(spool, queued(message_id, 0, 5e9, attempts=3), queued(message_id, 1, 0.0, state=State.DEAD))
    spool.close()
    adopt_all(str(tmp_path), 1)
    spool = _open(tmp_path, 1, 1)
    try:
        (due,) = spool.due(6e9, 10)
        assert (due.message_id, due.index, due.attempts, due.due_wall) == (message_id, 0, 3, 5e9)
        assert spool.queued() == (0, 1)
    finally:
        spool.close()


def test_a_spool_in_use_is_not_touched(tmp_path: Path) -> None:
    spool = _open(tmp_path, 2, 2)
    try:
        with pytest.raises(SpoolUnhealthy, match="is in use by process"):
            adopt_all(str(tmp_path), 1)
    finally:
        spool.close()


def test_openings_are_counted_together(tmp_path: Path) -> None:
    generations = []
    for slot, slots in ((1, 1), (1, 2), (2, 2), (2, 2), (1, 2), (1, 1), (2, 2)):
        spool = _open(tmp_path, slot, slots)
        generations.append(spool.generation)
        spool.close()
    assert generations == [0, 1, 2, 3, 4, 5, 6]


MOVER = """
import sys
from gsmtp.spool.adopt import adopt_all
print("begins", flush=True)
adopt_all(sys.argv[1], 1)
print("is done", flush=True)
"""


def _killed_after(base: Path, seconds: float) -> bool:
    """Whether moving was over before its process was killed."""
    with subprocess.Popen(
        [sys.executable, "-c", MOVER, str(base)], stdout=subprocess.PIPE, cwd=ROOT, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begins\n"
        time.sleep(seconds)  # what is tested: any moment
        process.kill()
        return "is done" in process.stdout.read()


@pytest.mark.durability
@pytest.mark.parametrize("comes_back", [False, True], ids=["one worker", "the worker comes back"])
def test_killed_at_any_moment_all_mail_is_there_once(tmp_path: Path, comes_back: bool) -> None:
    bodies = _filled(tmp_path, 2, 1500, 10)
    for turn in count(1):
        is_over = _killed_after(tmp_path, 0.004 * turn)
        assert set(ids_in(tmp_path)) | set(ids_in(tmp_path / "worker-2")) == set(bodies)
        if is_over:
            break
        if comes_back:
            adopt_all(str(tmp_path), 2)
            assert sorted(ids_in(tmp_path) + ids_in(tmp_path / "worker-2")) == sorted(bodies)
    assert turn > 1, "it was killed at least once"
    adopt_all(str(tmp_path), 1)
    assert sorted(ids_in(tmp_path)) == sorted(bodies)
    spool = _open(tmp_path, 1, 1)
    try:
        assert {one: body_of(spool, one) for one in bodies} == bodies
    finally:
        spool.close()
