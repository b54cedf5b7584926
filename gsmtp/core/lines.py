"""Bytes that come in pieces, as lines: for those who look on, not for the protocol machines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

LONGEST: Final = 8192
"""Bytes of a line that has no end yet; then it is told as it is."""


def split(data: bytes, tell: Callable[[bytes], object]) -> bytes:
    """Tell whole lines, without their ends; what is left."""
    *lines, rest = data.split(b"\n")
    for line in lines:
        tell(line.removesuffix(b"\r"))
    if len(rest) > LONGEST:
        tell(rest)
        rest = b""
    return rest
