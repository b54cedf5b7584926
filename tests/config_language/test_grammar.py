"""The grammar itself: without conflicts, without files, and in agreement with the reading that explains mistakes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ply import lex, yacc

from gsmtp.config import grammar, lexer, recover
from gsmtp.config.diagnostics import Problems
from gsmtp.config.lexer import MAX_DEPTH, Trouble
from gsmtp.config.nodes import ArrayNode, DictNode, Document, IncludeNode, Item, OptionNode, StanzaNode, Text
from gsmtp.config.render import render
from gsmtp.config.tree import SourceFile


class _Log:
    """Takes what PLY says about rules and tables."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def _add(self, message: str, *args: object) -> None:
        self.lines.append(message % args if args else message)

    warning = error = critical = _add

    def info(self, message: str, *args: object) -> None:
        """Tables, of no interest."""

    debug = info


def test_grammar_has_no_conflicts() -> None:
    """PLY finds nothing to warn about, in particular no shift/reduce and no reduce/reduce conflict."""
    log = _Log()
    yacc.yacc(module=grammar, write_tables=False, debug=True, debuglog=log, errorlog=log)
    assert [line for line in log.lines if "conflict" in line or "unused" in line or "not used" in line] == []


def test_lexer_rules_are_sound() -> None:
    """PLY finds nothing to warn about in the token rules."""
    log = _Log()
    lex.lex(module=lexer, reflags=0, errorlog=log)
    assert log.lines == []


def test_parsing_writes_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither beside the modules nor in the working directory."""
    package = Path(grammar.__file__).parent
    monkeypatch.chdir(tmp_path)
    grammar.parse("a = 1", "x.conf", Problems())
    assert list(tmp_path.iterdir()) == []
    assert [path.name for path in package.iterdir() if path.name.startswith(("parser.out", "parsetab", "lextab"))] == []


def _texts(items: list[Any]) -> list[Any]:
    return [(item.text, item.quoted, item.start, item.end) for item in items]


def full(items: list[Item]) -> list[Any]:
    """Statements with all offsets as plain data."""
    found: list[Any] = []
    for item in items:
        if isinstance(item, StanzaNode):
            name = None if item.name is None else _texts([item.name])
            found.append((item.word, name, item.start, item.open, item.end, full(item.items)))
        elif isinstance(item, IncludeNode):
            found.append((item.word, _texts([item.path]), item.start))
        else:
            found.append((item.name, item.start, _full_value(item)))
    return found


def _full_value(item: OptionNode) -> Any:
    value = item.value
    if isinstance(value, Text):
        return _texts([value])
    if isinstance(value, ArrayNode):
        return (value.start, value.end, _texts(value.items))
    assert isinstance(value, DictNode)
    pairs = [
        (_texts([key]), _texts([one]) if isinstance(one, Text) else (one.start, one.end, _texts(one.items)))
        for key, one in value.pairs
    ]
    return (value.start, value.end, pairs)


def _read(text: str) -> tuple[Document | None, Problems]:
    problems = Problems()
    try:
        return grammar.parse_strict(text, "x.conf", problems), problems
    except Trouble:
        return None, Problems()


_WORDS = [
    "a",
    "idle_time",
    "Listen",
    "Domain",
    "host",
    "include",
    "a,b",
    ":25",
    "300",
    "/x/",
    "/a(b|c)$/",
    "x;",
    "**a**",
    "//",
]
_STRINGS = ['"a b"', '""', '":25"', "'raw # x'", '"multi\nline"', '"esc\\"aped\\n"', '"un', "'un"]
_MARKS = [
    "=",
    "=",
    "=",
    "{",
    "}",
    "[",
    "]",
    "(",
    ")",
    ",",
    "{}",
    "# note\n",
    "/* note */",
    "/* un",
    "\u201cq\u201d",
    "\u00a0",
]
_SPACES = ["", " ", " ", "\n", "\n", "\n  ", "\r\n", "\t"]
SOUP = st.lists(st.tuples(st.sampled_from(_WORDS + _STRINGS + _MARKS), st.sampled_from(_SPACES)), max_size=14).map(
    lambda parts: "".join(token + space for token, space in parts)
)
_LINES = [
    "idle_time = 300\n",
    'hostname = "mx" # x\n',
    "ESMTP_Listener {\n",
    'Listen ":25" {',
    "}\n",
    "}",
    "relay_hosts = ( 10.0.0.1 10.0.0.2 )\n",
    "context [ a = 1 b = 2 ]\n",
    "enable true\n",
    "Domain /x\\.co(m|\\.uk)$/ {\n",
    'include "x"\n',
    "a = 1 b = 2 ",
    "static_routes\n",
]
NEARLY_RIGHT = st.lists(st.sampled_from(_LINES), max_size=10).map("".join)


@settings(max_examples=1500, deadline=None)
@given(st.one_of(SOUP, NEARLY_RIGHT))
def test_what_the_grammar_takes_is_right(text: str) -> None:
    """A text that the grammar takes gives no error in the explaining reading, and the same nodes at the same places."""
    document, warnings = _read(text)
    if document is None:
        return
    problems = Problems()
    other = recover.parse(text, "x.conf", problems)
    assert not problems.has_errors, [(str(problem.span), problem.message) for problem in problems]
    assert full(other.items) == full(document.items)
    assert [(c.text, c.start) for c in other.comments] == [(c.text, c.start) for c in document.comments]
    assert [problem.message for problem in problems] == [problem.message for problem in warnings]


@settings(max_examples=1500, deadline=None)
@given(st.one_of(SOUP, NEARLY_RIGHT, st.text(max_size=40)))
def test_no_text_breaks_the_reader(text: str) -> None:
    """Every text gives a document and messages whose places are inside it, in order."""
    problems = Problems()
    document = grammar.parse(text, "x.conf", problems)
    offsets = [problem.span.offset for problem in problems]
    assert offsets == sorted(offsets)
    for problem in problems:
        assert 0 <= problem.span.offset <= len(text)
        assert document.position(problem.span.offset) == (problem.span.line, problem.span.column)
    assert render(problems, {"x.conf": SourceFile("x.conf", text)}).count("\n") >= len(problems)


@pytest.mark.parametrize("depth", [MAX_DEPTH, MAX_DEPTH + 1, 5000])
def test_depth_is_bounded(depth: int) -> None:
    """Scopes nest as deep as anybody needs, and no deeper: a damaged file must not exhaust the stack."""
    problems = Problems()
    grammar.parse("a {\n" * depth + "}\n" * depth, "x.conf", problems)
    assert [problem.code for problem in problems] == (["too-deep"] if depth > MAX_DEPTH else [])


def test_messages_are_bounded() -> None:
    """A file that is wrong on every line gives two hundred messages and says how many it left out."""
    problems = Problems()
    grammar.parse("a = = 1\n" * 1000, "x.conf", problems)
    assert len(problems) == 201
    last = problems.found[-1]
    assert (last.message, last.span.line) == ("800 more problems from here on", 201)


def test_unclosed_scopes_are_each_reported() -> None:
    """One message for each missing brace, up to ten."""
    for missing, reported in ((1, 1), (3, 3), (50, 10)):
        problems = Problems()
        grammar.parse("a {\n" * missing, "x.conf", problems)
        assert [problem.code for problem in problems] == ["unclosed-scope"] * reported
