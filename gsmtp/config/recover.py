"""What is wrong between the tokens of a text that the grammar didn't take, and what was probably meant.

A hand-written reading that never gives up: each mistake is reported once, with its place and what to do, and reading
goes on with the next statement, so one run finds them all. A text in which it finds nothing wrong is right: `grammar`
leaves rare but legal spellings to it.

Values are read by `recover_values`; which scope is not closed is `braces`' question.
"""

from __future__ import annotations

from gsmtp.config import braces, remarks
from gsmtp.config.diagnostics import Problems, Severity
from gsmtp.config.lexer import MAX_DEPTH
from gsmtp.config.nodes import Document, IncludeNode, Item, OptionNode, StanzaNode, Text
from gsmtp.config.recover_values import Values
from gsmtp.config.remarks import quote
from gsmtp.config.scan import Scanner, Token

# More messages than anybody reads at once; what follows is often the same mistake again.
_MOST_REPORTED = 200
INCLUDES = ("include", "readonly_include")


def parse(text: str, name: str, problems: Problems) -> Document:
    """Read a text forgivingly.

    Args:
        text: the content.
        name: the path for messages.
        problems: gets what is wrong, in order of place; nothing when the text is right after all.
    """
    found = Problems()
    document = _read(text, name, found, cut_strings=False)
    if found.has_errors:
        # A forgotten quote turns all later strings inside out. See whether ending suspicious strings explains more.
        again = Problems()
        other = _read(text, name, again, cut_strings=True)
        if any(problem.code == "unclosed-string" for problem in again):
            document, found = other, again
    found.found.sort(key=lambda problem: problem.span.offset)
    problems.found.extend(found.found[:_MOST_REPORTED])
    if len(found) > _MOST_REPORTED:
        rest = found.found[_MOST_REPORTED:]
        say = problems.error if any(one.severity is Severity.ERROR for one in rest) else problems.warning
        say(rest[0].span, f"{len(rest)} more problems from here on", code="too-many")
    return document


def _read(text: str, name: str, problems: Problems, *, cut_strings: bool) -> Document:
    document = Document(name, text)
    tokens = Scanner(document, problems, cut_strings).scan()
    _Reader(document, problems, tokens).read()
    return document


class _Reader(Values):
    """Walks the tokens of one document and fills its items."""

    def __init__(self, document: Document, problems: Problems, tokens: list[Token]) -> None:
        super().__init__(document, problems, tokens)
        self.braces = braces.Braces(document, problems)
        self.bodies: list[list[Item]] = [document.items]

    def read(self) -> None:
        """Read all statements, then report the scopes that are left open."""
        while True:
            token = self._peek()
            if token.kind == "end":
                break
            if token.kind == "word":
                self._statement(token)
            elif token.kind == "string":
                self._string_statement(token)
            elif token.kind == "}":
                self._close(token)
            else:
                self._stray(token)
        self.braces.finish(self._peek().start)

    def _add(self, item: Item) -> None:
        self.bodies[-1].append(item)

    def _enter(self, name: Token, instance: Text | None, brace: Token) -> None:
        node = StanzaNode(name.text, instance, [], name.start, brace.start)
        if len(self.bodies) <= MAX_DEPTH:
            self._add(node)
        self._push(node)
        self.at = self.tokens.index(brace, self.at) + 1

    def _push(self, node: StanzaNode) -> None:
        self.bodies.append(node.items)
        self.braces.open(node)
        if len(self.bodies) == MAX_DEPTH + 2:
            self.problems.error(
                self.document.span(node.start, node.open + 1),
                f"scopes nest deeper than {MAX_DEPTH}",
                "the deepest that the documentation shows is 4; is a '}' missing?",
                "too-deep",
            )

    def _close(self, token: Token) -> None:
        self.at += 1
        if len(self.bodies) == 1:
            self.braces.stray(token.start)
            return
        self.bodies.pop()
        self.braces.close(token.start)

    # Statements

    def _statement(self, name: Token) -> None:
        following = self._peek(1)
        if name.text.lower() in INCLUDES:
            self._include(name)
            return
        name = self._clean_name(name)
        if following.kind == "=":
            self._after_equals(name, following)
        elif following.kind == "{":
            self._enter(name, None, following)
        elif following.kind == "[":
            self._after_bracket(name, following)
        elif following.kind == "(":
            self.at += 1
            self._add(OptionNode(name.text, self._array(name.text), name.start))
            self._end_of_value(name)
        elif following.is_text:
            self._after_text(name, following)
        else:
            self._bare(name)

    def _clean_name(self, name: Token) -> Token:
        if name.text.startswith("**") and len(name.text) > 2:
            self._unbold(name)
        if name.text.endswith(":") and len(name.text) > 1 and self._peek(1).kind != "=":
            bare = name.text.rstrip(":")
            self._error(
                Text(":", start=name.end - 1, end=name.end),
                f"':' after '{bare}'",
                f"write '{bare} = …'; this is YAML's spelling, which is for files named .yaml",
                "colon",
            )
            return Token("word", bare, name.start, name.end - 1, name.line, name.first)
        return name

    def _unbold(self, name: Token) -> None:
        """Take away the marks of bold print that a copy from the manual carries: ``**Listen_Backlog = 500**``."""
        self.problems.warning(
            self.document.span(name.start, name.start + 2),
            "'**' is the manual's mark for bold print",
            "remove it, here and after the value",
            "bold-mark",
        )
        name.text, name.start = name.text[2:], name.start + 2
        for token in self.tokens[self.at :]:
            if token.line != name.line:
                break
            if token.kind == "word" and token.text == "**":
                self.tokens.remove(token)
                break
            if token.kind == "word" and token.text.endswith("**"):
                token.text, token.end = token.text[:-2], token.end - 2
                break

    def _include(self, keyword: Token) -> None:
        self.at += 1
        path = self._peek()
        if path.kind == "=":
            self._error(path, f"'{keyword.text}' takes no '='", f'write {keyword.text} "path"', "include-equals")
            self.at += 1
            path = self._peek()
        if not path.is_text or (path.first and self._begins_statement(0)):
            self._error(keyword, f"'{keyword.text}' without a path", f'write {keyword.text} "path"', "missing-value")
            if path.kind in "([":
                self._skip_collection()
            elif path.kind == "{":
                self._error(path, f"'{keyword.text}' takes no braces", f'write {keyword.text} "path"', "stray-brace")
                self._skip_braces()
            return
        self.at += 1
        self._add(IncludeNode(path.node(), keyword.text.lower() != "include", keyword.start))
        if self._peek().kind == "{":
            self._error(
                self._peek(), f"'{keyword.text}' takes no braces", f'write {keyword.text} "path"', "stray-brace"
            )
            self._skip_braces()

    def _after_equals(self, name: Token, equals: Token) -> None:
        self.at += 2
        value = self._peek()
        while value.kind == "=":
            self._error(value, "stray '='", "remove it: one '=' stands between name and value", "stray-equals")
            self.at += 1
            value = self._peek()
        if value.kind == "{":
            self._enter(name, None, value)
        elif value.kind == "(":
            self._add(OptionNode(name.text, self._array(name.text), name.start))
            self._end_of_value(name)
        elif value.kind == "[":
            if self._is_bracket_endpoint(value):
                return
            self._add(OptionNode(name.text, self._dictionary(name.text), name.start))
            self._end_of_value(name)
        elif not value.is_text or (value.first and self._begins_statement(0)):
            self._error(
                equals, f"option '{name.text}' has no value", f"write '{name.text} = VALUE'; \"\" is the empty value",
                "missing-value",
            )  # fmt: skip
        elif self._opens_stanza(1) and not self._peek(1).first:
            what = f"{name.text} {quote(value.text)}"
            self._error(equals, "stray '=' before the name of a scope", f"write {what} {{", "stray-equals")
            self._enter(name, value.node(), self._peek(1 if self._peek(1).kind == "{" else 2))
        else:
            self.at += 1
            self._add(OptionNode(name.text, value.node(), name.start))
            self._end_of_value(name, value)

    def _after_bracket(self, name: Token, bracket: Token) -> None:
        self.at += 1
        if self._is_bracket_endpoint(bracket):
            token = self._peek()
            end = self.tokens[self.at - 1].end
            if self._opens_stanza(0):
                address = Text(self.document.text[bracket.start : end], True, bracket.start, end)
                self._enter(name, address, token if token.kind == "{" else self._peek(1))
            return
        self._add(OptionNode(name.text, self._dictionary(name.text), name.start))
        self._end_of_value(name)

    def _after_text(self, name: Token, text: Token) -> None:
        if self._opens_stanza(2) and not (text.first and text.kind == "word" and remarks.is_scope_only(text.text)):
            self._enter(name, text.node(), self._peek(2 if self._peek(2).kind == "{" else 3))
        elif text.first or text.line != name.line:
            self._bare(name)
        elif self._peek(2).kind == "=":
            self._two_word_name(name, text)
        elif self._peek(2).is_text and self._peek(2).line == text.line and self._opens_stanza(3):
            self._two_names(name, text, self._peek(2))
        elif remarks.is_scope_only(name.text):
            self.at += 2
            self._error(
                name,
                f"scope '{name.text}' without its braces",
                f"write {name.text} {quote(text.text)} {{ }}",
                "missing-braces",
            )
        elif remarks.may_lack_equals(self.document, name.node(), text.node()):
            self.at += 2
            option = OptionNode(name.text, text.node(), name.start)
            self._add(option)
            if self.document.text[name.end : name.end + 1] != ":":
                remarks.missing_equals(self.document, option, self.problems)
        else:
            self._words(name)

    def _two_word_name(self, name: Token, text: Token) -> None:
        joined = f"{name.text}_{text.text}"
        hint = (
            f"did you mean '{joined}'? a name is one word"
            if remarks.is_known(joined)
            else f"write '{name.text} = …', or join the words by '_' if they are one name"
        )
        self._error(name, f"'{name.text}' has no value before '{text.text}' begins", hint, "missing-value")
        self.at += 1

    def _two_names(self, name: Token, first: Token, second: Token) -> None:
        if second.text.isdigit() and name.text.lower() == "listen":
            self._error(
                second,
                "a number between endpoint and '{' is not accepted any more",
                f"write Listen {quote(first.text)} {{ Listen_Backlog = {second.text} … }}",
                "listen-backlog",
            )
        else:
            self._error(
                second,
                f"a second name for scope '{name.text}'",
                f"a scope has one name; with a space in it it needs quotes: {quote(first.text + ' ' + second.text)}",
                "two-names",
            )
        self._enter(name, first.node(), self._peek(3 if self._peek(3).kind == "{" else 4))

    def _bare(self, name: Token) -> None:
        """A word that nothing follows."""
        self.at += 1
        message, hint = remarks.explain_bare_word(name.text)
        self._error(name, message, hint, "bare-word")

    def _words(self, name: Token) -> None:
        """Several words in a row that make no statement: one report, and on to the next line or scope."""
        end = name.end
        while self._peek().is_text and self._peek().line == name.line:
            end = self._peek().end
            self.at += 1
        words = self.document.text[name.start : end]
        self.problems.error(
            self.document.span(name.start, end),
            "words that are no statement",
            f"write '{name.text} = {quote(words[len(name.text) :].strip())}', or '#' before a comment",
            "stray-words",
        )

    def _end_of_value(self, name: Token, value: Token | None = None) -> None:
        """After a value: whatever stands on the same line must begin a statement or end a scope."""
        last = self.tokens[self.at - 1]
        token = self._peek()
        if not token.is_text or token.line != last.line or token.first:
            return
        if self._begins_statement(0) or (token.kind == "word" and token.text.lower() in INCLUDES):
            return
        end = token.end
        while self._peek().is_text and self._peek().line == last.line and not self._begins_statement(0):
            end = self._peek().end
            self.at += 1
        whole = self.document.text[token.start : end]
        if value is not None and value.kind == "string" and token.kind == "string":
            hint = f"several values need parentheses: {name.text} = ( {quote(value.text)} {whole} )"
        elif value is not None:
            hint = f"a value with spaces needs quotes: {name.text} = {quote(value.text + ' ' + whole)}"
        else:
            hint = "remove it, or write '#' before a comment"
        self.problems.error(
            self.document.span(token.start, end), f"unexpected {_show(whole)} after the value of '{name.text}'", hint,
            "stray-words",
        )  # fmt: skip

    def _string_statement(self, token: Token) -> None:
        """A statement that begins with a string: a quoted name, or a value that belongs to nothing."""
        following = self._peek(1)
        names_scope = self._opens_stanza(1) or (following.is_text and self._opens_stanza(2))
        if following.kind in "=[(" or names_scope:
            what = "scope" if names_scope else "option"
            self._error(token, f"quoted {what} name", f"write {token.text} without quotes", "quoted-name")
            token.kind = "word"
            self._statement(token)
            return
        self._error(
            token,
            "a string that belongs to no option",
            'write \'NAME = \' before it; several values of one option stand in parentheses: ( "a" "b" )',
            "stray-string",
        )
        self.at += 1
        while self._peek().kind == "string" and self._peek().line == token.line:
            self.at += 1

    def _stray(self, token: Token) -> None:
        if token.kind == "=":
            self._stray_equals(token)
        elif token.kind == "{":
            self._error(token, "'{' without a scope name", 'write the name before it: Listen ":25" {', "stray-brace")
            self.at += 1
            self._push(StanzaNode("", None, [], token.start, token.start))
        elif token.kind in ")]":
            opener = "(" if token.kind == ")" else "["
            self._error(
                token, f"'{token.kind}' closes nothing", f"remove it, or add the '{opener}' that it belongs to",
                "stray-bracket",
            )  # fmt: skip
            self.at += 1
        elif not self._is_bracket_endpoint(token):
            what = "an array" if token.kind == "(" else "a dictionary"
            self._error(token, f"{what} that belongs to no option", "write 'NAME = ' before it", "stray-bracket")
            self._skip_collection()

    def _stray_equals(self, token: Token) -> None:
        last = self.tokens[self.at - 1] if self.at else None
        hint = "write the option's name before it"
        if last is not None and last.line == token.line and last.is_text:
            hint = "remove it; a value that holds '=' needs quotes"
        self._error(token, "stray '='", hint, "stray-equals")
        self.at += 1
        if self._peek().is_text and self._peek().line == token.line and not self._begins_statement(0):
            self.at += 1


def _show(text: str) -> str:
    return text if text.startswith('"') else f"'{text}'"
