"""A driver to copy: ``answers:TEXT`` gives that text to every query. The leading underscore keeps it from loading.

A driver runs in native threads: no gevent, no logging, no patched modules, and it keeps the deadline it is given.
"""

from __future__ import annotations

from collections.abc import Mapping

from gsmtp.datasource.driver import Surroundings, driver
from gsmtp.datasource.result import Result


class AnswersConnection:
    """One connection; used by one thread at a time."""

    def __init__(self, text: str) -> None:
        self._text = text

    def run(self, query: str, values: Mapping[str, str | None], max_rows: int, deadline_mono: float) -> Result:
        """Answer; raise ConnectionFault when the connection is lost, QueryFault when the query is wrong."""
        return Result(("answer",), ((self._text,),))

    def is_stale(self) -> bool:
        """Whether it should be made anew."""
        return False

    def close(self) -> None:
        """Let go."""


@driver("answers")
class Answers:
    """What URIs that begin with ``answers:`` lead to."""

    def check(self, rest: str) -> None:
        """Raise ValueError when `rest` is wrong; open nothing."""

    def requirement(self) -> str:
        """What must be installed, or nothing."""
        return ""

    def connect(self, rest: str, surroundings: Surroundings, deadline_mono: float) -> AnswersConnection:
        """Connect; raise ConnectionFault when nobody is there."""
        return AnswersConnection(rest)
