"""A native thread that notices when the loop stands still, and says which line of whose code holds it.

Nothing interrupts a function that computes or sleeps on the hub's thread: all sessions wait for it. A timer beats on
the loop; when the beat is late this thread looks at what the hub's thread does just then. It tells once the loop goes
on; when that takes long, it writes to standard error meanwhile, for a loop that never goes on.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import FrameType
from typing import Any

import gevent
import gevent.monkey

from gsmtp.runtime.native import HubMailbox, NativeThread, native_lock

_get_ident: Callable[[], int] = gevent.monkey.get_original("_thread", "get_ident")
_ALARM_S = 5.0
_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


@dataclass(frozen=True, slots=True)
class Stall:
    """The loop stood still.

    Args:
        seconds: how long, or how long by now.
        place: ``file:line in function`` of the operator's code that held it, else of ours.
        inner: the same of the innermost function, "" when that is the place itself.
        is_own: whether `place` is gsmtp's or a library's, because nothing of the operator's was found.
    """

    seconds: float
    place: str
    inner: str
    is_own: bool

    def __str__(self) -> str:
        inner = f", which was in {self.inner}" if self.inner else ""
        return f"the loop stood still for {self.seconds:.1f} s, held by {self.place}{inner}"


class LoopWatch:
    """The watch. Make it on the hub's thread.

    Args:
        mailbox: brings what it found to the hub.
        limit_s: how late the beat may be.
        tell: called on the hub with each `Stall`.
    """

    def __init__(self, mailbox: HubMailbox, limit_s: float, tell: Callable[[Stall], object]) -> None:
        self._mailbox = mailbox
        self._tell = tell
        self.limit_s = limit_s
        self._roots: tuple[str, ...] = ()
        self._hub_thread = _get_ident()
        self._beat = time.monotonic()
        self._stopped = native_lock()
        self._stopped.acquire()
        self._timer: Any = gevent.get_hub().loop.timer(limit_s / 4, limit_s / 4, ref=False)
        self._timer.start(self._on_beat)
        self._thread = NativeThread(self._run)

    def watch_code(self, roots: Iterable[str]) -> None:
        """Count these files, and what is below these folders, as the operator's code."""
        self._roots = tuple(roots)

    def close(self) -> None:
        """Stop watching; the thread ends by itself. Harmless to call again."""
        if self._timer is None:
            return
        self._timer.stop()
        self._timer.close()
        self._timer = None
        self._stopped.release()

    def _on_beat(self) -> None:
        self._beat = time.monotonic()

    def _run(self) -> None:
        """In the native thread."""
        found: Stall | None = None
        alarm_s = _ALARM_S
        while not self._stopped.acquire(True, self.limit_s / 4):
            beat = self._beat
            late_s = time.monotonic() - beat
            if late_s >= self.limit_s:
                frame = sys._current_frames().get(self._hub_thread)
                if frame is not None:
                    seen = self._look(frame, late_s)
                    del frame
                    # the first look is the best one: what follows may be somebody else's line
                    found = seen if found is None or (found.is_own and not seen.is_own) else found
                if found is not None and late_s >= alarm_s:
                    alarm_s *= 2
                    self._alarm(found, late_s)
            elif found is not None:
                self._mailbox.post(self._tell, found)
                found, alarm_s = None, _ALARM_S
            if found is not None:
                found = Stall(max(found.seconds, late_s), found.place, found.inner, found.is_own)

    def _look(self, frame: FrameType, late_s: float) -> Stall:
        inner = _place(frame)
        own = ""
        step: FrameType | None = frame
        while step is not None:
            name = step.f_code.co_filename
            if name.startswith(self._roots):
                place = _place(step)
                return Stall(late_s, place, "" if place == inner else inner, False)
            if not own and name.startswith(_PACKAGE):
                own = _place(step)
            step = step.f_back
        return Stall(late_s, own or inner, inner if own and own != inner else "", True)

    def _alarm(self, found: Stall, late_s: float) -> None:
        stall = Stall(late_s, found.place, found.inner, found.is_own)
        try:
            os.write(2, f"gsmtp: {stall}, and it still does\n".encode("utf-8", "replace"))
        except OSError:
            pass


def _place(frame: FrameType) -> str:
    return f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_qualname}"
