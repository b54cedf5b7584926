"""Options, scopes and whole trees as the console prints them, and a tree as a document again.

Source: reference/console-and-logs.md section 3: output shapes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from gsmtp.config.dump import value_data
from gsmtp.config.nodes import Document, Item, OptionNode, StanzaNode, Text
from gsmtp.config.printer import is_bare
from gsmtp.config.remarks import quote
from gsmtp.config.scope_path import display_name, display_word, path_of, text_of
from gsmtp.config.tree import Array, Scalar, Scope, Tree, Value
from gsmtp.config.words import node_from

NESTED = " " * 8
"""What stands before an option of a scope that is not the global one."""
_STEP = "  "


def option_lines(name: str, value: Value, indent: str = "") -> list[str]:
    """``Name = value``; of an array and a dictionary one item a line."""
    if isinstance(value, Scalar):
        return [f"{indent}{name} = {scalar_text(value.text)}"]
    if isinstance(value, Array):
        items = [scalar_text(item.text, in_list=True) for item in value.items]
        opener, closer = "(", ")"
    else:
        items = [f"{scalar_text(key.text, in_list=True)} = {_inline(one)}" for key, one in value.pairs]
        opener, closer = "[", "]"
    return [f"{indent}{name} = {opener}", *(f"{indent}{_STEP}{item}" for item in items), f"{indent}{_STEP}{closer}"]


def _inline(value: Scalar | Array) -> str:
    if isinstance(value, Scalar):
        return scalar_text(value.text)
    return "( " + " ".join(scalar_text(item.text, in_list=True) for item in value.items) + " )"


def scalar_text(text: str, *, in_list: bool = False) -> str:
    """A scalar, in quotes where it needs them."""
    return text if is_bare(text, in_list=in_list) else quote(text)


def scope_lines(scope: Scope) -> list[str]:
    """One scope: its options, and the heads of the stanzas in it."""
    lines = [line for name, value in _settings(scope) for line in option_lines(name, value)]
    return lines + [f"{_head(child)} {{ ... }}" for child in scope.children.values()]


def tree_lines(scope: Scope, indent: str = "") -> list[str]:
    """One scope with everything in it; reads back as the same settings."""
    lines = [line for name, value in _settings(scope) for line in option_lines(name, value, indent)]
    for child in scope.children.values():
        inner = tree_lines(child, indent + _STEP)
        head = f"{indent}{_head(child)} {{"
        lines += [head, *inner, f"{indent}}}"] if inner else [f"{head} }}"]
    return lines


def _settings(scope: Scope) -> Iterator[tuple[str, Value]]:
    for setting in scope.settings.values():
        yield display_name(scope.kind, setting.spelled), setting.value


def _head(scope: Scope) -> str:
    word = display_word(scope.kind)
    return word if scope.spelled is None else f"{word} {quote(scope.spelled)}"


def locate_lines(root: Scope, kind: str, pattern: str | None = None) -> list[str]:
    """Where the stanzas of a word are, two lines each.

    Args:
        root: the tree.
        kind: the scope word, any case.
        pattern: a regular expression that is searched in the instance names.

    Raises:
        re.error: the pattern is none.
    """
    lines: list[str] = []
    for scope in located(root, kind, pattern):
        lines += [_head(scope), f"  is at {text_of(path_of(scope))}"]
    return lines


def located(root: Scope, kind: str, pattern: str | None = None) -> list[Scope]:
    """The stanzas of a word, as `locate_lines` tells them."""
    wanted = re.compile(pattern) if pattern is not None else None
    found = [scope for scope in root.walk() if scope.parent is not None and scope.kind == kind.lower()]
    return [scope for scope in found if wanted is None or wanted.search(scope.spelled or "")]


def scope_data(scope: Scope, *, deep: bool) -> dict[str, Any]:
    """One scope as JSON values: kind, name, place, settings, and its stanzas (their heads alone unless `deep`)."""
    data: dict[str, Any] = {
        "scope": scope.kind,
        "name": scope.spelled,
        "place": text_of(path_of(scope)),
        "settings": {name: value_data(value) for name, value in _settings(scope)},
    }
    data["scopes"] = [
        scope_data(child, deep=True) if deep else {"scope": child.kind, "name": child.spelled}
        for child in scope.children.values()
    ]
    return data


def document_of(tree: Tree, name: str = "") -> Document:
    """One document that reads back as the same tree: no includes, nothing set twice, no comments."""
    return Document(name, "", items_of(tree.root))


def items_of(scope: Scope) -> list[Item]:
    """What a scope holds, as statements that a program made."""
    options: list[Item] = [OptionNode(one.spelled, node_from(one.value)) for one in scope.settings.values()]
    return options + [stanza_of(child) for child in scope.children.values()]


def stanza_of(scope: Scope) -> StanzaNode:
    """A scope as a stanza that a program made."""
    name = None if scope.spelled is None else Text(scope.spelled, True)
    return StanzaNode(scope.word or scope.kind, name, items_of(scope))
