"""Folders of what tests share for as long as their process runs."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from pathlib import Path


def folder_of_the_run(name: str) -> Path:
    """A new folder that is removed when the process ends.

    For what is made when a module is imported, before there is a fixture; a test's own files go to its `tmp_path`.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"gsmtp-{name}-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
