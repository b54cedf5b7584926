"""Problems as people and programs read them.

    ecelerity.conf:2:2: error: unknown option 'Max_Recipeints_Per_Message' in ESMTP_Listener
                Max_Recipeints_Per_Message = 50
                ^^^^^^^^^^^^^^^^^^^^^^^^^^
        hint: did you mean 'Max_Recipients_Per_Message'?

The source line is shown with a caret under what is meant, then the hint, then other places, each with its line, then
the include statements that led to the file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gsmtp.config.diagnostics import Problem, Severity, Span, in_order
from gsmtp.config.tree import SourceFile, Tree

_MARGIN = "    "
_WIDEST = 160
_COLORS = {Severity.ERROR: "\x1b[1;31m", Severity.WARNING: "\x1b[1;33m", Severity.NOTE: "\x1b[1;36m"}
_BOLD, _GREEN, _PLAIN = "\x1b[1m", "\x1b[1;32m", "\x1b[0m"
_INCLUDED = "included from here"


def render(problems: Iterable[Problem], source: Tree | Mapping[str, SourceFile], *, color: bool = False) -> str:
    """All problems as text, by file and line; "" when there are none, otherwise it ends with a line end.

    Args:
        problems: the findings.
        source: the files they speak of, for source lines and include chains.
        color: whether to use ANSI colours.
    """
    sources = source.files if isinstance(source, Tree) else source
    renderer = _Renderer(sources, color)
    return "".join(renderer.problem(problem) for problem in in_order(problems, sources))


def as_json(problems: Iterable[Problem], source: Tree | Mapping[str, SourceFile]) -> list[dict[str, Any]]:
    """The same for programs: one dictionary a problem in the same order, with plain values only.

    Keys: severity, file, line, column, length, message, hint, code, related (a list of message, file, line, column).
    """
    return [
        {
            "severity": str(problem.severity),
            "file": printable(problem.span.file),
            "line": problem.span.line,
            "column": problem.span.column,
            "length": problem.span.length,
            "message": printable(problem.message),
            "hint": printable(problem.hint),
            "code": problem.code,
            "related": [
                {"message": printable(what), "file": printable(span.file), "line": span.line, "column": span.column}
                for what, span in problem.related
            ],
        }
        for problem in in_order(problems, source.files if isinstance(source, Tree) else source)
    ]


def printable(text: str) -> str:
    """The text without what a terminal would act on or can't show: control characters and undecodable bytes."""
    return "".join(char if char.isprintable() or char == "\t" else _escape(char) for char in text)


def _escape(char: str) -> str:
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


class _Renderer:
    def __init__(self, sources: Mapping[str, SourceFile], color: bool) -> None:
        self.sources = sources
        self.color = color

    def problem(self, problem: Problem) -> str:
        severity = self._paint(f"{problem.severity}:", _COLORS[problem.severity])
        lines = [f"{self._paint(self._place(problem.span), _BOLD)}: {severity} {printable(problem.message)}"]
        lines += self._excerpt(problem.span)
        if problem.hint:
            lines.append(f"{_MARGIN}hint: {printable(problem.hint)}")
        for what, span in problem.related:
            lines.append(f"{_MARGIN}{self._place(span)}: {printable(what)}")
            if what != _INCLUDED:
                lines += self._excerpt(span)
        lines += self._chain(problem)
        return "\n".join(lines) + "\n"

    def _chain(self, problem: Problem) -> list[str]:
        """The include statements that led to the file, innermost first, unless the problem tells them itself."""
        file = self.sources.get(problem.span.file)
        if file is None or any(what == _INCLUDED for what, _ in problem.related):
            return []
        return [f"{_MARGIN}{self._place(span)}: {_INCLUDED}" for span in reversed(file.chain)]

    def _place(self, span: Span) -> str:
        if span.line == 0:
            return printable(span.file) or "gsmtp"
        return printable(str(span))

    def _excerpt(self, span: Span) -> list[str]:
        file = self.sources.get(span.file)
        if file is None or span.line == 0:
            return []
        line = _line(file.text, span)
        if line is None:
            return []
        start = span.column - 1
        left = max(0, start - _WIDEST // 2) if len(line) > _WIDEST else 0
        shown = line[left : left + _WIDEST]
        before = shown[: start - left]
        meant = shown[start - left : start - left + span.length]
        # A tab stays a tab, so that the caret stands right at any tab width.
        padding = "".join("\t" if char == "\t" else " " * len(printable(char)) for char in before)
        caret = "^" * max(1, len(printable(meant)))
        return [f"{_MARGIN}{printable(shown)}", f"{_MARGIN}{padding}{self._paint(caret, _GREEN)}"]

    def _paint(self, text: str, code: str) -> str:
        return f"{code}{text}{_PLAIN}" if self.color else text


def _line(text: str, span: Span) -> str | None:
    """The source line of a span, without its line end."""
    if 0 <= span.offset <= len(text):
        start = text.rfind("\n", 0, span.offset) + 1
        stop = text.find("\n", span.offset)
        return text[start : len(text) if stop < 0 else stop].rstrip("\r")
    lines = text.split("\n", span.line)
    return lines[span.line - 1].rstrip("\r") if span.line <= len(lines) else None
