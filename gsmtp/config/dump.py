"""A tree as plain data: for comparing two trees, for tests and for programs.

Two trees are the same configuration when their data are equal: spelling of names, quotes and places don't count, the
order of stanzas of one word does.
"""

from __future__ import annotations

from typing import Any

from gsmtp.config.tree import Array, Scalar, Scope, Value


def as_data(scope: Scope) -> dict[str, Any]:
    """A scope with all below it as dictionaries, lists and strings.

    Returns:
        ``{"settings": {key: value}, "scopes": {word: [[instance, data], …]}}``; a value is a string, a list of strings
        or a dictionary; empty parts are left out.
    """
    data: dict[str, Any] = {}
    if scope.settings:
        data["settings"] = {key: value_data(setting.value) for key, setting in sorted(scope.settings.items())}
    scopes: dict[str, list[Any]] = {}
    for child in scope.children.values():
        scopes.setdefault(child.kind, []).append([child.instance, as_data(child)])
    if scopes:
        data["scopes"] = dict(sorted(scopes.items()))
    return data


def value_data(value: Value) -> Any:
    """A value as a string, a list of strings, or a dictionary of both."""
    if isinstance(value, Scalar):
        return value.text
    if isinstance(value, Array):
        return [item.text for item in value.items]
    return {key.text: value_data(one) for key, one in value.pairs}
