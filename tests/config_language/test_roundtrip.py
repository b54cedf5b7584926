"""What is printed reads back as the same configuration, in both syntaxes, with comments, order and includes."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gsmtp.config.diagnostics import Problems
from gsmtp.config.dump import as_data
from gsmtp.config.nodes import (
    ArrayNode,
    DictNode,
    Document,
    IncludeNode,
    Item,
    OptionNode,
    StanzaNode,
    Text,
    ValueNode,
)
from gsmtp.config.printer import to_conf
from gsmtp.config.source import parse_document, read_text
from gsmtp.config.tree import Tree
from gsmtp.config.yaml_printer import to_yaml
from tests.support.unmerge import document_of

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = ROOT / "tests" / "golden" / "config" / "examples"
FILES = sorted(
    str(path.relative_to(ROOT))
    for folder in (EXAMPLES, ROOT / "conf")
    for path in folder.rglob("*.*")
    if path.suffix in (".conf", ".inc", ".yaml") and path.name[0] != "."
)


def tree_of(text: str, name: str) -> Tree:
    """The tree of a text that must be right."""
    problems = Problems()
    tree = read_text(text, name, problems, follow_includes=False)
    assert not problems.has_errors, [str(problem) for problem in problems]
    return tree


def document_of_text(text: str, name: str) -> Document:
    """The document of a text that must be right."""
    problems = Problems()
    document = parse_document(text, name, problems)
    assert not problems.has_errors, [str(problem) for problem in problems]
    return document


def conf(document: Document) -> str:
    """The document as conf, which must be able to express it."""
    problems = Problems()
    text = to_conf(document, problems)
    assert not problems.has_errors
    return text


def yaml(document: Document) -> str:
    """The document as YAML, which must be able to express it."""
    problems = Problems()
    text = to_yaml(document, problems)
    assert not problems.has_errors
    return text


def plain(items: list[Item]) -> list[Any]:
    """Statements as plain data, in order, with what conf can tell apart."""
    return [_plain_item(item) for item in items]


def _plain_item(item: Item) -> Any:
    if isinstance(item, IncludeNode):
        return (item.word, item.path.text)
    if isinstance(item, OptionNode):
        return (item.name, _plain_value(item.value))
    return (item.word, None if item.name is None else item.name.text, plain(item.items))


def _plain_value(value: ValueNode) -> Any:
    if isinstance(value, Text):
        return value.text
    if isinstance(value, ArrayNode):
        return [item.text for item in value.items]
    return [(key.text, _plain_value(one)) for key, one in value.pairs]


def includes_in_order(items: list[Item]) -> list[tuple[str, str]]:
    """All include statements, depth first."""
    found: list[tuple[str, str]] = []
    for item in items:
        if isinstance(item, IncludeNode):
            found.append((item.word, item.path.text))
        elif isinstance(item, StanzaNode):
            found += includes_in_order(item.items)
    return found


# Names and texts that are likely to be misread: numbers, words of YAML, brackets, quotes, regular expressions.
NAMES = st.sampled_from(
    [
        "idle_time",
        "Hostname",
        "context",
        "AuthPlainParameters",
        "unknown_option",
        "NAS-IP-Address",
        "hook:x",
        "_x",
        "map",
    ]
)
WORDS = st.sampled_from(
    ["ESMTP_Listener", "Listen", "Peer", "Domain", "host", "ThreadPool", "foo", "Pathway", "Pathway_Group", "bar"]
)
_YAML_WORDS = ["", " ", "true", "on", "No", "null", "~", "0640", "007", "1.5", "1e3", "0x10", "1:30", "2024-01-01", "y"]
_NAMES_OF_INSTANCES = [":25", "*:25", "[::1]:25", "/^a(b|c)\\.d$/", "10.0.0.0/8", "name", "include", "a,b", ",", "x,"]
_PUNCTUATION = [
    "a b",
    "a: b",
    "a #b",
    "#",
    "'",
    '"',
    '\\"',
    "//",
    "/* */",
    "*/",
    ";",
    "x;",
    "**b**",
    "=",
    "{",
    "}",
    "(",
    ")",
]
_INDICATORS = [
    "- a",
    "? b",
    "! c",
    "& d",
    "* e",
    "| f",
    "> g",
    "%{x}",
    "@x",
    "`x`",
    "<<",
    "-",
    "---",
    "...",
    "!dict",
    "a:",
]
_SPACES = [
    "trailing ",
    " leading",
    "a  b",
    "\v",
    "\f",
    "\t",
    "a\nb",
    "a\r\nb",
    "\u00a0",
    "\ufeff",
    "\u2028",
    "\x85",
    "a: ",
]
_ESCAPES = ["\\", "\\\\", "\\d+\\n", "a\\", "“”", "é", "日本", "😀", "\udce9"]
AWKWARD = st.sampled_from([*_YAML_WORDS, *_NAMES_OF_INSTANCES, *_PUNCTUATION, *_INDICATORS, *_SPACES, *_ESCAPES])
TEXTS = st.one_of(
    AWKWARD,
    st.text(alphabet=string.ascii_letters + string.digits + "._-:/", min_size=1, max_size=8),
    st.text(
        alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="".join(map(chr, [*range(32), 127]))),
        max_size=8,
    ),
)
SCALARS = st.builds(Text, TEXTS, st.booleans())
ARRAYS = st.builds(ArrayNode, st.lists(SCALARS, max_size=3))
DICTS = st.builds(
    DictNode,
    st.lists(st.tuples(SCALARS, st.one_of(SCALARS, ARRAYS)), max_size=3, unique_by=lambda pair: pair[0].text),
)


def _option(name: str, value: ValueNode) -> OptionNode:
    return OptionNode(name, value)


# An option that is declared to be no dictionary can't hold one in YAML.
OPTIONS = st.one_of(
    st.builds(_option, NAMES, st.one_of(SCALARS, ARRAYS)),
    st.builds(_option, st.sampled_from(["context", "AuthPlainParameters", "unknown_option", "hook:x"]), DICTS),
)
INCLUDES = st.builds(IncludeNode, st.builds(Text, TEXTS, st.just(True)), st.booleans())


def _stanzas(children: st.SearchStrategy[list[Item]]) -> st.SearchStrategy[StanzaNode]:
    named = ["Listen", "Peer", "Domain", "ThreadPool", "Pathway", "Pathway_Group", "host", "foo", "bar"]
    return st.one_of(
        st.builds(StanzaNode, st.sampled_from(named), SCALARS, children),
        st.builds(
            StanzaNode, st.sampled_from(["ESMTP_Listener", "Security", "foo", "bar", "baz"]), st.none(), children
        ),
    )


BODIES: st.SearchStrategy[list[Item]] = st.recursive(
    st.lists(st.one_of(OPTIONS, INCLUDES), max_size=3),
    lambda inner: st.lists(st.one_of(OPTIONS, INCLUDES, _stanzas(inner)), max_size=4),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(BODIES)
def test_printed_conf_reads_back_statement_by_statement(items: list[Item]) -> None:
    """parse∘print is the identity on statements: order, repetitions, includes and every text are kept."""
    again = document_of_text(conf(Document("x.conf", "", items)), "x.conf")
    assert plain(again.items) == plain(items)


@settings(max_examples=300, deadline=None)
@given(BODIES)
def test_printed_yaml_reads_back_as_the_same_tree(items: list[Item]) -> None:
    """A YAML text means what the conf text means, include statements in their order too."""
    document = Document("x.conf", "", items)
    text = yaml(document)
    assert as_data(tree_of(text, "x.yaml").root) == as_data(tree_of(conf(document), "x.conf").root)
    assert sorted(includes_in_order(document_of_text(text, "x.yaml").items)) == sorted(includes_in_order(items))


@settings(max_examples=150, deadline=None)
@given(BODIES)
def test_a_tree_printed_is_the_same_tree(items: list[Item]) -> None:
    """A merged tree written out as conf or YAML reads back as that tree."""
    tree = tree_of(conf(Document("x.conf", "", items)), "x.conf")
    written = document_of(tree)
    assert as_data(tree_of(conf(written), "x.conf").root) == as_data(tree.root)
    assert as_data(tree_of(yaml(written), "x.yaml").root) == as_data(tree.root)


@settings(max_examples=150, deadline=None)
@given(BODIES)
def test_there_and_back(items: list[Item]) -> None:
    """conf to YAML to conf is the same tree."""
    first = conf(Document("x.conf", "", items))
    there = yaml(document_of_text(first, "x.conf"))
    back = conf(document_of_text(there, "x.yaml"))
    assert as_data(tree_of(back, "x.conf").root) == as_data(tree_of(first, "x.conf").root)


@pytest.mark.parametrize("name", FILES)
def test_examples_there_and_back(name: str) -> None:
    """Every example and every file of conf/ keeps its tree and all its comments through every conversion."""
    text = (ROOT / name).read_text(encoding="utf-8")
    document = document_of_text(text, name)
    expected = as_data(tree_of(text, name).root)
    words = sorted(line for comment in document.comments for line in comment.lines() if line)
    for printed, suffix in ((conf(document), "conf"), (yaml(document), "yaml")):
        again = document_of_text(printed, f"x.{suffix}")
        assert as_data(tree_of(printed, f"x.{suffix}").root) == expected
        assert sorted(line for comment in again.comments for line in comment.lines() if line) == words
        assert includes_in_order(again.items) == includes_in_order(document.items)
        back = conf(again)
        assert as_data(tree_of(back, "x.conf").root) == expected
        assert (
            sorted(line for one in document_of_text(back, "x.conf").comments for line in one.lines() if line) == words
        )


@pytest.mark.parametrize("name", FILES)
def test_printing_settles(name: str) -> None:
    """What was printed once is printed the same way again."""
    text = (ROOT / name).read_text(encoding="utf-8")
    once = conf(document_of_text(text, name))
    assert conf(document_of_text(once, "x.conf")) == once
    once = yaml(document_of_text(text, name))
    assert yaml(document_of_text(once, "x.yaml")) == once
