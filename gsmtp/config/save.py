"""New texts into files: all of them or none, each by an atomic replace that keeps mode and owner."""

from __future__ import annotations

import os
from collections.abc import Mapping

from gsmtp.config import files
from gsmtp.core.errors import ConfigError

_BOM = b"\xef\xbb\xbf"


def is_writable(path: str) -> bool:
    """Whether `save` can replace a file, or make it when there is none."""
    real = os.path.realpath(path)
    folder = os.path.dirname(real) or "."
    if not os.access(folder, os.W_OK | os.X_OK):
        return False
    return os.access(real, os.W_OK) if os.path.exists(real) else True


def save(texts: Mapping[str, str], before: Mapping[str, str]) -> None:
    """Replace files.

    Every file is looked at before the first is replaced, so a file that somebody edited meanwhile stops all of it.

    Args:
        texts: the new text of each file, by path.
        before: what each file is to hold now; a file that is not named must not exist.

    Raises:
        ConfigError: a file holds something else, or can't be written; nothing was replaced, unless the text says so.
    """
    heads = {path: _check(path, before.get(path)) for path in texts}
    ready: dict[str, str] = {}
    done: list[str] = []
    try:
        for path, text in texts.items():
            ready[path] = _prepare(path, heads[path] + text.encode("utf-8", "surrogateescape"))
        for path in texts:
            os.replace(ready.pop(path), os.path.realpath(path))
            done.append(path)
        for folder in {os.path.dirname(os.path.realpath(path)) or "." for path in texts}:
            _sync_folder(folder)
    except OSError as error:
        so_far = f"; already written: {', '.join(done)}" if done else "; nothing was written"
        raise ConfigError(f"{error.filename or 'a file'} can't be written: {error.strerror}{so_far}") from error
    finally:
        for left in ready.values():
            os.unlink(left)


def _check(path: str, expected: str | None) -> bytes:
    """The byte order mark of a file that holds what is expected. Raises ConfigError."""
    try:
        with open(path, "rb") as file:
            content = file.read()
    except FileNotFoundError:
        if expected is None:
            return b""
        raise ConfigError(f"{path} is gone since it was loaded; nothing was written") from None
    except OSError as error:
        raise ConfigError(f"{path} can't be read: {error.strerror}; nothing was written") from error
    if expected is None:
        raise ConfigError(f"{path} exists and was not loaded; nothing was written")
    if files.decode(content) != expected:
        raise ConfigError(f"{path} was changed on disk since it was loaded; nothing was written. Reload, or restore it")
    return _BOM if content.startswith(_BOM) else b""


def _prepare(path: str, content: bytes) -> str:
    """A synced file with the content beside the one that it is to replace, with its mode and owner."""
    import tempfile  # costs more than all the rest here, and most processes never write a configuration

    real = os.path.realpath(path)
    descriptor, name = tempfile.mkstemp(prefix=".", suffix=".new", dir=os.path.dirname(real) or ".")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            try:
                status = os.stat(real)
            except FileNotFoundError:
                os.fchmod(file.fileno(), 0o640)
            else:
                if (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid()):
                    os.fchown(file.fileno(), status.st_uid, status.st_gid)
                os.fchmod(file.fileno(), status.st_mode & 0o7777)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        os.unlink(name)
        raise
    return name


def _sync_folder(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
