"""Nodes as YAML text.

A scope becomes a mapping, stanzas of one word become one mapping of instances. Where order or repetition can't be kept
in one mapping (an option set twice, an include between two stanzas of one word), the scope becomes a list of mappings,
which are read one after another. Where a reader would take a mapping for something else, a tag tells (`shape`).
Comments become ``#`` comments.

Source: reference/config-language.md section 16.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import yaml

from gsmtp.config import shape
from gsmtp.config.diagnostics import Problems
from gsmtp.config.instance import canonical
from gsmtp.config.nodes import (
    ArrayNode,
    Comment,
    DictNode,
    Document,
    IncludeNode,
    Item,
    OptionNode,
    StanzaNode,
    Text,
)
from gsmtp.config.render import printable
from gsmtp.config.shape import Shape
from gsmtp.config.trivia import Lines, Trivia

_INDENT = "  "
_WIDTH = 110
_PLAIN = re.compile(r"(?=[A-Za-z0-9_./])[A-Za-z0-9_./@%+*:-]*(?<!:)(?: [A-Za-z0-9_./@%+*-]+)*")
_SINGLE = re.compile(r"[ -~]+")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?")
_STR = "tag:yaml.org,2002:str"
_RESOLVER = yaml.resolver.Resolver()
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def to_yaml(document: Document, problems: Problems, scope: str = "global") -> str:
    """The document as YAML text that reads back as the same tree.

    Args:
        document: from either reader, or made by a program.
        problems: gets a warning for what is written differently (bytes in comments that are no UTF-8).
        scope: the scope word (lower case) around it.
    """
    return _Printer(document, problems).document_text(scope)


def yaml_lines(items: list[Item], scope: str, problems: Problems) -> list[str]:
    """Statements that a program made, as the lines of a mapping, not indented.

    Args:
        items: the statements, none of which repeats another.
        scope: the scope word (lower case) around them.
        problems: as for `to_yaml`.
    """
    return _Printer(Document("", "", items), problems).body(items, scope)


@dataclass(slots=True)
class _Group:
    """The statements that share one key of a mapping."""

    items: list[Item] = field(default_factory=list)


class _Printer:
    def __init__(self, document: Document, problems: Problems) -> None:
        self.document = document
        self.problems = problems
        self.trivia = Trivia(document)

    def document_text(self, scope: str) -> str:
        lines = self.body(self.document.items, scope)
        lines += self._comments(self.trivia.closing, bool(lines))
        return "\n".join(lines or ["{}"]) + "\n"

    # Comments

    def _comments(self, comments: Lines, may_be_blank: bool = True) -> list[str]:
        lines: list[str] = []
        for blank, comment in comments:
            if blank and (lines or may_be_blank):
                lines.append("")
            lines += [f"# {line}".rstrip() for line in self._comment_lines(comment)]
        return lines

    def _comment_lines(self, comment: Comment) -> list[str]:
        lines = comment.lines()
        clean = [printable(line) for line in lines]
        if clean != lines:
            self.problems.warning(
                self.document.span(comment.start, comment.end),
                "a comment holds characters that can't stand in YAML; they are written as escapes",
                code="inexpressible",
            )
        return clean

    def _behind(self, line: str, comment: Comment | None) -> str:
        if comment is None:
            return line
        return f"{line}  # {' '.join(self._comment_lines(comment))}"

    # Scopes

    def body(self, items: list[Item], scope: str) -> list[str]:
        """The lines of a scope: a mapping, or a list of mappings."""
        segments = _segments(items)
        if len(segments) == 1:
            return self._mapping(segments[0], scope)
        return [line for segment in segments for line in _listed(self._mapping(segment, scope))]

    def _mapping(self, segment: dict[str, _Group], scope: str) -> list[str]:
        lines: list[str] = []
        for group in segment.values():
            first = group.items[0]
            notes = self.trivia.of(first)
            above = self._comments(notes.before, bool(lines))
            if notes.blank and (lines or above):
                above.append("")
            lines += above
            if isinstance(first, OptionNode):
                lines += self._option(first, scope)
            elif isinstance(first, IncludeNode):
                lines += self._include([item for item in group.items if isinstance(item, IncludeNode)])
            else:
                lines += self._stanzas([item for item in group.items if isinstance(item, StanzaNode)], scope)
        return lines

    def _include(self, nodes: list[IncludeNode]) -> list[str]:
        key = nodes[0].word
        if len(nodes) == 1:
            return [self._behind(f"{key}: {scalar(nodes[0].path)}", self.trivia.of(nodes[0]).after)]
        lines = [f"{key}:"]
        for node in nodes:
            notes = self.trivia.of(node)
            above = [] if node is nodes[0] else self._comments(notes.before)
            lines += _indented([*above, self._behind(f"- {scalar(node.path)}", notes.after)])
        return lines

    def _stanzas(self, nodes: list[StanzaNode], scope: str) -> list[str]:
        word = nodes[0].word
        if nodes[0].name is None:
            body, is_list = self._bodies(nodes, word.lower())
            meant = Shape.UNNAMED
            inner = ["mapping"] if is_list else _inner_kinds(nodes[0].items)
            read = shape.of_sequence(scope, word, inner) if is_list else shape.of_mapping(scope, word, inner)
            return self._under(text_key(word), "" if read is meant else f" {meant.value}", body, nodes)
        by_name: dict[str, list[StanzaNode]] = {}
        for node in nodes:
            assert node.name is not None
            by_name.setdefault(node.name.text, []).append(node)
        lines: list[str] = []
        for name, same in by_name.items():
            body, _ = self._bodies(same, word.lower())
            first = same[0].name
            assert first is not None
            key = scalar(Text(name, first.quoted))
            if same[0] is not nodes[0]:
                lines += self._above(same[0], bool(lines))
            lines += self._under(key, "", body, same)
        read = shape.of_mapping(scope, word, ["mapping"] * len(by_name))
        tag = "" if read is Shape.NAMED else f" {Shape.NAMED.value}"
        return [f"{text_key(word)}:{tag}", *_indented(lines)]

    def _above(self, node: StanzaNode, may_be_blank: bool) -> list[str]:
        notes = self.trivia.of(node)
        lines = self._comments(notes.before, may_be_blank)
        if notes.blank and (lines or may_be_blank):
            lines.append("")
        return lines

    def _bodies(self, nodes: list[StanzaNode], scope: str) -> tuple[list[str], bool]:
        """The lines of one stanza's body, or of several bodies of one stanza as a list; and whether it is a list."""
        segments = [(node, segment) for node in nodes for segment in _segments(node.items)]
        if len(segments) == 1:
            lines = self._mapping(segments[0][1], scope)
            return lines + self._comments(self.trivia.of(nodes[0]).closing), False
        lines = []
        last: StanzaNode | None = None
        for node, segment in segments:
            mapping = self._mapping(segment, scope) or ["{}"]
            if node is not last and node is not nodes[0]:
                lines += self._above(node, True)
                opening = self.trivia.of(node).opening
                lines += [f"# {line}" for line in self._comment_lines(opening)] if opening is not None else []
            lines += _listed(mapping)
            last = node
        for node in nodes:
            lines += self._comments(self.trivia.of(node).closing)
            after = self.trivia.of(node).after
            if after is not None and node is not nodes[-1]:
                lines += [f"# {line}" for line in self._comment_lines(after)]
        return lines, True

    def _under(self, key: str, tag: str, body: list[str], nodes: list[StanzaNode]) -> list[str]:
        """A key with a body below it, or ``{}`` behind it."""
        opening, after = self.trivia.of(nodes[0]).opening, self.trivia.of(nodes[-1]).after
        if not body:
            return [self._both(f"{key}:{tag} {{}}", opening, after)]
        if all(not line or line.startswith("#") for line in body):
            body = [*body, "{}"]
        return [self._both(f"{key}:{tag}", opening, after), *_indented(body)]

    def _both(self, line: str, first: Comment | None, second: Comment | None) -> str:
        words = [word for comment in (first, second) if comment is not None for word in self._comment_lines(comment)]
        return f"{line}  # {' | '.join(words)}" if words else line

    # Options

    def _option(self, node: OptionNode, scope: str) -> list[str]:
        key, value, notes = text_key(node.name), node.value, self.trivia.of(node)
        if isinstance(value, Text):
            return [self._behind(f"{key}: {scalar(value)}", notes.after)]
        if isinstance(value, ArrayNode):
            return self._array(key, value, notes.after, "")
        read = shape.of_mapping(scope, node.name, ["scalar" if isinstance(v, Text) else "list" for _, v in value.pairs])
        tag = "" if read is Shape.DICTIONARY else f" {Shape.DICTIONARY.value}"
        return self._dictionary(f"{key}:{tag}", value, notes.after)

    def _array(self, key: str, value: ArrayNode, after: Comment | None, lead: str) -> list[str]:
        inline = f"{key}: [{', '.join(scalar(item, in_flow=True) for item in value.items)}]"
        if not self.trivia.inside(value) and len(inline) <= _WIDTH:
            return [self._behind(inline, after)]
        notes = self.trivia.of(value)
        lines = [self._both(f"{key}:", notes.opening, after)]
        if not value.items:
            return [*lines, *_indented([*self._comments(notes.closing), "[]"])]
        for item in value.items:
            about = self.trivia.of(item)
            lines += _indented([*self._comments(about.before), self._behind(f"- {scalar(item)}", about.after)])
        return lines + _indented(self._comments(notes.closing))

    def _dictionary(self, head: str, value: DictNode, after: Comment | None) -> list[str]:
        notes = self.trivia.of(value)
        if not value.pairs:
            closing = self._comments(notes.closing)
            if closing:
                return [self._both(head, notes.opening, after), *_indented([*closing, "{}"])]
            return [self._both(f"{head} {{}}", notes.opening, after)]
        lines = [self._both(head, notes.opening, after)]
        # YAML has no repeated keys, and the last one wins anyway.
        last = {key.text: (key, one) for key, one in value.pairs}
        for key, one in value.pairs:
            about = self.trivia.of(key)
            lines += _indented(self._comments(about.before))
            if last[key.text][0] is not key:
                self._drop_pair(key)
            elif isinstance(one, Text):
                lines += _indented([self._behind(f"{scalar(key)}: {scalar(one)}", about.after)])
            else:
                lines += _indented(self._array(scalar(key), one, about.after, ""))
        return lines + _indented(self._comments(notes.closing))

    def _drop_pair(self, key: Text) -> None:
        self.problems.warning(
            self.document.span(key.start, key.end),
            f"key '{key.text}' stands twice in this dictionary; only the last one, which counts, is written",
            "YAML has no repeated keys",
            "inexpressible",
        )


def _segments(items: list[Item]) -> list[dict[str, _Group]]:
    """The statements of a scope as mappings without repeated keys, in an order that means the same."""
    segments: list[dict[str, _Group]] = [{}]
    for item in items:
        current = segments[-1]
        key = _key(item)
        group = current.get(key)
        if group is None:
            current[key] = _Group([item])
        elif _joins(item, key, current):
            group.items.append(item)
        else:
            segments.append({key: _Group([item])})
    return segments


def _key(item: Item) -> str:
    if isinstance(item, OptionNode):
        return item.name.lower()
    return item.word.lower()


def _joins(item: Item, key: str, current: dict[str, _Group]) -> bool:
    """Whether a statement may move up to those of the same key."""
    group = current[key]
    if isinstance(item, IncludeNode):
        return isinstance(group.items[0], IncludeNode) and next(reversed(current)) == key
    if not isinstance(item, StanzaNode):
        return False
    # What an include brings may override, or be overridden: nothing moves across it.
    keys = list(current)
    if any(one in ("include", "readonly_include") for one in keys[keys.index(key) :]):
        return False
    others = [one for one in group.items if isinstance(one, StanzaNode)]
    if len(others) != len(group.items) or (others[0].name is None) != (item.name is None):
        return False
    if item.name is None:
        return True
    # Two spellings of one instance must not change their order.
    same = [
        one.name.text
        for one in others
        if one.name is not None and canonical(key, one.name.text) == canonical(key, item.name.text)
    ]
    return item.name.text not in same or same[-1] == item.name.text


def _inner_kinds(items: list[Item]) -> list[str]:
    """What the values of a scope's mapping will be, for `shape.of_mapping`."""
    kinds: list[str] = []
    for group in _segments(items)[0].values():
        first = group.items[0]
        if isinstance(first, StanzaNode) or (isinstance(first, OptionNode) and isinstance(first.value, DictNode)):
            kinds.append("mapping")
        else:
            kinds.append("scalar")
    return kinds


def _indented(lines: list[str]) -> list[str]:
    return [_INDENT + line if line else line for line in lines]


def _listed(mapping: list[str]) -> list[str]:
    """A mapping's lines as one entry of a list; comments above its first key stay above the dash."""
    at = next((number for number, line in enumerate(mapping) if line and not line.startswith("#")), len(mapping))
    if at == len(mapping):
        return [*mapping, "- {}"]
    return [*mapping[:at], f"- {mapping[at]}", *_indented(mapping[at + 1 :])]


def text_key(name: str) -> str:
    """A key as YAML."""
    return scalar(Text(name))


def scalar(node: Text, *, in_flow: bool = False) -> str:
    """A scalar as YAML: plain where every reader takes it for the same text, in quotes otherwise."""
    text = node.text
    if _is_plain(text, node.quoted) and not (in_flow and ":" in text):
        return text
    if _SINGLE.fullmatch(text) and ("\\" in text or '"' in text):
        return "'" + text.replace("'", "''") + "'"
    return '"' + "".join(_escaped(char) for char in text) + '"'


def _is_plain(text: str, quoted: bool) -> bool:
    if _PLAIN.fullmatch(text) is None or text.endswith(":") or text in (".", ".."):
        return False
    tag = _RESOLVER.resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
    if tag == _STR:
        return True
    return not quoted and (text in ("true", "false") or _NUMBER.fullmatch(text) is not None)


def _escaped(char: str) -> str:
    if char in _ESCAPES:
        return _ESCAPES[char]
    code = ord(char)
    if char.isprintable() and not 0xD800 <= code <= 0xDFFF:
        return char
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
