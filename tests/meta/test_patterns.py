"""Regular expressions mean the same in every Python that gsmtp runs on."""

from __future__ import annotations

import re
from pathlib import Path

import gsmtp

_POSSESSIVE_GROUP = re.compile(r"\)(?:[*+?]|\{[\d,]+\})\+|\(\?>")


def test_no_pattern_has_a_possessive_group() -> None:
    """Until 3.11.4 Python leaves such a group at a wrong place when its last round fails."""
    assert _POSSESSIVE_GROUP.search(r"(?:\.[a-z]++)*+")
    folder = Path(gsmtp.__file__).parent
    found = [
        f"{path.relative_to(folder)}:{number}"
        for path in sorted(folder.rglob("*.py"))
        if not path.relative_to(folder).parts[0].startswith("_compiled")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if _POSSESSIVE_GROUP.search(line)
    ]
    assert found == []
