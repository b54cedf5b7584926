"""The grammar of the configuration language (PLY, LALR(1)): text to nodes.

This file says what is right. A text that the grammar or the lexer doesn't take is read again by `recover`, which says
what is wrong, all of it, and makes the best of the rest.

Source: reference/config-language.md section 15.
"""

from __future__ import annotations

import copy
from typing import Any

from ply import yacc

from gsmtp.config import lexer as lexer_module
from gsmtp.config import remarks
from gsmtp.config.diagnostics import Problems
from gsmtp.config.lexer import CONTROL, Trouble, tokens
from gsmtp.config.nodes import ArrayNode, DictNode, Document, IncludeNode, Item, OptionNode, StanzaNode, Text

__all__ = ["parse", "tokens"]

start = "items"


def p_items(p: Any) -> None:
    """items : items item"""
    body = p[1]
    body.append(p[2])
    p[0] = body


def p_items_none(p: Any) -> None:
    """items :"""
    p[0] = []


def p_item(p: Any) -> None:
    """item : OPTION
    | stanza
    | option
    | include"""
    p[0] = p[1]


def p_stanza(p: Any) -> None:
    """stanza : OPEN items CLOSE"""
    node = p[1]
    node.items = p[2]
    node.end = p.lexpos(3) + 1
    p[0] = node


def p_stanza_in_parts(p: Any) -> None:
    """stanza : unnamed LBRACE items CLOSE
    | named LBRACE items CLOSE
    | named EQUALS LBRACE items CLOSE"""
    node = p[1]
    node.open = p.lexpos(len(p) - 3)
    node.items = p[len(p) - 2]
    node.end = p.lexpos(len(p) - 1) + 1
    p[0] = node


def p_stanza_equals(p: Any) -> None:
    """stanza : WORD EQUALS LBRACE items CLOSE"""
    p[0] = StanzaNode(_name(p[1]), None, p[4], p[1].start, p.lexpos(3), p.lexpos(5) + 1)


def p_unnamed(p: Any) -> None:
    """unnamed : WORD"""
    p[0] = StanzaNode(_name(p[1]), None, [], p[1].start)


def p_named(p: Any) -> None:
    """named : WORD text"""
    word, name = p[1], p[2]
    # A word on the next line may be a scope of its own, after a word that lacks its value.
    if not name.quoted and "\n" in p.lexer.document.text[word.end : name.start]:
        raise Trouble
    p[0] = StanzaNode(_name(word), name, [], word.start)


def p_named_by_regex(p: Any) -> None:
    """named : REGEX_HEAD"""
    p[0] = p[1]


def p_option(p: Any) -> None:
    """option : WORD EQUALS value"""
    p[0] = OptionNode(_name(p[1]), p[3], p[1].start)


def p_option_collection(p: Any) -> None:
    """option : WORD array
    | WORD dictionary"""
    p[0] = OptionNode(_name(p[1]), p[2], p[1].start)


def p_option_words(p: Any) -> None:
    """option : WORD text"""
    name, value = p[1], p[2]
    document: Document = p.lexer.document
    if not remarks.may_lack_equals(document, name, value):
        raise Trouble
    p[0] = node = OptionNode(_name(name), value, name.start)
    remarks.missing_equals(document, node, p.lexer.problems)


def p_include(p: Any) -> None:
    """include : INCLUDE text"""
    p[0] = IncludeNode(p[2], p[1].text.lower() != "include", p[1].start)


def p_value(p: Any) -> None:
    """value : WORD
    | STRING
    | array
    | dictionary"""
    p[0] = p[1]


def p_text(p: Any) -> None:
    """text : WORD
    | STRING"""
    p[0] = p[1]


def p_atom(p: Any) -> None:
    """atom : text
    | INCLUDE"""
    p[0] = p[1]


def p_array(p: Any) -> None:
    """array : LPAREN atoms RPAREN"""
    p[0] = ArrayNode(p[2], p.lexpos(1), p.lexpos(3) + 1)


def p_atoms(p: Any) -> None:
    """atoms : atoms atom"""
    body = p[1]
    body.extend(remarks.split_commas(p[2]))
    p[0] = body


def p_atoms_none(p: Any) -> None:
    """atoms :"""
    p[0] = []


def p_dictionary(p: Any) -> None:
    """dictionary : LBRACKET pairs RBRACKET"""
    p[0] = DictNode(p[2], p.lexpos(1), p.lexpos(3) + 1)


def p_pairs(p: Any) -> None:
    """pairs : pairs pair"""
    body = p[1]
    body.append(p[2])
    p[0] = body


def p_pairs_none(p: Any) -> None:
    """pairs :"""
    p[0] = []


def p_pair_line(p: Any) -> None:
    """pair : OPTION"""
    option: OptionNode = p[1]
    assert isinstance(option.value, Text)
    p[0] = (Text(option.name, False, option.start, option.start + len(option.name)), option.value)


def p_pair(p: Any) -> None:
    """pair : atom EQUALS atom
    | atom EQUALS array
    | atom array"""
    value = p[len(p) - 1]
    # A comma after a value is a mistake, not a part of it.
    if isinstance(value, Text) and not value.quoted and value.text.endswith(","):
        raise Trouble
    p[0] = (p[1], value)


def p_pair_words(p: Any) -> None:
    """pair : atom atom"""
    key, value = p[1], p[2]
    if "\n" in p.lexer.document.text[key.end : value.start] or (not value.quoted and value.text.endswith(",")):
        raise Trouble
    p[0] = (key, value)


def p_error(p: Any) -> None:
    """Leave it to `recover`."""
    raise Trouble


def _name(word: Text) -> str:
    if word.text.endswith(":"):
        raise Trouble
    return word.text


class _Tools:
    """The lexer and the parser, made when the first text is read: a process that reads none doesn't pay for them."""

    lexer: Any = None
    parser: Any = None

    @classmethod
    def get(cls) -> tuple[Any, Any]:
        """Both, fresh for one text."""
        if cls.parser is None:
            cls.lexer = lexer_module.build()
            cls.parser = yacc.yacc(write_tables=False, debug=False)
        lexer = cls.lexer.clone()
        lexer.comments, lexer.depth = [], 0
        # A parser keeps its state in itself, and texts may be read in several native threads.
        return lexer, copy.copy(cls.parser)


def parse(text: str, name: str, problems: Problems) -> Document:
    """Parse conf text into nodes; never raises.

    Args:
        text: the content, without a BOM.
        name: the path for messages.
        problems: gets all that is wrong in this text, in order of place.

    Returns:
        The document; with errors in `problems` it holds what could be understood.
    """
    own = Problems()
    try:
        document = parse_strict(text, name, own)
    except Trouble:
        # Most texts are right, and starting fast matters: what finds mistakes is loaded when there are some.
        from gsmtp.config import recover

        own = Problems()
        document = recover.parse(text, name, own)
    problems.found.extend(own.found)
    return document


def parse_strict(text: str, name: str, problems: Problems) -> Document:
    """Parse conf text by the grammar alone.

    Args:
        text: the content.
        name: the path for messages.
        problems: gets warnings.

    Raises:
        Trouble: the grammar doesn't take the text; `recover` knows why.
    """
    if CONTROL.search(text):
        raise Trouble
    document = Document(name, text)
    lexer, parser = _Tools.get()
    lexer.document, lexer.problems = document, problems
    items: list[Item] = parser.parse(text, lexer=lexer)
    document.items, document.comments = items, lexer.comments
    return document
