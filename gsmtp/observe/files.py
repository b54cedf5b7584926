"""Log files: opened to append, kept open, opened anew when somebody moved them; trouble is told, never waited for.

A line is written to the file that is open when its bundle's turn comes, and a request to reopen waits in the same
queue: what was logged before it goes to the old file, what comes after to the new one, and nothing is lost.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from gsmtp.config.diagnostics import Span
from gsmtp.core.errors import ConfigError
from gsmtp.observe.writer import BundleWriter, locked
from gsmtp.runtime.native import HubMailbox, NativePool

_AGAIN_S = 0.2
"""How long to wait before a write that failed (a full disk) is tried again."""

Tell = Callable[[str, str], None]
"""Takes level and text of what is wrong with a log file. Called on the hub."""


@dataclass(frozen=True, slots=True)
class Target:
    """A file that a configuration wants written.

    Args:
        path: of the file.
        mode: its permission bits when it is made.
        span: where the configuration says so.
        option: which one.
    """

    path: str
    mode: int
    span: Span
    option: str


class LogFile(BundleWriter):
    """One log file.

    While it can't be written, up to 16 MiB of lines wait; what comes beyond is counted and told of.

    Args:
        target: what to open.
        mailbox: brings what is told to the hub.
        tell: takes it there.
        is_shared: whether other processes write to it, too.

    Raises:
        ConfigError: it can't be opened.
    """

    def __init__(self, target: Target, mailbox: HubMailbox, tell: Tell, is_shared: bool = False) -> None:
        super().__init__(NativePool("log", 1, mailbox))
        self.path = target.path
        self.mode = target.mode
        self._mailbox = mailbox
        self._tell = tell
        self._is_shared = is_shared
        self._reopens_wanted = 0
        self._reopens_done = 0
        self._is_in_trouble = False
        self._is_given_up = False
        try:
            self._descriptor = _open(self.path, self.mode)
        except OSError as error:
            raise ConfigError(_cannot(target, error)) from error

    def reopen(self) -> None:
        """Close the file and open the one that has its name now, after what was logged until now. Never blocks."""
        self.flush()
        self._reopens_wanted += 1
        self._hand_over(self._reopen)

    def check(self) -> None:
        """Reopen if the file was moved or deleted. Never blocks."""
        self.flush()
        self._hand_over(self._reopen_if_moved)

    def close(self) -> None:
        """Write what is left and close. Never blocks; see `is_idle`."""
        self.flush()
        if not self._is_started:
            os.close(self._descriptor)
            return
        self._hand_over(self._close)
        self._hand_over(None)
        self._pool.close()

    def give_up(self) -> None:
        """Stop trying to write, and tell what is lost by it."""
        self._is_given_up = True
        waiting = self._handed_over - self._written
        if waiting or self._dropped:
            before = f" and {self._dropped} pieces of the log after them" if self._dropped else ""
            self._tell("critical", f"{waiting} bytes{before} are missing at the end of {self.path}")

    # --- in the native thread

    def _write_all(self, data: bytes) -> None:
        if not self._is_shared:
            self._write(data)
            return
        with locked(self._descriptor):
            self._write(data)

    def _write(self, data: bytes) -> None:
        written = 0
        while written < len(data):
            try:
                written += os.write(self._descriptor, data[written:] if written else data)
            except OSError as error:
                if not self._is_in_trouble:
                    self._is_in_trouble = True
                    self._post("critical", f"{self.path} can't be written, its lines wait: {error.strerror}")
                if self._is_given_up:
                    return
                self._never.take(timeout_s=_AGAIN_S)
                if self._reopens_done != self._reopens_wanted and self._reopen():
                    written = data.rfind(b"\n", 0, written) + 1  # the new file gets the line from its beginning
        if self._is_in_trouble:
            self._is_in_trouble = False
            self._post("warning", f"{self.path} is written again")

    def _begins_to_drop(self) -> None:
        self._tell("critical", f"{self.path} can't be written and too much waits: what comes now is lost")

    def _after_a_gap(self, dropped: int) -> bytes:
        self._tell("critical", f"{dropped} pieces of the log are missing in {self.path}: it could not be written")
        return b""

    def _reopen(self) -> bool:
        """Whether another file is open now than before."""
        if self._reopens_done == self._reopens_wanted:
            return False  # done already, in the midst of trouble
        self._reopens_done = self._reopens_wanted
        return self._open_anew()

    def _reopen_if_moved(self) -> None:
        ours = os.fstat(self._descriptor)
        try:
            there = os.stat(self.path)
        except OSError:
            self._open_anew()
            return
        if (ours.st_dev, ours.st_ino) != (there.st_dev, there.st_ino):
            self._open_anew()

    def _open_anew(self) -> bool:
        try:
            fresh = _open(self.path, self.mode)
        except OSError as error:
            self._post("critical", f"{self.path} can't be opened anew, the old file stays in use: {error.strerror}")
            return False
        os.close(self._descriptor)
        self._descriptor = fresh
        return True

    def _close(self) -> None:
        os.close(self._descriptor)

    def _post(self, level: str, text: str) -> None:
        self._mailbox.post(self._tell, level, text)


class LogFiles:
    """All log files that are open, one for each path, whoever writes to it.

    Args:
        mailbox: for the files' threads.
        tell: takes what is wrong.
        is_shared: whether other processes write to them, too.
    """

    def __init__(self, mailbox: HubMailbox, tell: Tell, is_shared: bool = False) -> None:
        self._mailbox = mailbox
        self._tell = tell
        self._is_shared = is_shared
        self._open: dict[str, LogFile] = {}

    def prepare(self, targets: Iterable[Target]) -> dict[str, LogFile]:
        """Files by path: those that are open already, and those opened now. Nothing else changes yet.

        Raises:
            ConfigError: with the place; what was opened now is closed again.
        """
        files: dict[str, LogFile] = {}
        try:
            for target in targets:
                if target.path not in files:
                    known = self._open.get(target.path)
                    files[target.path] = known or LogFile(target, self._mailbox, self._tell, self._is_shared)
        except ConfigError:
            self.discard(files)
            raise
        return files

    def discard(self, files: dict[str, LogFile]) -> None:
        """Close those of `prepare` that never came to be used."""
        for path, file in files.items():
            if self._open.get(path) is not file:
                file.close()

    def use(self, files: dict[str, LogFile]) -> None:
        """These are in use from now on; others are closed when what they hold is written."""
        for path, file in self._open.items():
            if files.get(path) is not file:
                file.close()
        self._open = dict(files)

    def reopen(self) -> None:
        """Open all files anew, after what was logged until now."""
        for file in self._open.values():
            file.reopen()

    def check(self) -> None:
        """Reopen those that were moved or deleted."""
        for file in self._open.values():
            file.check()

    @property
    def is_idle(self) -> bool:
        """Whether all that was logged is written."""
        for file in self._open.values():
            file.flush()
        return all(file.is_idle for file in self._open.values())

    def close(self, nap: Callable[[float], object], limit_s: float = 0.5) -> None:
        """Write what is left, for `limit_s` at the most, and close all files.

        Args:
            nap: lets the files' threads work for so many seconds.
            limit_s: a full disk must not keep the process from ending.
        """
        deadline = time.monotonic() + limit_s
        while not self.is_idle and time.monotonic() < deadline:
            nap(0.005)
        for file in self._open.values():
            file.give_up()
            file.close()
        self._open = {}


def _open(path: str, mode: int) -> int:
    """Open a file to append to; one that is made here gets exactly these permission bits, whatever the umask.

    Non-blocking, for a FIFO's sake; files don't mind.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
    try:
        descriptor = os.open(path, flags | os.O_EXCL, mode)
    except FileExistsError:
        return os.open(path, flags, mode)
    os.fchmod(descriptor, mode)
    return descriptor


def _cannot(target: Target, error: OSError) -> str:
    why = error.strerror or str(error)
    folder = os.path.dirname(target.path) or "."
    if isinstance(error, FileNotFoundError) and not os.path.isdir(folder):
        why = f"its folder {folder} doesn't exist"
    return f"{target.span}: error: {target.option} {target.path} can't be opened: {why}"
