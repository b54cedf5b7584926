"""Password files changed: one user added, changed or deleted, other lines kept as they are, the file replaced whole.

A lock keeps two editors apart; a reader sees the old file or the new one. Nothing here prints or asks.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Callable
from typing import Final

from gsmtp.auth.stores.file import prepared_name
from gsmtp.core.errors import GsmtpError
from gsmtp.sasl.prep import saslprep

NEW_MODE: Final = 0o640
_MOST_PASSWORD: Final = 1024


def checked_user(name: str) -> str:
    """A user name as it is written to files, in its SASLprep form. Raises GsmtpError when it can't be one."""
    try:
        user = saslprep(name)
    except ValueError as error:
        raise GsmtpError(f"user name {name!r}: {error}") from None
    if not user or ":" in user or user.startswith("#") or not user.isprintable():
        raise GsmtpError(f"user name {name!r}: it may not be empty, hold a colon or begin with #")
    return user


CONSOLE_REALM: Final = "Momentum Console"
"""Realm of the console's logins, and of digest:// files for which none is named (reference/esmtp-listener.md section
11.2)."""


def checked_realm(realm: str) -> str:
    """A realm that a digest:// file can hold. Raises GsmtpError."""
    if not realm or ":" in realm or not realm.isprintable():
        raise GsmtpError(f"realm {realm!r}: it may not be empty or hold a colon")
    return realm


def checked_password(password: bytes) -> bytes:
    """A password that a line can hold. Raises GsmtpError."""
    if not password:
        raise GsmtpError("the password is empty")
    if any(octet in password for octet in (b"\n", b"\r", b"\0")):
        raise GsmtpError("the password holds a line end or NUL")
    if len(password) > _MOST_PASSWORD:
        raise GsmtpError(f"the password has more than {_MOST_PASSWORD} octets")
    return password


def with_line(data: bytes, key: bytes, line: bytes | None) -> tuple[bytes, bool]:
    """A file with one entry set or taken out.

    Args:
        data: what the file holds.
        key: what the entry's line begins with, colon included: ``user:`` or ``user:realm:``.
        line: the whole new line without its end, None to take the entry out.

    Returns:
        The new content, and whether there was such an entry. Its first line is replaced, further ones go.
    """
    kept: list[bytes] = []
    was_there = False
    for text in data.split(b"\n"):
        if not _is_entry(text, key):
            kept.append(text)
        elif not was_there:
            was_there = True
            if line is not None:
                kept.append(line)
    if not was_there and line is not None:
        if kept[-1]:
            kept.append(b"")
        kept.insert(len(kept) - 1, line)
    return b"\n".join(kept), was_there


def _is_entry(text: bytes, key: bytes) -> bool:
    if text.startswith(b"#"):
        return False
    parts = text.split(b":", key.count(b":"))
    if len(parts) <= key.count(b":"):
        return False
    parts[0] = prepared_name(parts[0]).encode("utf-8", "surrogateescape")
    return b":".join((*parts[:-1], b"")) == key


def change(path: str, make: Callable[[bytes], bytes | None], *, may_create: bool) -> bool:
    """Replace a file by what a function makes of its content. Waits for others that change it.

    Args:
        path: of the file; a symbolic link's target is replaced.
        make: gives the new content, None to leave it alone.
        may_create: whether a file that isn't there is made, with mode 0640.

    Returns:
        Whether the file was made.

    Raises:
        GsmtpError: it can't be read or written.
    """
    target = os.path.realpath(path)
    try:
        descriptor, is_new = _locked(target, may_create)
        try:
            with open(descriptor, "rb", closefd=False) as file:
                content = make(file.read())
            if content is not None:
                _replace(target, content, os.fstat(descriptor))
            return is_new
        finally:
            os.close(descriptor)
    except OSError as error:
        raise GsmtpError(f"{path}: {error.strerror}") from error


def _locked(path: str, may_create: bool) -> tuple[int, bool]:
    """A descriptor of the file that stands at the path now, locked, and whether it was made for that."""
    is_new = False
    while True:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            if not may_create:
                raise
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, NEW_MODE))
            is_new = True
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            ours = os.fstat(descriptor)
            there = os.stat(path)
            if (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino):
                return descriptor, is_new
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # somebody has replaced it while we waited


def _replace(path: str, content: bytes, like: os.stat_result) -> None:
    folder = os.path.dirname(path)
    descriptor, temporary = tempfile.mkstemp(prefix=f".{os.path.basename(path)}.", dir=folder)
    try:
        with open(descriptor, "wb") as file:
            if os.geteuid() == 0:
                os.fchown(descriptor, like.st_uid, like.st_gid)
            os.fchmod(descriptor, like.st_mode & 0o7777)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        os.rename(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
