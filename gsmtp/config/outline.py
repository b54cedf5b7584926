"""Where in the files the scopes and settings of a tree stand: what write-back needs to edit them in place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gsmtp.config.changes import Place
from gsmtp.config.diagnostics import Problems
from gsmtp.config.instance import canonical
from gsmtp.config.nodes import Document, Item, OptionNode, StanzaNode
from gsmtp.config.source import parse_document
from gsmtp.config.tree import Tree


@dataclass(eq=False, slots=True)
class Site:
    """One stanza of a scope, or a file that is included in it or is read for the global scope.

    Args:
        document: the file.
        kind: the scope word in lower case.
        stanza: None for the whole file.
        items: what stands in it.
        end: its place in the order of reading: greater than that of all that is read before its end.
    """

    document: Document
    kind: str
    stanza: StanzaNode | None
    items: list[Item]
    end: int = 0


@dataclass(eq=False, slots=True)
class Spot:
    """One setting in a file; `order` is its place in the order of reading."""

    site: Site
    node: OptionNode
    order: int


@dataclass(slots=True)
class Outline:
    """All sites and settings, each in the order of reading.

    Args:
        sites: by scope.
        spots: by scope and option name in lower case.
        documents: the files, parsed, by path.
    """

    sites: dict[Place, list[Site]] = field(default_factory=dict)
    spots: dict[tuple[Place, str], list[Spot]] = field(default_factory=dict)
    documents: dict[str, Document] = field(default_factory=dict)


def outline(tree: Tree, local: str = "") -> Outline:
    """The outline of a tree as it was loaded.

    Args:
        tree: the tree.
        local: the Local_Changes_File, as in `tree.files`, or "".
    """
    walk = _Walk(tree)
    if tree.files:
        walk.file(next(iter(tree.files)), (), "global")
        if local in tree.files:
            walk.file(local, (), "global")
    return walk.outline


class _Walk:
    def __init__(self, tree: Tree) -> None:
        self.files = tree.files
        self.includes: Mapping[tuple[str, str], tuple[str, ...]] = tree.includes
        self.outline = Outline()
        self.count = 0

    def file(self, path: str, place: Place, kind: str) -> None:
        document = parse_document(self.files[path].text, path, Problems(), kind)
        document = self.outline.documents.setdefault(path, document)
        self.body(Site(document, kind, None, document.items), place)

    def body(self, site: Site, place: Place) -> None:
        self.outline.sites.setdefault(place, []).append(site)
        for item in site.items:
            self.count += 1
            if isinstance(item, OptionNode):
                spot = Spot(site, item, self.count)
                self.outline.spots.setdefault((place, item.name.lower()), []).append(spot)
            elif isinstance(item, StanzaNode):
                kind = item.word.lower()
                instance = None if item.name is None else canonical(kind, item.name.text)
                self.body(Site(site.document, kind, item, item.items), (*place, (kind, instance)))
            else:
                for member in self.includes.get((site.document.name, item.path.text), ()):
                    self.file(member, place, site.kind)
        self.count += 1
        site.end = self.count
