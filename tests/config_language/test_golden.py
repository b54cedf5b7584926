"""Golden files: configuration to tree, configuration to messages.

``GSMTP_UPDATE_GOLDEN=1 pytest tests/config_language/test_golden.py`` writes them anew; read the difference before
committing it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from gsmtp.config.diagnostics import Problems
from gsmtp.config.dump import as_data
from gsmtp.config.render import render
from gsmtp.config.source import read

GOLDEN = Path(__file__).parent.parent / "golden" / "config"
ERRORS = sorted(path.name for path in (GOLDEN / "errors").iterdir() if path.suffix in (".conf", ".yaml"))
EXAMPLES = [
    *sorted(path.name for path in (GOLDEN / "examples").iterdir() if path.suffix in (".conf", ".yaml")),
    "07-includes/ecelerity.conf",
]


def _compare(path: Path, text: str) -> None:
    if os.environ.get("GSMTP_UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ERRORS)
def test_messages(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every mistake is told with its line, column, length, and what to do."""
    monkeypatch.chdir(GOLDEN / "errors")
    problems = Problems()
    tree = read(name, problems, follow_includes=False)
    assert len(problems) > 0
    _compare(GOLDEN / "errors" / f"{name}.txt", render(problems, tree))


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_load(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reference's examples load without an error and make the expected tree."""
    monkeypatch.chdir(GOLDEN / "examples")
    problems = Problems()
    tree = read(name, problems)
    assert not problems.has_errors
    expected = GOLDEN / "trees" / f"{name.replace('/', '-')}.json"
    _compare(expected, json.dumps(as_data(tree.root), indent=1, ensure_ascii=False) + "\n")


def test_the_two_syntaxes_make_one_tree() -> None:
    """02-submission.conf and 02-submission.yaml are the same configuration."""
    trees = []
    for suffix in ("conf", "yaml"):
        problems = Problems()
        trees.append(as_data(read(str(GOLDEN / "examples" / f"02-submission.{suffix}"), problems).root))
        assert len(problems) == 0
    assert trees[0] == trees[1]
