"""One process from its start to its exit code: load, log, start, signals, wait, stop."""

from __future__ import annotations

import gc
import os
import signal
import sys
import time

import gevent

from gsmtp.app import wiring
from gsmtp.app.loading import load
from gsmtp.app.supervisor import Supervisor
from gsmtp.config.render import render
from gsmtp.core.errors import GsmtpError
from gsmtp.observe.logs import LEVELS, EventLog, install
from gsmtp.observe.writer import LineWriter
from gsmtp.runtime.native import HubMailbox, NativePool

_LAST_LINES_S = 1.0
_SWITCH_INTERVAL_S = 0.001
"""How long a native thread that is done with the disk waits for a busy hub: five times less than Python's default,
which would be added to every commit (`python -m loadtest.spool_bench`: four times the commits beside a busy hub)."""


def serve(path: str, *, as_json: bool = False, level: str = "info") -> int:
    """Run the server that a configuration file describes. Returns the exit code: 0 after TERM, 1 if it can't start.

    Args:
        path: conf or YAML.
        as_json: JSON log lines.
        level: the least level of `logging` records that is shown.
    """
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    wiring.load()
    loaded = load(path, 1)
    if loaded.configuration is None:
        sys.stderr.write(render(loaded.problems, loaded.tree) + "\n")
        return 1
    mailbox = HubMailbox()
    writer = LineWriter(sys.stdout.fileno(), NativePool("log", 1, mailbox))
    events = EventLog(writer, as_json=as_json)
    install(events, LEVELS[level])
    supervisor = Supervisor(path, loaded.configuration, events, mailbox)
    supervisor.report(loaded.problems)
    # before the ready line: what is told to a server that says it is ready must not kill it
    gevent.signal_handler(signal.SIGHUP, supervisor.reload)
    gevent.signal_handler(signal.SIGINT, _end_at_once, signal.SIGINT)
    gevent.signal_handler(signal.SIGTERM, _on_term, supervisor)
    try:
        supervisor.start()
    except GsmtpError as error:
        _finish(writer)
        sys.stderr.write(f"gsmtp: {error}\n")
        return 1
    _settle_memory()
    supervisor.wait()
    supervisor.stop()
    _finish(writer)
    return 0


def _settle_memory() -> None:
    """Leave what the start made (modules, configuration) out of garbage collection, and collect less often.

    A message makes hundreds of objects that reference counting frees; looking through them every 700, as Python does
    by default, finds nothing. Cycles are left by closed connections only.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def _on_term(supervisor: Supervisor) -> None:
    """The first TERM drains, a second one ends at once."""
    gevent.signal_handler(signal.SIGTERM, _end_at_once, signal.SIGTERM)
    supervisor.request_stop()


def _end_at_once(number: int) -> None:
    """End without draining: the spool is made to survive it. The code is the shell's for a death by that signal."""
    os._exit(128 + number)


def _finish(writer: LineWriter) -> None:
    """Give the log's thread a moment to write its last lines."""
    writer.flush()
    deadline = time.monotonic() + _LAST_LINES_S
    while not writer.is_idle and time.monotonic() < deadline:
        gevent.sleep(0.005)
