"""Log files: rotation loses nothing, trouble with one is told and waited for by nobody."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import gevent
import pytest

from gsmtp.config.diagnostics import Span
from gsmtp.core.errors import ConfigError
from gsmtp.observe.files import LogFile, LogFiles, Target
from gsmtp.runtime.native import HubMailbox
from tests.support.disks import small_disk

Told = list[tuple[str, str]]


def wait(what: Callable[[], object], message: str) -> None:
    with gevent.Timeout(20, AssertionError(message)):
        while not what():
            gevent.sleep(0.005)


def target(path: Path, mode: int = 0o644, line: int = 3) -> Target:
    return Target(str(path), mode, Span("x.conf", line, 5), "Mainlog")


@contextmanager
def log_files() -> Iterator[tuple[LogFiles, Told]]:
    told: Told = []
    files = LogFiles(HubMailbox(), lambda level, text: told.append((level, text)))
    try:
        yield files, told
    finally:
        files.close(gevent.sleep)


def opened(files: LogFiles, *targets: Target) -> list[LogFile]:
    prepared = files.prepare(targets)
    files.use(prepared)
    return list(prepared.values())


def test_lines_are_appended_in_order_with_the_mode_that_was_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "mainlog"
    before = os.umask(0o077)
    try:
        with log_files() as (files, told):
            [file] = opened(files, target(path, 0o646))
            file.write(b"one\n")
            file.write(b"two\n")
        with log_files() as (files, told):
            [file] = opened(files, target(path))
            file.write(b"three\n")
    finally:
        os.umask(before)
    assert path.read_bytes() == b"one\ntwo\nthree\n"
    assert path.stat().st_mode & 0o777 == 0o646
    assert told == []


def test_rotation_under_load_loses_nothing_and_cuts_no_line(tmp_path: Path) -> None:
    path = tmp_path / "mainlog"
    with log_files() as (files, told):
        [file] = opened(files, target(path))
        for number in range(20_000):
            file.write(b"line %d\n" % number)
            if number % 500 == 499:
                wait(path.exists, "the file is opened anew")
                os.rename(path, tmp_path / f"mainlog.{number // 500:02}")
                files.reopen()
                gevent.sleep(0)
        wait(lambda: files.is_idle, "the lines are written")
    rotated = sorted(tmp_path.glob("mainlog.*"))
    assert len(rotated) == 40
    data = b"".join(one.read_bytes() for one in rotated) + path.read_bytes()
    assert data == b"".join(b"line %d\n" % number for number in range(20_000))
    assert rotated[0].read_bytes().count(b"\n") == 500, "what was logged before goes to the old file"
    assert told == []


@pytest.mark.parametrize("how", ["moved", "deleted", "replaced"])
def test_a_file_that_is_not_there_any_more_is_found_at_the_next_look(tmp_path: Path, how: str) -> None:
    path = tmp_path / "mainlog"
    with log_files() as (files, told):
        [file] = opened(files, target(path))
        file.write(b"old\n")
        wait(lambda: files.is_idle, "the first line is written")
        if how == "deleted":
            path.unlink()
        else:
            path.rename(tmp_path / "away")
        if how == "replaced":
            path.write_bytes(b"somebody's\n")
        files.check()
        file.write(b"new\n")
        wait(lambda: files.is_idle, "the second line is written")
        files.check()
        file.write(b"newer\n")
    assert path.read_bytes() == (b"somebody's\n" if how == "replaced" else b"") + b"new\nnewer\n"
    assert told == []


def test_a_file_that_cannot_be_opened_stops_the_load_and_names_its_place(tmp_path: Path) -> None:
    with log_files() as (files, _):
        with pytest.raises(ConfigError) as caught:
            files.prepare([target(tmp_path / "one"), target(tmp_path / "missing" / "mainlog", line=7)])
        assert str(caught.value) == (
            f"x.conf:7:5: error: Mainlog {tmp_path}/missing/mainlog can't be opened: "
            f"its folder {tmp_path}/missing doesn't exist"
        )
        with pytest.raises(ConfigError, match=r"x.conf:3:5: error: Mainlog .* can't be opened: Is a directory"):
            files.prepare([target(tmp_path)])
        pipe = tmp_path / "pipe"
        os.mkfifo(pipe)
        with pytest.raises(ConfigError, match="can't be opened: No such device"):
            files.prepare([target(pipe)])


def test_a_reload_keeps_the_descriptors_of_files_that_stay(tmp_path: Path) -> None:
    with log_files() as (files, _):
        [first] = opened(files, target(tmp_path / "stays"))
        [again, second] = opened(files, target(tmp_path / "stays"), target(tmp_path / "comes"))
        assert again is first
        second.write(b"last words\n")
        opened(files, target(tmp_path / "stays"))
        wait(lambda: (tmp_path / "comes").read_bytes() == b"last words\n", "what it held is written")
        first.write(b"on\n")
    assert (tmp_path / "stays").read_bytes() == b"on\n"


def test_a_folder_that_vanishes_leaves_the_old_file_in_use(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    with log_files() as (files, told):
        [file] = opened(files, target(folder / "mainlog"))
        folder.rename(tmp_path / "elsewhere")
        files.reopen()
        file.write(b"kept\n")
        wait(lambda: told, "the trouble is told")
    assert (tmp_path / "elsewhere" / "mainlog").read_bytes() == b"kept\n"
    assert told == [
        ("critical", f"{folder}/mainlog can't be opened anew, the old file stays in use: No such file or directory")
    ]


def test_a_full_disk_is_told_once_and_its_lines_wait_for_room(tmp_path: Path) -> None:
    with small_disk(tmp_path, 128) as disk, log_files() as (files, told):
        (disk / "filler").write_bytes(b"x" * 100_000)
        [file] = opened(files, target(disk / "mainlog"))
        expected = [b"line %06d %s\n" % (number, b"y" * 80) for number in range(1000)]
        for line in expected:
            file.write(line)
        wait(lambda: told, "the trouble is told")
        assert told == [
            ("critical", f"{disk}/mainlog can't be written, its lines wait: No space left on device"),
        ]
        assert not files.is_idle
        (disk / "filler").unlink()
        wait(lambda: files.is_idle, "the lines are written")
        wait(lambda: len(told) == 2, "the end of the trouble is told")
        assert told[1] == ("warning", f"{disk}/mainlog is written again")
        assert (disk / "mainlog").read_bytes() == b"".join(expected)


def test_a_rotation_on_a_full_disk_begins_the_new_file_with_a_whole_line(tmp_path: Path) -> None:
    with small_disk(tmp_path, 128) as disk, log_files() as (files, told):
        [file] = opened(files, target(disk / "mainlog"))
        expected = [b"line %06d %s\n" % (number, b"y" * 500) for number in range(400)]
        for line in expected:
            file.write(line)
        wait(lambda: told, "the disk is full")
        moved = tmp_path / "mainlog.0"
        moved.write_bytes((disk / "mainlog").read_bytes())
        (disk / "mainlog").unlink()
        files.reopen()
        wait(lambda: files.is_idle, "the rest is written")
        old, new = moved.read_bytes(), (disk / "mainlog").read_bytes()
        whole = old[: old.rfind(b"\n") + 1]
        assert whole + new == b"".join(expected)


def test_what_a_full_disk_never_takes_is_counted_and_does_not_keep_the_server_from_ending(tmp_path: Path) -> None:
    with small_disk(tmp_path, 64) as disk, log_files() as (files, told):
        [file] = opened(files, target(disk / "mainlog"))
        file.write(b"z" * 200_000 + b"\n")
        wait(lambda: told, "the disk is full")
        for _ in range(3):
            file.write(b"w" * (8 << 20))
            file.flush()
        files.close(gevent.sleep, limit_s=0.3)
        assert told[1] == ("critical", f"{disk}/mainlog can't be written and too much waits: what comes now is lost")
        what = f"bytes and 2 pieces of the log after them are missing at the end of {disk}/mainlog"
        assert told[-1][0] == "critical"
        assert told[-1][1].endswith(what)


def test_files_that_go_with_a_reload_leave_no_thread_and_no_descriptor_behind(tmp_path: Path) -> None:
    def count() -> tuple[int, int]:
        return len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd"))

    with log_files() as (files, _):
        opened(files, target(tmp_path / "first"))
        before = count()
        for number in range(20):
            [file] = opened(files, target(tmp_path / f"log{number}"))
            file.write(b"line\n")
            wait(lambda: files.is_idle, "the line is written")
        wait(lambda: count()[0] <= before[0] + 1 and count()[1] <= before[1] + 1, "threads and descriptors are gone")
