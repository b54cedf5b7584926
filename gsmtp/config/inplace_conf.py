"""Edits of a conf file in place: where a new setting goes, how it is spelled there, what goes when one is taken out."""

from __future__ import annotations

from collections.abc import Sequence

from gsmtp.config.diagnostics import Problems
from gsmtp.config.dump import value_data
from gsmtp.config.inplace import Editor, Entry, Unwritable
from gsmtp.config.nodes import ArrayNode, DictNode, Document, Item, OptionNode, StanzaNode, Text, ValueNode
from gsmtp.config.outline import Site
from gsmtp.config.printer import conf_lines, conf_value
from gsmtp.config.tree import Value
from gsmtp.config.words import node_from, value_from

_WIDTH = 110


class ConfEditor(Editor):
    """Edits of one conf file."""

    def __init__(self, document: Document) -> None:
        super().__init__(document)
        self._one_liners: dict[int, tuple[Site, list[Item], list[str]]] = {}

    def result(self) -> str:
        """The text with all edits made. Raises Unwritable when two of them meet."""
        for site, gone, added in self._one_liners.values():
            self._change_one_line(site, gone, added)
        return super().result()

    def replace_value(self, site: Site, node: OptionNode, value: Value) -> None:
        """Give a setting another value; of a list on several lines only the items that differ change."""
        old, new = node.value, node_from(value)
        if isinstance(old, Text) and isinstance(new, Text):
            new.quoted = new.quoted or old.quoted
        if isinstance(old, ArrayNode) and isinstance(new, ArrayNode) and all(item.quoted for item in old.items):
            for item in new.items:
                item.quoted = item.quoted or bool(old.items)
        entries = self._entries(old)
        if entries and type(old) is type(new) and "\n" in self.text[old.start : old.end]:
            wanted = self._wanted(new)
            if wanted:
                self.change_entries(entries, wanted)
                return
        lines = self._rendered([OptionNode(node.name, new)], self.margin(node.start))
        text = self.line_end.join(lines).lstrip(" \t")
        head = f"{node.name} = "
        assert text.startswith(head) or text.startswith(head.rstrip())
        self.splice(old.start, old.end, text[len(head.rstrip()) :].lstrip(" "))

    def _entries(self, node: ValueNode) -> list[Entry]:
        if isinstance(node, ArrayNode):
            return [Entry(item.text, item.start, item.end) for item in node.items]
        if isinstance(node, DictNode):
            return [Entry((key.text, _plain(one)), key.start, one.end) for key, one in node.pairs]
        return []

    def _wanted(self, node: ValueNode) -> list[tuple[object, str]]:
        problems = Problems()
        wanted: list[tuple[object, str]] = []
        if isinstance(node, ArrayNode):
            wanted = [(item.text, conf_value(item, problems, in_list=True)) for item in node.items]
        elif isinstance(node, DictNode):
            wanted = [
                ((key.text, _plain(one)), f"{conf_value(key, problems, in_list=True)} = {conf_value(one, problems)}")
                for key, one in node.pairs
            ]
        _refuse(problems)
        return wanted

    def insert_option(self, site: Site, name: str, value: Value, *, at_end: bool) -> None:
        """Add a setting: behind the last one of the stanza, spelled and indented as its neighbours are."""
        node = OptionNode(self.spelling(site, name), node_from(value))
        options = [item for item in site.items if isinstance(item, OptionNode)]
        anchor: Item | None = options[-1] if options else None
        if at_end or (site.stanza is None and anchor is None):
            anchor = site.items[-1] if site.items else None
        self._insert(site, node, anchor)

    def insert_stanza(self, site: Site, node: StanzaNode, *, at_end: bool) -> None:
        """Add a stanza: behind the last one of its word, or behind all others."""
        alike = [one for one in site.items if isinstance(one, StanzaNode) and one.word.lower() == node.word.lower()]
        anchor: Item | None = alike[-1] if alike and not at_end else site.items[-1] if site.items else None
        self._insert(site, self.styled(node), anchor)

    def delete_option(self, site: Site, node: OptionNode) -> None:
        """Take a setting out."""
        self._delete(site, node)

    def delete_stanza(self, site: Site, node: StanzaNode) -> None:
        """Take a stanza out with all that is in it."""
        self._delete(site, node)

    def _delete(self, site: Site, node: Item) -> None:
        if site.stanza is not None and self._is_on_one_line(site.stanza):
            self._one_liner(site)[1].append(node)
            return
        self.delete(node.start, node.end)

    # --- where and how

    def _is_on_one_line(self, stanza: StanzaNode) -> bool:
        return "\n" not in self.text[stanza.open : stanza.end]

    def _insert(self, site: Site, node: OptionNode | StanzaNode, anchor: Item | None) -> None:
        stanza = site.stanza
        if stanza is not None and self._is_on_one_line(stanza):
            self._one_liner(site)[2].append(self._on_one_line(node))
        elif anchor is not None:
            self._insert_behind(site, node, anchor)
        elif stanza is not None:
            self._insert_first(site, stanza, node)
        else:
            self.insert_lines(len(self.text), self._rendered([node], ""))

    def _one_liner(self, site: Site) -> tuple[Site, list[Item], list[str]]:
        return self._one_liners.setdefault(id(site), (site, [], []))

    def _change_one_line(self, site: Site, gone: list[Item], added: list[str]) -> None:
        """Take items out of a stanza on one line, and put others before its ``}``."""
        stanza = site.stanza
        assert stanza is not None
        close = stanza.end - 1
        if len(gone) == len(site.items) and not any(
            stanza.open < comment.start < stanza.end for comment in self.document.comments
        ):
            inside = "  ".join(added)
            blank = " " if close > stanza.open + 1 else ""
            self.splice(stanza.open + 1, close, f" {inside} " if inside else blank)
            return
        for item in gone:
            at = site.items.index(item)
            if at + 1 < len(site.items) and not self.text[item.end : site.items[at + 1].start].strip():
                self.splice(item.start, site.items[at + 1].start, "")
            else:
                self.splice(len(self.text[: item.start].rstrip(" \t")), item.end, "")
        at = len(self.text[:close].rstrip())
        for text in added:
            self.splice(at, at, f"  {text}")

    def _insert_behind(self, site: Site, node: OptionNode | StanzaNode, anchor: Item) -> None:
        behind = self.after_line(anchor.end)
        if behind is None:
            self.splice(anchor.end, anchor.end, "  " + self._on_one_line(node))
            return
        lines = self._rendered([node], self._indent(site, anchor))
        if isinstance(node, StanzaNode) and (site.stanza is None or self.is_blank_above(anchor.start)):
            # Stanzas of a file are parted by a blank line, those of a stanza where their neighbours are.
            lines = ["", *lines] if isinstance(anchor, OptionNode) or len(lines) > 1 else lines
        self.insert_lines(behind, lines)

    def _insert_first(self, site: Site, stanza: StanzaNode, node: OptionNode | StanzaNode) -> None:
        """Behind the ``{`` of a stanza that has no settings yet."""
        behind = self.after_line(stanza.open + 1)
        if behind is None:
            self.splice(stanza.open + 1, stanza.open + 1, f" {self._on_one_line(node)} ")
        else:
            self.insert_lines(behind, self._rendered([node], self._indent(site, None)))

    def _indent(self, site: Site, anchor: Item | None) -> str:
        items = [item for item in (anchor, *site.items) if item is not None]
        first = next((item for item in items if self.document.is_first_on_line(item.start)), None)
        if first is not None:
            return self.margin(first.start)
        if site.stanza is None:
            return ""
        margin = self.margin(site.stanza.start)
        return margin + ("\t" if margin.startswith("\t") or "\n\t" in self.text else "  ")

    def _rendered(self, items: Sequence[Item], indent: str) -> list[str]:
        problems = Problems()
        lines = conf_lines(list(items), indent, problems)
        _refuse(problems)
        return lines

    def _on_one_line(self, node: OptionNode | StanzaNode) -> str:
        return " ".join(line.strip(" ") for line in self._rendered([node], ""))


def _plain(node: Text | ArrayNode) -> object:
    data = value_data(value_from(node))
    return tuple(data) if isinstance(data, list) else data


def _refuse(problems: Problems) -> None:
    errors = [problem for problem in problems if problem.severity == "error"]
    if errors:
        raise Unwritable(errors[0].message)
