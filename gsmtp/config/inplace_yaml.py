"""Edits of a YAML file in place, for the shapes that can be edited so; the others are refused, never rewritten.

Source: reference/config-language.md section 16.
"""

from __future__ import annotations

from gsmtp.config.diagnostics import Problems
from gsmtp.config.inplace import Editor, Entry, Unwritable
from gsmtp.config.nodes import ArrayNode, DictNode, Document, Item, OptionNode, StanzaNode, Text, ValueNode
from gsmtp.config.outline import Site
from gsmtp.config.tree import Value
from gsmtp.config.words import node_from
from gsmtp.config.yaml_printer import scalar, yaml_lines


class YamlEditor(Editor):
    """Edits of one YAML file."""

    def __init__(self, document: Document) -> None:
        super().__init__(document)
        self._going: dict[int, tuple[Site, list[Item]]] = {}
        self._grown: set[int] = set()
        self._filled: dict[int, tuple[Site, list[Item]]] = {}
        self._new: dict[int, tuple[Site, list[Item]]] = {}

    def result(self) -> str:
        """The text with all edits made; a scope that loses everything becomes ``{}``. Raises Unwritable."""
        for site, items in self._filled.values():
            self._fill(site, items)
        for site, items in self._new.values():
            # Together: a mapping has each word once.
            lines = yaml_lines(items, site.kind, Problems())
            self._insert_lines_behind(site.items[-1], self._column(site, site.items[-1]), lines)
        for key, (site, gone) in self._going.items():
            is_empty = len(gone) == len(site.items) and key not in self._grown and site.stanza is not None
            for number, item in enumerate(gone):
                start = self._start(site, item, gone)
                if not self.document.is_first_on_line(start):
                    raise Unwritable("it stands behind a dash in YAML")
                if is_empty and number == len(gone) - 1:
                    self.splice(start, item.end, "{}")
                else:
                    self.delete(start, item.end)
        return super().result()

    def _start(self, site: Site, item: Item, gone: list[Item]) -> int:
        """Where to delete from: the word that stands above instances goes with the last of them."""
        if not isinstance(item, StanzaNode) or item.lead < 0:
            return item.start
        group = self._group(site, item)
        return item.lead if all(one in gone for one in group) and id(item) not in self._grown else item.start

    def _group(self, site: Site, item: StanzaNode) -> list[StanzaNode]:
        """The instances that stand below the same word of a mapping, `item` among them."""
        group: list[StanzaNode] = []
        for one in site.items:
            if isinstance(one, StanzaNode) and one.word == item.word and one.name is not None:
                if one.lead >= 0 and item in group:
                    break
                group = [one] if one.lead >= 0 else [*group, one]
        return group

    def _take_out(self, site: Site, item: Item) -> None:
        """Delete an item once it is known what else goes and comes in its scope."""
        self._going.setdefault(id(site), (site, []))[1].append(item)

    def replace_value(self, site: Site, node: OptionNode, value: Value) -> None:
        """Give a setting another value; of a list with an item a line only the items that differ change."""
        old, new = node.value, node_from(value)
        if isinstance(old, Text) and isinstance(new, Text):
            new.quoted = new.quoted or old.quoted
        if isinstance(old, ArrayNode) and isinstance(new, ArrayNode) and new.items and self._is_block(old):
            entries = [Entry(item.text, self._dash(item.start), item.end) for item in old.items]
            self.change_entries(entries, [(item.text, f"- {scalar(item)}") for item in new.items])
        elif isinstance(old, DictNode) and isinstance(new, DictNode) and new.pairs and self._is_block(old):
            if not all(isinstance(one, Text) for _, one in (*old.pairs, *new.pairs)):
                raise Unwritable("a dictionary with lists in it can't be changed in place in YAML")
            entries = [Entry((key.text, _text(one)), key.start, one.end) for key, one in old.pairs]
            wanted = [((key.text, _text(one)), f"{scalar(key)}: {_flow(one)}") for key, one in new.pairs]
            self.change_entries(entries, [*wanted])
        else:
            in_flow = self._is_flow(site)
            self.splice(old.start, old.end, scalar(new, in_flow=in_flow) if isinstance(new, Text) else _flow(new))

    def _is_block(self, node: ArrayNode | DictNode) -> bool:
        return node.end > node.start and self.text[node.start] not in "[{"

    def _dash(self, start: int) -> int:
        """Where the entry of a list with that content begins."""
        at = len(self.text[:start].rstrip(" \t")) - 1
        if self.text[at : at + 1] != "-":
            raise Unwritable("an entry of the list doesn't stand behind its dash")
        return at

    def insert_option(self, site: Site, name: str, value: Value, *, at_end: bool) -> None:
        """Add a setting behind the last one of the mapping, at its column."""
        new = node_from(value)
        options = [item for item in site.items if isinstance(item, OptionNode)]
        anchor: Item | None = options[-1] if options and not at_end else site.items[-1] if site.items else None
        self._grown.add(id(site))
        name = self.spelling(site, name)
        if anchor is None:
            self._filled.setdefault(id(site), (site, []))[1].append(OptionNode(name, new))
        elif self._is_flow(site):
            self.splice(site.items[-1].end, site.items[-1].end, f", {name}: {_flow(new)}")
        else:
            lines = yaml_lines([OptionNode(name, new)], site.kind, Problems())
            self._insert_lines_behind(anchor, self._column(site, anchor), lines)

    def insert_stanza(self, site: Site, node: StanzaNode, *, at_end: bool) -> None:
        """Add a stanza: below the word of its like, or under a word of its own behind all others."""
        alike = [one for one in site.items if isinstance(one, StanzaNode) and one.word.lower() == node.word.lower()]
        self._grown.add(id(site))
        node = self.styled(node)
        if not site.items:
            self._filled.setdefault(id(site), (site, []))[1].append(node)
            return
        if self._is_flow(site):
            raise Unwritable("the scope is written in one line of YAML")
        if not alike:
            self._behind(site.items[-1])
            self._new.setdefault(id(site), (site, []))[1].append(node)
            return
        lines = yaml_lines([node], site.kind, Problems())
        last = alike[-1]
        if node.name is None or last.name is None or not self._is_key(last.name):
            raise Unwritable("the stanzas of that word are written as a list")
        column = self.document.position(last.start)[1] - 1
        self._grown.update(id(one) for one in self._group(site, last))
        self._insert_lines_behind(last, column, [line.removeprefix("  ") for line in lines[1:]])

    def delete_option(self, site: Site, node: OptionNode) -> None:
        """Take a setting out."""
        if self._is_flow(site):
            self._delete_from_flow(site, node)
            return
        self._take_out(site, node)

    def delete_stanza(self, site: Site, node: StanzaNode) -> None:
        """Take a stanza out with all that is in it, and with its word when it is the only one below that."""
        if self._is_flow(site):
            self._delete_from_flow(site, node)
            return
        if node.name is not None and not self._is_key(node.name):
            raise Unwritable("the stanzas of that word are written as a list")
        self._take_out(site, node)

    # --- flow mappings and empty ones

    def _is_flow(self, site: Site) -> bool:
        if site.stanza is None:
            return self.text.lstrip().startswith("{") and bool(site.items)
        return self.text[site.stanza.open : site.stanza.open + 1] == "{"

    def _delete_from_flow(self, site: Site, node: Item) -> None:
        at = site.items.index(node)
        if at + 1 < len(site.items):
            self.splice(node.start, site.items[at + 1].start, "")
        elif at > 0:
            self.splice(site.items[at - 1].end, node.end, "")
        else:
            self.splice(node.start, node.end, "")

    def _fill(self, site: Site, items: list[Item]) -> None:
        """Into a scope that holds nothing: a null behind a key, or an empty file."""
        lines = yaml_lines(items, site.kind, Problems())
        if site.stanza is None:
            bare = self.text.rstrip()
            if bare.endswith("{}") and not bare[:-2].rpartition("\n")[2].strip():
                self.splice(len(bare) - 2, len(bare), self.line_end.join(lines))
            else:
                self.insert_lines(len(self.text), lines)
            return
        if self._is_flow(site) and all(isinstance(item, OptionNode) for item in items):
            pairs = [f"{item.name}: {_flow(item.value)}" for item in items if isinstance(item, OptionNode)]
            self.splice(site.stanza.open, site.stanza.end, "{" + ", ".join(pairs) + "}")
            return
        indent = " " * (self.document.position(site.stanza.start)[1] + 1)
        lines = [indent + line if line else line for line in lines]
        if self._is_flow(site):
            start = len(self.text[: site.stanza.open].rstrip(" "))
            self.splice(start, site.stanza.end, self.line_end + self.line_end.join(lines))
            return
        behind = self.after_line(site.stanza.end)
        if behind is None:
            raise Unwritable("something else stands behind the empty scope")
        self.insert_lines(behind, lines)

    def _insert_lines_behind(self, anchor: Item, column: int, lines: list[str]) -> None:
        behind = self._behind(anchor)
        indent = " " * column
        # What is deeper belongs to what stands above and goes first.
        self.insert_lines(behind, [indent + line if line else line for line in lines], rank=-column)

    def _behind(self, anchor: Item) -> int:
        behind = self.after_line(anchor.end)
        if behind is None:
            raise Unwritable("something else stands on the line")
        return behind

    def _column(self, site: Site, item: Item) -> int:
        """The column of the key of a mapping that an item belongs to, from 0."""
        start = item.start
        if isinstance(item, StanzaNode) and item.name is not None:
            start = self._group(site, item)[0].lead
        return self.document.position(start)[1] - 1

    def _is_key(self, name: Text) -> bool:
        return self.text[name.end :].lstrip(" ").startswith(":")


def _text(node: Text | ArrayNode) -> str:
    return node.text if isinstance(node, Text) else ""


def _flow(node: ValueNode) -> str:
    if isinstance(node, Text):
        return scalar(node, in_flow=True)
    if isinstance(node, ArrayNode):
        return "[" + ", ".join(scalar(item, in_flow=True) for item in node.items) + "]"
    return "{" + ", ".join(f"{scalar(key, in_flow=True)}: {_flow(one)}" for key, one in node.pairs) + "}"
