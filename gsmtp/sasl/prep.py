"""SASLprep: which spelling of a user name or password counts (RFC 4013, a profile of stringprep, RFC 3454)."""

from __future__ import annotations

import stringprep
import unicodedata
from collections.abc import Callable
from typing import Final

_PROHIBITED: Final[tuple[Callable[[str], bool], ...]] = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)
"""RFC 4013 section 2.3."""


def saslprep(text: str) -> str:
    """The prepared form of a string that is looked up; unassigned code points are allowed (RFC 4013 section 2.5).

    Raises:
        ValueError: it holds a prohibited character, or mixes writing directions.

    >>> saslprep("I\\u00adX"), saslprep("\\u00aa"), saslprep("\\u2168")
    ('IX', 'a', 'IX')
    """
    if text.isascii() and text.isprintable():
        return text
    mapped = "".join(
        " " if stringprep.in_table_c12(char) else char for char in text if not stringprep.in_table_b1(char)
    )
    prepared = unicodedata.ucd_3_2_0.normalize("NFKC", mapped)
    for char in prepared:
        if any(is_prohibited(char) for is_prohibited in _PROHIBITED):
            raise ValueError(f"U+{ord(char):04X} is not allowed")
    _check_direction(prepared)
    return prepared


def _check_direction(text: str) -> None:
    """RFC 3454 section 6."""
    if not any(stringprep.in_table_d1(char) for char in text):
        return
    if any(stringprep.in_table_d2(char) for char in text):
        raise ValueError("it mixes writing directions")
    if not (stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1])):
        raise ValueError("it does not begin and end in its right-to-left script")


def user_name(raw: bytes) -> str:
    """A user name from the wire, prepared. Raises ValueError when it is empty, no UTF-8 or not allowed."""
    name = saslprep(raw.decode())
    if not name:
        raise ValueError("it is empty")
    return name
