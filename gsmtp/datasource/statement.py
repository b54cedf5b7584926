"""Named parameters: ``:user`` in a query, and the numbered placeholders that drivers understand.

Literals, quoted names, comments and PostgreSQL's casts (``::text``) and dollar quotes are left alone.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

_TOKENS = re.compile(
    r"""
      '(?:[^']|'')*'                    # literal
    | "(?:[^"]|"")*"                    # quoted name
    | --[^\n]*                          # comment
    | /\*.*?\*/
    | (?P<tag>\$(?:[A-Za-z_]\w*)?\$).*?(?P=tag)   # dollar quote
    | ::                                # cast
    | :(?P<name>[A-Za-z_]\w*)
    """,
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Statement:
    """A query in the form of a driver.

    Args:
        text: with numbered placeholders.
        names: of the parameters in the order of their numbers, each once.
    """

    text: str
    names: tuple[str, ...]


@functools.lru_cache(maxsize=512)
def compile_query(query: str, mark: str) -> Statement:
    """Replace each ``:name`` by `mark` and its number, equal names by equal numbers.

    >>> compile_query("SELECT a::text FROM t WHERE u = :user OR ':x' = :user", "$")
    Statement(text="SELECT a::text FROM t WHERE u = $1 OR ':x' = $1", names=('user',))
    """
    names: dict[str, int] = {}

    def numbered(match: re.Match[str]) -> str:
        name = match["name"]
        if name is None:
            return match[0]
        return f"{mark}{names.setdefault(name, len(names) + 1)}"

    return Statement(_TOKENS.sub(numbered, query), tuple(names))


def parameter_names(query: str) -> tuple[str, ...]:
    """The parameters that a query names."""
    return compile_query(query, "?").names
