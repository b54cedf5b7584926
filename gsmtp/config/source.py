"""Reading a configuration: files into one merged tree, includes followed, all problems collected.

Which file is read when, and what is said when one can't be. Words and values are not judged here: that is `check`.

Source: reference/config-language.md sections 1, 10, 11 and 13.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace

from gsmtp.config import files, grammar
from gsmtp.config.diagnostics import Problem, Problems, Span
from gsmtp.config.files import BadPath
from gsmtp.config.merge import Merger
from gsmtp.config.nodes import Document, IncludeNode
from gsmtp.config.tree import Scalar, Scope, SourceFile, Tree

LOCAL_CHANGES_FILE = "local_changes_file"


def read(
    path: str, problems: Problems, *, follow_includes: bool = True, search_path: Sequence[str] | None = None
) -> Tree:
    """Read a configuration file and all it includes.

    Args:
        path: the master file; ``.yaml`` and ``.yml`` are read as YAML, anything else as conf.
        problems: gets what is wrong; never raises for what a file holds or for a file that can't be read.
        follow_includes: False leaves includes and Local_Changes_File alone.
        search_path: directories for relative includes, instead of ``EC_CONF_SEARCH_PATH`` or the default.

    Returns:
        The tree; with errors in `problems` it holds what could be understood.
    """
    try:
        text = files.read_text(path)
    except BadPath as error:
        problems.error(Span(path, 0, 0), str(error), error.hint, "unreadable-file")
        return Tree(Scope("global"))
    return read_text(text, path, problems, follow_includes=follow_includes, search_path=search_path)


def read_text(
    text: str,
    name: str,
    problems: Problems,
    *,
    follow_includes: bool = True,
    search_path: Sequence[str] | None = None,
) -> Tree:
    """Read a configuration from a text, as `read` does from a file.

    Args:
        text: the master file's content.
        name: its path, for messages, for the syntax (suffix) and as the place that relative includes start from.
        problems: as for `read`.
        follow_includes: as for `read`.
        search_path: as for `read`.
    """
    loader = _Loader(problems, follow_includes, files.search_directories(name, search_path))
    loader.load_master(text.removeprefix("\ufeff"), name)
    return loader.tree


def parse_document(text: str, name: str, problems: Problems, scope: str = "global") -> Document:
    """Parse one source into nodes, in the syntax that its suffix tells, without opening anything.

    Args:
        text: its content.
        name: its path.
        problems: gets what is wrong.
        scope: the scope word (lower case) around it, which tells a YAML mapping's meaning.
    """
    if files.is_yaml(name):
        # PyYAML costs as much to import as all the rest; most configurations don't need it.
        from gsmtp.config.yaml_reader import parse as parse_yaml

        return parse_yaml(text, name, problems, scope)
    return grammar.parse(text, name, problems)


class _Loader:
    """One load: the tree that grows, the files seen, the includes that are under way."""

    def __init__(self, problems: Problems, follow_includes: bool, directories: list[str]) -> None:
        self.problems = problems
        self.follow_includes = follow_includes
        self.directories = directories
        self.tree = Tree(Scope("global"))
        self.merger = Merger(problems, self._include)
        self.under_way: list[tuple[str, str]] = []
        self.shown: dict[str, str] = {}
        self.parsed: dict[tuple[str, str], Document] = {}

    def load_master(self, text: str, name: str) -> None:
        """Read the master file, what it includes, and the local changes."""
        self._merge(text, name, self.tree.root, ())
        if self.follow_includes:
            self._local_changes(name)

    def _merge(
        self, text: str | None, path: str, scope: Scope, chain: tuple[Span, ...], *, readonly: bool = False
    ) -> None:
        """Merge one file into a scope; `text` None means that it is to be read. Raises BadPath."""
        real = os.path.realpath(path)
        again = real in self.shown
        name = self.shown.setdefault(real, path)
        known = self.tree.files.get(name)
        document = self.parsed.get((name, scope.kind if files.is_yaml(name) else ""))
        if document is None:
            content = text if text is not None else known.text if known is not None else files.read_text(path)
            if known is None:
                known = self.tree.files[name] = SourceFile(name, content, readonly, chain)
            document = self._parse(content, name, scope.kind, chain)
        if again and known is not None:
            self.tree.files[name] = replace(known, readonly=True)
        self.under_way.append((real, name))
        self.merger.add(document, scope)
        self.under_way.pop()

    def _parse(self, text: str, name: str, scope: str, chain: tuple[Span, ...]) -> Document:
        found = Problems()
        document = parse_document(text, name, found, scope)
        came_by = [("included from here", span) for span in reversed(chain)]
        self.problems.found.extend(_with_related(found, came_by))
        self.parsed[name, scope if files.is_yaml(name) else ""] = document
        return document

    def _include(self, node: IncludeNode, document: Document, scope: Scope) -> None:
        if not self.follow_includes:
            return
        span = document.span(node.path.start, node.path.end)
        statement = document.span(node.start, node.path.end)
        chain = (*self.tree.files[document.name].chain, statement)
        try:
            path = files.resolve(node.path.text, document.name, self.directories)
            members = files.expand(path)
            is_directory = os.path.isdir(path)
        except BadPath as error:
            self._include_error(span, str(error), error.hint, chain)
            return
        for member in members:
            if is_directory and files.is_backup(member):
                self.problems.warning(
                    span,
                    f"'{member}' is read like every visible file of the directory, though its name looks like a backup",
                    "move it away, or give it a name that begins with a dot",
                    "backup-file",
                )
            self._include_file(member, span, chain, scope, readonly=node.readonly)
        names = (self.shown.get(os.path.realpath(member), member) for member in members)
        self.tree.includes[document.name, node.path.text] = tuple(name for name in names if name in self.tree.files)

    def _include_file(self, path: str, span: Span, chain: tuple[Span, ...], scope: Scope, *, readonly: bool) -> None:
        real = os.path.realpath(path)
        open_files = [one for one, _ in self.under_way]
        if real in open_files:
            names = [name for _, name in self.under_way[open_files.index(real) :]]
            ring = " → ".join([*names, names[0]])
            self._include_error(span, f"include cycle: {ring}", "remove one of these includes", chain, "include-cycle")
            return
        try:
            self._merge(None, path, scope, chain, readonly=readonly)
        except BadPath as error:
            self._include_error(span, f"'{path}' {error}", error.hint, chain)

    def _include_error(
        self, span: Span, message: str, hint: str, chain: tuple[Span, ...], code: str = "include"
    ) -> None:
        came_by = [("included from here", one) for one in reversed(chain[:-1])]
        self.problems.error(span, message, hint, code, came_by)

    def _local_changes(self, master: str) -> None:
        """Read the file that Local_Changes_File names, after everything else; that it is absent is no error."""
        setting = self.tree.root.settings.get(LOCAL_CHANGES_FILE)
        if setting is None or not isinstance(setting.value, Scalar) or not setting.value.text:
            return
        span = setting.value.span
        try:
            try:
                path = files.resolve(setting.value.text, setting.span.file, self.directories)
            except BadPath:
                self.tree.local_changes = files.place(setting.value.text, setting.span.file)
                return
            if not os.path.isfile(path):
                raise BadPath("Local_Changes_File must be a file")
            if os.path.realpath(path) in self.shown:
                what = "the main file" if os.path.realpath(path) == os.path.realpath(master) else "an included file"
                raise BadPath(f"Local_Changes_File may not be {what}", "name a file of its own")
            self._merge(None, path, self.tree.root, (setting.span,))
            self.tree.local_changes = path
        except BadPath as error:
            self.problems.error(span, str(error), error.hint, "local-changes-file")


def _with_related(found: Iterable[Problem], related: list[tuple[str, Span]]) -> Iterable[Problem]:
    if not related:
        return found
    return [replace(problem, related=(*problem.related, *related)) for problem in found]
