"""``config writeback``: each change into the file that its setting or stanza belongs to, everything else as it is.

`plan` works on texts alone; `config/save.py` puts them into the files. The plan starts from the texts as they were
loaded and is read again before anybody writes it: what would not come back as the running configuration is refused.

Source: reference/config-language.md section 13.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from gsmtp.config import files
from gsmtp.config.changes import Change, Place, differences
from gsmtp.config.common import LOCAL_CHANGES_ONLY
from gsmtp.config.diagnostics import Problems
from gsmtp.config.edit import ledger_of
from gsmtp.config.inplace import Editor, Unwritable
from gsmtp.config.inplace_conf import ConfEditor
from gsmtp.config.nodes import Document, Item, OptionNode, StanzaNode, Text
from gsmtp.config.outline import Outline, Site, Spot, outline
from gsmtp.config.printer import conf_lines
from gsmtp.config.reread import local_changes, reread
from gsmtp.config.scope_path import Path
from gsmtp.config.show import stanza_of
from gsmtp.config.source import parse_document
from gsmtp.config.stanza import STANZAS
from gsmtp.config.tree import Scope, Setting, Tree
from gsmtp.config.view import View
from gsmtp.config.words import node_from, value_from
from gsmtp.core.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Leftover:
    """A change that no file can take.

    Args:
        change: the change.
        reason: why, a sentence without a full stop.
    """

    change: Change
    reason: str


@dataclass(slots=True)
class Plan:
    """What write-back would do.

    Args:
        texts: the new text of each file whose text is not as it was loaded; a Local_Changes_File may be new.
        changes: what differs between the files and the running configuration now.
        leftovers: changes that no file can take.
        virtual: what belongs to no file, as conf text, when there is neither a writable main file nor a
            Local_Changes_File; "" otherwise.
    """

    texts: dict[str, str] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)
    leftovers: list[Leftover] = field(default_factory=list)
    virtual: str = ""


def plan(tree: Tree, is_writable: Callable[[str], bool]) -> Plan:
    """What is to be written so that the files say what a tree says.

    Args:
        tree: the running configuration: a loaded tree, edited.
        is_writable: whether a file can be replaced, and made if it doesn't exist.

    Raises:
        ConfigError: the files would not read back as the tree; nothing is to be written.
    """
    planner = _Planner(tree, is_writable)
    return planner.plan()


def pending(tree: Tree) -> list[Change]:
    """What the files on disk don't say yet: edits since the load that were not written back."""
    return [] if tree.ledger is None else differences(tree.ledger.saved, tree.root)


def outdated(tree: Tree, plan: Plan) -> tuple[dict[str, str], dict[str, str]]:
    """The files to be replaced now: their new texts, and what each holds on disk (none for one that is to be made)."""
    ledger = ledger_of(tree)
    loaded = {path: file.text for path, file in ledger.loaded.files.items()}
    now = loaded | ledger.on_disk
    wanted = {path: plan.texts.get(path, loaded.get(path, "")) for path in {**ledger.on_disk, **plan.texts}}
    changed = {path: text for path, text in wanted.items() if text != now.get(path)}
    return changed, {path: now[path] for path in changed if path in now}


def written(tree: Tree, texts: Mapping[str, str]) -> None:
    """Note in a tree's ledger that files were replaced."""
    ledger = ledger_of(tree)
    ledger.on_disk.update(texts)
    ledger.saved = reread(ledger.loaded, ledger.on_disk, Problems()).root


class _Planner:
    def __init__(self, tree: Tree, is_writable: Callable[[str], bool]) -> None:
        ledger = ledger_of(tree)
        self.tree = tree
        self.loaded = ledger.loaded
        self.saved = ledger.saved
        self.master = next(iter(self.loaded.files), "")
        self.local = local_changes(self.loaded, tree.root)
        self.only_local = bool(View((tree.root,))[LOCAL_CHANGES_ONLY])
        self.asked: dict[str, bool] = {}
        self.is_writable = is_writable
        self.outline: Outline = outline(self.loaded, self.loaded.local_changes)
        self.editors: dict[str, Editor] = {}
        self.virtual: list[Item] = []
        self.nests: dict[int, _NestedItems] = {}
        self.leftovers: list[Leftover] = []

    def plan(self) -> Plan:
        """Put every change somewhere, and read the outcome again."""
        if self.only_local and not self.local:
            raise ConfigError("Local_Changes_Only is true and Local_Changes_File is not set: set it first")
        for change in differences(self.loaded.root, self.tree.root):
            try:
                self._place(change)
            except Unwritable as error:
                self.leftovers.append(Leftover(change, str(error)))
        self._write_nests()
        texts = {}
        for path, editor in self.editors.items():
            try:
                texts[path] = editor.result()
            except Unwritable as error:
                raise ConfigError(f"{path} can't be changed in place: {error}") from None
        self._verify(texts)
        virtual = "".join(f"{line}\n" for line in conf_lines(self.virtual, "", Problems()))
        return Plan(texts, differences(self.saved, self.tree.root), self.leftovers, virtual)

    def _verify(self, texts: dict[str, str]) -> None:
        problems = Problems()
        again = reread(self.loaded, texts, problems)
        expected = {(left.change.place, left.change.key) for left in self.leftovers}
        errors = [problem for problem in problems if problem.severity == "error"]
        for change in differences(again.root, self.tree.root):
            if (change.place, change.key) not in expected and not self.virtual:
                where = f": {errors[0].span}: {errors[0].message}" if errors else ""
                raise ConfigError(
                    f"the files can't be changed in place: {change} would not read back as it is{where}; "
                    "nothing is written. `write config FILE` prints the running configuration"
                )

    # --- one change

    def _place(self, change: Change) -> None:
        if isinstance(change.new, Setting):
            self._set(change, change.new)
        elif isinstance(change.new, Scope):
            self._add_scope(change, change.new)
        elif isinstance(change.old, Setting):
            self._unset(change)
        else:
            self._remove_scope(change)

    def _set(self, change: Change, setting: Setting) -> None:
        spots = self.outline.spots.get((change.place, setting.key), [])
        last = spots[-1] if spots else None
        if last is not None and self._may_edit(last.site.document.name):
            self._editor(last.site.document).replace_value(last.site, last.node, setting.value)
            return
        sites = [site for site in self.outline.sites.get(change.place, []) if self._may_edit(site.document.name)]
        sites = [site for site in sites if last is None or site.end > last.order]
        if sites:
            # Of several stanzas in the first file the one that sets something already.
            of_file = [site for site in sites if site.document is sites[0].document]
            site = next((one for one in of_file if any(isinstance(it, OptionNode) for it in one.items)), sites[0])
            is_after = last is not None
            self._editor(site.document).insert_option(site, setting.spelled, setting.value, at_end=is_after)
            return
        self._elsewhere(change, last, OptionNode(setting.spelled, node_from(setting.value)))

    def _unset(self, change: Change) -> None:
        spots = self.outline.spots.get((change.place, change.key or ""), [])
        fixed = [spot for spot in spots if not self._may_edit(spot.site.document.name)]
        if fixed:
            raise Unwritable(f"{self._span(fixed[0])} sets it, {self._why(fixed[0].site.document.name)}")
        for spot in spots:
            self._editor(spot.site.document).delete_option(spot.site, spot.node)

    def _remove_scope(self, change: Change) -> None:
        sites = [site for site in self.outline.sites.get(change.place, []) if site.stanza is not None]
        fixed = [site for site in sites if not self._may_edit(site.document.name)]
        if fixed:
            document, stanza = fixed[0].document, fixed[0].stanza
            assert stanza is not None
            raise Unwritable(f"{document.span(stanza.start)} opens it, {self._why(document.name)}")
        for site in sites:
            assert site.stanza is not None
            self._editor(site.document).delete_stanza(self._around(change.place, site), site.stanza)

    def _around(self, place: Place, inner: Site) -> Site:
        outer = self.outline.sites[place[:-1]]
        return next(site for site in outer if site.document is inner.document and inner.stanza in site.items)

    def _add_scope(self, change: Change, scope: Scope) -> None:
        node = stanza_of(scope)
        # Beside its like, if that can be: a Listen behind the last Listen.
        alike = [
            site
            for place, sites in self.outline.sites.items()
            if place[:-1] == change.place[:-1] and place[-1:] and place[-1][0] == scope.kind
            for site in sites
            if site.stanza is not None and self._may_edit(site.document.name)
        ]
        if alike:
            last = max(alike, key=lambda site: site.end)
            site = next(
                one
                for one in self.outline.sites[change.place[:-1]]
                if one.document is last.document and last.stanza in one.items
            )
            self._editor(site.document).insert_stanza(site, node, at_end=False)
            return
        sites = [site for site in self.outline.sites.get(change.place[:-1], []) if self._may_edit(site.document.name)]
        if sites:
            self._editor(sites[0].document).insert_stanza(sites[0], node, at_end=False)
            return
        self._elsewhere(change, None, node)

    def _elsewhere(self, change: Change, last: Spot | None, inner: OptionNode | StanzaNode) -> None:
        """Into Local_Changes_File, or without one to the end of the main file, with the stanzas around it."""
        path = change.path if isinstance(inner, OptionNode) else change.path[:-1]
        if self.local:
            document = self._local_document()
        elif self.master and self._may_edit(self.master):
            document = self.outline.documents[self.master]
        else:
            _nest(self.virtual, path, inner)
            return
        if last is not None and document.name != self.local and last.order > self._root_site(document).end:
            raise Unwritable(f"{self._span(last)}, which is read later, sets it, {self._why(last.site.document.name)}")
        site, rest = self._deepest(document, path, last)
        nest = self.nests.setdefault(id(site), _NestedItems(site))
        nest.is_at_end = nest.is_at_end or last is not None
        nest.changes.append(change)
        _nest(nest.items, rest, inner)

    def _write_nests(self) -> None:
        for nest in self.nests.values():
            editor = self._editor(nest.site.document)
            try:
                for item in nest.items:
                    if isinstance(item, StanzaNode):
                        editor.insert_stanza(nest.site, item, at_end=nest.is_at_end)
                    elif isinstance(item, OptionNode):
                        value = value_from(item.value)
                        editor.insert_option(nest.site, item.name, value, at_end=nest.is_at_end)
            except Unwritable as error:
                self.leftovers += [Leftover(change, str(error)) for change in nest.changes]

    def _deepest(self, document: Document, path: Path, last: Spot | None) -> tuple[Site, Path]:
        """The innermost scope around a place that a file has open, and the way from there."""
        for depth in range(len(path), 0, -1):
            place = tuple(step.key for step in path[:depth])
            for site in self.outline.sites.get(place, []):
                if site.document is document and (last is None or site.end > last.order):
                    return site, path[depth:]
        return self._root_site(document), path

    def _root_site(self, document: Document) -> Site:
        return next(site for site in self.outline.sites[()] if site.document is document)

    # --- files

    def _local_document(self) -> Document:
        document = self.outline.documents.get(self.local)
        if document is None:
            if not self._is_writable(self.local):
                raise Unwritable(f"{self.local} can't be written")
            document = parse_document("", self.local, Problems())
            self.outline.documents[self.local] = document
            last = Site(document, "global", None, document.items, end=sys.maxsize)
            self.outline.sites.setdefault((), []).append(last)
        elif self.local in self.loaded.files and not self._may_edit(self.local):
            raise Unwritable(f"{self.local} can't be written")
        return document

    def _editor(self, document: Document) -> Editor:
        editor = self.editors.get(document.name)
        if editor is None:
            if files.is_yaml(document.name):
                from gsmtp.config.inplace_yaml import YamlEditor

                editor = YamlEditor(document)
            else:
                editor = ConfEditor(document)
            self.editors[document.name] = editor
        return editor

    def _may_edit(self, path: str) -> bool:
        """Whether a file that was read takes changes."""
        file = self.loaded.files.get(path)
        if file is None or file.readonly or (self.only_local and path != self.local):
            return False
        return self._is_writable(path)

    def _is_writable(self, path: str) -> bool:
        if path not in self.asked:
            self.asked[path] = self.is_writable(path)
        return self.asked[path]

    def _why(self, path: str) -> str:
        file = self.loaded.files.get(path)
        if file is not None and file.readonly:
            return "which is included read-only or more than once"
        if self.only_local and path != self.local:
            return "and Local_Changes_Only keeps changes out of it"
        return "which can't be written"

    def _span(self, spot: Spot) -> str:
        return str(spot.site.document.span(spot.node.start))


@dataclass(slots=True)
class _NestedItems:
    """What goes into one place of a file, in stanzas that are to be made there."""

    site: Site
    items: list[Item] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    is_at_end: bool = False


def _nest(items: list[Item], path: Path, inner: Item) -> None:
    """Put an item into the stanzas of a path, which are made where they are missing."""
    for step in path:
        alike = (one for one in items if isinstance(one, StanzaNode) and one.word.lower() == step.kind)
        node = next((one for one in alike if (None if one.name is None else one.name.text) == step.name), None)
        if node is None:
            known = STANZAS.get(step.kind)
            name = None if step.name is None else Text(step.name, True)
            node = StanzaNode(known.word if known is not None else step.kind, name, [])
            items.append(node)
        items = node.items
    items.append(inner)
