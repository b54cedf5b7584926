"""From a file to a Configuration, or to the problems that keep it from being one: at start and at reload."""

from __future__ import annotations

from dataclasses import dataclass

from gsmtp.config.check import check
from gsmtp.config.diagnostics import Problems
from gsmtp.config.scopes import Configuration, compile_tree
from gsmtp.config.source import read
from gsmtp.config.tree import Tree


@dataclass(frozen=True, slots=True)
class Loaded:
    """The outcome of a load.

    Args:
        configuration: None when there are errors.
        problems: all of them, warnings too.
        tree: what was read, for showing the problems' lines.
    """

    configuration: Configuration | None
    problems: Problems
    tree: Tree


def load(path: str, generation: int) -> Loaded:
    """Read, check and compile a configuration. Reads files, touches nothing else; safe in a native thread."""
    problems = Problems()
    return _compiled(read(path, problems), generation, problems)


def compile_checked(tree: Tree, generation: int) -> Loaded:
    """Check and compile a tree that was edited. Safe in a native thread."""
    return _compiled(tree, generation, Problems())


def _compiled(tree: Tree, generation: int, problems: Problems) -> Loaded:
    check(tree, problems)
    configuration = None if problems.has_errors else compile_tree(tree, generation)
    return Loaded(configuration, problems, tree)
