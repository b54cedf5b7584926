"""Tokens of a text that has something wrong in it: a forgiving second reading after the lexer gave up.

It reports what is wrong inside a token (quotes, comments, control characters, characters that only look right) and goes
on with what was probably meant. What is wrong between tokens is `recover`'s.
"""

from __future__ import annotations

import re

from gsmtp.config.diagnostics import Problems
from gsmtp.config.lexer import (
    CONTROL,
    DAMAGE,
    INVISIBLE,
    RAW_STRING,
    REGEX_NAME,
    SPACE,
    STRING,
    TYPOGRAPHIC_QUOTES,
    WORD,
    follows_word,
    unescape,
)
from gsmtp.config.nodes import Comment, Document, Text

_SPACE = re.compile(f"[{SPACE}]+")
_COMMENT = re.compile(r"#[^\n]*")
_BLOCK = re.compile(r"/\*[\s\S]*?\*/")
_STRING = re.compile(STRING)
_RAW = re.compile(RAW_STRING)
_WORD = re.compile(WORD)
_REGEX = re.compile(REGEX_NAME)
_TYPOGRAPHIC = re.compile(rf'[{TYPOGRAPHIC_QUOTES}]([^{TYPOGRAPHIC_QUOTES}"\n]*)[{TYPOGRAPHIC_QUOTES}"]')
_TYPOGRAPHIC_END = re.compile(rf'"([^{TYPOGRAPHIC_QUOTES}"\n]*)[{TYPOGRAPHIC_QUOTES}](?=[{SPACE}{{}}()\[\]#=]|\Z)')
# The end of a string that was meant to begin one: `name = "` alone on the last line of a string of several lines.
_NEXT_OPTION = re.compile(r"[ \t]*[A-Za-z_][\w-]*[ \t]*=[ \t]*[(\[]?[ \t]*")
_CLOSERS = re.compile(r"(?:[ \t]+[{})\]]|[{})\]])[ \t{})\]]*(?:#[^\n]*)?\Z|[ \t]+#[^\n]*\Z")
_GLUED = re.compile(f'[^{SPACE}#{{}}()\\[\\]="]*')
_MANY_CONTROLS = 10
_PUNCTUATION = "={}[]()"


class Token:
    """One token.

    Args:
        kind: ``"word"``, ``"string"``, a punctuation character, or ``"end"``.
        text: content of a word or a string, the character of a punctuation.
        start: offset of its first character.
        end: offset after its last.
        line: its 1-based line.
        first: whether it begins its line.
    """

    __slots__ = ("end", "first", "kind", "line", "start", "text")

    def __init__(self, kind: str, text: str, start: int, end: int, line: int, first: bool) -> None:
        self.kind = kind
        self.text = text
        self.start = start
        self.end = end
        self.line = line
        self.first = first

    @property
    def is_text(self) -> bool:
        """Whether it can be a value or an instance name."""
        return self.kind in ("word", "string")

    def node(self) -> Text:
        """The scalar that it is."""
        return Text(self.text, self.kind == "string", self.start, self.end)


class Scanner:
    """Splits a document's text into tokens and reports what is wrong in them.

    Args:
        document: gets the comments.
        problems: gets the findings.
        cut_strings: whether a string over several lines that looks like a forgotten quote ends at its first line.
    """

    def __init__(self, document: Document, problems: Problems, cut_strings: bool) -> None:
        self.document = document
        self.text = document.text
        self.problems = problems
        self.cut_strings = cut_strings
        self.tokens: list[Token] = []
        self.at = 0
        self.last_comment_end = document.text.rfind("*/")

    def scan(self) -> list[Token]:
        """All tokens, the last one of kind ``"end"``."""
        if not self._check_controls():
            return [Token("end", "", 0, 0, 1, True)]
        while self.at < len(self.text):
            space = _SPACE.match(self.text, self.at)
            if space:
                self.at = space.end()
                continue
            self._scan_one(self.text[self.at])
        self._add("end", "", len(self.text), len(self.text))
        return self.tokens

    def _error(self, start: int, end: int, message: str, hint: str, code: str) -> None:
        self.problems.error(self.document.span(start, end), message, hint, code)

    def _add(self, kind: str, text: str, start: int, end: int) -> None:
        line = self.document.position(start)[0]
        last = self.tokens[-1] if self.tokens else None
        first = last is None or self.document.position(max(last.end - 1, last.start))[0] != line
        self.tokens.append(Token(kind, text, start, end, line, first))
        self.at = end

    def _check_controls(self) -> bool:
        """Report control characters; False when there are so many that this is no text."""
        found = [match.start() for match in CONTROL.finditer(self.text)]
        if len(found) > _MANY_CONTROLS:
            self._error(
                found[0],
                found[0] + 1,
                f"{len(found)} control characters: this is not a text file",
                "was the right file given? it must be UTF-8 text",
                "not-text",
            )
            return False
        for at in found:
            self._error(
                at,
                at + 1,
                f"control character U+{ord(self.text[at]):04X}",
                "remove it; in a string CR, LF and TAB are written \\r, \\n and \\t",
                "control-character",
            )
        return True

    def _scan_one(self, char: str) -> None:
        at = self.at
        if char in _PUNCTUATION:
            self._add(char, char, at, at + 1)
        elif char == "#":
            self._comment(_COMMENT.match(self.text, at))
        elif char == "/" and self.text.startswith("/*", at):
            self._block_comment()
        elif char == '"':
            self._string()
        elif char == "'":
            self._raw_string()
        elif char in TYPOGRAPHIC_QUOTES:
            self._typographic_quote()
        elif CONTROL.match(char):
            self.at += 1
        elif char in INVISIBLE:
            self._invisible()
        else:
            self._word()

    def _comment(self, match: re.Match[str] | None) -> None:
        assert match is not None
        self.document.comments.append(Comment(match[0].rstrip("\r"), match.start()))
        self.at = match.end()

    def _block_comment(self) -> None:
        # Where no comment ends after this one, looking again for each would take the square of the text's length.
        match = _BLOCK.match(self.text, self.at) if self.at < self.last_comment_end else None
        if match is None:
            self._error(
                self.at,
                self.at + 2,
                "comment opened by '/*' is never closed",
                "add '*/' where it ends",
                "unclosed-comment",
            )
            self._skip_line()
            return
        inner = match[0].find("/*", 2)
        if inner >= 0:
            outer = self.document.span(self.at, self.at + 2)
            self.problems.warning(
                self.document.span(self.at + inner, self.at + inner + 2),
                "'/*' inside a comment: comments don't nest, the first '*/' ends it",
                "check that the comment ends where it was meant to",
                "nested-comment",
                [("comment opened here", outer)],
            )
        self._comment(match)

    def _skip_line(self) -> None:
        end = self.text.find("\n", self.at)
        self.at = len(self.text) if end < 0 else end

    def _string(self) -> None:
        at = self.at
        mixed = _TYPOGRAPHIC_END.match(self.text, at)
        match = _STRING.match(self.text, at)
        if mixed is not None and (match is None or "\n" in match[0] or self._is_glued(match.end())):
            self._typographic_error(mixed.end() - 1)
            self._add("string", unescape(mixed[1]), at, mixed.end())
        elif match is None or (self.cut_strings and self._looks_unclosed(match)):
            self._error(
                at, self._cut_end(at), "string is not closed", "add a '\"' where the string ends", "unclosed-string"
            )
            end = self._cut_end(at)
            self._add("string", unescape(self.text[at + 1 : end]), at, end)
        else:
            self._add("string", unescape(match[0][1:-1]), at, match.end())

    def _cut_end(self, start: int) -> int:
        """Where a string that isn't closed on its line was probably meant to end: before closing or opening braces."""
        stop = self.text.find("\n", start)
        line = self.text[start : len(self.text) if stop < 0 else stop].rstrip()
        tail = _CLOSERS.search(line, 1)
        return start + (tail.start() if tail else len(line))

    def _looks_unclosed(self, match: re.Match[str]) -> bool:
        if "\n" not in match[0]:
            return False
        return (
            self._is_glued(match.end()) or _NEXT_OPTION.fullmatch(match[0][match[0].rfind("\n") + 1 : -1]) is not None
        )

    def _is_glued(self, end: int) -> bool:
        """Whether what follows a string directly shows that its last quote was meant to begin a string."""
        after = self.text[end : end + 1]
        return bool(after) and after not in " \t\r\n\f\v#={}[]()',"

    def _raw_string(self) -> None:
        at = self.at
        match = _RAW.match(self.text, at)
        glued = follows_word(self.text, at)
        if match is not None and not glued:
            self._add("string", match[0][1:-1], at, match.end())
            return
        self._error(
            at,
            at + 1,
            "single quote in an unquoted value" if glued else "single quote is not closed on its line",
            'put the whole value in double quotes: "…"',
            "single-quote",
        )
        # What follows up to the next space belongs to the same word in the writer's mind.
        self.at = at + 1
        rest = _GLUED.match(self.text, self.at)
        assert rest is not None
        last = self.tokens[-1] if self.tokens else None
        if last is not None and last.kind == "word" and last.end == at:
            last.text += self.text[at : rest.end()]
            last.end = rest.end()
            self.at = rest.end()
        elif rest[0]:
            self._add("word", self.text[at : rest.end()], at, rest.end())

    def _typographic_error(self, at: int) -> None:
        self._error(
            at,
            at + 1,
            f"typographic quote {self.text[at]}",
            'use a plain double quote: "',
            "typographic-quote",
        )

    def _typographic_quote(self) -> None:
        at = self.at
        self._typographic_error(at)
        match = _TYPOGRAPHIC.match(self.text, at)
        if match is None:
            self.at += 1
            return
        if match[0][-1] != '"':
            self._typographic_error(match.end() - 1)
        self._add("string", unescape(match[1]), at, match.end())

    def _invisible(self) -> None:
        self._error(
            self.at,
            self.at + 1,
            f"invisible character U+{ord(self.text[self.at]):04X}",
            "replace it by a plain space, or put it in quotes",
            "invisible-character",
        )
        self.at += 1

    def _word(self) -> None:
        at = self.at
        match = _WORD.match(self.text, at)
        assert match is not None
        word = match[0]
        damage = DAMAGE.search(word)
        if damage is not None and damage.start() > 0:
            word = word[: damage.start()]
        last = self.tokens[-1] if self.tokens else None
        first = not self.text[self.document.line_start(at) : at].strip()
        if last is not None and last.kind == "word" and last.text.lower() in ("domain", "host"):
            regex = _REGEX.match(self.text, at)
            if regex is not None:
                self._add("word", regex[0], at, regex.end())
                return
        if word.startswith("//") and (word == "//" or last is None or last.kind not in "=[(" or first):
            self._false_comment(at, "//")
        elif word.startswith(";") and first:
            self._false_comment(at, ";")
        else:
            self._plain_word(word, at)

    def _false_comment(self, at: int, mark: str) -> None:
        self._error(
            at, at + len(mark), f"'{mark}' does not begin a comment", f"write '#' instead of '{mark}'", "false-comment"
        )
        self._skip_line()

    def _plain_word(self, word: str, at: int) -> None:
        end = at + len(word)
        bare = word.rstrip(";")
        stop = self.text.find("\n", end)
        rest = self.text[end : len(self.text) if stop < 0 else stop].strip()
        if bare != word and (not rest or rest[0] in "#}"):
            self._error(
                at + len(bare),
                end,
                "';' at the end of a line",
                "remove it: nothing ends a statement; a value that ends in ';' needs quotes",
                "semicolon",
            )
            if bare:
                self._add("word", bare, at, at + len(bare))
            self.at = end
            return
        self._add("word", word, at, end)
