"""What every process that serves does around its server: thread switching, garbage, the end of the log."""

from __future__ import annotations

import gc
import os
import sys
import time

import gevent

from gsmtp.observe.writer import LineWriter

_LAST_LINES_S = 1.0
_SWITCH_INTERVAL_S = 0.001
"""How long a native thread that is done with the disk waits for a busy hub: five times less than Python's default,
which would be added to every commit (`python -m loadtest.spool_bench`: four times the commits beside a busy hub)."""


def settle_threads() -> None:
    """Let native threads have their turn soon. To be called first."""
    sys.setswitchinterval(_SWITCH_INTERVAL_S)


def settle_memory() -> None:
    """Leave what the start made (modules, configuration) out of garbage collection, and collect less often.

    A message makes hundreds of objects that reference counting frees; looking through them every 700, as Python does
    by default, finds nothing. Cycles are left by closed connections only.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def end_at_once(number: int) -> None:
    """End without draining: the spool is made to survive it. The code is the shell's for a death by that signal."""
    os._exit(128 + number)


def finish(writer: LineWriter) -> None:
    """Give the log's thread a moment to write its last lines."""
    writer.flush()
    deadline = time.monotonic() + _LAST_LINES_S
    while not writer.is_idle and time.monotonic() < deadline:
        gevent.sleep(0.005)
