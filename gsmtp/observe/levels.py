"""Which messages of the server's parts are shown: `Debug_Flags`, levels by subsystem.

Lines about mail (received, rejected, delivered …) are no such messages: they are always written. Without a
Debug_Flags stanza ``--log-level`` holds for all parts. Source: reference/console-and-logs.md section 7.
"""

from __future__ import annotations

import logging

from gsmtp.config.module import DEBUG_LEVELS, MODULES
from gsmtp.config.option import Option
from gsmtp.config.scopes import Configuration
from gsmtp.config.view import View
from gsmtp.observe.options import CRITICAL, DEBUG, ERROR, INFO, NOTICE, WARNING

_LEVELS: tuple[tuple[Option[tuple[str, ...]], int], ...] = (
    (DEBUG, logging.DEBUG),
    (INFO, logging.INFO),
    (NOTICE, logging.INFO),
    (WARNING, logging.WARNING),
    (ERROR, logging.ERROR),
    (CRITICAL, logging.CRITICAL),
)
"""The lowest first."""

LOGGERS: dict[str, tuple[str, ...]] = {
    "SMTP": ("gsmtp.smtp",),
    "NET": ("gsmtp.net",),
    "FD": ("gsmtp.net",),
    "SSL": ("gsmtp.ssl",),
    "DB": ("gsmtp.datasource",),
    "MOD": ("gsmtp.policy", "gsmtp.periodic"),
    "START": ("gsmtp.start", "gsmtp.threads"),
    "ERROR": ("gsmtp",),
}
"""The loggers of a subsystem; ERROR is the general one, for all parts that have none of their own. Each module has one
of its name, which goes with MOD.

Subsystems that gsmtp doesn't have (LIC, MEM …) have no loggers, and naming them changes nothing.
"""


_WORDS = {
    "DEBUG": logging.DEBUG,
    "INFO": logging.INFO,
    "NOTICE": logging.INFO,
    "WARNING": logging.WARNING,
    "ERROR": logging.ERROR,
    "CRITICAL": logging.CRITICAL,
}


def apply_modules(configuration: Configuration) -> None:
    """Set the levels of modules whose stanzas set a Debug_Level; to be called behind `apply`."""
    for module, option in DEBUG_LEVELS.items():
        for view in configuration.stanzas(module):
            if view.origin(option).setting is not None:
                logging.getLogger(f"gsmtp.{module}").setLevel(_WORDS[view[option]])


def apply(flags: View | None, otherwise: int) -> None:
    """Set the levels of all our loggers.

    Args:
        flags: the Debug_Flags stanza, None when the file has none.
        otherwise: the level for all of them then.
    """
    loggers = {**LOGGERS, "MOD": (*LOGGERS["MOD"], *(f"gsmtp.{module}" for module in MODULES))}
    named = {name for names in loggers.values() for name in names}
    if flags is None:
        for name in named:
            logging.getLogger(name).setLevel(logging.NOTSET)
        logging.getLogger("gsmtp").setLevel(otherwise)
        return
    levels = dict.fromkeys(named, logging.CRITICAL)
    for option, level in reversed(_LEVELS):
        for subsystem in flags[option]:
            for name in named if subsystem == "ALL" else loggers.get(subsystem, ()):
                levels[name] = min(levels[name], level)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
