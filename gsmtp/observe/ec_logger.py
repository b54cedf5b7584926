"""One ec_logger: which records it writes into which of Momentum's files, and its heartbeat.

`open_loggers` builds those of a configuration. Source: reference/console-and-logs.md section 5.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from gsmtp.config.option import Option
from gsmtp.config.scopes import Configuration
from gsmtp.config.titles import scope_title
from gsmtp.config.view import View
from gsmtp.core.records import Attempt, AuthAttempt, Authorization, Reception, Record, Rejection
from gsmtp.observe import formats
from gsmtp.observe.files import LogFile, LogFiles, Target, Tell
from gsmtp.observe.logger_options import (
    ACCTLOG,
    ACCTLOG_LOG_MODE,
    ENABLED,
    HEARTBEAT,
    LOG_DELIVERIES,
    LOG_ERRORS,
    LOG_PERMANENT_FAILURES,
    LOG_RECEPTIONS,
    LOG_REJECTIONS,
    LOG_TRANSIENT_FAILURES,
    MAINLOG,
    MAINLOG_MODE,
    PANICLOG,
    PANICLOG_MODE,
    REJECTLOG,
    REJECTLOG_MODE,
    is_elsewhere,
)
from gsmtp.observe.logs import Trouble
from gsmtp.runtime.later import Later

CHECK_S = 60
"""How often files are looked after that were moved, where there is no heartbeat."""

_FILES: tuple[tuple[Option[str], Option[int]], ...] = (
    (MAINLOG, MAINLOG_MODE),
    (REJECTLOG, REJECTLOG_MODE),
    (PANICLOG, PANICLOG_MODE),
    (ACCTLOG, ACCTLOG_LOG_MODE),
)
_SWITCHES: dict[str, Option[bool]] = {
    "delivered": LOG_DELIVERIES,
    "deferred": LOG_TRANSIENT_FAILURES,
    "failed": LOG_PERMANENT_FAILURES,
}


class EcLogger:
    """Writes records into files.

    Args:
        view: the stanza's options.
        files: the open files by option name; those that it does without are missing.

    Attributes:
        beats: whether heartbeats are written by it; of several processes one does.
    """

    def __init__(self, view: View, files: Mapping[str, LogFile]) -> None:
        main, reject = files.get(MAINLOG.key), files.get(REJECTLOG.key)
        self._panic = files.get(PANICLOG.key) if view[LOG_ERRORS] else None
        self._main, self._reject, self._account = main, reject, files.get(ACCTLOG.key)
        self._files = list(files.values())
        self._kinds = {kind for kind, option in _SWITCHES.items() if view[option]}
        self._writers: dict[type, Callable[[Any], None]] = {}
        if main is not None and view[LOG_RECEPTIONS]:
            self._writers[Reception] = self._write_reception
        if main is not None and self._kinds:
            self._writers[Attempt] = self._write_attempt
        if reject is not None and view[LOG_REJECTIONS]:
            self._writers[Rejection] = self._write_rejection
        if self._account is not None:
            self._writers[AuthAttempt] = self._write_authentication
            self._writers[Authorization] = self._write_authorization
        self.beats = True
        self._heartbeat_s = view[HEARTBEAT]
        self._later = Later(float(self._heartbeat_s or CHECK_S), self.beat)

    def record(self, record: Record) -> None:
        """Write a record where it belongs. Never blocks."""
        write = self._writers.get(type(record))
        if write is not None:
            write(record)

    def trouble(self, trouble: Trouble) -> None:
        """Write an error of the server itself. Never blocks."""
        if self._panic is not None:
            self._panic.write(formats.panic(trouble.area, trouble.text, trouble.wall))

    def start(self) -> None:
        """Begin with the heartbeat, and with looking after moved files."""
        self._later.arm()

    def stop(self) -> None:
        """End both."""
        self._later.disarm()

    def beat(self) -> None:
        """One beat: the lines that say nothing else, and a look whether the files are where they were."""
        if self._heartbeat_s and self.beats:
            now = time.time()
            if self._main is not None:
                self._main.write(formats.heartbeat(now))
            if self._reject is not None:
                self._reject.write(formats.rejectlog_heartbeat(now))
        for file in self._files:
            file.check()
        self._later.arm()

    # --- which file, which format

    def _write_reception(self, record: Reception) -> None:
        assert self._main is not None
        self._main.write(formats.receptions(record, time.time()))

    def _write_attempt(self, record: Attempt) -> None:
        assert self._main is not None
        if record.kind in self._kinds:
            self._main.write(formats.attempt(record, time.time()))

    def _write_rejection(self, record: Rejection) -> None:
        assert self._reject is not None
        self._reject.write(formats.rejection(record, time.time()))

    def _write_authentication(self, record: AuthAttempt) -> None:
        assert self._account is not None
        if record.is_accounted:
            self._account.write(formats.authentication(record, time.time()))

    def _write_authorization(self, record: Authorization) -> None:
        assert self._account is not None
        if record.is_accounted:
            self._account.write(formats.authorization(record, time.time()))


@dataclass(slots=True)
class Loggers:
    """The ec_loggers of one configuration.

    Args:
        loggers: in file order.
        files: what they write to, by path.
    """

    loggers: list[EcLogger] = field(default_factory=list)
    files: dict[str, LogFile] = field(default_factory=dict)


def open_loggers(configuration: Configuration, files: LogFiles, tell: Tell) -> Loggers:
    """Open what the ec_loggers of a configuration write to. What is open already stays as it is.

    Args:
        configuration: a new one.
        files: those that are open.
        tell: takes level and text of what is not written.

    Raises:
        ConfigError: a file can't be opened, with the place that names it; nothing has changed.
    """
    stanzas = [view for view in configuration.stanzas("ec_logger") if view[ENABLED]]
    wanted = [{target.option.lower(): target for target in _targets(view, tell)} for view in stanzas]
    opened = files.prepare(target for targets in wanted for target in targets.values())
    loggers = [
        EcLogger(view, {option: opened[target.path] for option, target in targets.items()})
        for view, targets in zip(stanzas, wanted, strict=True)
    ]
    return Loggers(loggers, opened)


def _targets(view: View, tell: Tell) -> Iterator[Target]:
    for option, mode in _FILES:
        origin = view.origin(option)
        path = origin.value
        stanza = view.chain[0]
        if not path or is_elsewhere(path):
            continue
        if origin.setting is None and not os.path.isdir(os.path.dirname(path)):
            what = f"{option.name} of {scope_title(stanza)} is not written: {os.path.dirname(path)} doesn't exist"
            tell("warning", f"{stanza.span}: {what}, and the stanza names no other file")
            continue
        yield Target(path, view[mode], origin.setting.span if origin.setting else stanza.span, option.name)
