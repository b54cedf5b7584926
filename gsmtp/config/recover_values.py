"""Reading values out of the tokens of a text that has something wrong in it: arrays and dictionaries, for `recover`."""

from __future__ import annotations

import re
from collections.abc import Iterable

from gsmtp.config import remarks
from gsmtp.config.diagnostics import Problems, Span
from gsmtp.config.nodes import ArrayNode, DictNode, Document, Text
from gsmtp.config.scan import Token

_BRACKET_ENDPOINT = re.compile(r"\[[0-9A-Fa-f:.*%\w]*\](?::[0-9]+)?(?=[\s{=]|\Z)")


class Values:
    """A place in the tokens of a document, and how to read a value from there.

    Args:
        document: the source.
        problems: gets what is wrong.
        tokens: of the source, the last one of kind ``"end"``.
    """

    def __init__(self, document: Document, problems: Problems, tokens: list[Token]) -> None:
        self.document = document
        self.problems = problems
        self.tokens = tokens
        self.at = 0

    def _peek(self, ahead: int = 0) -> Token:
        return self.tokens[min(self.at + ahead, len(self.tokens) - 1)]

    def _error(
        self, token: Token | Text, message: str, hint: str, code: str, related: Iterable[tuple[str, Span]] = ()
    ) -> None:
        self.problems.error(self.document.span(token.start, token.end), message, hint, code, related)

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
