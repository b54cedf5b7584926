"""What texts in memory would be read as in place of the files they came from: no file is opened.

Source: reference/config-language.md sections 10 and 13.
"""

from __future__ import annotations

from collections.abc import Mapping

from gsmtp.config import files
from gsmtp.config.diagnostics import Problems
from gsmtp.config.merge import Merger
from gsmtp.config.nodes import Document, IncludeNode
from gsmtp.config.source import LOCAL_CHANGES_FILE, parse_document
from gsmtp.config.tree import Scalar, Scope, SourceFile, Tree


def reread(tree: Tree, texts: Mapping[str, str], problems: Problems) -> Tree:
    """The tree of a configuration's files with other texts in them.

    Args:
        tree: as it was loaded: which files there are, and what includes stand for.
        texts: by path; files that are not named keep their text. A Local_Changes_File may be new.
        problems: gets what is wrong with the texts.
    """
    root = Scope("global")
    contents = {path: file.text for path, file in tree.files.items()} | dict(texts)
    if not tree.files:
        return Tree(root)
    master = next(iter(tree.files))

    def add(path: str, scope: Scope) -> None:
        merger.add(parse_document(contents[path], path, problems, scope.kind), scope)

    def include(node: IncludeNode, document: Document, scope: Scope) -> None:
        for member in tree.includes.get((document.name, node.path.text), ()):
            add(member, scope)

    merger = Merger(problems, include)
    add(master, root)
    local = local_changes(tree, root)
    if local in contents:
        add(local, root)
    return Tree(
        root,
        {path: tree.files.get(path, SourceFile(path, text)) for path, text in contents.items()},
        tree.includes,
        local,
    )


def local_changes(loaded: Tree, root: Scope) -> str:
    """The path of the Local_Changes_File that a tree names, whether or not it exists; "" when it names none.

    Args:
        loaded: the tree as read, which knows where the file that it named was found.
        root: the tree that is meant.
    """
    text = _named(root)
    if not text:
        return ""
    if text == _named(loaded.root):
        return loaded.local_changes
    try:
        return files.place(text, next(iter(loaded.files), ""))
    except files.BadPath:
        return ""


def _named(root: Scope) -> str:
    setting = root.settings.get(LOCAL_CHANGES_FILE)
    return setting.value.text if setting is not None and isinstance(setting.value, Scalar) else ""
