"""How much waits in the queue, for commands that tell: from the spool's index, and not counted anew too often.

A count that takes long (half a second for a million recipients) is good for twenty times as long; short ones are
made each time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from gsmtp.control.command import CommandError
from gsmtp.core.errors import SpoolError

if TYPE_CHECKING:
    from gsmtp.control.console import Console
    from gsmtp.spool.domains import Waiting

T = TypeVar("T")

_SHORT_S: Final = 0.05
_SHARE: Final = 20


@dataclass(slots=True)
class Kept(Generic[T]):
    """A result that is good for a while."""

    value: T | None = None
    until_mono: float = 0.0

    def get(self, make: Callable[[], T]) -> T:
        """The result, made anew when it is too old."""
        began = time.monotonic()
        if self.value is None or began >= self.until_mono:
            self.value = make()
            took_s = time.monotonic() - began
            self.until_mono = began + took_s + (took_s * _SHARE if took_s > _SHORT_S else 0.0)
        return self.value


@dataclass(slots=True)
class QueueCounts:
    """What was counted last; shared by all sessions of the console."""

    queued: Kept[tuple[int, int]] = field(default_factory=Kept)
    by_domain: Kept[list[Waiting]] = field(default_factory=Kept)
    by_binding: Kept[list[Waiting]] = field(default_factory=Kept)


def queued(console: Console) -> tuple[int, int]:
    """Recipients that are due by now, and those that are due later. Blocks. Raises CommandError."""
    try:
        return console.host.queue.queued.get(console.operations.spool.queued)
    except SpoolError as error:
        raise CommandError(str(error)) from None


def waiting(console: Console, *, with_bindings: bool = False) -> list[Waiting]:
    """The same by domain, and by binding where the configuration has any and it is asked for. Blocks. Raises
    CommandError."""
    with_bindings = with_bindings and console.operations.configuration.has_bindings
    kept = console.host.queue.by_binding if with_bindings else console.host.queue.by_domain
    try:
        return kept.get(lambda: console.operations.spool.waiting(with_bindings=with_bindings))
    except SpoolError as error:
        raise CommandError(str(error)) from None
