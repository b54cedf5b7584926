"""``authz id`` and ``authz roles list``: who one is, and which roles there are; always XML.

Source: reference/console-and-logs.md sections 1.1 and 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gsmtp.control.authorization import all_roles, roles_of
from gsmtp.control.command import CommandError, Output, command
from gsmtp.control.xml_text import quoteattr

if TYPE_CHECKING:
    from gsmtp.config.view import View
    from gsmtp.control.console import Console


def _view(console: Console, words: Sequence[str], name: str) -> View:
    if words:
        raise CommandError(f"{name} takes no words")
    return console.view if console.view is not None else console.operations.configuration.view


def _roles(names: Sequence[str]) -> str:
    return "<Roles>" + "".join(f"<Role name={quoteattr(name)}/>" for name in names) + "</Roles>"


@command("authz id", help="Who you are on this console, and your roles.")
def authz_id(console: Console, words: Sequence[str]) -> Output:
    """The user, with the roles that the store gives and the one of its own name."""
    view = _view(console, words, "authz id")
    try:
        found = roles_of(console.operations, view, console.user)
        own = [name for name in all_roles(console.operations, view) if name == console.user]
    except OSError as error:
        raise CommandError(f"roles can't be told: {error}") from None
    names = list(dict.fromkeys((*own, *found)))
    line = f"<AuthzInformation username={quoteattr(console.user)}>{_roles(names)}</AuthzInformation>"
    return Output((line,), {"username": console.user, "roles": names})


@command("authz roles list", help="The roles of the Authorization stanza and of the store of roles.")
def roles_list(console: Console, words: Sequence[str]) -> Output:
    """All roles."""
    view = _view(console, words, "authz roles list")
    try:
        names = all_roles(console.operations, view)
    except OSError as error:
        raise CommandError(f"roles can't be told: {error}") from None
    return Output((_roles(names),), names)
