"""Programs of Debian's packages that tests talk to, and folders that their unprivileged parts may enter."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_SEARCH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin:/usr/lib/dovecot:/usr/lib/postfix/sbin"


def program(name: str, package: str) -> str:
    """The path of a program; skips the test, naming the Debian package, when it isn't there."""
    path = shutil.which(name, path=_SEARCH)
    if path is None:
        pytest.skip(f"{name} is not installed (Debian package {package})")
    return path


def need_root(why: str) -> None:
    """Skip the test unless it runs as root."""
    if os.geteuid() != 0:
        pytest.skip(f"needs root: {why}")


@contextmanager
def open_folder(prefix: str) -> Iterator[Path]:
    """A temporary folder that other users may enter (pytest's own are for their owner alone)."""
    folder = Path(tempfile.mkdtemp(prefix=f"gsmtp-{prefix}-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
