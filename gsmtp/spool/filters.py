"""How a Selection is written as words: ``00/2A-01234-0000001F``, ``domain example.com state held older 2h``, ``all``.

The console's ``queue`` commands read them, and `gsmtp queue` writes them when it asks a running server.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from gsmtp.core.domains import normal_domain
from gsmtp.core.ids import number as id_number
from gsmtp.spool.selection import Selection

EVERYTHING: Final = "all"
SYNTAX: Final = "[ID ...] [domain D] [state S] [sender A] [recipient A] [older 2h] [newer 2h] | all"

_UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_SPAN: Final = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)([smhdw]?)")


def span_s(text: str) -> float:
    """Seconds from ``90``, ``15m``, ``2h``, ``7d``, ``1.5h``. Raises ValueError.

    >>> span_s("2h")
    7200.0
    """
    found = _SPAN.fullmatch(text.strip().lower())
    if found is None:
        raise ValueError(f"'{text}' is no span of time: expected a number with s, m, h, d or w, such as 2h")
    return float(found[1]) * _UNITS[found[2]]


def parse(words: Sequence[str]) -> Selection:
    """The selection that words mean. Raises ValueError with a sentence for what can't be read, and for no words."""
    ids: list[str] = []
    states: list[str] = []
    given: dict[str, Any] = {}
    rest = iter(words)
    everything = False
    for word in rest:
        key = word.lower()
        if key == EVERYTHING:
            everything = True
        elif key in ("domain", "state", "sender", "recipient", "older", "newer"):
            value = _behind(rest, word)
            if key == "state":
                states.append(value.lower())
            elif key == "domain":
                given["domain"] = normal_domain(value)
            elif key in ("older", "newer"):
                given[f"{key}_s"] = span_s(value)
            else:
                given[key] = _bare(value)
        else:
            id_number(word.upper())
            ids.append(word.upper())
    selection = Selection(ids=tuple(ids), states=tuple(states), **given)
    if selection.is_everything and not everything:
        raise ValueError(f"which recipients? {SYNTAX}")
    if everything and not selection.is_everything:
        raise ValueError("'all' and a filter at once: say one of them")
    return selection


def _behind(rest: Iterator[str], word: str) -> str:
    value = next(rest, None)
    if value is None:
        raise ValueError(f"'{word}' of what?")
    return value


def _bare(address: str) -> str:
    """An address without angle brackets; ``<>`` is the null sender."""
    return address[1:-1] if address.startswith("<") and address.endswith(">") else address


def words(selection: Selection) -> list[str]:
    """The words that `parse` reads back as the same selection."""
    found = list(selection.ids)
    if selection.domain:
        found += ["domain", selection.domain]
    for state in selection.states:
        found += ["state", state]
    if selection.sender is not None:
        found += ["sender", f"<{selection.sender}>"]
    if selection.recipient:
        found += ["recipient", selection.recipient]
    for key, value in (("older", selection.older_s), ("newer", selection.newer_s)):
        if value:
            found += [key, f"{value:.3f}".rstrip("0").rstrip(".")]
    return found or [EVERYTHING]
