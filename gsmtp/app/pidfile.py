"""The pidfile: written when the sockets are bound, removed at the end."""

from __future__ import annotations

import os

from gsmtp.core.errors import GsmtpError


class Pidfile:
    """A file with this process's number in it, or none."""

    def __init__(self) -> None:
        self._path = ""

    def write(self, path: str) -> None:
        """Write it, "" for none. Raises GsmtpError."""
        if not path:
            return
        try:
            with open(path, "w", encoding="ascii") as file:
                file.write(f"{os.getpid()}\n")
        except OSError as error:
            raise GsmtpError(f"can't write the pidfile {path}: {error.strerror}") from error
        self._path = path

    def remove(self) -> None:
        """Remove it, if it was written."""
        if self._path:
            try:
                os.unlink(self._path)
            except OSError:
                pass  # its folder may belong to root, and we no longer are
