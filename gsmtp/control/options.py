"""The options of the console: how long it waits, who may do what, the files of traces.

Source: reference/console-and-logs.md section 1.
"""

from __future__ import annotations

import re

from gsmtp.config import kinds
from gsmtp.config.diagnostics import Problems
from gsmtp.config.kinds import Kind
from gsmtp.config.option import GLOBAL, Option, declare
from gsmtp.config.tree import Scope, Setting, Value

_CONSOLE = ("control_listener", "listen", "peer")


def _examine_roles(value: dict[str, str], setting: Setting, scope: Scope, problems: Problems) -> None:
    lowered = {key.lower(): text for key, text in value.items()}
    if "://" not in lowered.get("uri", ""):
        problems.error(
            setting.span,
            f"{setting.spelled} has no uri of the form scheme://…",
            hint='name the store, e.g. [ uri = "groups:///etc/gsmtp/roles" ]',
            code="auth-uri",
        )


def _patterns(value: Value) -> tuple[re.Pattern[str], ...]:
    patterns = []
    for text in kinds.item_texts(value):
        try:
            patterns.append(re.compile(text))
        except re.error as error:
            raise ValueError(f"'{text}' is no regular expression: {error}") from None
    return tuple(patterns)


_PATTERNS: Kind[tuple[re.Pattern[str], ...]] = Kind(
    "patterns",
    _patterns,
    'regular expressions, e.g. ( "^summary$" "^config (get|eval)" )',
    show=lambda value: "( " + " ".join(f'"{one.pattern}"' for one in value) + " )",
)

TIMEOUT: Option[int] = declare(
    Option(
        name="Timeout",
        kind=kinds.seconds,
        default=60,
        scopes=_CONSOLE,
        unit="seconds",
        doc="How long a client of the console may say nothing, or not read what it is told; then it is disconnected. "
        "0 means no limit but a hard one of an hour.",
        source="Momentum: timeout",
    )
)

ENABLE_AUTHORIZATION: Option[bool] = declare(
    Option(
        name="Enable_Authorization",
        kind=kinds.boolean,
        default=False,
        scopes=_CONSOLE,
        doc="Whether a command of the console is done only when a Role of the user allows it.",
        source="Momentum: enable_authorization",
    )
)

AUTHORIZATION_PARAMETERS: Option[dict[str, str]] = declare(
    Option(
        name="AuthorizationParameters",
        kind=kinds.dictionary,
        default={},
        scopes=_CONSOLE,
        doc="Where the console finds a user's roles: ``uri``, e.g. ``groups:///etc/gsmtp/roles``. Without it a user "
        "has the Role of its own name alone.",
        source="Momentum: authorizationparameters",
        examine=_examine_roles,
    )
)

ALLOW: Option[tuple[re.Pattern[str], ...]] = declare(
    Option(
        name="Allow",
        kind=_PATTERNS,
        default=(),
        scopes=("role",),
        doc="Regular expressions that are searched in the command line, in this order; the first that is found allows "
        "the command.",
        source="Momentum: allow",
    )
)

TRACE_SMTP_MODE: Option[int] = declare(
    Option(
        name="Trace_SMTP_Mode",
        kind=kinds.mode,
        default=0o640,
        scopes=GLOBAL,
        doc="Permission bits of the files that ``trace smtp add`` and ``trace inbound add`` make.",
        source="Momentum: trace_smtp_mode",
    )
)
