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
    tree = read(path, problems)
    check(tree, problems)
    configuration = None if problems.has_errors else compile_tree(tree, generation)
    return Loaded(configuration, problems, tree)
