"""Running another program for a green thread: bounded in time, and whatever it started ends with it.

Its input is a file, never a pipe of ours: nobody has to feed it while others wait.
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import gevent
from gevent import subprocess

from gsmtp.runtime.native import HubMailbox, NativePool


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended.

    Args:
        status: its exit status; 128 and the number of the signal that ended it, as shells count; -1 when it was not
            started or was killed at its deadline.
        reason: why, for -1.
    """

    status: int
    reason: str = ""


class Programs:
    """Runs programs. Make it on the hub's own thread.

    Args:
        name: for the native threads that do the file work.
        at_once: of those threads.
    """

    def __init__(self, name: str, at_once: int = 4) -> None:
        self._native = NativePool(name, at_once, HubMailbox())

    def run(
        self,
        words: Sequence[str],
        pieces: Iterable[bytes],
        environment: Mapping[str, str],
        timeout_s: float,
        *,
        output: str = os.devnull,
        errors: str = os.devnull,
    ) -> Ended:
        """Run a program in a process group of its own and wait for it in the calling green thread.

        Args:
            words: the program and its arguments; no shell reads them.
            pieces: what it reads from standard input; iterated in a native thread.
            environment: all of it.
            timeout_s: then it is killed, and so is all that it started in its group.
            output: the file that standard output is added to.
            errors: likewise for standard error.
        """
        try:
            descriptors = self._native.call(_open_files, pieces, output, errors)
        except OSError as error:
            return Ended(-1, f"{error.strerror}: {error.filename}" if error.filename else str(error))
        try:
            process = subprocess.Popen(
                list(words),
                stdin=descriptors[0],
                stdout=descriptors[1],
                stderr=descriptors[2],
                env=dict(environment),
                cwd="/",
                close_fds=True,
                start_new_session=True,
            )
        except OSError as error:
            return Ended(-1, f"{words[0]} can't be started: {error.strerror or error}")
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        return _wait(process, words[0], timeout_s)

    def close(self) -> None:
        """Let the threads end."""
        self._native.close()


def _wait(process: subprocess.Popen[bytes], name: str, timeout_s: float) -> Ended:
    """How it ended; it is no more when this returns or raises."""
    late = gevent.Timeout(timeout_s)
    try:
        with late:
            status = process.wait()
        return Ended(status if status >= 0 else 128 - status)
    except gevent.Timeout as error:
        if error is not late:
            raise
        return Ended(-1, f"{name} was killed: it had not ended after {timeout_s:g} s")
    finally:
        if process.poll() is None:
            _kill_group(process.pid)
            process.wait()


def _kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except OSError as error:
        if error.errno != errno.ESRCH:
            raise


def _open_files(pieces: Iterable[bytes], output: str, errors: str) -> list[int]:
    """Descriptors for the three standard streams. Runs in a native thread. Raises OSError."""
    opened: list[int] = []
    try:
        opened.append(_nameless_file())
        with open(os.dup(opened[0]), "wb") as file:
            file.writelines(pieces)
        os.lseek(opened[0], 0, os.SEEK_SET)
        for path in (output, errors):
            opened.append(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640))
    except BaseException:
        for descriptor in opened:
            os.close(descriptor)
        raise
    return opened


def _nameless_file() -> int:
    """A file without a name, on the disk where that is possible, else in memory.

    `tempfile` has a lock that gevent patches, which a native thread must not wait for.
    """
    try:
        return os.open(os.environ.get("TMPDIR") or "/tmp", os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)  # noqa: S108
    except OSError:
        return os.memfd_create("gsmtp", os.MFD_CLOEXEC)
