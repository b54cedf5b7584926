"""Worker processes of ``run_in = "process"``: started when needed, one message at a time each, killed at a deadline.

They are programs of their own (`delivery.handler_child`), not forks of the server: nothing of its memory, sockets or
green threads is in them. One that dies or is killed costs the message that it had a retry, and is replaced.
"""

from __future__ import annotations

import json
import os
import signal
import struct
import sys
from typing import Any

import gevent
from gevent import socket, subprocess

import gsmtp
from gsmtp.core.inboundmail import InboundMail, Verdict
from gsmtp.delivery.handler_child import frame, frame_length, mail_frames, verdicts_of
from gsmtp.delivery.handlers import Source

START_S = 60.0
"""How long a worker may take to import its handler."""
NONSENSE = "its process was killed: it gave nonsense"

_MOST_ANSWER_BYTES = 16 << 20
_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(gsmtp.__file__)))


class WorkerFailed(Exception):
    """A worker gave no verdict.

    Args:
        text: why, on one line.
        traceback: of the handler, as text, "" for none.
    """

    def __init__(self, text: str, traceback: str = "") -> None:
        super().__init__(text)
        self.text = text
        self.traceback = traceback


class Worker:
    """One process.

    Args:
        source: its handler.
    """

    def __init__(self, source: Source) -> None:
        self._is_busy = True
        self._sock, other = socket.socketpair()
        path = os.pathsep.join((_ROOT, os.environ.get("PYTHONPATH", ""))).rstrip(os.pathsep)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "gsmtp.delivery.handler_child", str(other.fileno())],
                pass_fds=(other.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=2,  # standard output is the server's log
                env={**os.environ, "PYTHONPATH": path},
                start_new_session=True,
            )
        except OSError as error:
            self._sock.close()
            raise WorkerFailed(f"no process can be started: {error.strerror or error}") from error
        finally:
            other.close()
        try:
            told = {"module": source.module, "name": source.name, "folder": source.folder, "path": sys.path}
            said = self._ask(frame(json.dumps(told).encode()), START_S)
            if "ready" not in said:
                raise WorkerFailed(str(said.get("error", "it said nothing")))
        except BaseException:
            self.kill()
            raise

    @property
    def pid(self) -> int:
        """Of the process."""
        return int(self._process.pid)

    @property
    def is_alive(self) -> bool:
        """Whether it seems to be there."""
        return self._process.poll() is None

    def handle(self, mail: InboundMail, timeout_s: float) -> list[Verdict]:
        """Have a message handled. Raises WorkerFailed."""
        said = self._ask(mail_frames(mail), timeout_s)
        try:
            if "error" in said:
                raise WorkerFailed(str(said["error"]), str(said.get("traceback", "")))
            found = verdicts_of(said["verdicts"])
            if len(found) != len(mail.recipients):
                raise ValueError(f"{len(found)} verdicts for {len(mail.recipients)} recipients")
        except (TypeError, LookupError, ValueError) as error:
            self.kill()
            raise WorkerFailed(f"{NONSENSE}: {error}") from error
        return found

    def _ask(self, frames: bytes, timeout_s: float) -> dict[str, Any]:
        """Send and get an answer. Kills the process when that doesn't work, and raises WorkerFailed."""
        self._is_busy = True
        deadline = gevent.Timeout(timeout_s)
        deadline.start()
        try:
            self._sock.sendall(frames)
            length = frame_length(self._read(4))
            if length > _MOST_ANSWER_BYTES:
                raise ValueError(f"an answer of {length} bytes")
            said: dict[str, Any] = json.loads(self._read(length))
            self._is_busy = False
            return said
        except gevent.Timeout as fired:
            self.kill()
            if fired is not deadline:
                raise
            raise WorkerFailed(f"its process was killed: no answer within {timeout_s:g} s") from fired
        except (OSError, EOFError) as error:
            raise WorkerFailed(self._end()) from error
        except (ValueError, struct.error) as error:
            self.kill()
            raise WorkerFailed(f"{NONSENSE}: {error}") from error
        except BaseException:
            self.kill()
            raise
        finally:
            deadline.close()

    def _read(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            piece = self._sock.recv(min(size - len(data), 65_536))
            if not piece:
                raise EOFError
            data += piece
        return bytes(data)

    def _end(self) -> str:
        """How a process that hung up has ended."""
        try:
            self._process.wait(timeout=1.0)  # it is ending just now
        except subprocess.TimeoutExpired:
            pass
        status = self._process.poll()
        self.kill()
        if status is None:
            return "its process hung up and was killed"
        return f"its process ended with status {status}" if status >= 0 else f"its process died of signal {-status}"

    def kill(self) -> None:
        """End it, and all that it started in its group."""
        self._sock.close()
        is_running = self._process.poll() is None
        if is_running or self._is_busy:  # of one that died while it was idle, the number may be somebody else's by now
            try:
                os.killpg(self.pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                pass
        self._is_busy = False
        if is_running:
            self._process.wait()


class Workers:
    """The processes of one stanza.

    Args:
        source: their handler.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self._idle: list[Worker] = []
        self._is_closed = False

    def handle(self, mail: InboundMail, timeout_s: float) -> list[Verdict]:
        """Have a message handled by a process that is idle, or a new one. Blocks. Raises WorkerFailed."""
        worker = self._take()
        said: list[Verdict] | None = None
        try:
            said = worker.handle(mail, timeout_s)
        finally:
            if worker.is_alive and not self._is_closed:
                self._idle.append(worker)
            else:
                worker.kill()
        return said

    def _take(self) -> Worker:
        while self._idle:
            worker = self._idle.pop()
            if worker.is_alive:
                return worker
            worker.kill()
        return Worker(self.source)

    @property
    def pids(self) -> list[int]:
        """Of processes that are idle."""
        return [worker.pid for worker in self._idle]

    def close(self) -> None:
        """End idle processes now, and busy ones when they have answered."""
        self._is_closed = True
        while self._idle:
            self._idle.pop().kill()


def try_import(source: Source) -> None:
    """See whether a process can import a handler. Blocks. Raises WorkerFailed."""
    Worker(source).kill()
