"""Who may do which command: roles of users, and what each role allows.

Source: reference/console-and-logs.md section 1.1.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gsmtp.auth.store import RoleStore
from gsmtp.config.view import View
from gsmtp.control.options import ALLOW, AUTHORIZATION_PARAMETERS, ENABLE_AUTHORIZATION
from gsmtp.core.errors import ConfigError, GsmtpError

if TYPE_CHECKING:
    from gsmtp.config.scopes import Configuration
    from gsmtp.control.operations import Operations

LOOK_UP_S: Final = 10.0
DENIED: Final = "Not Authorized for this command"

_SECRETS: Final = re.compile(r"(?i)\b(passw(?:or)?d|secret)(\s*=\s*|\s+)(\"[^\"]*\"|'[^']*'|[^\s;,)\]]+)")
_IN_URI: Final = re.compile(r"(://[^/\s:@]*:)[^/\s@]+@")


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a command is done.

    Args:
        value: 1 allowed, 0 denied, -1 when it can't be told.
        role: that allows it, "" when none had to.
        reason: why it can't be told.
    """

    value: int
    role: str = ""
    reason: str = ""


def judge(operations: Operations, view: View, user: str, line: str) -> Verdict:
    """Whether a user may do a command. May block the green thread: roles are looked up in a native one.

    Args:
        operations: the running server.
        view: of the console session.
        user: who asks.
        line: the command without a prefix that only says how the answer looks.
    """
    if not view[ENABLE_AUTHORIZATION]:
        return Verdict(1)
    try:
        names = (user, *roles_of(operations, view, user))
    except (OSError, GsmtpError) as error:
        return Verdict(-1, reason=str(error))
    for name, role in _roles(operations.configuration):
        if name in names and any(pattern.search(line) for pattern in role[ALLOW]):
            return Verdict(1, name)
    return Verdict(0)


def roles_of(operations: Operations, view: View, user: str) -> tuple[str, ...]:
    """The roles that the configured store gives a user. Raises OSError or GsmtpError when it can't tell."""
    return _ask(operations, view, lambda store: store.roles(user, time.monotonic() + LOOK_UP_S))


def all_roles(operations: Operations, view: View) -> list[str]:
    """The names of all roles: those of the Authorization stanza, then those that only the store knows."""
    names = [name for name, _ in _roles(operations.configuration)]
    names += _ask(operations, view, lambda store: store.all_roles(time.monotonic() + LOOK_UP_S))
    return list(dict.fromkeys(names))


def _ask(operations: Operations, view: View, question: object) -> tuple[str, ...]:
    assert callable(question)
    parameters = view[AUTHORIZATION_PARAMETERS]
    if not parameters:
        return ()
    authenticator = operations.service.authenticator
    store = authenticator.stores.open(parameters, "")
    if not isinstance(store, RoleStore):
        raise ConfigError("the store of AuthorizationParameters knows no roles; groups:// does")
    answer: tuple[str, ...] = question(store) if store.is_green else authenticator.native.call(question, store)
    return answer


def _roles(configuration: Configuration) -> Iterator[tuple[str, View]]:
    for stanza in configuration.tree.root.all("authorization"):
        for role in stanza.all("role"):
            yield role.spelled or role.instance or "", View((role,))


def told(line: str) -> str:
    """A command as it may stand in logs: without passwords."""
    return _IN_URI.sub(r"\1***@", _SECRETS.sub(r"\1\2***", line))
