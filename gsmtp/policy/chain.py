"""The hooks of each phase in order, and what running them gives.

A check is one file in `policy/checks/` with a function under ``@hook(Phase.RCPT, order=200)``. It returns None to go
on, ACCEPT to end the phase well, or a Decision with a reply to refuse. It gets the machine's event; from RCPT_LIST on
the `policy.message.Message`. A hook that raises costs one 451 and one log entry; the connection lives.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

from gsmtp.core.registry import Registry
from gsmtp.core.reply import TRANSACTION_FAILED
from gsmtp.policy.context import Context
from gsmtp.policy.decision import ACCEPT, MESSAGE_PHASES, Decision, Phase

log = logging.getLogger("gsmtp.policy")

HookFunction = Callable[[Context, Any], Decision | None]
F = TypeVar("F", bound=HookFunction)


@dataclass(frozen=True, slots=True)
class Hook:
    """One hook.

    Args:
        name: of its module, for logs and ``__bypass_<name>``.
        phase: when it runs.
        order: hooks of a phase run by ascending order, then name.
        function: called with the context and the phase's event.
        may_block: whether it may wait (look-ups, disk, password hashes). A phase with such a hook gets its turn in a
            green thread of the listener's pool; all others run right in the loop's callback.
    """

    name: str
    phase: Phase
    order: int
    function: HookFunction
    may_block: bool = False


HOOKS: Final[Registry[Hook]] = Registry("policy hook")


def hook(phase: Phase, *, order: int, may_block: bool = False) -> Callable[[F], F]:
    """Register a function as a hook of a phase under its module's last name, e.g. ``relay`` for checks/relay.py."""

    def decorate(function: F) -> F:
        home = function.__module__
        name = home.rpartition(".")[2]
        HOOKS.add(f"{name}.{phase.value}", Hook(name, phase, order, function, may_block), home)
        return function

    return decorate


class Chain:
    """The hooks of all phases, sorted.

    Args:
        hooks: in any order.

    Attributes:
        blocking: the phases of which a hook may wait: their turns need a green thread.
        reads_messages: whether a hook looks at messages once their text has come.
    """

    __slots__ = ("_hooks", "blocking", "reads_messages")

    def __init__(self, hooks: Iterable[Hook]) -> None:
        ordered = sorted(hooks, key=lambda one: (one.order, one.name))
        self._hooks = {
            phase: tuple((one, f"__bypass_{one.name}") for one in ordered if one.phase is phase) for phase in Phase
        }
        self.blocking = frozenset(one.phase for one in ordered if one.may_block)
        self.reads_messages = any(one.phase in MESSAGE_PHASES for one in ordered)

    def run(self, phase: Phase, context: Context, event: object) -> Decision:
        """The decision of the first hook that has one, ACCEPT when none has; their delays add up."""
        conn = context.conn
        found: Decision | None = None
        delay_s = 0.0
        for one, bypass in self._hooks[phase]:
            if conn.get(bypass) == "true":
                continue
            try:
                decision = one.function(context, event)
            except BaseException:  # gevent's Timeout and GreenletExit are no Exceptions, and sys.exit() stops no server
                log.exception(
                    "hook %s failed in phase %s, session %s: answered 451",
                    one.name,
                    phase.value,
                    context.facts.connection_id,
                )
                decision = Decision(TRANSACTION_FAILED, "hook failed", one.name)
            if decision is None:
                continue
            delay_s += decision.delay_s
            if found is None and (decision.reply is not None or decision.is_discard):
                found = decision
            if not decision.goes_on:
                break
        if found is None:
            return Decision(None, delay_s=delay_s) if delay_s else ACCEPT
        return replace(found, delay_s=delay_s, goes_on=False) if delay_s or found.goes_on else found

    def hooks(self, phase: Phase) -> Iterator[Hook]:
        """The hooks of a phase in their order."""
        return (one for one, _ in self._hooks[phase])

    def has(self, phase: Phase) -> bool:
        """Whether any hook looks at a phase."""
        return bool(self._hooks[phase])
