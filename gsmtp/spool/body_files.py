"""Body files: where they are, and the blocking calls on them. For native threads, and for `recover`."""

from __future__ import annotations

import os
from itertools import count

from gsmtp.core.errors import SpoolUnhealthy
from gsmtp.spool import schema

_COPY_BYTES = 8 << 20


class BodyFiles:
    """Where body files are, and the blocking calls on them.

    Args:
        base: the spool's directory.
        mode: of new files.
        fsync: whether files and directories are synced.
    """

    def __init__(self, base: str, *, mode: int, fsync: bool) -> None:
        self.root = os.path.join(base, schema.BODIES)
        self.incoming = os.path.join(self.root, schema.INCOMING)
        self.mode = mode
        self.fsync = fsync
        self._temporary = count(1)

    def path(self, number: int) -> str:
        """The file of the message with that number: 256 consecutive numbers share a directory."""
        return os.path.join(self.root, f"{number >> 16 & 0xFF:02X}", f"{number >> 8 & 0xFF:02X}", f"{number:012X}")

    def temporary_path(self) -> str:
        """A new name in ``bodies/new``, unique in this process."""
        return os.path.join(self.incoming, f"{os.getpid()}-{next(self._temporary)}")

    # Blocking: for native threads and for `recover`.

    def create(self, path: str) -> int:
        """Make a file and return its descriptor."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, self.mode)
        os.fchmod(descriptor, self.mode)
        return descriptor

    def write(self, descriptor: int, path: str, pieces: list[bytes], sync: bool) -> int:
        """Append pieces, making the file first when `descriptor` is -1. Returns the descriptor."""
        made = self.create(path) if descriptor < 0 else descriptor
        try:
            views = [memoryview(piece) for piece in pieces]
            while views:
                written = os.writev(made, views[:64])
                while views and written >= len(views[0]):
                    written -= len(views.pop(0))
                if written:
                    views[0] = views[0][written:]
            if sync and self.fsync:
                os.fdatasync(made)
        except OSError:
            if descriptor < 0:
                self.discard(made, path)
            raise
        return made

    def rewrite(self, descriptor: int, path: str, skip_bytes: int, new_path: str, head: bytes) -> int:
        """Copy a file with another beginning, and remove it. Returns the descriptor of the copy.

        Args:
            descriptor: of the file, closed here whatever happens.
            path: the file.
            skip_bytes: of its first bytes, which are left out.
            new_path: of the copy.
            head: what comes first in it.
        """
        source = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            made = self.write(-1, new_path, [head] if head else [], False)
            try:
                offset = skip_bytes
                while sent := os.sendfile(made, source, offset, _COPY_BYTES):
                    offset += sent
            except OSError:
                self.discard(made, new_path)
                raise
        finally:
            os.close(source)
            self.discard(descriptor, path)
        return made

    def finish(self, descriptor: int, path: str, number: int) -> None:
        """Make the file durable under its final name, and close it. After an error neither name is left."""
        final = self.path(number)
        linked = False
        try:
            try:
                if self.fsync:
                    os.fdatasync(descriptor)
            finally:
                os.close(descriptor)
            directory = os.path.dirname(final)
            self._make_directory(directory)
            os.link(path, final)  # a rename would replace the body of another message, were an id ever doubled
            linked = True
            os.unlink(path)
            self._sync_directory(directory)
        except OSError:
            self.discard(-1, path)
            if linked:
                self.discard(-1, final)
            raise

    def link(self, path: str, number: int) -> None:
        """Have another spool's body file here too, durably. One that isn't there is left out: opening tells of it."""
        final = self.path(number)
        directory = os.path.dirname(final)
        self._make_directory(directory)
        try:
            os.link(path, final)
        except FileExistsError:
            if not os.path.samefile(path, final):
                raise
        except FileNotFoundError:
            return
        self._sync_directory(directory)

    def discard(self, descriptor: int, path: str) -> None:
        """Close (unless -1) and remove. Failing matters little: `recover` removes what is left."""
        try:
            if descriptor != -1:
                os.close(descriptor)
            os.unlink(path)
        except OSError:
            pass

    def check(self, number: int, message_id: str, size_bytes: int) -> None:
        """Raise SpoolUnhealthy unless the body of that message is there with its length."""
        try:
            found = os.stat(self.path(number)).st_size
        except OSError as error:
            raise SpoolUnhealthy(f"message {message_id}: its body can't be read: {error}") from error
        if found != size_bytes:
            raise SpoolUnhealthy(f"message {message_id}: its body file has {found} of {size_bytes} bytes")

    def remove(self, number: int) -> None:
        """Remove a committed body's file."""
        self.discard(-1, self.path(number))

    def _make_directory(self, directory: str) -> None:
        if os.path.isdir(directory):
            return
        parent = os.path.dirname(directory)
        if directory != self.root:
            self._make_directory(parent)
        try:
            os.mkdir(directory, directory_mode(self.mode))
        except FileExistsError:
            return
        self._sync_directory(parent)

    def _sync_directory(self, directory: str) -> None:
        if self.fsync:
            sync_directory(directory)


def directory_mode(mode: int) -> int:
    """The mode of directories for files of a mode: who may read may enter."""
    return mode | (mode & 0o444) >> 2


def sync_directory(directory: str) -> None:
    """Make the names in a directory durable. Blocks."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
