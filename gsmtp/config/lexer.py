"""Tokens of the configuration language (PLY).

Which characters make a word, a string, a comment. Most of a real file is lines ``name = value`` and ``word "name" {``:
each of these is read as one token, by one match of the master expression, which is what makes large files fast. All
other spellings go through the plain tokens. Nothing is reported here: what the language doesn't have raises `Trouble`,
and `recover` then reads the text again, slowly, to say what is wrong.

Source: reference/config-language.md sections 2 to 4.
"""

from __future__ import annotations

import re
from typing import Any

from ply import lex

from gsmtp.config.nodes import Comment, OptionNode, StanzaNode, Text

# White space of the language; Python's \s would take no-break spaces and line separators too.
SPACE = r" \t\r\n\f\v"
# A word: reference section 3; it ends before a comment.
WORD = r"(?:[^" + SPACE + r"#\"'={}\[\]()/]|/(?!\*))+"
STRING = r'"[^"\\]*(?:\\[\s\S][^"\\]*)*"'
RAW_STRING = r"'[^'\n]*'"
# A regular expression as a stanza's name may hold brackets and parentheses: section 12.3.
REGEX_NAME = r"/[^\n{ \t][^\n]*?/(?=[" + SPACE + r"]*(?:=[" + SPACE + r"]*)?\{)"
CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")
# Characters that are no word characters to a person: typographic quotes, and spaces that don't look like characters.
TYPOGRAPHIC_QUOTES = "\u201c\u201d\u201e\u201f"
INVISIBLE = "\u0085\u00a0\u00ad\u200b\u200c\u200d\u2028\u2029\u202f\u2060\u3000\ufeff"
DAMAGE = re.compile(f"[{TYPOGRAPHIC_QUOTES}{INVISIBLE}]")

# The language sets no limit to nesting, the documentation nests 4 deep; beyond this it is damage or an attack.
MAX_DEPTH = 100

_NAME = r"[A-Za-z_][A-Za-z0-9_\-]*"
_PLAIN_STRING = r'[^"\\\x00-\x08\x0a-\x1f\x7f]*'
_PLAIN_WORD = r"[A-Za-z0-9_.:*+@%<>|?$!~^&\-]+"

# include takes no "=" and no "{": it must not be read as an option or a stanza.
_NO_INCLUDE = r"(?!(?i:readonly_)?(?i:include)[ \t=\r\n{])"
_ODD_STARTS = ("//", "**")

_ESCAPE = re.compile(r'\\(\\|"|r|n|t|\r?\n)')
_ESCAPES = {"\\": "\\", '"': '"', "r": "\r", "n": "\n", "t": "\t", "\n": "", "\r\n": ""}


class Trouble(Exception):
    """The text is not in the language as the grammar has it."""


def unescape(raw: str) -> str:
    """The content of a ``"…"`` string from what stands between its quotes.

    Source: reference/config-language.md section 4.2.
    """
    if "\n" in raw:
        raw = raw.replace("\r\n", "\n")
    if "\\" in raw:
        return _ESCAPE.sub(lambda match: _ESCAPES[match[1]], raw)
    return raw


def follows_word(text: str, at: int) -> bool:
    """Whether a word ends right before `at`: a single quote there is an apostrophe, not the beginning of a string."""
    return at > 0 and text[at - 1] not in " \t\r\n\f\v#=\"'{}[]()" and text[at - 2 : at] != "*/"


tokens = (
    "OPTION",
    "OPEN",
    "CLOSE",
    "INCLUDE",
    "REGEX_HEAD",
    "WORD",
    "STRING",
    "LBRACE",
    "LBRACKET",
    "RBRACKET",
    "LPAREN",
    "RPAREN",
    "EQUALS",
)

t_ignore = " \t\r\n\f\v"


@lex.TOKEN(  # type: ignore[untyped-decorator]
    rf'{_NO_INCLUDE}({_NAME})[ \t]*=[ \t]*(?:"({_PLAIN_STRING})"|({_PLAIN_WORD}))'
    r"(?=[ \t\r]*(?:[\n#}\]]|\Z))[ \t\r\n]*"
)
def t_OPTION(t: Any) -> Any:
    match = t.lexer.lexmatch
    base = t.lexer.groups["t_OPTION"]
    text = match[base + 2]
    if text is None:
        value = Text(match[base + 3], False, *match.span(base + 3))
    else:
        start, end = match.span(base + 2)
        value = Text(text, True, start - 1, end + 1)
    t.value = OptionNode(match[base + 1], value, t.lexpos)
    return t


@lex.TOKEN(  # type: ignore[untyped-decorator]
    rf'{_NO_INCLUDE}({_NAME})(?:[ \t]+(?:"({_PLAIN_STRING})"|({_PLAIN_WORD})))?'
    r"[ \t\r\n]*(?:=[ \t\r\n]*)?(\{)[ \t\r\n]*"
)
def t_OPEN(t: Any) -> Any:
    match = t.lexer.lexmatch
    base = t.lexer.groups["t_OPEN"]
    name: Text | None = None
    if match[base + 2] is not None:
        start, end = match.span(base + 2)
        name = Text(match[base + 2], True, start - 1, end + 1)
    elif match[base + 3] is not None:
        name = Text(match[base + 3], False, *match.span(base + 3))
    t.value = StanzaNode(match[base + 1], name, [], t.lexpos, match.start(base + 4))
    _deeper(t.lexer)
    return t


@lex.TOKEN(r"\}[ \t\r\n]*")  # type: ignore[untyped-decorator]
def t_CLOSE(t: Any) -> Any:
    t.lexer.depth -= 1
    return t


@lex.TOKEN(r"\#[^\n]*")  # type: ignore[untyped-decorator]
def t_COMMENT(t: Any) -> None:
    t.lexer.comments.append(Comment(t.value.rstrip("\r"), t.lexpos))


@lex.TOKEN(r"/\*[\s\S]*?\*/")  # type: ignore[untyped-decorator]
def t_BLOCK_COMMENT(t: Any) -> None:
    if "/*" in t.value[2:]:
        raise Trouble
    t.lexer.comments.append(Comment(t.value, t.lexpos))


@lex.TOKEN(STRING)  # type: ignore[untyped-decorator]
def t_STRING(t: Any) -> Any:
    t.value = Text(unescape(t.value[1:-1]), True, t.lexpos, t.lexer.lexpos)
    return t


@lex.TOKEN(RAW_STRING)  # type: ignore[untyped-decorator]
def t_RAW_STRING(t: Any) -> Any:
    if follows_word(t.lexer.lexdata, t.lexpos):
        raise Trouble
    t.type = "STRING"
    t.value = Text(t.value[1:-1], True, t.lexpos, t.lexer.lexpos)
    return t


@lex.TOKEN(rf"(?i:domain|host)([ \t]+)({REGEX_NAME})")  # type: ignore[untyped-decorator]
def t_REGEX_HEAD(t: Any) -> Any:
    match = t.lexer.lexmatch
    base = t.lexer.groups["t_REGEX_HEAD"]
    name = Text(match[base + 2], False, *match.span(base + 2))
    t.value = StanzaNode(t.value[: match.start(base + 1) - t.lexpos], name, [], t.lexpos)
    return t


@lex.TOKEN(WORD)  # type: ignore[untyped-decorator]
def t_WORD(t: Any) -> Any:
    word = t.value
    if word.lower() in ("include", "readonly_include"):
        t.type = "INCLUDE"
    elif word[-1] == ";" or word[0] == ";" or word[:2] in _ODD_STARTS or (not word.isascii() and DAMAGE.search(word)):
        raise Trouble
    t.value = Text(word, False, t.lexpos, t.lexer.lexpos)
    return t


@lex.TOKEN(r"\{")  # type: ignore[untyped-decorator]
def t_LBRACE(t: Any) -> Any:
    _deeper(t.lexer)
    return t


t_LBRACKET = r"\["
t_RBRACKET = r"\]"
t_LPAREN = r"\("
t_RPAREN = r"\)"
t_EQUALS = "="


def _deeper(lexer: Any) -> None:
    lexer.depth += 1
    if lexer.depth > MAX_DEPTH:
        raise Trouble


def t_error(t: Any) -> None:
    """A lone quote."""
    raise Trouble


def build() -> Any:
    """A lexer of these rules. `input()` gives it text; `comments` collects the comments it passes."""
    lexer = lex.lex(reflags=0, optimize=True, lextab=False)  # takes the rules as they are; tests look at them
    groups = lexer.lexstatere["INITIAL"][0][0].groupindex
    lexer.groups = {name: groups[name] for name in ("t_OPTION", "t_OPEN", "t_REGEX_HEAD")}
    lexer.comments, lexer.depth = [], 0
    return lexer
