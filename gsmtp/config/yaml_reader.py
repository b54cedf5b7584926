"""YAML: a second spelling of the same statements.

Every scope is a mapping. Its keys are options, scope words and ``include``; `shape` tells what a mapping under a key
means. A scope may also be a list of mappings, which are read one after another: that is how repeated options and
stanzas, and includes between them, are written. Scalars keep their source text: ``on``, ``0.0`` and ``:25`` mean the
same as in conf.

Source: reference/config-language.md section 16.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator

import yaml

from gsmtp.config import remarks, shape
from gsmtp.config.diagnostics import Problems
from gsmtp.config.lexer import MAX_DEPTH
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
    ValueNode,
)
from gsmtp.config.shape import Shape

_TAG = "tag:yaml.org,2002:"
# An octal number that YAML 1.1 turns into a decimal one and YAML 1.2 doesn't: a mode that was not quoted.
_OCTAL = re.compile(r"[-+]?0[0-7]+|0o[0-7]+")
_COMMENT = re.compile(r"#[^\n\r]*")
_INCLUDES = ("include", "readonly_include")


def parse(text: str, name: str, problems: Problems, scope: str = "global") -> Document:
    """Parse YAML text into nodes; never raises.

    Args:
        text: the content, without a BOM.
        name: the path for messages.
        problems: gets what is wrong.
        scope: the scope word (lower case) around it.

    Returns:
        The document; with errors in `problems` it holds what could be understood.
    """
    document = Document(name, text)
    root = _compose(text, document, problems)
    if root is not None:
        document.comments = list(_comments(text))
        found = Problems()
        document.items = _Reader(document, found).body(root, scope, 0)
        problems.found.extend(sorted(found, key=lambda problem: problem.span.offset))
    return document


def _compose(text: str, document: Document, problems: Problems) -> yaml.Node | None:
    try:
        nodes = list(yaml.compose_all(text, Loader=yaml.SafeLoader))
    except yaml.reader.ReaderError as error:
        at = error.position
        what = f"character U+{ord(text[at]):04X} can't stand in YAML"
        if 0xDC80 <= ord(text[at]) <= 0xDCFF:
            what = f"byte 0x{ord(text[at]) - 0xDC00:02x} is not UTF-8"
        problems.error(document.span(at, at + 1), what, 'write it as an escape in a "…" string', "yaml-character")
        return None
    except yaml.MarkedYAMLError as error:
        _report_syntax(error, document, problems)
        return None
    except RecursionError:
        problems.error(
            document.span(0), "mappings nest too deep", "is this file meant to be a configuration?", "too-deep"
        )
        return None
    if len(nodes) > 1:
        start = nodes[1].start_mark.index
        problems.error(document.span(start), "a second YAML document", "a file holds one; remove '---'", "yaml-syntax")
    return nodes[0] if nodes else None


def _report_syntax(error: yaml.MarkedYAMLError, document: Document, problems: Problems) -> None:
    """Say what PyYAML found: where it noticed, or where the thing began that doesn't end."""
    noticed, begun = error.problem_mark or error.context_mark, error.context_mark
    at = min(noticed.index, len(document.text)) if noticed is not None else 0
    problem, context = error.problem or "", error.context or ""
    related = []
    if begun is not None and begun.index != at:
        related.append(("begun here", document.span(begun.index, begun.index + 1)))
    for sign, message, hint in _UNCLOSED:
        if begun is not None and sign in context and begun.line != document.position(at)[0] - 1:
            noticed_at = [("noticed here", document.span(at, at + 1))] if at < len(document.text) else []
            problems.error(document.span(begun.index, begun.index + 1), message, hint, "yaml-syntax", noticed_at)
            return
    message = " ".join(part for part in (problem, context) if part)
    hint = next((hint for sign, hint in _HINTS if sign in message), "")
    problems.error(document.span(at, at + 1), f"not YAML: {message}", hint, "yaml-syntax", related)


# What PyYAML says, what it means, what to do.
_UNCLOSED = (
    ("scanning a quoted scalar", "string is not closed", "add a quote where it ends"),
    ("parsing a flow sequence", "list is not closed", "add ']' after its last item, and ',' between items"),
    ("parsing a flow mapping", "mapping is not closed", "add '}' after its last pair, and ',' between pairs"),
)
_HINTS = (
    ("'\\t'", "indent with spaces: YAML takes no tabs there"),
    ("cannot start any token", "a value that begins with this character needs quotes"),
    ("mapping values are not allowed", "put a value that holds ': ' in quotes, and check the indentation"),
    ("alias", "a value that begins with '*' or '&' needs quotes"),
    ("could not find expected ':'", "write 'name: value'"),
)


def _comments(text: str) -> Iterator[Comment]:
    """The comments: they stand between tokens, and in the first line of a block scalar."""
    last = 0
    for token in yaml.scan(text, Loader=yaml.SafeLoader):
        start, end = token.start_mark.index, token.end_mark.index
        if start > last:
            yield from _comments_between(text, last, start)
        last = max(last, end)
        if isinstance(token, yaml.ScalarToken) and token.style in ("|", ">"):
            stop = text.find("\n", start)
            header = _COMMENT.search(text, start, stop if stop >= 0 else len(text))
            if header is not None:
                yield Comment(header[0].rstrip(), header.start())
            # The scalar's mark ends at the next token's line; comments below it belong to nobody else.
    yield from _comments_between(text, last, len(text))


def _comments_between(text: str, start: int, end: int) -> Iterator[Comment]:
    for match in _COMMENT.finditer(text, start, end):
        yield Comment(match[0].rstrip(), match.start())


class _Reader:
    """Turns the YAML nodes of one document into statements."""

    def __init__(self, document: Document, problems: Problems) -> None:
        self.document = document
        self.problems = problems
        # Aliases can make a small text mean a huge tree.
        self.budget = 1000 + 10 * len(document.text)
        self.comment_starts = [comment.start for comment in document.comments]

    def _error(self, node: yaml.Node, message: str, hint: str, code: str) -> None:
        self.problems.error(self.document.span(*self._range(node)), message, hint, code)

    def _range(self, node: yaml.Node) -> tuple[int, int]:
        """Offsets of a node's first character and after its last: PyYAML ends a block where the next key begins."""
        start: int = node.start_mark.index
        end: int = node.end_mark.index
        if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
            last = node.value[-1][1] if isinstance(node, yaml.MappingNode) else node.value[-1]
            # What an alias stands for is written before.
            if last.start_mark.index > start:
                return start, self._range(last)[1]
        elif isinstance(node, yaml.ScalarNode) and node.style in ("|", ">"):
            return start, len(self.document.text[:end].rstrip())
        return start, end

    def body(self, node: yaml.Node, scope: str, depth: int) -> list[Item]:
        """The statements of a scope's mapping, or of a list of mappings."""
        items: list[Item] = []
        if depth > MAX_DEPTH:
            self._error(
                node, f"scopes nest deeper than {MAX_DEPTH}", "is an alias used inside its own anchor?", "too-deep"
            )
        elif isinstance(node, yaml.SequenceNode):
            for part in node.value:
                if isinstance(part, yaml.MappingNode):
                    items += self._mapping(part, scope, depth)
                else:
                    self._error(part, "a mapping is expected in this list", "write '- name: value'", "yaml-shape")
        elif isinstance(node, yaml.MappingNode):
            items = self._mapping(node, scope, depth)
        elif not _is_null(node):
            where = "the file" if depth == 0 else "a scope"
            self._error(node, f"{where} must be a mapping", "write 'name: value', one line each", "yaml-shape")
        return items

    def _mapping(self, node: yaml.MappingNode, scope: str, depth: int) -> list[Item]:
        items: list[Item] = []
        for key, value in self._pairs(node, fold_case=True):
            items += self._entry(key, value, scope, depth)
        return items

    def _pairs(self, node: yaml.MappingNode, *, fold_case: bool) -> Iterator[tuple[yaml.ScalarNode, yaml.Node]]:
        """The pairs of a mapping with scalar keys; a key that occurs twice is an error."""
        seen: dict[str, yaml.Node] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._error(key, "a key must be a word or a string", "write 'name: value'", "yaml-key")
                continue
            if key.tag == f"{_TAG}merge":
                self._error(key, "merge keys are not served", "write the settings out, or use an include", "yaml-key")
                continue
            same = key.value.lower() if fold_case else key.value
            if same in seen:
                self.problems.error(
                    self.document.span(*self._range(key)),
                    f"key '{key.value}' occurs twice in this mapping",
                    "join them, or write the scope as a list of mappings",
                    "yaml-duplicate",
                    [("first here", self.document.span(*self._range(seen[same])))],
                )
                continue
            seen[same] = key
            yield key, value

    def _entry(self, key: yaml.ScalarNode, value: yaml.Node, scope: str, depth: int) -> list[Item]:
        word = key.value
        self.budget -= 1
        if self.budget <= 0:
            if self.budget == 0:
                self._error(key, "aliases expand to too much", "write the settings out, or use an include", "too-much")
            return []
        if word.lower() in _INCLUDES:
            return self._include(key, value)
        meaning = self._shape(scope, word, value)
        if meaning is Shape.NAMED:
            return self._named(key, value, depth)
        if meaning is Shape.UNNAMED:
            return self._unnamed(key, value, depth)
        if remarks.is_scope_only(word):
            self._error(value, f"scope '{word}' must be a mapping", f"write '{word}: {{…}}'", "yaml-shape")
            return []
        if not word:
            self._error(key, "an empty option name", "write 'name: value'", "yaml-key")
            return []
        read = self._value(key, value, as_dictionary=meaning is Shape.DICTIONARY)
        return [] if read is None else [OptionNode(word, read, key.start_mark.index)]

    def _shape(self, scope: str, word: str, node: yaml.Node) -> Shape:
        if node.tag in shape.TAGS and isinstance(node, yaml.CollectionNode):
            return shape.TAGS[node.tag]
        if isinstance(node, yaml.CollectionNode) and node.tag not in _COLLECTION_TAGS:
            self._error(node, f"tag {_short(node.tag)} is not served", "remove it", "yaml-tag")
        if isinstance(node, yaml.MappingNode):
            inner = [_kind(value) for _, value in node.value]
            return shape.of_mapping(scope, word, inner)
        if isinstance(node, yaml.SequenceNode):
            return shape.of_sequence(scope, word, [_kind(item) for item in node.value])
        return shape.of_null(scope, word) if _is_null(node) else Shape.OPTION

    def _include(self, key: yaml.ScalarNode, value: yaml.Node) -> list[Item]:
        paths = value.value if isinstance(value, yaml.SequenceNode) else [value]
        items: list[Item] = []
        for path in paths:
            if not isinstance(path, yaml.ScalarNode) or _is_null(path):
                self._error(path, f"'{key.value}' takes paths", f"write '{key.value}: [a.yaml, b.conf]'", "yaml-shape")
                continue
            text = self._text(path)
            # Each path is a statement of its own; comments and messages find it by its own place.
            start = key.start_mark.index if value is path else text.start
            items.append(IncludeNode(text, key.value.lower() != "include", start))
        return items

    def _unnamed(self, key: yaml.ScalarNode, value: yaml.Node, depth: int) -> list[Item]:
        return list(self._stanzas(key.value, None, key.start_mark.index, value, depth))

    def _stanzas(self, word: str, name: Text | None, start: int, value: yaml.Node, depth: int) -> Iterator[StanzaNode]:
        """One stanza for a mapping, one for each mapping of a list."""
        parts = value.value if isinstance(value, yaml.SequenceNode) and value.value else [value]
        for part in parts:
            items = self.body(part, word.lower(), depth + 1)
            opened, end = self._range(part)
            # Comments stand between a key and what it means, and behind that at its depth.
            yield StanzaNode(word, name, items, start if part is parts[0] else opened, opened, self._extend(part, end))

    def _extend(self, node: yaml.Node, end: int) -> int:
        """The end of a block together with the comments below it that are indented as far as it is."""
        if not isinstance(node, yaml.MappingNode) or node.flow_style is not False:
            return end
        at = bisect_left(self.comment_starts, end)
        for comment in self.document.comments[at:]:
            if self.document.text[end : comment.start].strip():
                break
            if self.document.position(comment.start)[1] - 1 < node.start_mark.column:
                break
            end = comment.end
        return end

    def _named(self, key: yaml.ScalarNode, value: yaml.Node, depth: int) -> list[Item]:
        word = key.value
        if isinstance(value, yaml.SequenceNode):
            return [stanza for item in value.value for stanza in self._named_in_list(word, item, depth)]
        if _is_null(value) or not isinstance(value, yaml.MappingNode):
            self._error(
                key, f"scope '{word}' needs the names of its instances", f"write '{word}: {{\"NAME\": {{…}}}}'",
                "yaml-shape",
            )  # fmt: skip
            return []
        items: list[Item] = []
        for name, body in self._pairs(value, fold_case=False):
            text = self._text(name)
            for stanza in self._stanzas(word, text, text.start, body, depth):
                stanza.lead = -1 if items else key.start_mark.index
                items.append(stanza)
        return items

    def _named_in_list(self, word: str, item: yaml.Node, depth: int) -> list[Item]:
        """``- {name: ":25", idle_time: 100}``, or ``- {":25": {idle_time: 100}}``."""
        if not isinstance(item, yaml.MappingNode):
            self._error(
                item, f"a '{word}' with its name is expected", f"write '- name: …' under '{word}'", "yaml-shape"
            )
            return []
        names = [
            (key, value)
            for key, value in item.value
            if isinstance(key, yaml.ScalarNode) and key.value == "name" and isinstance(value, yaml.ScalarNode)
        ]
        if not names:
            return self._named(yaml.ScalarNode(f"{_TAG}str", word, item.start_mark, item.start_mark), item, depth)
        rest = yaml.MappingNode(
            item.tag, [pair for pair in item.value if pair[0] is not names[0][0]], item.start_mark, item.end_mark
        )
        text = self._text(names[0][1])
        return list(self._stanzas(word, text, text.start, rest, depth))

    def _value(self, key: yaml.ScalarNode, node: yaml.Node, *, as_dictionary: bool) -> ValueNode | None:
        name = key.value
        if _is_null(node):
            hint = f"write '{name}: VALUE'; \"\" is the empty value"
            if node.value:
                hint = f'leave the option out, or put the word in quotes: "{node.value}"'
            self._error(node if node.value else key, f"option '{name}' has no value", hint, "missing-value")
            return None
        if isinstance(node, yaml.ScalarNode):
            return self._text(node, name)
        if isinstance(node, yaml.SequenceNode):
            return self._array(name, node)
        if not as_dictionary or not isinstance(node, yaml.MappingNode):
            self._error(node, f"option '{name}' takes no mapping", f"write '{name}: VALUE'", "yaml-shape")
            return None
        pairs: list[tuple[Text, Text | ArrayNode]] = []
        for inner, value in self._pairs(node, fold_case=False):
            read = self._value(inner, value, as_dictionary=False)
            if isinstance(read, (Text, ArrayNode)):
                pairs.append((self._text(inner), read))
        return DictNode(pairs, *self._range(node))

    def _array(self, name: str, node: yaml.SequenceNode) -> ArrayNode:
        items: list[Text] = []
        for item in node.value:
            if isinstance(item, yaml.ScalarNode) and not _is_null(item):
                items.append(self._text(item, name))
            else:
                self._error(item, f"the list of '{name}' holds words and strings only", "lists don't nest",
                            "nested-array")  # fmt: skip
        return ArrayNode(items, *self._range(node))

    def _text(self, node: yaml.ScalarNode, option: str = "") -> Text:
        """A scalar by its source text, whatever YAML would make of it."""
        plain = node.style is None
        if plain and _OCTAL.fullmatch(node.value):
            what = f" of '{option}'" if option else ""
            self._error(
                node,
                f"number {node.value}{what} is octal to some YAML readers and decimal to others",
                f'put it in quotes: "{node.value}"',
                "yaml-octal",
            )
        if node.tag not in _SCALAR_TAGS:
            self._error(node, f"tag {_short(node.tag)} is not served", "remove it", "yaml-tag")
        return Text(node.value, not plain, *self._range(node))


_SCALAR_TAGS = {f"{_TAG}{name}" for name in ("str", "int", "float", "bool", "null", "timestamp", "value", "merge")}


_COLLECTION_TAGS = (f"{_TAG}map", f"{_TAG}seq")


def _short(tag: str) -> str:
    return tag.replace(_TAG, "!!")


def _kind(node: yaml.Node) -> str:
    """``"scalar"``, ``"null"``, ``"list"``, ``"mappings"`` (a list of mappings only) or ``"mapping"``."""
    if isinstance(node, yaml.MappingNode):
        return "mapping"
    if isinstance(node, yaml.SequenceNode):
        mappings = bool(node.value) and all(isinstance(item, yaml.MappingNode) for item in node.value)
        return "mappings" if mappings else "list"
    return "null" if _is_null(node) else "scalar"


def _is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == f"{_TAG}null" and node.style is None
