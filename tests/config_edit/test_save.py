"""Files are replaced all or none, with mode, owner, links and a byte order mark as they were."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gsmtp.config.save import is_writable, save
from gsmtp.core.errors import ConfigError


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_mode_link_and_byte_order_mark_stay(tmp_path: Path) -> None:
    real = tmp_path / "real.conf"
    real.write_bytes(b"\xef\xbb\xbfHostname = a.example # \xff\n")
    real.chmod(0o604)
    (tmp_path / "ecelerity.conf").symlink_to("real.conf")
    old = "Hostname = a.example # \udcff\n"
    save({str(tmp_path / "ecelerity.conf"): old.replace("a.", "b.")}, {str(tmp_path / "ecelerity.conf"): old})
    assert real.read_bytes() == b"\xef\xbb\xbfHostname = b.example # \xff\n"
    assert real.stat().st_mode & 0o7777 == 0o604
    assert (tmp_path / "ecelerity.conf").is_symlink()
    assert _names(tmp_path) == ["ecelerity.conf", "real.conf"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_the_owner_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.conf"
    path.write_text("x = 1\n")
    os.chown(path, 1234, 4321)
    save({str(path): "x = 2\n"}, {str(path): "x = 1\n"})
    assert (path.stat().st_uid, path.stat().st_gid, path.read_text()) == (1234, 4321, "x = 2\n")


def test_one_file_that_changed_keeps_all_from_being_written(tmp_path: Path) -> None:
    first, second = tmp_path / "a.conf", tmp_path / "b.conf"
    first.write_text("a = 1\n")
    second.write_text("changed\n")
    before = {str(first): "a = 1\n", str(second): "b = 1\n"}
    with pytest.raises(ConfigError, match=r"b\.conf was changed on disk since it was loaded; nothing was written"):
        save({str(first): "a = 2\n", str(second): "b = 2\n"}, before)
    assert first.read_text() == "a = 1\n"
    second.unlink()
    with pytest.raises(ConfigError, match=r"b\.conf is gone since it was loaded; nothing was written"):
        save({str(first): "a = 2\n", str(second): "b = 2\n"}, before)
    assert first.read_text() == "a = 1\n"
    assert _names(tmp_path) == ["a.conf"]


def test_a_file_that_nobody_loaded_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "local.conf"
    save({str(path): "a = 1\n"}, {})
    assert path.read_text() == "a = 1\n"
    with pytest.raises(ConfigError, match=r"local\.conf exists and was not loaded; nothing was written"):
        save({str(path): "a = 2\n"}, {})
    assert path.read_text() == "a = 1\n"


def test_a_folder_that_is_not_there_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.conf"
    path.write_text("a = 1\n")
    lost = str(tmp_path / "nowhere" / "b.conf")
    assert not is_writable(lost)
    assert is_writable(str(path))
    assert is_writable(str(tmp_path / "new.conf"))
    with pytest.raises(ConfigError, match=r"can't be written: No such file or directory; nothing was written"):
        save({str(path): "a = 2\n", lost: "b = 1\n"}, {str(path): "a = 1\n"})
    assert path.read_text() == "a = 1\n"
    assert _names(tmp_path) == ["a.conf"]
