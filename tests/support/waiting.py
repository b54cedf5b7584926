"""Waiting with a deadline, the only way in which tests wait."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(question: Callable[[], T], what: str, deadline_s: float = 20.0, every_s: float = 0.05) -> T:
    """Ask until the answer is truthy, and return it. Raises AssertionError with the last answer at the deadline."""
    end = time.monotonic() + deadline_s
    while True:
        answer = question()
        if answer:
            return answer
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {deadline_s} s; the last answer was {answer!r}")
        time.sleep(every_s)
