"""From the merged tree back to statements, for printing what a configuration amounts to."""

from __future__ import annotations

from gsmtp.config.nodes import ArrayNode, DictNode, Document, Item, OptionNode, StanzaNode, Text, ValueNode
from gsmtp.config.tree import Array, Dictionary, Scalar, Scope, Tree, Value


def document_of(tree: Tree, name: str = "") -> Document:
    """One document that reads back as the same tree: no includes, nothing set twice, no comments.

    Args:
        tree: as loaded.
        name: the document's name, for messages.
    """
    return Document(name, "", _items(tree.root))


def _items(scope: Scope) -> list[Item]:
    options: list[Item] = [OptionNode(setting.spelled, _value(setting.value)) for setting in scope.settings.values()]
    stanzas: list[Item] = [
        StanzaNode(child.kind, None if child.spelled is None else Text(child.spelled, True), _items(child))
        for child in scope.children.values()
    ]
    return options + stanzas


def _value(value: Value) -> ValueNode:
    if isinstance(value, Scalar):
        return Text(value.text, value.quoted)
    if isinstance(value, Array):
        return ArrayNode([Text(item.text, item.quoted) for item in value.items])
    assert isinstance(value, Dictionary)
    pairs: list[tuple[Text, Text | ArrayNode]] = []
    for key, one in value.pairs:
        node = _value(one)
        assert not isinstance(node, DictNode)
        pairs.append((Text(key.text, key.quoted), node))
    return DictNode(pairs)
