"""The log of one running server: the journal, the ec_loggers of the configuration in force, levels and time stamps.

What a new configuration wants is prepared before it takes effect: files are opened, or the load fails and nothing has
changed. Files that both want keep their descriptors.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import gevent

from gsmtp.config.diagnostics import NOWHERE
from gsmtp.config.scopes import Configuration
from gsmtp.observe import levels
from gsmtp.observe.ec_logger import Loggers, open_loggers
from gsmtp.observe.files import LogFile, LogFiles, Target
from gsmtp.observe.journal import Journal, RecordLog
from gsmtp.observe.logs import EventLog
from gsmtp.observe.options import TIMESTAMPFORMAT
from gsmtp.runtime.native import HubMailbox
from gsmtp.server.service import Service

_SMTP = logging.getLogger("gsmtp.smtp")


class LogKeeper:
    """Keeps the log as the configuration says.

    Args:
        events: the lines on standard output, with the level of ``--log-level`` set.
        mailbox: for the threads that write files.
        is_shared: whether other processes write to the same files.
        speaks: whether this process writes heartbeats and says what is odd about files; one of several does.

    Attributes:
        journal: takes records.
    """

    def __init__(self, events: EventLog, mailbox: HubMailbox, *, is_shared: bool = False, speaks: bool = True) -> None:
        self._events = events
        self._level = logging.getLogger("gsmtp").level or logging.INFO
        self.journal = Journal(events)
        self._mailbox = mailbox
        self._is_shared = is_shared
        self._speaks = speaks
        self._files = LogFiles(mailbox, self._tell, is_shared)
        self._current = Loggers()

    def prepare(self, configuration: Configuration) -> Loggers:
        """Open what a configuration wants written. Raises ConfigError with the place; nothing has changed then."""

        def tell(level: str, text: str) -> None:
            if self._speaks:
                self._events.event(level, "config", text)

        return open_loggers(configuration, self._files, tell)

    def discard(self, loggers: Loggers) -> None:
        """Close what was prepared and is not going to be used."""
        self._files.discard(loggers.files)

    def use(self, loggers: Loggers, configuration: Configuration, recorders: Sequence[RecordLog] = ()) -> None:
        """What was prepared takes effect; `recorders` are told of records too."""
        old, self._current = self._current, loggers
        self.journal.use((*loggers.loggers, *recorders))
        for logger in old.loggers:
            logger.stop()
        self._files.use(loggers.files)
        for logger in loggers.loggers:
            logger.beats = self._speaks
            logger.start()
        levels.apply(next(iter(configuration.stanzas("debug_flags")), None), self._level)
        levels.apply_modules(configuration)
        is_set = configuration.view.origin(TIMESTAMPFORMAT).setting is not None
        self._events.use_stamp(configuration.view[TIMESTAMPFORMAT] if is_set else "")

    def tell(self, service: Service) -> None:
        """Say which records of sessions are wanted: their end with level info, their begin with debug."""
        service.tells_begins = _SMTP.isEnabledFor(logging.DEBUG)
        service.tells_ends = _SMTP.isEnabledFor(logging.INFO)

    def reopen(self) -> None:
        """Open all files anew, after what was logged until now."""
        self._files.reopen()

    def open(self, path: str, mode: int) -> LogFile:
        """Open a file that no ec_logger writes. Raises ConfigError."""
        return LogFile(Target(path, mode, NOWHERE, "file"), self._mailbox, self._tell, self._is_shared)

    def close(self) -> None:
        """Write what is left and close all files. Waits half a second at the most."""
        self.journal.use(())
        for logger in self._current.loggers:
            logger.stop()
        self._files.close(gevent.sleep)

    def _tell(self, level: str, text: str) -> None:
        self._events.event(level, "log", text)
