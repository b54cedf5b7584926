"""Did you mean …? The nearest of the names that would be valid."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(name: str, candidates: Iterable[str], limit: int = 1) -> list[str]:
    """The candidates most like `name`, best first, matched without case; [] when none is like it.

    Args:
        name: what was written.
        candidates: the valid names in their own spelling; of two that differ in case the first one counts.
        limit: how many at most.
    """
    spelled: dict[str, str] = {}
    for candidate in candidates:
        spelled.setdefault(candidate.lower(), candidate)
    plain = {key.replace("_", "").replace("-", ""): key for key in spelled}
    key = name.lower()
    squeezed = key.replace("_", "").replace("-", "").replace(" ", "")
    if squeezed in plain and limit == 1:
        return [spelled[plain[squeezed]]]
    return [spelled[match] for match in difflib.get_close_matches(key, spelled, n=limit, cutoff=0.7)]


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """A hint with the nearest candidate, or "".

    >>> did_you_mean("Idle_Tiem", ["Idle_Time", "Enable"])
    "did you mean 'Idle_Time'?"
    """
    found = nearest(name, candidates)
    return f"did you mean '{found[0]}'?" if found else ""
