"""Nodes as conf text.

Statements keep their order, their comments, blank lines between them and includes; spelling becomes uniform: two spaces
a level, one statement a line, ``=`` after names, quotes where reference/config-language.md section 3.1 asks for them.
What the language can't say (a control character, a name with a space, which a YAML file may hold) is an error, never
left out in silence. `yaml_printer` does the same for YAML.
"""

from __future__ import annotations

import re

from gsmtp.config.diagnostics import Problems
from gsmtp.config.lexer import CONTROL, DAMAGE, WORD
from gsmtp.config.nodes import (
    ArrayNode,
    Comment,
    Document,
    IncludeNode,
    Item,
    OptionNode,
    StanzaNode,
    Text,
    ValueNode,
)
from gsmtp.config.remarks import quote
from gsmtp.config.trivia import Lines, Notes, Trivia

_INDENT = "  "
_WIDTH = 110
# Words that need no quotes in any place; more would be legal, but not as plain to see.
_BARE = re.compile(r"[A-Za-z0-9_.:*+@%<>|?$!~^&-]+")
_NAME = re.compile(WORD)
_KEYWORDS = ("include", "readonly_include")


def to_conf(document: Document, problems: Problems) -> str:
    """The document as conf text that reads back as the same statements.

    Args:
        document: from either reader, or made by a program.
        problems: gets an error for everything that conf can't express; the text is then not the whole document.
    """
    return _Printer(document, problems).document_text()


def conf_lines(items: list[Item], indent: str, problems: Problems) -> list[str]:
    """Statements that a program made as lines without their ends, each indented; a string may span several lines.

    Args:
        items: the statements.
        indent: what stands before each.
        problems: as for `to_conf`.
    """
    printer = _Printer(Document("", "", items), problems)
    printer.print_body(items, indent)
    return printer.lines


def conf_value(value: ValueNode, problems: Problems, *, in_list: bool = False) -> str:
    """A value as it stands behind ``=``, on one line unless a string spans several; `in_list`: as an item of a list."""
    printer = _Printer(Document("", ""), problems)
    return printer.scalar(value, in_list=in_list) if isinstance(value, Text) else printer.inline(value)


def is_bare(text: str, *, in_list: bool = False) -> bool:
    """Whether a scalar needs no quotes; in an array or a dictionary (`in_list`) a little less is plain."""
    # A word that begins with "**" is taken for a mark of bold print at the start of a statement only.
    return _BARE.fullmatch(text) is not None and text.lower() not in _KEYWORDS and not (in_list and "**" in text)


def is_option_name(name: str) -> bool:
    """Whether the text can stand as the name of an option or a scope."""
    return (
        _NAME.fullmatch(name) is not None
        and CONTROL.search(name) is None
        and DAMAGE.search(name) is None
        and not name.endswith((":", ";"))
        and not name.startswith(("**", ";", "//"))
    )


class _Printer:
    def __init__(self, document: Document, problems: Problems) -> None:
        self.document = document
        self.problems = problems
        self.trivia = Trivia(document)
        self.lines: list[str] = []

    def document_text(self) -> str:
        self.print_body(self.document.items, "")
        self._comments(self.trivia.closing, "")
        return "\n".join(self.lines) + "\n" if self.lines else ""

    # Lines

    def _blank(self) -> None:
        if self.lines and self.lines[-1] and not self.lines[-1].endswith("{"):
            self.lines.append("")

    def _comments(self, comments: Lines, indent: str) -> None:
        for blank, comment in comments:
            if blank:
                self._blank()
            self.lines += [(indent + line).rstrip() for line in self._comment_lines(comment)]

    def _comment_lines(self, comment: Comment) -> list[str]:
        """A comment line by line; the lines of a block keep their alignment to its first."""
        first, *rest = comment.text.replace("\r\n", "\n").split("\n")
        margin = comment.start - self.document.line_start(comment.start)
        return [first, *(line[min(margin, len(line) - len(line.lstrip())) :] for line in rest)]

    def _line(self, text: str, behind: Comment | None) -> None:
        self.lines.append(text if behind is None else f"{text}  {behind.text}")

    # Statements

    def print_body(self, items: list[Item], indent: str) -> None:
        for item in items:
            notes = self.trivia.of(item)
            self._comments(notes.before, indent)
            if notes.blank:
                self._blank()
            if isinstance(item, StanzaNode):
                self._stanza(item, notes, indent)
            elif isinstance(item, IncludeNode):
                self._line(f"{indent}{item.word} {self._quoted(item.path)}", notes.after)
            else:
                self._option(item, notes, indent)

    def _stanza(self, node: StanzaNode, notes: Notes, indent: str) -> None:
        self._check_name(node.word, node.start, "scope")
        head = node.word if node.name is None else f"{node.word} {self._quoted(node.name)}"
        line = self._one_line(node, notes)
        if line is not None and len(indent) + len(head) + len(line) <= _WIDTH:
            self._line(f"{indent}{head} {line}", notes.after)
            return
        self._line(f"{indent}{head} {{", notes.opening)
        self.print_body(node.items, indent + _INDENT)
        self._comments(notes.closing, indent + _INDENT)
        self._line(f"{indent}}}", notes.after)

    def _one_line(self, node: StanzaNode, notes: Notes) -> str | None:
        """``{ … }`` for an empty scope, and for one that was written on one line."""
        if notes.any_inside:
            return None
        if not node.items:
            return "{ }"
        if node.start < 0 or node.open < 0 or "\n" in self.document.text[node.start : node.end]:
            return None
        parts = []
        for item in node.items:
            of_item = self.trivia.of(item)
            if not isinstance(item, OptionNode) or of_item.before or of_item.after:
                return None
            parts.append(f"{self._option_name(item)} = {self.inline(item.value)}")
        text = "  ".join(parts)
        return None if "\n" in text else f"{{ {text} }}"

    def _option(self, node: OptionNode, notes: Notes, indent: str) -> None:
        head = f"{indent}{self._option_name(node)} ="
        value = node.value
        if isinstance(value, Text):
            self._line(f"{head} {self.scalar(value)}", notes.after)
            return
        inline = self.inline(value)
        many = bool(value.items if isinstance(value, ArrayNode) else value.pairs)
        spread = many and value.start >= 0 and "\n" in self.document.text[value.start : value.end]
        if not self.trivia.inside(value) and not spread and len(head) + len(inline) <= _WIDTH:
            self._line(f"{head} {inline}", notes.after)
            return
        opener, closer = "()" if isinstance(value, ArrayNode) else "[]"
        own = self.trivia.of(value)
        self._line(f"{head} {opener}", own.opening)
        inner = indent + _INDENT
        if isinstance(value, ArrayNode):
            entries = [(item, self.scalar(item, in_list=True)) for item in value.items]
        else:
            entries = [(key, self._pair(key, one)) for key, one in value.pairs]
        for node_of, text in entries:
            about = self.trivia.of(node_of)
            self._comments(about.before, inner)
            self._line(inner + text, about.after)
        self._comments(own.closing, inner)
        self._line(indent + closer, notes.after)

    def _option_name(self, node: OptionNode) -> str:
        self._check_name(node.name, node.start, "option")
        return node.name

    def _check_name(self, name: str, start: int, what: str) -> None:
        if not is_option_name(name) or (what == "option" and name.lower() in _KEYWORDS):
            self.problems.error(
                self.document.span(start, start + len(name)),
                f"'{name}' can't be the name of {'an option' if what == 'option' else 'a scope'} in conf",
                "a name is one word without white space, quotes, brackets, '=' and '#'",
                "inexpressible",
            )

    # Values

    def inline(self, value: ValueNode) -> str:
        if isinstance(value, Text):
            return self.scalar(value)
        if isinstance(value, ArrayNode):
            parts = [self.scalar(item, in_list=True) for item in value.items]
            return f"( {' '.join(parts)} )" if parts else "( )"
        parts = [self._pair(key, one) for key, one in value.pairs]
        return f"[ {'  '.join(parts)} ]" if parts else "[ ]"

    def _pair(self, key: Text, value: Text | ArrayNode) -> str:
        return f"{self.scalar(key, in_list=True)} = {self.inline(value)}"

    def scalar(self, node: Text, *, in_list: bool = False) -> str:
        return node.text if not node.quoted and is_bare(node.text, in_list=in_list) else self._quoted(node)

    def _quoted(self, node: Text) -> str:
        if CONTROL.search(node.text):
            self.problems.error(
                self.document.span(node.start, node.end),
                "a control character can't be written in conf",
                "of the control characters only CR, LF and TAB have an escape",
                "inexpressible",
            )
        return quote(node.text)
