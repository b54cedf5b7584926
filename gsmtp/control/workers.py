"""What the console of a parent process sees of its workers: who they are, and how to ask them.

A server that is one process has no `Workers`. Questions are answered by functions registered under
`gsmtp.workers.questions`; docs/workers.md says which there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Answered:
    """What one worker said.

    Args:
        slot: of the worker, from 1.
        pid: its process.
        body: its answer, JSON; None when there is none.
        error: why there is none, or "".
    """

    slot: int
    pid: int
    body: Any = None
    error: str = ""


class WorkerState(Protocol):
    """One place in the crew, for listings.

    Attributes:
        slot: from 1.
        pid: of the process that has it now, 0 while there is none.
        is_ready: whether it serves.
        starts: how often a process was started for it.
        since_wall: since when its process runs, seconds since the epoch.
    """

    @property
    def slot(self) -> int: ...
    @property
    def pid(self) -> int: ...
    @property
    def is_ready(self) -> bool: ...
    @property
    def starts(self) -> int: ...
    @property
    def since_wall(self) -> float: ...


class Workers(Protocol):
    """All workers of this parent."""

    @property
    def members(self) -> Sequence[WorkerState]:
        """By slot."""

    def ask(
        self, slot: int, kind: str, body: Any = None, *, fds: Sequence[int] = (), timeout_s: float = 10.0
    ) -> Answered:
        """Ask one worker; its end and its errors are an `Answered` too. Blocks."""

    def ask_all(self, kind: str, body: Any = None, *, timeout_s: float = 10.0) -> list[Answered]:
        """Ask all workers at the same time; one answer each, by slot. Blocks."""
