"""One process from its start to its exit code: log, start, signals, wait, stop."""

from __future__ import annotations

import signal
import sys
from typing import Protocol

import gevent

from gsmtp.app.loading import Loaded
from gsmtp.app.process import finish, settle_memory
from gsmtp.app.supervisor import Supervisor
from gsmtp.config.scopes import Configuration
from gsmtp.core.errors import GsmtpError
from gsmtp.observe.bridge import install
from gsmtp.observe.logs import LEVELS, EventLog
from gsmtp.observe.writer import LineWriter
from gsmtp.runtime.native import HubMailbox, NativePool


class Server(Protocol):
    """What is run: a gateway, or the parent of several."""

    def start(self) -> None:
        """Come up, or raise GsmtpError with nothing left open."""

    def reload(self) -> None:
        """HUP."""

    def request_stop(self) -> None:
        """Let `wait` return."""

    def end_at_once(self, number: int) -> None:
        """End without draining, as by that signal."""

    def wait(self) -> None:
        """Wait until somebody asks to stop."""

    def stop(self) -> None:
        """Drain and close."""


def serve_alone(path: str, loaded: Loaded, configuration: Configuration, *, as_json: bool, level: str) -> int:
    """Run the server in this process. Returns the exit code: 0 after TERM, 1 if it can't start.

    Args:
        path: conf or YAML.
        loaded: what was read from it.
        configuration: what it says.
        as_json: JSON log lines.
        level: the least level of `logging` records that is shown.
    """
    mailbox = HubMailbox()
    writer = LineWriter(sys.stdout.fileno(), NativePool("log", 1, mailbox))
    events = log_to(writer, as_json=as_json, level=level)
    supervisor = Supervisor(path, configuration, events, mailbox)
    supervisor.report(loaded.problems)
    return run(supervisor, writer)


def log_to(writer: LineWriter, *, as_json: bool, level: str) -> EventLog:
    """The log of this process, that of `logging` included."""
    events = EventLog(writer, as_json=as_json)
    install(events, LEVELS[level])
    return events


def run(server: Server, writer: LineWriter) -> int:
    """Start, serve until a signal says otherwise, stop. Returns the exit code."""
    # before the ready line: what is told to a server that says it is ready must not kill it
    gevent.signal_handler(signal.SIGHUP, server.reload)
    gevent.signal_handler(signal.SIGINT, server.end_at_once, signal.SIGINT)
    gevent.signal_handler(signal.SIGTERM, _on_term, server)
    try:
        server.start()
    except GsmtpError as error:
        finish(writer)
        sys.stderr.write(f"gsmtp: {error}\n")
        return 1
    settle_memory()
    server.wait()
    server.stop()
    finish(writer)
    return 0


def _on_term(server: Server) -> None:
    """The first TERM drains, a second one ends at once."""
    gevent.signal_handler(signal.SIGTERM, server.end_at_once, signal.SIGTERM)
    server.request_stop()
