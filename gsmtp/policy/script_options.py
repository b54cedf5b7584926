"""The scriptlet stanza: which Python modules are policy, and how their hooks are called.

Source: reference/policy-and-context.md sections 3 and 3.1.
"""

from __future__ import annotations

import os

from gsmtp.config import kinds
from gsmtp.config.diagnostics import Problems
from gsmtp.config.option import GLOBAL, Option, declare
from gsmtp.config.stanza import Name, NameKind, Stanza, declare_stanza
from gsmtp.config.tree import Scope, Setting

_SCRIPT = ("script",)

SCRIPTLET = declare_stanza(
    Stanza("scriptlet", Name.OPTIONAL, GLOBAL, "Policy in Python: holds script stanzas, called in their order.")
)
SCRIPT = declare_stanza(
    Stanza(
        "script",
        Name.REQUIRED,
        ("scriptlet",),
        "One Python module with policy. Keys that are no options of gsmtp are handed to its hooks' init.",
        NameKind.CASE,
        needs={"source": 'source = "pkg.module"'},
        takes_more=True,
    )
)

declare(
    Option(
        name="Script_TTL",
        kind=kinds.seconds,
        default=300,
        scopes=("scriptlet",),
        doc="How long a script is used before its file is looked at again.",
        unit="seconds",
        source="Momentum: scriptlet module",
        unserved="files are looked at by `config reload` alone, so that a server never runs half of a change",
    )
)


def _examine_source(value: str, setting: Setting, scope: Scope, problems: Problems) -> None:
    suffix = os.path.splitext(value)[1].lower()
    if suffix in (".lua", ".luac", ".siv", ".sieve"):
        problems.error(
            setting.value.span,
            f"{value} is no Python: gsmtp runs neither Lua nor Sieve",
            hint='write the policy as a Python module (docs/policy.md) and name it: source = "pkg.module"',
            code="bad-value",
        )


SOURCE: Option[str] = declare(
    Option(
        name="Source",
        kind=kinds.line,
        default="",
        scopes=_SCRIPT,
        doc="A Python module: ``pkg.module``, ``pkg.module:Class`` for one class of it, or the path of a .py file, "
        "relative to the configuration file.",
        source="Momentum: scriptlet module",
        examine=_examine_source,
    )
)

TIMEOUT: Option[float] = declare(
    Option(
        name="Timeout",
        kind=kinds.number,
        default=30.0,
        scopes=_SCRIPT,
        unit="seconds",
        doc="Deadline of each call of a hook; then the client gets 451 and the log names the hook. 0 for none.",
        ours=True,
    )
)

FAIL_OPEN: Option[bool] = declare(
    Option(
        name="Fail_Open",
        kind=kinds.boolean,
        default=False,
        scopes=_SCRIPT,
        doc="Whether a hook that raises or is late counts as one that said nothing, instead of 451 to the client.",
        ours=True,
    )
)

THREAD: Option[str] = declare(
    Option(
        name="Thread",
        kind=kinds.line,
        default="false",
        scopes=_SCRIPT,
        doc="Whether the hooks run in native threads: ``false``, ``true`` (those of ThreadPool CPU) or the name of a "
        "ThreadPool. A decorator in the module goes before it.",
        ours=True,
    )
)

LOOP_WATCH: Option[float] = declare(
    Option(
        name="Loop_Watch",
        kind=kinds.number,
        default=1.0,
        scopes=GLOBAL,
        unit="seconds",
        doc="When code holds the loop, and with it all sessions, for longer than this, the log says how long and names "
        "its line. 0 switches the watch off.",
        ours=True,
    )
)

LEGACY_MESSAGE_THRESHOLD: Option[int] = declare(
    Option(
        name="Legacy_Message_Threshold",
        kind=kinds.size,
        default=1_048_576,
        scopes=GLOBAL,
        unit="bytes",
        doc="A hook that asks for the whole text of a larger message gets none, and the client 421 4.3.0. "
        "0 for no limit. Header fields, and the text in pieces, are there for messages of any size.",
        source="Momentum: legacy_message_threshold",
    )
)
