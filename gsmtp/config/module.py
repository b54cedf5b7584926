"""What all modules have in common: a stanza, `Enabled` and `Debug_Level`.

Source: reference/policy-and-context.md section 4.
"""

from __future__ import annotations

from collections.abc import Mapping

from gsmtp.config import kinds
from gsmtp.config.option import Option, declare
from gsmtp.config.stanza import Name, Stanza, declare_stanza

MODULES: list[str] = []
"""The words (lower case) of all module stanzas that are declared."""

DEBUG_LEVELS: dict[str, Option[str]] = {}
"""The `Debug_Level` of each."""

_LEVELS = ("DEBUG", "INFO", "NOTICE", "WARNING", "ERROR", "CRITICAL")


def declare_module(
    word: str, doc: str, name: Name = Name.OPTIONAL, *, needs: Mapping[str, str] | None = None, ours: bool = False
) -> Option[bool]:
    """Declare a module's stanza with the two options that each module has.

    Args:
        word: the stanza's, which is the module's name.
        doc: what it does.
        name: whether an instance name may follow; NONE for singletons.
        needs: as in `Stanza`.
        ours: a module that Momentum doesn't know.

    Returns:
        Its `Enabled`.
    """
    declare_stanza(Stanza(word, name, ("global",), doc, needs=needs or {}, ours=ours))
    MODULES.append(word.lower())
    DEBUG_LEVELS[word.lower()] = declare(
        Option(
            name="Debug_Level",
            kind=kinds.enumeration(*_LEVELS),
            default="ERROR",
            scopes=(word.lower(),),
            doc=f"Lowest level of the messages of {word} that are logged. Where it isn't set, Debug_Flags (MOD) and "
            "``--log-level`` decide.",
            ours=ours,
            source="gsmtp" if ours else "Momentum: options common to modules",
        )
    )
    return declare(
        Option(
            name="Enabled",
            kind=kinds.boolean,
            default=True,
            scopes=(word.lower(),),
            doc=f"Whether {word} does anything.",
            ours=ours,
            source="gsmtp" if ours else "Momentum: options common to modules",
        )
    )
