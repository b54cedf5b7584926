"""The spools of several workers: where they are, and what becomes of one whose worker is no more.

The worker of slot 1 uses Spoolbase itself, that of slot k ``Spoolbase/worker-k``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable

_WORKER = re.compile(r"worker-([1-9][0-9]*)")

Tell = Callable[..., object]
"""Takes level, area, what, and fields, as `EventLog.event` does."""


def spool_of(base: str, slot: int) -> str:
    """The folder of a slot's spool."""
    return base if slot == 1 else os.path.join(base, f"worker-{slot}")


def slots_of(base: str) -> list[int]:
    """The slots that have a spool folder beside the first one, the lowest first. [] where nothing can be read."""
    try:
        names = os.listdir(base)
    except OSError:
        return []
    return sorted(int(found[1]) for name in names if (found := _WORKER.fullmatch(name)) and int(found[1]) > 1)


def adopt_all(base: str, slots: int, tell: Tell) -> int:
    """Take over the spools of slots above `slots`; returns the least generation for what is opened next."""
    return 0
