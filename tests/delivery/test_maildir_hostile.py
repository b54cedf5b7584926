"""Maildirs on disks that are full, missing or in the way: mail waits, and nothing half is left."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from gsmtp.core.envelope import Envelope
from gsmtp.delivery.transport import Job
from gsmtp.delivery.transports import maildir
from gsmtp.spool.base import StoredBody
from tests.delivery.kit import Settings, configuration, envelope, stored, tools
from tests.delivery.test_maildir import BODY, FILE, deliver, files
from tests.support.disks import small_disk
from tests.support.waiting import wait_until

KNOWN_ONLY: Settings = {"Create_Users": False}
NAME = "1735689600.00-01-00042-00000001_0.host.example"


@pytest.mark.parametrize("is_there", [True, False])
def test_without_any_mailbox_a_disk_is_missing_and_nobody_is_refused(tmp_path: Path, is_there: bool) -> None:
    base = tmp_path / "mount"
    if is_there:
        base.mkdir()
    [outcome] = deliver(base, "ann@example.org", settings=KNOWN_ONLY)
    assert outcome.code == 451
    assert str(base) in outcome.reply
    assert files(tmp_path) == {}


@pytest.mark.parametrize("which", ["example.org", "example.org/ann"])
def test_a_mailbox_that_is_a_link_to_a_missing_disk_is_not_refused(tmp_path: Path, which: str) -> None:
    base = tmp_path / "base"
    (base / "example.org").mkdir(parents=True)
    (base / "other").mkdir()
    if which == "example.org":
        (base / which).rmdir()
    (base / which).symlink_to(tmp_path / "gone")
    [outcome] = deliver(base, "ann@example.org", settings=KNOWN_ONLY)
    assert outcome.reply == f"451 4.3.0 [internal] No such file or directory: {base / which}"
    (tmp_path / "gone" / ("ann" if which == "example.org" else "")).mkdir(parents=True)
    [outcome] = deliver(base, "ann@example.org", settings=KNOWN_ONLY)
    assert outcome.code == 250


def test_a_full_disk_puts_off_and_keeps_nothing(tmp_path: Path) -> None:
    with small_disk(tmp_path, 64) as disk:
        [outcome] = deliver(disk, "ann@example.org", body=StoredBody(200_000, b"x" * 200_000, ""))
        assert outcome.reply.startswith("452 4.2.2 [internal] No space left on device")
        assert files(disk) == {}
        [outcome] = deliver(disk, "ann@example.org")
        assert outcome.code == 250


def test_folders_that_vanish_between_messages_are_made_again(tmp_path: Path) -> None:
    for vanished in ("example.org/ann/new", "example.org/ann/tmp", "example.org/ann", "example.org"):
        deliver(tmp_path, "ann@example.org")
        shutil.rmtree(tmp_path / vanished)
        [outcome] = deliver(tmp_path, "ann@example.org")
        assert outcome.code == 250
        assert files(tmp_path) == {f"example.org/ann/new/{NAME}": FILE}


@pytest.mark.parametrize("what", ["fifo", "link", "folder"])
@pytest.mark.parametrize("where", ["tmp", "new"])
def test_what_stands_in_the_way_of_a_copy(tmp_path: Path, where: str, what: str) -> None:
    deliver(tmp_path, "ann@example.org")
    box = tmp_path / "example.org" / "ann"
    (box / "new" / NAME).unlink()
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    path = box / where / NAME
    if what == "fifo":
        os.mkfifo(path)
    elif what == "link":
        path.symlink_to(victim)
    else:
        path.mkdir()
    [outcome] = deliver(tmp_path, "ann@example.org")
    assert victim.read_bytes() == b"precious"
    if where == "tmp" or what == "folder":
        assert outcome.reply.startswith("451 4.3.0 [internal] ")
    else:
        assert outcome.code == 250
        assert path.read_bytes() == FILE
    assert not (box / "tmp" / NAME).is_file()


def test_a_file_in_the_place_of_a_mailbox_puts_off(tmp_path: Path) -> None:
    (tmp_path / "example.org").mkdir()
    (tmp_path / "example.org" / "ann").write_bytes(b"")
    for settings in (KNOWN_ONLY, {}):
        [outcome] = deliver(tmp_path, "ann@example.org", settings=settings)
        assert outcome.code == 451


class Hang:
    """Stands for a network file system that doesn't answer, for what is below one folder."""

    def __init__(self, folder: Path, answers: Callable[[str], None]) -> None:
        self.folder = folder
        self.is_over = threading.Event()
        self._answers = answers

    def __call__(self, path: str) -> None:
        """Sync a folder."""
        if path.startswith(str(self.folder)):
            self.is_over.wait(30)
        self._answers(path)


def test_a_file_system_that_hangs_puts_its_own_mail_off_and_holds_up_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hang = Hang(tmp_path / "hung", maildir._sync_folder)
    monkeypatch.setattr(maildir, "_sync_folder", hang)
    monkeypatch.setattr(maildir, "ANSWER_S", 0.2)
    conf = configuration(
        maildirs={
            "hung": {"Basedir": str(tmp_path / "hung"), "Domains": ("hung.example",)},
            "well": {"Basedir": str(tmp_path / "well"), "Domains": ("well.example",)},
        }
    )
    views = {str(view.chain[0].spelled): view for view in conf.stanzas("maildir")}
    transport = maildir.MaildirTransport(tools())
    messages = [
        envelope("a@hung.example", "b@hung.example", message_id=f"00/01-00042-0000000{number}")
        for number in range(maildir.THREADS + 2)
    ]
    reply = f"451 4.3.0 [internal] no answer from the file system within 0.2 s: {tmp_path / 'hung'}"

    def replies(message: Envelope, to: str) -> list[str]:
        return [one.reply for one in transport.deliver(Job(message, stored(BODY), message.recipients, views[to]))]

    def is_stored(message: Envelope) -> bool:
        return replies(message, "hung") == ["250 2.0.0 stored"] * 2

    try:
        for message in (*messages, *messages):  # the second time some are still at work
            assert replies(message, "hung") == [reply] * 2
        assert replies(envelope("a@well.example"), "well") == ["250 2.0.0 stored"]
        hang.is_over.set()
        for message in messages:
            wait_until(partial(is_stored, message), "the disk is back")
        assert len(files(tmp_path / "hung")) == len(messages) * 2
        assert set(files(tmp_path / "hung").values()) == {FILE}
    finally:
        hang.is_over.set()
        transport.close()
