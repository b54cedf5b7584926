"""Compiled modules: used when they are true to their sources, left aside with a reason when not, never half."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gsmtp import compiled
from gsmtp.compiling import MODULES
from tests.support.source import ROOT

WORDS = "from gsmtp import compiled; print(compiled.words())"
WHERE = "import gsmtp.smtp.session as s, gsmtp.core.reply as r; print(s.__file__[-3:], r.__file__[-3:])"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the package with what is compiled, to be spoilt."""
    if not Path(compiled.MANIFEST).exists():
        pytest.skip("nothing is compiled here: `make compile` says why")
    shutil.copytree(ROOT / "gsmtp", tmp_path / "gsmtp", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def _python(tree: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name != "GSMTP_PURE"}
    return subprocess.run(
        [sys.executable, *words],
        cwd=tree,
        env={**kept, "PYTHONPATH": str(tree), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def _status(tree: Path, **environment: str) -> tuple[bool, str]:
    told = json.loads(_python(tree, "-m", "gsmtp", "compile", "--status", "--json", **environment).stdout)
    return told["compiled"], told["reason"]


def test_modules_true_to_their_sources_are_used(tree: Path) -> None:
    assert _status(tree) == (True, "")
    assert _python(tree, "-c", WHERE).stdout == ".so .so\n"
    assert _python(tree, "-c", WORDS).stdout == "compiled\n"
    told = _python(tree, "-m", "gsmtp", "compile")
    assert (told.returncode, told.stdout) == (0, f"{len(MODULES)} modules are compiled and up to date\n")


def test_the_environment_leaves_them_aside(tree: Path) -> None:
    assert _status(tree, GSMTP_PURE="1") == (False, "GSMTP_PURE is set")
    assert _python(tree, "-c", WHERE, GSMTP_PURE="1").stdout == ".py .py\n"
    assert _python(tree, "-c", WORDS, GSMTP_PURE="1").stdout == "Python: GSMTP_PURE is set\n"
    assert _status(tree, GSMTP_PURE="0") == (True, "")


def test_one_edited_source_leaves_all_aside(tree: Path) -> None:
    edited = tree / "gsmtp" / "smtp" / "session.py"
    edited.write_text(edited.read_text(encoding="utf-8") + "\n# edited\n", encoding="utf-8")
    assert _status(tree) == (
        False,
        "gsmtp.smtp.session has changed since it was compiled; `gsmtp compile` does it anew",
    )
    assert _python(tree, "-c", WHERE).stdout == ".py .py\n"


def test_modules_for_another_python_are_left_aside(tree: Path) -> None:
    manifest = tree / "gsmtp" / "_compiled" / "manifest"
    manifest.write_text(manifest.read_text(encoding="utf-8").replace(compiled.SUFFIX, ".cpython-399.so"), "utf-8")
    assert _status(tree) == (False, "what was compiled is for another Python; `gsmtp compile` does it anew")
    assert _python(tree, "-c", WHERE).stdout == ".py .py\n"


def test_a_missing_compiler_is_told_and_may_be_no_failure(tree: Path) -> None:
    shutil.rmtree(tree / "gsmtp" / "_compiled")
    words = "gsmtp: not compiled, all runs in Python: there is no C compiler; on Debian: apt-get install gcc\n"
    told = _python(tree, "-m", "gsmtp", "compile", PATH="", CC="gcc")
    assert (told.returncode, told.stdout, told.stderr) == (1, "", words)
    told = _python(tree, "-m", "gsmtp", "compile", "--if-possible", PATH="", CC="gcc")
    assert (told.returncode, told.stderr) == (0, words)


def test_each_module_that_is_compiled_is_a_source() -> None:
    assert [name for name in MODULES if not Path(compiled.source(name)).exists()] == []
    assert len(set(MODULES)) == len(MODULES)


def test_compiled_classes_derive_from_compiled_ones() -> None:
    """mypyc takes a class of Python's for a base without a word, and its objects spoil memory when they die."""
    known = {*MODULES, "builtins", "abc", "enum", "typing"}
    strange = {
        f"{name}.{kind.__qualname__}": base.__module__
        for name in MODULES
        for kind in vars(importlib.import_module(name)).values()
        if isinstance(kind, type) and kind.__module__ == name
        for base in kind.__mro__
        if base.__module__ not in known
    }
    assert strange == {}


def test_this_run_is_what_it_should_be() -> None:
    """In CI nothing may keep the tests from running compiled, unless they are to run in Python."""
    if os.environ.get("GSMTP_REQUIRE_PEERS") and not os.environ.get("GSMTP_PURE"):
        assert compiled.state()[1] == ""
        assert compiled.is_used()
