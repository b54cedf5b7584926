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
    """Let native threads have their turn soon, and other programs end theirs. To be called first.

    Under SCHED_BATCH who wakes up waits for a free processor instead of taking one from who works. Where client and
    server share two, nothing kept, that is a twentieth more messages with less processor time, and the slowest
    replies come sooner; with a processor to spare it changes nothing. Threads and programs started later inherit it.
    What the operator chose (systemd's CPUSchedulingPolicy, chrt) stays.
    """
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    try:
        if os.sched_getscheduler(0) == os.SCHED_OTHER:
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    except OSError:  # a sandbox that forbids the call
        pass


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
