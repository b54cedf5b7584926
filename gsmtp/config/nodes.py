"""Statements of one source as written: what the readers make, what the printers print and `source` merges.

A node knows character offsets into its document's text; lines and columns are worked out when somebody asks, which is
rare and would otherwise cost more than the parse. Comments stand beside the tree, sorted by offset: they may occur
between any two tokens. Nodes made by a program have offset -1.

Nothing here is merged, typed or looked up: that is `merge`, `kinds` and `check`.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field

from gsmtp.config.diagnostics import Span

_LINE_END = re.compile(r"\n")


class Text:
    """A word or a string: a scalar value, an instance name, a path.

    Args:
        text: the content, escapes undone.
        quoted: whether it stood in quotes.
        start: offset of its first character, quote included.
        end: offset after its last character.
    """

    __slots__ = ("end", "quoted", "start", "text")

    def __init__(self, text: str, quoted: bool = False, start: int = -1, end: int = -1) -> None:
        self.text = text
        self.quoted = quoted
        self.start = start
        self.end = end


class ArrayNode:
    """``( a b "c" )``; `start` and `end` enclose the parentheses."""

    __slots__ = ("end", "items", "start")

    def __init__(self, items: list[Text], start: int = -1, end: int = -1) -> None:
        self.items = items
        self.start = start
        self.end = end


class DictNode:
    """``[ key = value ]`` with repeated keys still in it; `start` and `end` enclose the brackets."""

    __slots__ = ("end", "pairs", "start")

    def __init__(self, pairs: list[tuple[Text, Text | ArrayNode]], start: int = -1, end: int = -1) -> None:
        self.pairs = pairs
        self.start = start
        self.end = end


ValueNode = Text | ArrayNode | DictNode


class OptionNode:
    """``name = value``; `start` is the name's offset."""

    __slots__ = ("name", "start", "value")

    def __init__(self, name: str, value: ValueNode, start: int = -1) -> None:
        self.name = name
        self.value = value
        self.start = start

    @property
    def end(self) -> int:
        """Offset after the value."""
        return self.value.end


class StanzaNode:
    """``word name { … }``.

    Args:
        word: the scope word as written.
        name: the instance name, None for an unnamed stanza.
        items: what stands between the braces.
        start: offset of the word.
        open: offset of ``{``, or in YAML of the mapping.
        end: offset after ``}``, or in YAML after the mapping.
        lead: in YAML, for the first instance below a scope word, the word's offset; otherwise -1.
    """

    __slots__ = ("end", "items", "lead", "name", "open", "start", "word")

    def __init__(
        self, word: str, name: Text | None, items: list[Item], start: int = -1, open_at: int = -1, end: int = -1
    ) -> None:
        self.word = word
        self.name = name
        self.items = items
        self.start = start
        self.open = open_at
        self.lead = -1
        self.end = end


class IncludeNode:
    """``include "path"`` or ``readonly_include "path"``; `start` is the keyword's offset."""

    __slots__ = ("path", "readonly", "start")

    def __init__(self, path: Text, readonly: bool, start: int = -1) -> None:
        self.path = path
        self.readonly = readonly
        self.start = start

    @property
    def word(self) -> str:
        """The keyword in lower case."""
        return "readonly_include" if self.readonly else "include"

    @property
    def end(self) -> int:
        """Offset after the path."""
        return self.path.end


Item = OptionNode | StanzaNode | IncludeNode


@dataclass(slots=True)
class Comment:
    """One comment with its markers: ``# …`` without the line end, or ``/* … */``."""

    text: str
    start: int

    @property
    def end(self) -> int:
        """Offset after its last character."""
        return self.start + len(self.text)

    def lines(self) -> list[str]:
        """Its content line by line, without markers, to be written in another form."""
        if self.text.startswith("#"):
            return [self.text[1:].strip()]
        inner = self.text[2:-2] if self.text.endswith("*/") else self.text[2:]
        lines = [line.strip().removeprefix("* ").rstrip() for line in inner.strip().split("\n")]
        return ["" if line == "*" else line for line in lines]


@dataclass(slots=True)
class Document:
    """One source, parsed.

    Args:
        name: its path as shown in messages.
        text: its decoded content as it is on disk, line ends included (a BOM is dropped).
        items: its statements.
        comments: by offset.
    """

    name: str
    text: str
    items: list[Item] = field(default_factory=list)
    comments: list[Comment] = field(default_factory=list)
    _line_starts: list[int] = field(default_factory=list, repr=False)

    def position(self, offset: int) -> tuple[int, int]:
        """1-based line and column of an offset."""
        starts = self._line_starts
        if not starts:
            starts.append(0)
            starts.extend(match.end() for match in _LINE_END.finditer(self.text))
        line = bisect_right(starts, offset)
        return line, offset - starts[line - 1] + 1

    def line_start(self, offset: int) -> int:
        """Offset at which the line of an offset begins."""
        return self.text.rfind("\n", 0, offset) + 1

    def indent(self, offset: int) -> int:
        """Columns of white space before the first word of the offset's line, a tab counting up to the next 8th."""
        at = self.line_start(offset)
        column = 0
        while at < len(self.text) and self.text[at] in " \t":
            column = column + 1 if self.text[at] == " " else (column // 8 + 1) * 8
            at += 1
        return column

    def is_first_on_line(self, offset: int) -> bool:
        """Whether only white space stands before the offset on its line."""
        return not self.text[self.line_start(offset) : offset].strip()

    def span(self, start: int, end: int = -1) -> Span:
        """The place of ``text[start:end]``; what goes beyond the first line is not underlined."""
        if start < 0:
            return Span(self.name, 0, 0)
        line, column = self.position(start)
        stop = self.text.find("\n", start, max(end, start))
        length = (stop if stop >= 0 else end) - start
        return Span(self.name, line, column, max(length, 1), start)


def walk(items: list[Item]) -> Iterator[Item]:
    """All statements of a body, each before what it holds."""
    pending = list(reversed(items))
    while pending:
        item = pending.pop()
        yield item
        if isinstance(item, StanzaNode):
            pending.extend(reversed(item.items))
