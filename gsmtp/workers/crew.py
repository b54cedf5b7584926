"""The workers as their parent sees them: started, watched, replaced, asked.

A worker is a process of its own of the same program (`gsmtp run … --worker FD`), not a fork: native threads, SQLite and
OpenSSL don't survive one. It gets one end of a channel, its slot, the listening sockets and the configuration. One that
ends without having been told to is replaced: at once the first time, later and later when it ends again and again.
"""

from __future__ import annotations

import os
import pickle
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

import gevent
from gevent.event import Event

from gsmtp.config.scopes import Configuration
from gsmtp.control.workers import Answered
from gsmtp.core.errors import GsmtpError
from gsmtp.runtime.channel import Channel, ChannelError, Handler, Refused
from gsmtp.runtime.shared_counts import SharedCounts

START_S: Final = 600.0
"""How long a worker may take until it is ready; after a crash a large spool may have to be put right."""
RELOAD_S: Final = 60.0
_HELLO_S: Final = 60.0
_FIRST_PAUSE_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 30.0
_STEADY_S: Final = 10.0
"""A worker that served so long is replaced at once."""
_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Events(Protocol):
    """Where events go (`gsmtp.observe.logs.EventLog`)."""

    def event(self, level: str, area: str, what: str, **fields: object) -> None:
        """Write one event."""


@dataclass(frozen=True, slots=True)
class Orders:
    """What a worker is told when it starts, and at a reload.

    Args:
        configuration: to serve.
        sockets: descriptors of the listening sockets, by endpoint: one for each slot, or one for all.
    """

    configuration: Configuration
    sockets: Mapping[str, Sequence[int]]

    @property
    def named(self) -> list[tuple[str, int]]:
        """Endpoints, and how many of the descriptors are theirs."""
        return [(name, len(found)) for name, found in self.sockets.items()]

    @property
    def descriptors(self) -> list[int]:
        """All of them, in that order."""
        return [one for found in self.sockets.values() for one in found]

    def packed(self) -> bytes:
        """The configuration as bytes that only this server's own workers ever read."""
        return pickle.dumps(replace(self.configuration.tree, ledger=None))


@dataclass(slots=True, eq=False)
class Member:
    """One place in the crew; see `gsmtp.control.workers.WorkerState`."""

    slot: int
    process: subprocess.Popen[bytes] | None = None
    channel: Channel | None = None
    said_hello: Event = field(default_factory=Event)
    pid: int = 0
    is_ready: bool = False
    starts: int = 0
    since_wall: float = 0.0
    pause_s: float = 0.0
    ready_mono: float = 0.0


class Crew:
    """All workers.

    Args:
        count: of them.
        command: what starts one, without the number of its descriptor.
        events: the log.
        orders: what a worker that starts is to serve.
        handlers: questions that workers may ask.
        table: descriptor of the counts that they share.

    Attributes:
        members: by slot.
        is_stopping: nobody is replaced any more.
        serving: called with the slot of a worker that has begun to serve.
        privileged: called in a new process before the program starts, to have its first rights back.
        opening: the least generation of the next spool that is opened; see `SqliteSpool.open_at`.
    """

    def __init__(
        self,
        count: int,
        command: Sequence[str],
        events: Events,
        orders: Callable[[], Orders],
        handlers: Mapping[str, Handler],
        *,
        table: int,
    ) -> None:
        self.members = [Member(slot) for slot in range(1, count + 1)]
        self.is_stopping = False
        self.opening = 0
        self._command = list(command)
        self._events = events
        self._orders = orders
        self._handlers = handlers
        self.serving: Callable[[int], object] = lambda slot: None
        self.privileged: Callable[[], None] | None = None
        self._table = table
        self._counts = SharedCounts(table, count)

    # --- starting

    def launch(self) -> None:
        """Start all processes; they load the program meanwhile. Raises GsmtpError."""
        for member in self.members:
            self._launch(member)

    def begin(self) -> None:
        """Give all workers their orders and wait until they serve. Raises GsmtpError with what the first one says."""
        jobs = [gevent.spawn(_tried, self._begin, member) for member in self.members]
        gevent.joinall(jobs)
        for job in jobs:
            if job.value is not None:
                raise job.value
        for member in self.members:
            gevent.spawn(self._watch, member)

    def _launch(self, member: Member) -> None:
        ours, theirs = socket.socketpair()
        path = os.pathsep.join((_ROOT, os.environ.get("PYTHONPATH", ""))).rstrip(os.pathsep)
        try:
            process = subprocess.Popen(  # noqa: S603 - our own program
                [*self._command, "--worker", str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": path},
                start_new_session=True,  # signals for the whole group are the parent's to pass on
                preexec_fn=self.privileged,
            )
        except (OSError, subprocess.SubprocessError) as error:
            ours.close()
            raise GsmtpError(f"worker {member.slot} can't be started: {error}") from error
        finally:
            theirs.close()
        hello = member.said_hello = Event()

        def said_hello(_question: object) -> None:
            hello.set()

        member.process, member.pid, member.is_ready = process, process.pid, False
        member.starts += 1
        member.since_wall = time.time()
        member.channel = Channel(ours, {**self._handlers, "hello": said_hello}, hello.set)
        member.channel.start()

    def _begin(self, member: Member) -> None:
        assert member.channel is not None
        if not member.said_hello.wait(_HELLO_S):
            raise GsmtpError(f"worker {member.slot} doesn't come up")
        orders = self._orders()
        opening, self.opening = self.opening, self.opening + 1
        body = {
            "slot": member.slot,
            "count": len(self.members),
            "generation": orders.configuration.generation,
            "opening": opening,
            "sockets": orders.named,
        }
        fds = [self._table, *orders.descriptors]
        try:
            member.channel.ask("start", body, raw=orders.packed(), fds=fds, timeout_s=START_S)
        except Refused as error:
            raise GsmtpError(str(error)) from error
        except ChannelError as error:
            raise GsmtpError(f"worker {member.slot} did not start: {error}") from error
        member.is_ready = True
        member.ready_mono = time.monotonic()
        if self._orders().configuration.generation != orders.configuration.generation:
            self._reload_one(member)  # it began during a reload
        self.serving(member.slot)

    def reload(self) -> None:
        """Give all workers the orders that hold now. One that can't follow is drained and replaced. Blocks."""
        gevent.joinall([gevent.spawn(self._reload_one, member) for member in self.members if member.is_ready])

    def _reload_one(self, member: Member) -> None:
        assert member.channel is not None
        orders = self._orders()
        body = {"generation": orders.configuration.generation, "sockets": orders.named}
        try:
            member.channel.ask("reload", body, raw=orders.packed(), fds=orders.descriptors, timeout_s=RELOAD_S)
        except (Refused, ChannelError) as error:
            self._events.event(
                "error", "workers", f"worker {member.slot} can't take the new configuration, it is replaced: {error}"
            )
            self._tell_to_stop(member)

    # --- watching

    def _watch(self, member: Member) -> None:
        """One green thread a slot: replaces its process whenever that ends."""
        while True:
            assert member.process is not None
            status = member.process.wait()
            was_ready = member.is_ready
            self._lost(member)
            if self._has_stopped():
                return
            lived_s = time.monotonic() - member.ready_mono if was_ready else 0.0
            if lived_s >= _STEADY_S:
                member.pause_s = 0.0
            self._events.event(
                "critical" if status else "warning",
                "workers",
                f"worker {member.slot} {_death(status)}, it is replaced",
                worker_pid=member.pid,
                after_s=round(lived_s, 1) if was_ready else None,
                pause_s=member.pause_s or None,
            )
            while not self._replace(member) and not self._has_stopped():
                pass
            if self._has_stopped():
                return

    def _has_stopped(self) -> bool:
        return self.is_stopping

    def _replace(self, member: Member) -> bool:
        """Start one anew after its pause. False when that failed, which was told."""
        gevent.sleep(member.pause_s)
        member.pause_s = min(max(member.pause_s * 2, _FIRST_PAUSE_S), _LONGEST_PAUSE_S)
        if self._has_stopped():
            return False
        try:
            self._launch(member)
            self._begin(member)
        except (GsmtpError, OSError) as error:
            self.end(member)
            self._lost(member)
            if not self._has_stopped():
                self._events.event("critical", "workers", f"worker {member.slot} can't be replaced: {error}")
            return False
        self._events.event("info", "workers", "replaced", worker=member.slot, worker_pid=member.pid)
        return True

    def _lost(self, member: Member) -> None:
        """A process is gone: what it had of limits is free."""
        member.is_ready = False
        if member.channel is not None:
            member.channel.close()
        self._counts.clear(member.slot - 1)

    # --- asking

    def ask(
        self,
        slot: int,
        kind: str,
        body: Any = None,
        *,
        raw: bytes = b"",
        fds: Sequence[int] = (),
        timeout_s: float = 10.0,
    ) -> Answered:
        """Ask one worker; its end and its errors are an `Answered` too. Blocks."""
        member = self.members[slot - 1]
        if member.channel is None or not member.is_ready:
            return Answered(slot, 0, None, "it is being replaced")
        pid = member.pid
        try:
            return Answered(slot, pid, member.channel.ask(kind, body, raw=raw, fds=fds, timeout_s=timeout_s))
        except (Refused, ChannelError) as error:
            return Answered(slot, pid, None, str(error) or "it refused")

    def ask_all(
        self, kind: str, body: Any = None, *, raw: bytes = b"", fds: Sequence[int] = (), timeout_s: float = 10.0
    ) -> list[Answered]:
        """Ask all workers at the same time; one answer each, by slot. Blocks."""

        def ask(slot: int) -> Answered:
            return self.ask(slot, kind, body, raw=raw, fds=fds, timeout_s=timeout_s)

        jobs = [gevent.spawn(ask, member.slot) for member in self.members]
        gevent.joinall(jobs)
        return [job.get() for job in jobs]

    # --- stopping

    def end(self, member: Member) -> None:
        """End one process without draining; its spool is made to survive that."""
        if member.process is not None and member.process.poll() is None:
            try:
                member.process.kill()
            except OSError:
                return
            member.process.wait()

    def kill(self) -> None:
        """End all processes at once."""
        self.is_stopping = True
        for member in self.members:
            self.end(member)

    def signal_all(self) -> None:
        """As `kill`, without waiting: for the last moment of this process."""
        self.is_stopping = True
        for member in self.members:
            if member.process is not None and member.process.poll() is None:
                member.process.kill()

    def stop(self, drain_s: float, margin_s: float) -> int:
        """Let all workers drain, and end those that take longer; returns how many these were. Blocks."""
        self.is_stopping = True
        end_mono = time.monotonic() + drain_s + margin_s
        for member in self.members:
            gevent.spawn(self._tell_to_stop, member)
        late = 0
        for member in self.members:
            if member.process is None:
                continue
            try:
                member.process.wait(timeout=max(end_mono - time.monotonic(), 0.01))
            except subprocess.TimeoutExpired:
                late += 1
                self.end(member)
        return late

    def _tell_to_stop(self, member: Member) -> None:
        if member.channel is None or not member.is_ready:
            self.end(member)  # it has served nobody yet
            return
        try:
            member.channel.tell("stop")
        except ChannelError:
            pass  # it is gone


def command(path: str, *, as_json: bool, level: str) -> list[str]:
    """What starts a worker, without the number of its descriptor."""
    flags: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    form = "json" if as_json else "text"
    return [sys.executable, *flags, "-m", "gsmtp", "run", path, "--log-format", form, "--log-level", level]


def _tried(function: Callable[[Member], object], member: Member) -> GsmtpError | None:
    try:
        function(member)
    except GsmtpError as error:
        return error
    return None


def _death(status: int) -> str:
    return f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
