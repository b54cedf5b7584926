"""Edits of a loaded tree: each gives a new tree and leaves the old one as it is.

Nothing is checked here but that the names exist: whether the new tree can be used is `check`'s question, as for a file.
Source: reference/console-and-logs.md section 3, reference/config-language.md section 13.
"""

from __future__ import annotations

from gsmtp.config.diagnostics import Span
from gsmtp.config.scope_path import Path, display_name, find, keys_of, kind_at, require_option, text_of
from gsmtp.config.stanza import STANZAS
from gsmtp.config.titles import scope_title, scope_word
from gsmtp.config.tree import Array, Dictionary, Ledger, Scalar, Scope, Setting, Tree, Value
from gsmtp.core.errors import ConfigError

CONSOLE = Span("console", 0, 0)
"""The place of what no file says."""


class NotSet(ConfigError):
    """There is nothing to unset."""


def set_option(tree: Tree, path: Path, name: str, value: Value) -> Tree:
    """A tree in which an option is set in exactly that scope; stanzas that are missing on the way are made.

    Args:
        tree: what to start from.
        path: the scope.
        name: the option, in any case.
        value: as in a file.

    Raises:
        ConfigError: there is no such option or stanza.
    """
    require_option(path, name)
    new = copy_of(tree)
    scope = _make(new.root, path)
    key = next((key for key in keys_of(scope.kind, name) if key in scope.settings), keys_of(scope.kind, name)[0])
    old = scope.settings.get(key)
    spelled = old.spelled if old is not None else display_name(scope.kind, name)
    # A new setting doesn't go behind the old one: what it overrides in the files is found there.
    scope.settings[key] = Setting(key, spelled, _placed(value), CONSOLE)
    return new


def make_scope(tree: Tree, path: Path) -> Tree:
    """A tree in which a stanza stands, empty if it is new.

    Raises:
        ConfigError: there is no such stanza.
    """
    new = copy_of(tree)
    _make(new.root, path)
    return new


def unset_option(tree: Tree, path: Path, name: str) -> Tree:
    """A tree in which a scope doesn't set an option.

    Raises:
        NotSet: it doesn't set it now.
        ConfigError: there is no such option.
    """
    scope = find(tree.root, path)
    keys = [key for key in keys_of(kind_at(path), name) if scope is not None and key in scope.settings]
    if not keys:
        require_option(path, name)
        raise NotSet(not_set(path, name))
    new = copy_of(tree)
    changed = find(new.root, path)
    assert changed is not None
    for key in keys:
        del changed.settings[key]
    return new


def unset_scope(tree: Tree, path: Path) -> Tree:
    """A tree without a scope and all below it.

    Raises:
        NotSet: there is no such stanza.
        ConfigError: it is the global scope.
    """
    if not path:
        raise ConfigError("the global scope can't be unset: name an option or a scope")
    if find(tree.root, path) is None:
        raise NotSet(f"Scope '{text_of(path)}' is not set.")
    new = copy_of(tree)
    scope = find(new.root, path)
    assert scope is not None
    assert scope.parent is not None
    del scope.parent.children[path[-1].key]
    return new


def get(tree: Tree, path: Path, name: str) -> Setting | None:
    """The setting of an option in exactly that scope."""
    scope = find(tree.root, path)
    if scope is None:
        return None
    return next((scope.settings[key] for key in keys_of(scope.kind, name) if key in scope.settings), None)


def not_set(path: Path, name: str) -> str:
    """What the console says of an option that a scope doesn't set."""
    return f"Option '{display_name(kind_at(path), name)}' is not set in scope '{text_of(path)}'."


def empty(tree: Tree) -> Tree:
    """A tree of the same files in which nothing is set."""
    return Tree(Scope("global"), tree.files, tree.includes, tree.local_changes, ledger_of(tree))


def copy_of(tree: Tree) -> Tree:
    """A tree with scopes of its own; settings, which never change, are shared."""
    return Tree(_copy(tree.root, None), tree.files, tree.includes, tree.local_changes, ledger_of(tree))


def ledger_of(tree: Tree) -> Ledger:
    """The ledger of a tree; a fresh one for a tree that nobody edited."""
    return tree.ledger or Ledger(tree, tree.root)


def is_of_one_load(tree: Tree, other: Tree) -> bool:
    """Whether two trees were made by edits from the same reading of the files."""
    return ledger_of(tree).loaded is ledger_of(other).loaded


def _copy(scope: Scope, parent: Scope | None) -> Scope:
    new = Scope(
        scope.kind,
        scope.instance,
        scope.spelled,
        parent,
        list(scope.spans),
        dict(scope.settings),
        word=scope.word,
    )
    new.children = {place: _copy(child, new) for place, child in scope.children.items()}
    return new


def _make(root: Scope, path: Path) -> Scope:
    scope = root
    for step in path:
        child = scope.children.get(step.key)
        if child is None:
            stanza = STANZAS.get(step.kind)
            if stanza is not None and scope.kind not in stanza.inside:
                valid = ", ".join(scope_word(kind) for kind in stanza.inside)
                raise ConfigError(f"stanza {stanza.word} can't stand in {scope_title(scope)}; is valid in: {valid}")
            word = stanza.word if stanza is not None else step.kind
            child = Scope(step.kind, step.key[1], step.name, scope, [CONSOLE], word=word)
            scope.children[step.key] = child
        scope = child
    return scope


def _placed(value: Value) -> Value:
    """The value with the console as its place."""
    if isinstance(value, Scalar):
        return Scalar(value.text, value.quoted, CONSOLE)
    if isinstance(value, Array):
        return Array(tuple(Scalar(item.text, item.quoted, CONSOLE) for item in value.items), CONSOLE)
    pairs = []
    for key, one in value.pairs:
        placed = _placed(one)
        assert not isinstance(placed, Dictionary)
        pairs.append((Scalar(key.text, key.quoted, CONSOLE), placed))
    return Dictionary(tuple(pairs), CONSOLE)
