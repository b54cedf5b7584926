"""Edits of one file's text by offsets: what is not meant stays byte for byte.

What the two syntaxes share: collecting splices, finding lines, entries of a list. `inplace_conf` and `inplace_yaml`
know what a setting and a stanza look like.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from gsmtp.config.nodes import Comment, Document, IncludeNode, Item, OptionNode, StanzaNode, walk
from gsmtp.config.outline import Site
from gsmtp.config.tree import Value


class Unwritable(Exception):
    """A change that can't be made in place; the text says why, to follow "because"."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An item of a list, or a pair of a dictionary, in a file.

    Args:
        ident: equal for equal entries.
        start: offset of its first character.
        end: offset after its last.
    """

    ident: object
    start: int
    end: int


class Editor(ABC):
    """Collects edits of one document.

    Args:
        document: the file as it was loaded.
    """

    def __init__(self, document: Document) -> None:
        self.document = document
        self.text = document.text
        self.line_end = "\r\n" if "\r\n" in document.text else "\n"
        self._splices: list[tuple[int, int, int, str]] = []
        self._is_lower = _is_lower(document.items)

    def result(self) -> str:
        """The text with all edits made. Raises Unwritable when two of them meet."""
        parts: list[str] = []
        at = 0
        # Sorting is stable: what is inserted at one place stays in the order of the edits.
        for start, end, _, text in sorted(self._splices, key=lambda splice: splice[:3]):
            if start < at and not text:
                at = max(at, end)  # what is taken out twice, the blanks between two settings, is taken out once
                continue
            if start < at:
                raise Unwritable("two changes meet in one place of the file")
            parts += [self.text[at:start], text]
            at = end
        return "".join([*parts, self.text[at:]])

    def splice(self, start: int, end: int, text: str, rank: int = 0) -> None:
        """Put a text in place of ``text[start:end]``; of what comes to one place the lower rank goes first."""
        self._splices.append((start, end, rank, text))

    def spelling(self, site: Site, name: str) -> str:
        """A new option's name: in lower case where all others of the stanza, or of the file, are."""
        names = [item.name for item in site.items if isinstance(item, OptionNode)]
        is_lower = all(one == one.lower() for one in names) if names else self._is_lower
        return name.lower() if is_lower else name

    def styled(self, node: StanzaNode) -> StanzaNode:
        """A new stanza, its words in lower case where all words of the file are."""
        if not self._is_lower:
            return node
        items: list[Item] = []
        for item in node.items:
            if isinstance(item, StanzaNode):
                items.append(self.styled(item))
            elif isinstance(item, OptionNode):
                items.append(OptionNode(item.name.lower(), item.value))
        return StanzaNode(node.word.lower(), node.name, items)

    # --- what a syntax knows

    @abstractmethod
    def replace_value(self, site: Site, node: OptionNode, value: Value) -> None:
        """Give a setting another value. Raises Unwritable."""

    @abstractmethod
    def insert_option(self, site: Site, name: str, value: Value, *, at_end: bool) -> None:
        """Add a setting to a stanza or file; `at_end`: behind everything else in it. Raises Unwritable."""

    @abstractmethod
    def insert_stanza(self, site: Site, node: StanzaNode, *, at_end: bool) -> None:
        """Add a stanza that a program made to a stanza or file. Raises Unwritable."""

    @abstractmethod
    def delete_option(self, site: Site, node: OptionNode) -> None:
        """Take a setting out. Raises Unwritable."""

    @abstractmethod
    def delete_stanza(self, site: Site, node: StanzaNode) -> None:
        """Take a stanza out with all that is in it; `site` is the one around it. Raises Unwritable."""

    # --- lines

    def margin(self, offset: int) -> str:
        """The white space that the line of an offset begins with."""
        start = self.document.line_start(offset)
        at = start
        while at < len(self.text) and self.text[at] in " \t":
            at += 1
        return self.text[start:at]

    def after_line(self, offset: int) -> int | None:
        """The offset of the line behind the one where `offset` is, comments counted to it.

        None when something else than white space and comments follows on the line.
        """
        at = offset
        comments = [comment for comment in self.document.comments if comment.start >= offset]
        while True:
            stop = self.text.find("\n", at)
            stop = len(self.text) if stop < 0 else stop
            comment = comments[0] if comments and comments[0].start < stop else None
            if self.text[at : comment.start if comment else stop].strip(" \t\r\f\v"):
                return None
            if comment is None:
                return min(stop + 1, len(self.text))
            at = comment.end
            comments.pop(0)

    def comment_behind(self, offset: int) -> Comment | None:
        """The comment on the line of an offset behind it, with only white space between."""
        for comment in self.document.comments:
            if comment.start >= offset:
                return comment if not self.text[offset : comment.start].strip(" \t") else None
        return None

    def insert_lines(self, at: int, lines: Sequence[str], rank: int = 0) -> None:
        """Insert whole lines at the beginning of a line, or at the end of the text."""
        text = self.line_end.join(lines)
        if at == len(self.text) and self.text and not self.text.endswith("\n"):
            self.splice(at, at, self.line_end + text, rank)
        else:
            self.splice(at, at, text + self.line_end, rank)

    def delete(self, start: int, end: int) -> None:
        """Take ``text[start:end]`` out: with its lines when nothing else is on them, comments stay."""
        line = self.document.line_start(start)
        behind = self.after_line(end)
        is_first = not self.text[line:start].strip()
        if is_first and behind is not None and self.comment_behind(end) is None:
            self._delete_lines(line, behind)
        elif is_first and behind is not None:
            self.splice(start, end + len(self.text[end:]) - len(self.text[end:].lstrip(" \t")), "")
        elif behind is not None and not is_first:
            before = len(self.text[:start].rstrip(" \t"))
            self.splice(before, end, "")
        else:
            rest = self.text[end:]
            self.splice(start, end + len(rest) - len(rest.lstrip(" \t")), "")

    def _delete_lines(self, start: int, end: int) -> None:
        if end == len(self.text) and not self.text.endswith("\n") and start > 0:
            start = len(self.text[:start].removesuffix("\n").removesuffix("\r"))
        elif self.is_blank_above(start) and self.text[end:].split("\n", 1)[0].lstrip()[:1] in ("", "}"):
            # Of the blank lines around it one is enough, and none before the end of a stanza.
            above = self.text.rfind("\n", 0, start - 1) + 1
            start = above
        self.splice(start, end, "")

    def is_blank_above(self, offset: int) -> bool:
        """Whether a blank line stands above the line of an offset."""
        start = self.document.line_start(offset)
        if start == 0:
            return False
        return not self.text[self.text.rfind("\n", 0, start - 1) + 1 : start].strip()

    def change_entries(self, old: Sequence[Entry], new: Sequence[tuple[object, str]]) -> None:
        """Make a list on several lines into another one, touching only the entries that differ.

        Args:
            old: what is there, at least one.
            new: what is to be there, each with its text.
        """
        matcher = SequenceMatcher(None, [entry.ident for entry in old], [ident for ident, _ in new], autojunk=False)
        for tag, i1, i2, j1, j2 in matcher.get_opcodes():
            if tag == "equal":
                continue
            pairs = min(i2 - i1, j2 - j1)
            for number in range(pairs):
                self.splice(old[i1 + number].start, old[i1 + number].end, new[j1 + number][1])
            for entry in old[i1 + pairs : i2]:
                self.delete_entry(entry)
            if j1 + pairs < j2:
                self.insert_entries(old, i1 + pairs, [text for _, text in new[j1 + pairs : j2]])

    def delete_entry(self, entry: Entry) -> None:
        """Take one entry out."""
        self.delete(entry.start, entry.end)

    def insert_entries(self, old: Sequence[Entry], at: int, texts: Sequence[str]) -> None:
        """Insert entries before the one with the number `at`, on lines of their own where the others are."""
        if at > 0:
            entry = old[at - 1]
            behind = self.after_line(entry.end)
            if behind is not None and self.document.is_first_on_line(entry.start):
                self.insert_lines(behind, [self.margin(entry.start) + text for text in texts])
            else:
                self.splice(entry.end, entry.end, "".join(f" {text}" for text in texts))
        elif self.document.is_first_on_line(old[0].start):
            margin = self.margin(old[0].start)
            self.insert_lines(self.document.line_start(old[0].start), [margin + text for text in texts])
        else:
            self.splice(old[0].start, old[0].start, "".join(f"{text} " for text in texts))


def _is_lower(items: list[Item]) -> bool:
    """Whether all names and words of a file are in lower case, and it has some."""
    names = [item.name if isinstance(item, OptionNode) else item.word for item in walk(items)
             if not isinstance(item, IncludeNode)]  # fmt: skip
    return bool(names) and all(name == name.lower() for name in names)
