"""Problems found in a configuration: collected all in one run, each with its place and a hint."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum


class Severity(StrEnum):
    """How bad a problem is: an error stops the load, a warning and a note don't."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Span:
    """A place in a source: 1-based line and column, and how many characters are meant.

    Args:
        file: the path as the user gave it or as the include wrote it; "" for a value that has no file.
        line: 1-based.
        column: 1-based, counted in characters.
        length: characters to underline, at least 1.
        offset: 0-based character offset of the place in the file's text; -1 where unknown.
    """

    file: str
    line: int
    column: int
    length: int = 1
    offset: int = -1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


NOWHERE = Span("", 0, 0)


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding.

    Args:
        severity: error, warning or note.
        span: where.
        message: one line, lower case, no full stop.
        hint: what to do, or "".
        code: a short stable word for programs, e.g. ``"unknown-option"``.
        related: other places with what they are, e.g. the first of two settings, or the include chain.
    """

    severity: Severity
    span: Span
    message: str
    hint: str = ""
    code: str = ""
    related: tuple[tuple[str, Span], ...] = ()


@dataclass(slots=True)
class Problems:
    """A list of findings that grows while a configuration is read and checked."""

    found: list[Problem] = field(default_factory=list)

    def error(
        self, span: Span, message: str, hint: str = "", code: str = "", related: Iterable[tuple[str, Span]] = ()
    ) -> None:
        """Add an error: the load fails once everything was looked at."""
        self.found.append(Problem(Severity.ERROR, span, message, hint, code, tuple(related)))

    def warning(
        self, span: Span, message: str, hint: str = "", code: str = "", related: Iterable[tuple[str, Span]] = ()
    ) -> None:
        """Add a warning."""
        self.found.append(Problem(Severity.WARNING, span, message, hint, code, tuple(related)))

    def note(
        self, span: Span, message: str, hint: str = "", code: str = "", related: Iterable[tuple[str, Span]] = ()
    ) -> None:
        """Add a note."""
        self.found.append(Problem(Severity.NOTE, span, message, hint, code, tuple(related)))

    @property
    def has_errors(self) -> bool:
        """Whether any finding is an error."""
        return any(problem.severity is Severity.ERROR for problem in self.found)

    def __iter__(self) -> Iterator[Problem]:
        return iter(self.found)

    def __len__(self) -> int:
        return len(self.found)


def in_order(problems: Iterable[Problem], files: Iterable[str]) -> list[Problem]:
    """The findings by file, line and column, as a reader goes through them; what has no place comes last.

    Args:
        problems: the findings, pass by pass; of one place the order is kept.
        files: paths as shown in messages, in the order in which they were read: a file, then what it includes.
            Other files come behind them, in the order of their first finding.
    """
    found = list(problems)
    order: dict[str, int] = {}
    for name in (*files, *(problem.span.file for problem in found if problem.span.file)):
        order.setdefault(name, len(order))
    last = len(order)
    return sorted(found, key=lambda one: (order.get(one.span.file, last), one.span.line, one.span.column))
