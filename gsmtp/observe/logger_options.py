"""The options of ec_logger: which of Momentum's log files are written, and what goes into them.

Source: reference/console-and-logs.md section 5.
"""

from __future__ import annotations

import re

from gsmtp.config import kinds
from gsmtp.config.diagnostics import Problems
from gsmtp.config.module import declare_module
from gsmtp.config.option import Option, declare
from gsmtp.config.tree import Scope, Setting

_FOLDER = "/var/log/ecelerity"
_IMPORT_LATER = "spools of other systems are not imported"
_SOURCE = "Momentum: ec_logger module"
_ELSEWHERE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def is_elsewhere(target: str) -> bool:
    """Whether a target is no file: ``jlog://…``, ``cluster://…``."""
    return _ELSEWHERE.match(target) is not None


def _examine_target(value: str, setting: Setting, scope: Scope, problems: Problems) -> None:
    if is_elsewhere(value):
        problems.warning(
            setting.value.span,
            f"{value} is not served: {setting.spelled} is not written",
            hint="name a file",
            code="not-served",
        )
    elif value and not value.startswith("/"):
        problems.warning(
            setting.value.span,
            f"{setting.spelled} is relative: it is looked for where the server is started",
            hint="write the whole path",
            code="relative-path",
        )


ENABLED = declare_module("ec_logger", "Writes Momentum's log files. There may be several, with different names.")


def _file(name: str, default: str, doc: str, unserved: str = "") -> Option[str]:
    return declare(
        Option(
            name=name,
            kind=kinds.path,
            default=default,
            scopes=("ec_logger",),
            doc=f"{doc} Empty for none.",
            source=_SOURCE,
            unserved=unserved,
            examine=None if unserved else _examine_target,
        )
    )


def _mode(name: str, file: str, unserved: str = "") -> Option[int]:
    return declare(
        Option(
            name=name,
            kind=kinds.mode,
            default=0o644,
            scopes=("ec_logger",),
            doc=f"Permission bits of {file}, when it is made.",
            source=_SOURCE,
            unserved=unserved,
        )
    )


def _switch(name: str, doc: str) -> Option[bool]:
    return declare(Option(name=name, kind=kinds.boolean, default=True, scopes=("ec_logger",), doc=doc, source=_SOURCE))


MAINLOG = _file("Mainlog", f"{_FOLDER}/mainlog.ec", "File of receptions and deliveries.")
REJECTLOG = _file("Rejectlog", f"{_FOLDER}/rejectlog.ec", "File of refusals.")
PANICLOG = _file("Paniclog", f"{_FOLDER}/paniclog.ec", "File of the server's own errors.")
ACCTLOG = _file("Acctlog", "", "File of logins and of console commands.")
IMPORTLOG = _file("Importlog", "", "File of imported spools.", _IMPORT_LATER)

MAINLOG_MODE = _mode("Mainlog_Mode", "Mainlog")
REJECTLOG_MODE = _mode("Rejectlog_Mode", "Rejectlog")
PANICLOG_MODE = _mode("Paniclog_Mode", "Paniclog")
ACCTLOG_LOG_MODE = _mode("Acctlog_Log_Mode", "Acctlog")
IMPORTLOG_MODE = _mode("Importlog_Mode", "Importlog", _IMPORT_LATER)

HEARTBEAT: Option[int] = declare(
    Option(
        name="Heartbeat",
        kind=kinds.seconds,
        default=60,
        scopes=("ec_logger",),
        unit="seconds",
        doc="How often a line is written to Mainlog and Rejectlog that says nothing but that the logger lives; 0 for "
        "never.",
        source=_SOURCE,
    )
)

LOG_RECEPTIONS = _switch("Log_Receptions", "Whether accepted messages go into Mainlog.")
LOG_DELIVERIES = _switch("Log_Deliveries", "Whether deliveries go into Mainlog.")
LOG_TRANSIENT_FAILURES = _switch("Log_Transient_Failures", "Whether failed attempts go into Mainlog.")
LOG_PERMANENT_FAILURES = _switch("Log_Permanent_Failures", "Whether messages given up go into Mainlog.")
LOG_REJECTIONS = _switch("Log_Rejections", "Whether refusals go into Rejectlog.")
LOG_ERRORS = _switch("Log_Errors", "Whether errors go into Paniclog.")
