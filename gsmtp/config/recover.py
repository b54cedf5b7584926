"""What is wrong between the tokens of a text that the grammar didn't take, and what was probably meant.

A hand-written reading that never gives up: each mistake is reported once, with its place and what to do, and reading
goes on with the next statement, so one run finds them all. A text in which it finds nothing wrong is right: `grammar`
leaves rare but legal spellings to it.

Order of the file: statements first, then collections, then scopes that don't close.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from gsmtp.config import braces, remarks
from gsmtp.config.diagnostics import Problems, Span
from gsmtp.config.lexer import MAX_DEPTH
from gsmtp.config.nodes import ArrayNode, DictNode, Document, IncludeNode, Item, OptionNode, StanzaNode, Text
from gsmtp.config.remarks import quote
from gsmtp.config.scan import Scanner, Token

INCLUDES = ("include", "readonly_include")
_BRACKET_ENDPOINT = re.compile(r"\[[0-9A-Fa-f:.*%\w]*\](?::[0-9]+)?(?=[\s{=]|\Z)")


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
    problems.found.extend(found.found)
    return document


def _read(text: str, name: str, problems: Problems, *, cut_strings: bool) -> Document:
    document = Document(name, text)
    tokens = Scanner(document, problems, cut_strings).scan()
    _Reader(document, problems, tokens).read()
    return document


class _Reader:
    """Walks the tokens of one document and fills its items."""

    def __init__(self, document: Document, problems: Problems, tokens: list[Token]) -> None:
        self.document = document
        self.problems = problems
        self.tokens = tokens
        self.at = 0
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

    # Helpers

    def _peek(self, ahead: int = 0) -> Token:
        return self.tokens[min(self.at + ahead, len(self.tokens) - 1)]

    def _error(
        self, token: Token | Text, message: str, hint: str, code: str, related: Iterable[tuple[str, Span]] = ()
    ) -> None:
        self.problems.error(self.document.span(token.start, token.end), message, hint, code, related)

    def _add(self, item: Item) -> None:
        self.bodies[-1].append(item)

    def _opens_stanza(self, ahead: int) -> bool:
        """Whether the token `ahead` is ``{``, or ``=`` with ``{`` after it."""
        token = self._peek(ahead)
        return token.kind == "{" or (token.kind == "=" and self._peek(ahead + 1).kind == "{")

    def _begins_statement(self, ahead: int) -> bool:
        """Whether the word `ahead` is followed by what makes it a name: ``=``, a collection or a stanza's brace."""
        token = self._peek(ahead)
        if token.kind != "word":
            return False
        following = self._peek(ahead + 1)
        if following.kind in "={[(":
            return True
        return following.is_text and self._opens_stanza(ahead + 2)

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

    def _is_bracket_endpoint(self, bracket: Token) -> bool:
        """Whether an unquoted ``[::1]:25`` stands here; if so it was reported and passed."""
        match = _BRACKET_ENDPOINT.match(self.document.text, bracket.start)
        if match is None or ":" not in match[0] or "\n" in match[0]:
            return False
        self._report_bracket_address(match[0], bracket.start)
        while self._peek().kind != "end" and self._peek().start < match.end():
            self.at += 1
        return True

    def _report_bracket_address(self, written: str, start: int) -> None:
        self.problems.error(
            self.document.span(start, start + len(written)),
            f"'{written}' needs quotes because of its brackets",
            f'write "{written}"',
            "unquoted-brackets",
        )

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

    # Collections

    def _skip_collection(self) -> None:
        """Pass what stands between ``(`` or ``[`` here and its end, or up to the end of the line."""
        depth = 0
        line = self._peek().line
        while self._peek().kind not in ("end", "{", "}"):
            token = self._peek()
            if token.line != line and self._begins_statement(0) and self._peek(1).kind != "(":
                return
            depth += {"(": 1, "[": 1, ")": -1, "]": -1}.get(token.kind, 0)
            self.at += 1
            if depth == 0:
                return

    def _skip_braces(self) -> None:
        """Pass ``{ … }`` here, as far as it is balanced."""
        depth = 0
        while self._peek().kind != "end":
            depth += {"{": 1, "}": -1}.get(self._peek().kind, 0)
            self.at += 1
            if depth == 0:
                return

    def _unclosed(self, opener: Token, name: str, what: str, closer: str) -> None:
        self._error(
            opener,
            f"{what} of '{name}' is not closed",
            f"add '{closer}' after its last item",
            f"unclosed-{what}",
        )

    def _back_to_line_start(self, opener: Token) -> bool:
        """Go back to the first token of the last token's line, if that is a later line than the opener's."""
        at = self.at - 1
        while at > 0 and not self.tokens[at].first:
            at -= 1
        if self.tokens[at].start <= opener.start:
            return False
        self.at = at
        return True

    def _array(self, name: str) -> ArrayNode:
        opener = self._peek()
        self.at += 1
        items: list[Text] = []
        node = ArrayNode(items, opener.start, opener.end)
        while True:
            token = self._peek()
            if token.is_text:
                items.extend(remarks.split_commas(token.node()))
                self.at += 1
            elif token.kind == ")":
                self.at += 1
                node.end = token.end
                return node
            elif token.kind in "([":
                self._nested(token, name)
            elif token.kind == "]":
                self._error(token, f"array of '{name}' ends with ']'", "an array ends with ')'", "wrong-bracket")
                self.at += 1
                node.end = token.end
                return node
            elif token.kind == "=" and not self.tokens[self.at - 1].first:
                self._error(token, "stray '=' in an array", "an array holds values; pairs stand in [ ]", "stray-equals")
                self.at += 1
            else:
                self._unclosed(opener, name, "array", ")")
                if token.kind in "={" and self._back_to_line_start(opener):
                    node.items = [item for item in items if item.start < self._peek().start]
                elif token.kind == "{":
                    self._skip_braces()
                    self._pass_closer(")")
                node.end = self.tokens[self.at - 1].end
                return node

    def _pass_closer(self, closer: str) -> None:
        if self._peek().kind == closer:
            self.at += 1

    def _nested(self, token: Token, name: str) -> None:
        match = _BRACKET_ENDPOINT.match(self.document.text, token.start)
        if match is not None and ":" in match[0]:
            self._is_bracket_endpoint(token)
            return
        what = "an array" if token.kind == "(" else "a dictionary"
        self._error(
            token, f"{what} inside the array of '{name}'", "an array holds words and strings only", "nested-array"
        )
        self._skip_collection()

    def _dictionary(self, name: str) -> DictNode:
        opener = self._peek()
        self.at += 1
        pairs: list[tuple[Text, Text | ArrayNode]] = []
        node = DictNode(pairs, opener.start, opener.end)
        while True:
            token = self._peek()
            if token.kind == "word" and token.text == ",":
                self._comma(token)
                self.at += 1
            elif token.is_text:
                self._pair(token, name, pairs)
            elif token.kind in ")]":
                if token.kind == ")":
                    self._error(
                        token, f"dictionary of '{name}' ends with ')'", "a dictionary ends with ']'", "wrong-bracket"
                    )
                self.at += 1
                node.end = token.end
                return node
            elif token.kind == "=":
                self._error(token, "stray '='", "write the key before it: [ key = value ]", "stray-equals")
                self.at += 1
            elif token.kind in "([":
                self._error(token, "a collection without a key", "write the key before it", "stray-bracket")
                self._skip_collection()
            else:
                self._unclosed(opener, name, "dictionary", "]")
                if token.kind == "{" and self._back_to_line_start(opener):
                    node.pairs = [pair for pair in pairs if pair[0].start < self._peek().start]
                elif token.kind == "{":
                    self._skip_braces()
                    self._pass_closer("]")
                node.end = self.tokens[self.at - 1].end
                return node

    def _comma(self, token: Token) -> None:
        self._error(
            Text(",", start=token.end - 1, end=token.end),
            "comma in a dictionary",
            "remove it: pairs are separated by spaces; a value that ends in ',' needs quotes",
            "comma",
        )

    def _pair(self, key: Token, name: str, pairs: list[tuple[Text, Text | ArrayNode]]) -> None:
        self.at += 1
        token = self._peek()
        had_equals = token.kind == "="
        while token.kind == "=":
            if self.tokens[self.at - 1].kind == "=":
                self._error(token, "stray '='", "remove it: one '=' stands between key and value", "stray-equals")
            self.at += 1
            token = self._peek()
        next_key = token.first and self._peek(1).kind == "="
        if token.is_text and not next_key and (had_equals or token.line == key.line):
            value = token.node()
            if token.kind == "word" and token.text.endswith(","):
                self._comma(token)
                value = Text(token.text.rstrip(","), False, token.start, token.end - 1)
            pairs.append((key.node(), value))
            self.at += 1
            self._second_equals(token)
        elif token.kind == "(":
            pairs.append((key.node(), self._array(key.text)))
        elif token.kind == "[":
            self._error(token, f"a dictionary inside the dictionary of '{name}'", "dictionaries don't nest",
                        "nested-dictionary")  # fmt: skip
            self._skip_collection()
        else:
            self._error(key, f"key '{key.text}' has no value", f"write '{key.text} = VALUE'", "missing-value")

    def _second_equals(self, value: Token) -> None:
        """After a pair: ``a = b = c``."""
        while self._peek().kind == "=" and self._peek().line == value.line:
            self._error(self._peek(), "stray '='", "remove it; a value that holds '=' needs quotes", "stray-equals")
            self.at += 1
            if self._peek().is_text and self._peek().line == value.line and self._peek(1).kind != "=":
                self.at += 1


def _show(text: str) -> str:
    return text if text.startswith('"') else f"'{text}'"
