"""Which comment belongs to which statement, and where a blank line stood: what a printer must not lose.

A comment on the same line after a statement is that statement's; one that follows ``{`` is the scope's; all others
belong to the statement, item or brace that comes next.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from gsmtp.config.nodes import ArrayNode, Comment, DictNode, Document, IncludeNode, Item, OptionNode, StanzaNode, Text

Lines = list[tuple[bool, Comment]]
"""Comments on lines of their own, each with whether a blank line stands before it."""


@dataclass(slots=True)
class Notes:
    """What surrounds one statement or one item of a collection.

    Args:
        before: comments above it.
        blank: whether a blank line stands directly above it.
        after: the comment behind it on its last line.
        opening: the comment behind the head of a scope or the opening of a collection.
        closing: comments above the end of a scope or collection.
    """

    before: Lines = field(default_factory=list)
    blank: bool = False
    after: Comment | None = None
    opening: Comment | None = None
    closing: Lines = field(default_factory=list)

    @property
    def any_inside(self) -> bool:
        """Whether a comment stands at the beginning or the end of what it encloses."""
        return self.opening is not None or bool(self.closing)


class Trivia:
    """The notes of a document's nodes."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._text = document.text
        self._comments = sorted(document.comments, key=lambda comment: comment.start)
        self._at = 0
        self._notes: dict[int, Notes] = {}
        self._body(document.items)
        self.closing = self._take_before(len(self._text) + 1)

    def of(self, node: Item | ArrayNode | DictNode | Text) -> Notes:
        """The notes of a node; empty ones for a node that a program made."""
        return self._notes.get(id(node)) or Notes()

    def inside(self, value: ArrayNode | DictNode) -> bool:
        """Whether a comment stands anywhere between the brackets of a collection."""
        if self.of(value).any_inside:
            return True
        nodes = value.items if isinstance(value, ArrayNode) else [key for key, _ in value.pairs]
        return any(self.of(node).before or self.of(node).after for node in nodes)

    def _take_before(self, offset: int) -> Lines:
        taken: Lines = []
        while self._at < len(self._comments) and self._comments[self._at].start < offset:
            comment = self._comments[self._at]
            taken.append((self._is_blank_before(comment.start), comment))
            self._at += 1
        return taken

    def _take_behind(self, offset: int) -> Comment | None:
        """The next comment if it stands on the line of `offset` with only white space between, and ends that line."""
        if self._at >= len(self._comments) or offset < 0:
            return None
        comment = self._comments[self._at]
        if comment.start < offset or self._text[offset : comment.start].strip(" \t,"):
            return None
        stop = self._text.find("\n", comment.end)
        if "\n" in comment.text or self._text[comment.end : len(self._text) if stop < 0 else stop].strip():
            return None
        self._at += 1
        return comment

    def _is_blank_before(self, offset: int) -> bool:
        """Whether the line above the offset's line is blank, and the offset is the first thing on its line."""
        at = self._document.line_start(offset)
        if at == 0 or self._text[at:offset].strip():
            return False
        above = self._text.rfind("\n", 0, at - 1) + 1
        return not self._text[above : at - 1].strip() and bool(self._text[:above].strip())

    def _is_blank_above(self, item: Item) -> bool:
        lead = item.lead if isinstance(item, StanzaNode) else -1
        return self._is_blank_before(lead if lead >= 0 else item.start)

    def _body(self, items: list[Item]) -> None:
        for item in items:
            if item.start < 0:
                continue
            notes = self._notes[id(item)] = Notes(self._take_before(item.start), self._is_blank_above(item))
            if isinstance(item, StanzaNode):
                self._stanza(item, notes)
            elif isinstance(item, IncludeNode):
                notes.before += self._take_before(item.path.start)
            else:
                self._option(item, notes)
            if notes.after is None:
                notes.after = self._take_behind(item.end)

    def _stanza(self, item: StanzaNode, notes: Notes) -> None:
        head = item.name.end if item.name is not None else item.start + len(item.word)
        if item.open > head:
            # In YAML the mapping begins below its key, behind which a comment may stand.
            colon = self._text[head : item.open].find(":") + 1
            notes.opening = self._take_behind(head + colon)
            if self._text[item.open] == "{":
                notes.before += self._take_before(item.open)
        if notes.opening is None:
            notes.opening = self._take_behind(item.open + 1) if self._text[item.open : item.open + 1] == "{" else None
        self._body(item.items)
        notes.closing = self._take_before(item.end)

    def _option(self, item: OptionNode, notes: Notes) -> None:
        value = item.value
        if isinstance(value, Text):
            notes.before += self._take_before(value.start)
            # The first line of a block scalar in YAML may end in a comment.
            inside = self._take_before(value.end)
            if len(inside) == 1:
                notes.after = inside[0][1]
            else:
                notes.before += inside
            return
        head = item.start + len(item.name)
        if self._text[value.start : value.start + 1] in "([":
            notes.before += self._take_before(value.start)
            head = value.start + 1
        else:
            head += self._text[head : value.start].find(":") + 1
        inner = self._notes[id(value)] = Notes(opening=self._take_behind(head))
        nodes = value.items if isinstance(value, ArrayNode) else [key for key, _ in value.pairs]
        ends = value.items if isinstance(value, ArrayNode) else [one for _, one in value.pairs]
        for node, end in zip(nodes, ends, strict=True):
            notes_of = self._notes[id(node)] = Notes(self._take_before(node.start))
            notes_of.before += self._take_before(end.end)
            notes_of.after = self._take_behind(end.end)
        inner.closing = self._take_before(value.end)
