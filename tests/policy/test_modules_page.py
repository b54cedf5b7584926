"""docs/modules.md shows what works: its configurations load, its Python compiles."""

from __future__ import annotations

import re

import pytest

from tests.config_meaning.loading import found_in
from tests.support.source import ROOT

PAGE = (ROOT / "docs" / "modules.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_there_are_some_of_both() -> None:
    assert {language for language, _ in BLOCKS} == {"", "python"}


@pytest.mark.parametrize("text", [text for language, text in BLOCKS if not language])
def test_configurations_load(text: str) -> None:
    assert [one.message for one in found_in(text) if "without TLS" not in one.message] == []


@pytest.mark.parametrize("text", [text for language, text in BLOCKS if language == "python"])
def test_python_compiles(text: str) -> None:
    assert compile(text, "modules.md", "exec")
