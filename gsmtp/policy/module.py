"""Ready-made policy: modules that a stanza of their own switches on (``mail_loop { … }``), one file each.

A module is one file in `policy/modules/`: its options, its stanza (`config.module.declare_module`), a `Hook`, and a
function under ``@policy_module("mail_loop")`` that makes the hook from the stanza. Modules and scripts are called in
the order in which the configuration names them (reference/policy-and-context.md section 6 number 1).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from gsmtp.config.scopes import Configuration
from gsmtp.config.tree import Scope
from gsmtp.config.view import View
from gsmtp.core.registry import Registry

if TYPE_CHECKING:
    from gsmtp.policy.hook import Hook


@dataclass(frozen=True, slots=True)
class Building:
    """What a module is made from.

    Args:
        configuration: the one that is being prepared.
        view: the stanza's options, ``view[OPTION]``.
        scope: the stanza.
        datasources: `gsmtp.datasource.store.Datasources` of the configuration.
        old: the hook that the running configuration has for the same stanza, to take state over from; else None.
    """

    configuration: Configuration
    view: View
    scope: Scope
    datasources: Any = None
    old: Hook | None = field(default=None)


Builder = Callable[[Building], "Hook | Sequence[Hook] | None"]
"""Makes the hook, or hooks, of one stanza; None when it is switched off. Raises ConfigError for what is wrong with it.
It is called for each configuration anew; `init` of what it gives is not called with settings, `deinit` is."""

F = TypeVar("F", bound=Builder)
MODULES: Registry[Builder] = Registry("policy module")


def policy_module(word: str) -> Callable[[F], F]:
    """Register the function that makes the hooks of a stanza ``word { … }``."""

    def decorate(function: F) -> F:
        MODULES.add(word, function, function.__module__)
        return function

    return decorate
