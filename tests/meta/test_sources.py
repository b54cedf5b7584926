"""What every source file keeps: layers, sizes, docstrings, the form of RFC references, nothing half done."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.source import ROOT, files, parsed, shown

PRODUCT = files("gsmtp")
ALL = [*PRODUCT, *files("tests"), *files("loadtest"), ROOT / "setup.py"]

# A file that passes 400 lines is a reason to look for its second question; one that passes this has found it.
LONGEST_FILE = 650
LONGEST_FUNCTION = 70


def test_imports_go_downwards_only() -> None:
    run = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert run.returncode == 0, run.stdout


def _functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def test_files_answer_one_question() -> None:
    lines = {shown(path): path.read_text(encoding="utf-8").count("\n") for path in PRODUCT}
    for name, count in lines.items():
        if count > 400:
            warnings.warn(f"{name} has {count} lines: does it answer two questions?", stacklevel=1)
    assert not {name: count for name, count in lines.items() if count > LONGEST_FILE}


def test_functions_fit_on_a_screen() -> None:
    long = [
        f"{shown(path)}:{node.lineno} {node.name}"
        for path in PRODUCT
        for node in _functions(parsed(path))
        if (node.end_lineno or 0) - node.lineno >= LONGEST_FUNCTION
    ]
    assert not long


def test_every_public_name_has_a_docstring() -> None:
    bare = [
        f"{shown(path)}:{node.lineno} {node.name}"
        for path in PRODUCT
        for node in parsed(path).body
        if isinstance(node, ast.ClassDef | ast.FunctionDef)
        and not node.name.startswith(("_", "t_"))  # t_: PLY's token functions
        and not ast.get_docstring(node)
    ]
    modules = [shown(path) for path in ALL if not ast.get_docstring(parsed(path))]
    assert not bare + modules


def test_nothing_is_half_done() -> None:
    marks = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|raise NotImplementedError")
    found = [
        f"{shown(path)}:{number}: {line.strip()}"
        for path in PRODUCT
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if marks.search(line)
    ]
    assert not found


# Momentum writes RFC2821 and RFC2822 without a blank in reply texts and option names, and a type of password rfc2307;
# those stay as documented.
_REFERENCE = re.compile(r"\brfc[ -]?(?!282[12]\b|2307\b)\d{3,5}\b", re.IGNORECASE)
_GOOD = re.compile(r"RFC \d{3,5}\b(?! ?§)(?!,? (sec\.|s\.|sect\b|§|\d+\.\d))")


@pytest.mark.parametrize("path", [*ALL, *files("docs", "*.md"), *(ROOT.glob("*.md"))], ids=shown)
def test_rfc_references_have_one_form(path: Path) -> None:
    """``RFC 5321 section 4.5.2``, so that one search finds all lines that obey a section."""
    bad = [
        f"{shown(path)}:{number}: {line.strip()}"
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        for hit in _REFERENCE.finditer(line)
        if path != Path(__file__) and not _GOOD.match(line, hit.start()) and "rfc822" not in hit.group().lower()
    ]
    assert not bad


_CITATION = re.compile(r"\breference/([\w-]+\.(?:md|csv))(?:\s+(?:#\s*)?sections? (\d+(?:\.\d+)*))?")


def test_citations_of_the_reference_lead_somewhere() -> None:
    """``reference/NAME.md section N`` is that numbered heading of that page in docs/reference/."""
    pages = {
        page.name: set(re.findall(r"^#+ (\d+(?:\.\d+)*)\.?\s", page.read_text(encoding="utf-8"), re.MULTILINE))
        for page in (ROOT / "docs" / "reference").iterdir()
        if page.is_file()
    }
    cited = [
        (shown(path), page, section)
        for path in [*ALL, *files("docs", "*.md")]
        for page, section in _CITATION.findall(path.read_text(encoding="utf-8"))
        if path != Path(__file__) and page != "NAME.md"
    ]
    assert len(cited) > 50
    assert not [place for place in cited if place[1] not in pages or (place[2] and place[2] not in pages[place[1]])]


# Helpers that fail by themselves: a deadline that passes, a program that ends badly.
_JUDGES = r"raises|assert|expect|check|fail|wait|Timeout|'run'"


def test_tests_assert() -> None:
    silent = []
    for path in files("tests"):
        for node in _functions(parsed(path)):
            if node.name.startswith("test") and not any(
                isinstance(part, ast.Assert) or (isinstance(part, ast.Call) and re.search(_JUDGES, ast.dump(part.func)))
                for part in ast.walk(node)
            ):
                silent.append(f"{shown(path)}:{node.lineno} {node.name}")
    assert not silent
