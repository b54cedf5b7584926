"""Kinds of option values: how a written value becomes a Python one, and what to say when it can't.

Source: reference/config-language.md section 5.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from gsmtp.config.tree import Value

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Kind(Generic[T]):
    """A type of value.

    Args:
        name: for the reference page and messages, e.g. ``"boolean"``.
        parse: turns a written value into a typed one; raises ValueError with a text that completes
            "value 'X' is not valid for option 'Y': …".
        describe: what is accepted, in words, e.g. ``"true, false, on, off, yes, no, 1 or 0"``.
    """

    name: str
    parse: Callable[[Value], T]
    describe: str
