"""A console without a server: files in a folder, and the config commands on what was loaded from them.

`Operations` here does what the running server does with a configuration, checks and compiles it, and has no sockets.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from gsmtp.app import wiring
from gsmtp.config.check import check
from gsmtp.config.diagnostics import Problems
from gsmtp.config.render import render
from gsmtp.config.scopes import Configuration, compile_tree
from gsmtp.config.source import read
from gsmtp.config.tree import Tree
from gsmtp.config.words import split
from gsmtp.control.command import COMMANDS, CommandError, Output
from gsmtp.control.commands import config, config_files, config_transaction
from gsmtp.control.console import Console
from gsmtp.control.operations import Operations
from gsmtp.core.errors import ConfigError

wiring.load()
assert config
assert config_files
assert config_transaction


class Loaded:
    """What of the running server the config commands use."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.native_pools: Mapping[str, Any] = {}
        self.generation = 0
        self.configuration: Configuration
        self.reload_now()

    def reload_now(self, path: str | None = None) -> None:
        """Read the files anew."""
        problems = Problems()
        self._use(read(path or self.path, problems), problems)

    def activate(self, tree: Tree) -> None:
        """Check and compile an edited tree."""
        self._use(tree, Problems())

    def _use(self, tree: Tree, problems: Problems) -> None:
        check(tree, problems)
        if problems.has_errors:
            errors = [problem for problem in problems if problem.severity == "error"]
            raise ConfigError(render(errors, tree))
        self.generation += 1
        self.configuration = compile_tree(tree, self.generation)


class Desk:
    """A folder with configuration files and one console session; `other` opens a second one.

    Args:
        folder: where the files are.
        files: text by name; the first is the main file.
    """

    def __init__(self, folder: Path, files: Mapping[str, str]) -> None:
        self.folder = folder
        for name, text in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode())
        self.server = Loaded(str(folder / next(iter(files))))
        self.console = Console(cast(Operations, self.server), "tester")

    def other(self) -> Desk:
        """Another session on the same server."""
        desk = object.__new__(Desk)
        desk.folder, desk.server = self.folder, self.server
        desk.console = Console(cast(Operations, self.server), "other")
        return desk

    def output(self, line: str) -> Output:
        """What a command says. Raises CommandError."""
        words = split(line)
        for count in range(len(words), 0, -1):
            found = COMMANDS.get(" ".join(words[:count]))
            if found is not None:
                return found.run(self.console, words[count:])
        raise CommandError(f"unknown command: {line}")

    def say(self, line: str) -> str:
        """The lines that a command prints, joined; of a failed one the reason behind ``ERR``. The folder is ``DIR``."""
        try:
            text = "\n".join(self.output(line).lines)
        except CommandError as error:
            text = f"ERR {error}"
        return text.replace(str(self.folder), "DIR")

    def text(self, name: str) -> str:
        """What a file holds now."""
        return (self.folder / name).read_bytes().decode()
