"""A console session's transaction: edits that take effect together, or not at all.

Of two that change the same thing the first to commit wins: the later commit fails and changes nothing. What others did
to other things meanwhile stays. Source: reference/console-and-logs.md section 3.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from gsmtp.config import edit
from gsmtp.config.changes import differences, overlap
from gsmtp.config.option import OPTIONS
from gsmtp.config.pools import PREDEFINED_POOLS
from gsmtp.config.scope_path import Step
from gsmtp.config.tree import Array, Scalar, Tree
from gsmtp.core.errors import ConfigError

Edit = Callable[[Tree], Tree]
"""One edit: the new tree from the old one. Raises ConfigError."""


class Conflict(ConfigError):
    """Somebody else has changed the same meanwhile."""


@dataclass(slots=True)
class Transaction:
    """Edits that wait for their commit.

    Args:
        base: the running tree when it began.
        tree: what it is to become, as the session sees it.
        is_from_scratch: whether it began with nothing set.
        edits: what was done, each with its command line.
    """

    base: Tree
    tree: Tree
    is_from_scratch: bool = False
    edits: list[tuple[str, Edit]] = field(default_factory=list)

    def apply(self, line: str, change: Edit) -> Tree:
        """Do one more edit. Raises ConfigError with nothing changed."""
        self.tree = change(self.tree)
        self.edits.append((line, change))
        return self.tree

    def outcome(self, running: Tree) -> Tree:
        """The tree that a commit is to activate.

        Args:
            running: the tree in force now.

        Raises:
            Conflict: the running tree has changed in something that this transaction changes.
            ConfigError: an edit can't be done on the running tree any more.
        """
        if running is self.base:
            return self.tree
        theirs = differences(self.base.root, running.root)
        found = theirs[0] if self.is_from_scratch and theirs else None
        found = found or overlap(differences(self.base.root, self.tree.root), theirs)
        if found is not None:
            raise Conflict(f"{found} was changed by somebody else since this transaction began; roll it back")
        tree = edit.empty(running) if self.is_from_scratch else running
        for line, change in [("", preset), *self.edits] if self.is_from_scratch else self.edits:
            try:
                tree = change(tree)
            except ConfigError as error:
                raise Conflict(f"{line}: {error}") from None
        return tree


def begin(running: Tree) -> Transaction:
    """A transaction on the running tree."""
    return Transaction(running, running)


def begin_from_scratch(running: Tree) -> Transaction:
    """A transaction that starts with nothing but what is preset."""
    return Transaction(running, preset(edit.empty(running)), is_from_scratch=True)


def preset(tree: Tree) -> Tree:
    """The tree with what an empty configuration has: the predefined pools, Debug_Flags, TimestampFormat.

    Source: reference/config-language.md section 14.
    """
    for name, pool in PREDEFINED_POOLS.items():
        path = (Step("threadpool", name),)
        tree = edit.set_option(tree, path, "Concurrency", Scalar(str(pool.concurrency), False))
        if pool.backlog:
            tree = edit.set_option(tree, path, "Backlog", Scalar(str(pool.backlog), False))
    for level in ("critical", "error"):
        tree = edit.set_option(tree, (Step("debug_flags"),), level, Array((Scalar("ALL", False),)))
    shown = OPTIONS.find("global", "timestampformat")
    return edit.set_option(tree, (), "TimestampFormat", Scalar(shown.default if shown is not None else "", True))
