"""A console's command line as words, and words as a value: typed as in a file.

Source: reference/console-and-logs.md section 2.
"""

from __future__ import annotations

from collections.abc import Sequence

from gsmtp.config import grammar
from gsmtp.config.diagnostics import NOWHERE, Problems, Span
from gsmtp.config.nodes import ArrayNode, DictNode, OptionNode, Text, ValueNode
from gsmtp.config.remarks import quote
from gsmtp.config.tree import Array, Dictionary, Scalar, Value
from gsmtp.core.errors import ConfigError

_ESCAPES = {"\\": "\\", '"': '"', "r": "\r", "n": "\n", "t": "\t"}


class Word(str):
    """A word of a command line; `quoted` tells whether it stood in quotes, where a bracket is no bracket."""

    __slots__ = ("quoted",)
    quoted: bool

    def __new__(cls, text: str, quoted: bool = False) -> Word:
        """A word with its mark."""
        word = super().__new__(cls, text)
        word.quoted = quoted
        return word


def split(line: str) -> list[Word]:
    """A command line as words.

    Blanks part words. ``"…"`` has the escapes of the configuration language, ``'…'`` none (reference/
    config-language.md section 4); anything else stands for itself, brackets, ``=`` and ``#`` too.

    Raises:
        ConfigError: a quote is not closed.
    """
    words: list[Word] = []
    at = 0
    while at < len(line):
        if line[at].isspace():
            at += 1
            continue
        text, at, quoted = _word(line, at)
        words.append(Word(text, quoted))
    return words


def _word(line: str, at: int) -> tuple[str, int, bool]:
    """The word that begins at an offset, the offset behind it, and whether it began with a quote."""
    quoted = line[at] in "\"'"
    parts: list[str] = []
    while at < len(line) and not line[at].isspace():
        if line[at] in "\"'":
            part, at = _string(line, at)
        else:
            part, at = line[at], at + 1
        parts.append(part)
        if quoted:
            break
    return "".join(parts), at, quoted


def _string(line: str, start: int) -> tuple[str, int]:
    mark = line[start]
    parts: list[str] = []
    at = start + 1
    while at < len(line) and line[at] != mark:
        if mark == '"' and line[at] == "\\" and line[at + 1 : at + 2] in _ESCAPES:
            parts.append(_ESCAPES[line[at + 1]])
            at += 1
        else:
            parts.append(line[at])
        at += 1
    if at >= len(line):
        raise ConfigError(f"a quote is not closed: {line[start:]}")
    return "".join(parts), at + 1


def is_quoted(word: str) -> bool:
    """Whether a word stood in quotes; a plain str counts as quoted when it could not have stood without."""
    known = getattr(word, "quoted", None)
    return bool(known) if known is not None else not word or any(char.isspace() for char in word)


def value_of(name: str, words: Sequence[str], span: Span = NOWHERE) -> Value:
    """The value that words mean, typed as in a file: one scalar, ``( a b )`` or ``[ key = value ]``.

    Args:
        name: the option's name, one word.
        words: what stands behind the name and the optional ``=``.
        span: the place that the value and its parts get.

    Raises:
        ConfigError: they are no value.
    """
    if not words:
        raise ConfigError(f"option '{name}' needs a value")
    if len(words) == 1 and (is_quoted(words[0]) or words[0][0] not in "([{"):
        return Scalar(str(words[0]), is_quoted(words[0]), span)
    text = f"{name} = " + " ".join(quote(word) if is_quoted(word) else word for word in words)
    problems = Problems()
    items = grammar.parse(text, "console", problems).items
    errors = [problem for problem in problems if problem.severity == "error"]
    if errors:
        raise ConfigError(": ".join(filter(None, (errors[0].message, errors[0].hint))))
    if len(items) != 1 or not isinstance(items[0], OptionNode):
        raise ConfigError(f"option '{name}' takes one value; quote one that holds blanks, and write lists as ( a b )")
    return value_from(items[0].value, span)


def value_from(node: ValueNode, span: Span = NOWHERE) -> Value:
    """A node's value; of a key that stands twice in a dictionary the last one counts."""
    if isinstance(node, Text):
        return Scalar(node.text, node.quoted, span)
    if isinstance(node, ArrayNode):
        return Array(tuple(Scalar(item.text, item.quoted, span) for item in node.items), span)
    pairs: dict[str, tuple[Scalar, Scalar | Array]] = {}
    for key, one in node.pairs:
        value = value_from(one, span)
        assert not isinstance(value, Dictionary)
        pairs[key.text] = (Scalar(key.text, key.quoted, span), value)
    return Dictionary(tuple(pairs.values()), span)


def node_from(value: Value) -> ValueNode:
    """A value as a node that a program made, for the printers."""
    if isinstance(value, Scalar):
        return Text(value.text, value.quoted)
    if isinstance(value, Array):
        return ArrayNode([Text(item.text, item.quoted) for item in value.items])
    pairs: list[tuple[Text, Text | ArrayNode]] = []
    for key, one in value.pairs:
        node = node_from(one)
        assert not isinstance(node, DictNode)
        pairs.append((Text(key.text, key.quoted), node))
    return DictNode(pairs)
