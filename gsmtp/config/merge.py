"""Statements into the tree: repeated stanzas become one scope instance, later settings override earlier ones.

Source: reference/config-language.md section 11.
"""

from __future__ import annotations

from collections.abc import Callable

from gsmtp.config.diagnostics import Problems
from gsmtp.config.instance import canonical, name_kind
from gsmtp.config.nodes import ArrayNode, DictNode, Document, IncludeNode, Item, OptionNode, StanzaNode, Text, ValueNode
from gsmtp.config.stanza import NameKind
from gsmtp.config.tree import Array, Dictionary, Scalar, Scope, Setting, Value

Include = Callable[[IncludeNode, Document, Scope], None]


class Merger:
    """Adds documents to a tree.

    Args:
        problems: gets warnings about what is set twice.
        include: called at each include statement, with the document that holds it and the scope it stands in.
    """

    def __init__(self, problems: Problems, include: Include) -> None:
        self.problems = problems
        self.include = include

    def add(self, document: Document, scope: Scope) -> None:
        """Merge a document's statements into a scope, in order."""
        self._body(document, document.items, scope)

    def _body(self, document: Document, items: list[Item], scope: Scope) -> None:
        for item in items:
            if isinstance(item, OptionNode):
                self._option(document, item, scope)
            elif isinstance(item, StanzaNode):
                self._body(document, item.items, self._stanza(document, item, scope))
            else:
                self.include(item, document, scope)

    def _option(self, document: Document, node: OptionNode, scope: Scope) -> None:
        key = node.name.lower()
        span = document.span(node.start, node.start + len(node.name))
        previous = scope.settings.get(key)
        setting = Setting(key, node.name, self._value(document, node.value), span, previous)
        scope.settings[key] = setting
        # A later file overrides on purpose; twice in one file is rarely meant.
        if previous is not None and previous.span.file == span.file and previous.span.offset != span.offset:
            self.problems.warning(
                span,
                f"option '{node.name}' is set twice in {scope}, the last one wins",
                "remove one of them",
                "set-twice",
                [("set before here", previous.span)],
            )

    def _stanza(self, document: Document, node: StanzaNode, parent: Scope) -> Scope:
        kind = node.word.lower()
        name = None if node.name is None else node.name.text
        instance = None if name is None else canonical(kind, name)
        end = node.start + len(node.word) if node.name is None else max(node.name.end, node.start + len(node.word))
        span = document.span(node.start, end)
        scope = parent.children.get((kind, instance))
        if scope is None:
            scope = Scope(kind, instance, name, parent, word=node.word)
            parent.children[kind, instance] = scope
        elif scope.spelled != name and name_kind(kind) in (NameKind.ENDPOINT, NameKind.NETWORK):
            what = "socket" if name_kind(kind) is NameKind.ENDPOINT else "network"
            self.problems.warning(
                span,
                f"{node.word} \"{name}\" is the same {what} as '{scope.spelled}' before; both make one scope",
                "write it the same way in both places, or join them",
                f"same-{what}",
                [("first written here", scope.span)],
            )
        scope.spans.append(span)
        return scope

    def _value(self, document: Document, node: ValueNode) -> Value:
        if isinstance(node, Text):
            return _scalar(document, node)
        if isinstance(node, ArrayNode):
            return _array(document, node)
        return self._dictionary(document, node)

    def _dictionary(self, document: Document, node: DictNode) -> Dictionary:
        pairs: dict[str, tuple[Scalar, Scalar | Array]] = {}
        for key_node, value_node in node.pairs:
            key = _scalar(document, key_node)
            if key.text in pairs:
                self.problems.warning(
                    key.span,
                    f"key '{key.text}' stands twice in this dictionary, the last one wins",
                    "remove one of them",
                    "set-twice",
                    [("set before here", pairs[key.text][0].span)],
                )
            value = _scalar(document, value_node) if isinstance(value_node, Text) else _array(document, value_node)
            pairs[key.text] = (key, value)
        return Dictionary(tuple(pairs.values()), document.span(node.start, node.end))


def _scalar(document: Document, node: Text) -> Scalar:
    return Scalar(node.text, node.quoted, document.span(node.start, node.end))


def _array(document: Document, node: ArrayNode) -> Array:
    return Array(tuple(_scalar(document, item) for item in node.items), document.span(node.start, node.end))
