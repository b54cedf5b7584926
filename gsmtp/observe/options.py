"""The options of what is told: log levels by subsystem, time stamps.

Source: reference/console-and-logs.md section 7.
"""

from __future__ import annotations

from gsmtp.config import kinds
from gsmtp.config.diagnostics import Problems
from gsmtp.config.kinds import Kind
from gsmtp.config.option import GLOBAL, Option, declare
from gsmtp.config.suggest import did_you_mean
from gsmtp.config.tree import Array, Scope, Setting

SUBSYSTEMS = (
    *("TIME", "FD", "SMTP", "LOG1", "DNS", "DNSDS", "NET", "SIG"),
    *("MEM", "DB", "LIC", "SSL", "MOD", "START", "ERROR", "ALL"),
)
"""The subsystems that Debug_Flags may name; ERROR is the general one, ALL stands for every one."""

FLAGS: Kind[tuple[str, ...]] = Kind("list of subsystems", kinds.keywords.parse, "a list of " + ", ".join(SUBSYSTEMS))


def _examine_flags(value: tuple[str, ...], setting: Setting, scope: Scope, problems: Problems) -> None:
    items = setting.value.items if isinstance(setting.value, Array) else (setting.value,)
    for item in items:
        for name in FLAGS.parse(item):
            if name not in SUBSYSTEMS:
                problems.error(
                    item.span,
                    f"unknown subsystem '{name}' in {setting.spelled}",
                    hint=did_you_mean(name, SUBSYSTEMS) or "one of " + ", ".join(SUBSYSTEMS),
                    code="unknown-subsystem",
                )


def _level(name: str, default: tuple[str, ...]) -> Option[tuple[str, ...]]:
    return declare(
        Option(
            name=name,
            kind=FLAGS,
            default=default,
            scopes=("debug_flags",),
            doc=f"Subsystems whose messages of level {name.lower()} are logged.",
            source="Momentum: debug_flags",
            examine=_examine_flags,
        )
    )


DEBUG = _level("Debug", ())
INFO = _level("Info", ())
NOTICE = _level("Notice", ())
WARNING = _level("Warning", ())
ERROR = _level("Error", ("ALL",))
CRITICAL = _level("Critical", ("ALL",))

TIMESTAMPFORMAT: Option[str] = declare(
    Option(
        name="TimestampFormat",
        kind=kinds.line,
        default="[%a %d %b %Y %H:%M:%S] ",
        scopes=GLOBAL,
        doc="strftime format of the local time in front of each log line on standard output. Where it is not set, the "
        "time is in UTC and ISO 8601, with milliseconds.",
        source="Momentum: timestampformat",
    )
)
