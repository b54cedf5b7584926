"""``module list`` and ``module hooks``: which modules are configured, and what looks at which phase.

Source: reference/console-and-logs.md section 4.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gsmtp.config.kinds import BOOLEAN_WORDS
from gsmtp.config.module import MODULES
from gsmtp.config.scope_path import display_word
from gsmtp.config.stanza import STANZAS
from gsmtp.config.tree import Scalar
from gsmtp.control.command import CommandError, Output, command
from gsmtp.policy.decision import Phase

if TYPE_CHECKING:
    from gsmtp.config.tree import Scope
    from gsmtp.control.console import Console

API = 1


def _is_enabled(scope: Scope) -> bool:
    setting = scope.settings.get("enabled")
    text = setting.value.text if setting is not None and isinstance(setting.value, Scalar) else "true"
    return BOOLEAN_WORDS.get(text.lower(), True)


@command("module list", help="The modules that the configuration names.")
def module_list(console: Console, words: Sequence[str]) -> Output:
    """A block each."""
    if words:
        raise CommandError("module list takes no words")
    root = console.operations.configuration.tree.root
    lines: list[str] = []
    data = []
    for word in sorted(MODULES):
        stanza = STANZAS.get(word)
        for scope in root.all(word):
            name = scope.spelled or ""
            row = {
                "Scope_Name": word,
                "Instance_Name": name,
                "Enabled": _is_enabled(scope),
                "API": API,
                "Name": display_word(word),
                "Description": stanza.doc if stanza is not None else "",
            }
            data.append(row)
            lines.append(f"Module: {word}" + (f":{name}" if name else ""))
            lines += [
                f"  {key}: {str(value).lower() if value in (True, False) else value}" for key, value in row.items()
            ]
    return Output(tuple(lines), data)


@command("module hooks", help="The phases of a message, and the checks and modules that look at each, in their order.")
def module_hooks(console: Console, words: Sequence[str]) -> Output:
    """A phase, and below it its hooks with what they are called with."""
    if words:
        raise CommandError("module hooks takes no words")
    chain = console.operations.service.chain
    lines: list[str] = []
    data = []
    for phase in Phase:
        lines.append(phase.value)
        for hook in chain.hooks(phase):
            prototype = f"{hook.name}{_signature(hook.function)}"
            lines.append(f"\t{prototype}" + ("  [may block]" if hook.may_block else ""))
            data.append(
                {
                    "phase": phase.value,
                    "name": hook.name,
                    "order": hook.order,
                    "prototype": prototype,
                    "may_block": hook.may_block,
                }
            )
    return Output(tuple(lines), data)


def _signature(function: object) -> str:
    assert callable(function)
    try:
        return f"({', '.join(inspect.signature(function).parameters)})"  # compiled functions know no annotations
    except (TypeError, ValueError):
        return "(...)"
