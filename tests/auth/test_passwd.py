"""`gsmtp passwd`: users added, changed, deleted, listed, verified; the rest of the file stays, and so do its rights."""

from __future__ import annotations

import os
import pty
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from gsmtp.auth.edit import change, checked_password, checked_user, with_line
from gsmtp.auth.passwords import check, parse
from gsmtp.auth.stores.file import read_users
from gsmtp.core.errors import GsmtpError
from gsmtp.sasl.digest import password_digest
from tests.support.source import ROOT


def passwd(*args: str | Path, given: bytes = b"", **environment: str) -> tuple[int, str, str]:
    """Exit status, standard output and standard error."""
    command = [sys.executable, "-m", "gsmtp", "passwd", *map(str, args)]
    env = {**os.environ, **environment}
    run = subprocess.run(command, cwd=ROOT, input=given, capture_output=True, timeout=60, check=False, env=env)
    return run.returncode, run.stdout.decode(), run.stderr.decode()


def test_a_user_s_life(tmp_path: Path) -> None:
    users = tmp_path / "users"
    assert passwd(users, "alice", given=b"s:e cret\n") == (0, f"made {users}\nalice: added (ARGON2ID)\n", "")
    assert stat.S_IMODE(users.stat().st_mode) & 0o137 == 0
    assert check(parse(read_users(users.read_bytes()).by_name["alice"]), b"s:e cret")
    assert passwd("--verify", users, "alice", given=b"s:e cret") == (0, "alice: good\n", "")
    assert passwd("--verify", users, "alice", given=b"other\n") == (1, "alice: wrong\n", "")
    assert passwd("--verify", users, "nobody", given=b"other\n") == (1, "nobody: wrong\n", "")
    users.chmod(0o600)
    code, out, err = passwd("--scheme", "clear", users, "bob", given=b"pw\r\n")
    assert (code, out, err) == (0, "bob: added (CLEAR)\n", "")
    assert users.read_bytes().endswith(b"\nbob:pw\n")
    assert stat.S_IMODE(users.stat().st_mode) == 0o600
    assert passwd("--list", users) == (0, "alice\tARGON2ID\nbob\tCLEAR\n", "")
    assert passwd("--delete", users, "alice") == (0, "alice: deleted\n", "")
    assert users.read_bytes() == b"bob:pw\n"
    assert passwd("--delete", users, "alice") == (1, "", f"gsmtp: {users} has no user alice\n")
    code, out, err = passwd(users, "carol", given=b"x\n")
    assert (code, out) == (0, "carol: added (ARGON2ID)\n")
    assert err == "note: the other passwords are stored as CLEAR, this one as ARGON2ID (see --scheme)\n"
    assert os.listdir(tmp_path) == ["users"]


def test_a_digest_file(tmp_path: Path) -> None:
    digests = tmp_path / "digests"
    assert passwd("--digest", digests, "root", given=b"pw\n")[1].endswith("(digest of realm Momentum Console)\n")
    assert passwd("--digest", digests, "root", given=b"pw\n", EC_DIGEST_REALM="r")[0] == 0
    assert passwd("--realm", "r", digests, "root", given=b"new\n")[1] == "root: changed (digest of realm r)\n"
    old, new = password_digest("root", "Momentum Console", b"pw"), password_digest("root", "r", b"new")
    assert digests.read_text() == f"root:Momentum Console:{old}\nroot:r:{new}\n"
    assert passwd("--verify", "--realm", "r", digests, "root", given=b"new\n") == (0, "root: good\n", "")
    assert passwd("--list", "--digest", digests)[1] == "root\tMomentum Console\nroot\tr\n"
    assert passwd("--delete", "--digest", digests, "root")[0] == 0
    assert digests.read_text() == f"root:r:{new}\n"


@pytest.mark.parametrize(
    ("args", "given", "code", "message"),
    [
        (("FILE", "a:b"), b"x", 1, "gsmtp: user name 'a:b': it may not be empty, hold a colon or begin with #\n"),
        (("FILE", "#a"), b"x", 1, "gsmtp: user name '#a': it may not be empty, hold a colon or begin with #\n"),
        (("FILE", "a"), b"", 1, "gsmtp: the password is empty\n"),
        (("FILE", "a"), b"a\0b\n", 1, "gsmtp: the password holds a line end or NUL\n"),
        (("--list", "FILE"), b"", 1, "gsmtp: FILE: No such file or directory\n"),
        (("--delete", "FILE", "a"), b"", 1, "gsmtp: FILE: No such file or directory\n"),
        (("--scheme", "bcrypt", "FILE", "a"), b"x" * 73, 1, "gsmtp: bcrypt takes no more than 72 octets\n"),
    ],
)
def test_what_can_not_be_is_said(tmp_path: Path, args: tuple[str, ...], given: bytes, code: int, message: str) -> None:
    path = str(tmp_path / "users")
    got = passwd(*(path if arg == "FILE" else arg for arg in args), given=given)
    assert got == (code, "", message.replace("FILE", path))
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize(
    "args",
    [
        ("users",),
        ("--list", "users", "a"),
        ("--scheme", "MD5", "users", "a"),
        ("--digest", "--scheme", "SSHA", "u", "a"),
    ],
)
def test_wrong_usage(args: tuple[str, ...]) -> None:
    code, out, err = passwd(*args)
    assert (code, out) == (2, "")
    assert "gsmtp passwd: error: " in err


def test_a_terminal_is_asked_twice_and_shows_nothing(tmp_path: Path) -> None:
    users = tmp_path / "users"
    pid, terminal = pty.fork()
    if not pid:  # pragma: no cover - the child
        os.chdir(ROOT)
        os.execv(sys.executable, [sys.executable, "-m", "gsmtp", "passwd", "--scheme", "CLEAR", str(users), "alice"])
    seen = b""
    for prompt in (b"Password: ", b"Once more: "):
        while not seen.endswith(prompt):
            seen += os.read(terminal, 1000)
        os.write(terminal, b"hush\n")
    try:
        while data := os.read(terminal, 1000):
            seen += data
    except OSError:  # Linux says so at the end
        pass
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    os.close(terminal)
    assert b"hush" not in seen
    assert users.read_text() == "alice:hush\n"


def test_other_lines_stay_as_they_are() -> None:
    data = b"# top\r\n\nj\xc3\xbc:x\na:1\nb:2\na:3\n#a:no\nodd line\nlast:no newline"
    assert with_line(data, b"a:", b"a:new") == (
        b"# top\r\n\nj\xc3\xbc:x\na:new\nb:2\n#a:no\nodd line\nlast:no newline",
        True,
    )
    assert with_line(data, b"c:", b"c:4") == (data + b"\nc:4\n", False)
    assert with_line(b"", b"c:", b"c:4") == (b"c:4\n", False)
    assert with_line(b"a:1\n", b"a:", None) == (b"", True)
    assert with_line(b"a:1\n", b"x:", None) == (b"a:1\n", False)


def test_names_are_prepared_and_passwords_kept() -> None:
    assert checked_user("\uff41lice") == "alice"
    assert checked_password(b"\xff \xff") == b"\xff \xff"
    for bad in ("", "a\nb", "\u0627a"):
        with pytest.raises(GsmtpError):
            checked_user(bad)
    with pytest.raises(GsmtpError):
        checked_password(b"x" * 1025)


def test_two_editors_lose_nothing(tmp_path: Path) -> None:
    users = tmp_path / "users"
    command = [sys.executable, "-c", _EDITOR, str(users)]
    editors = [subprocess.Popen([*command, name], cwd=ROOT) for name in ("a", "b", "c")]
    assert [editor.wait(timeout=60) for editor in editors] == [0, 0, 0]
    names = {line.partition(":")[0] for line in users.read_text().splitlines()}
    assert names == {f"{name}{number}" for name in ("a", "b", "c") for number in range(50)}


_EDITOR = """
import sys
from gsmtp.auth.edit import change, with_line
for number in range(50):
    user = f"{sys.argv[2]}{number}:".encode()
    change(sys.argv[1], lambda data: with_line(data, user, user + b"x")[0], may_create=True)
"""


def test_a_link_stays_and_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "real").write_text("a:1\n")
    link = tmp_path / "link"
    link.symlink_to("real")
    change(str(link), lambda data: data + b"b:2\n", may_create=False)
    assert link.is_symlink()
    assert (tmp_path / "real").read_text() == "a:1\nb:2\n"

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gsmtp.auth.edit.os.fsync", full)
    with pytest.raises(GsmtpError, match="No space left on device"):
        change(str(link), lambda data: b"", may_create=False)
    assert (tmp_path / "real").read_text() == "a:1\nb:2\n"
    assert sorted(os.listdir(tmp_path)) == ["link", "real"]
