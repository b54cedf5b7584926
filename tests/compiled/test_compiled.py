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
from gsmtp.training import TrainingFailed, train
from tests.support.source import ROOT

WORDS = "from gsmtp import compiled; print(compiled.words())"
WHERE = "import gsmtp.smtp.session as s, gsmtp.core.reply as r; print(s.__file__[-3:], r.__file__[-3:])"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the package with what is compiled, to be spoilt."""
    if not Path(compiled.MANIFEST).exists():
        pytest.skip("nothing is compiled here: `make compile` says why")
    shutil.copytree(ROOT / "gsmtp", tmp_path / "gsmtp", ignore=shutil.ignore_patterns("__pycache__"))
    _say_guided(tmp_path, is_guided=False)
    return tmp_path


def _say_guided(tree: Path, *, is_guided: bool) -> None:
    manifest = tree / "gsmtp" / "_compiled" / "manifest"
    _, hashes = manifest.read_text(encoding="utf-8").split("\n", 1)
    first = f"{compiled.SUFFIX} guided" if is_guided else compiled.SUFFIX
    manifest.write_text(f"{first}\n{hashes}", encoding="utf-8")


@pytest.fixture
def few(tree: Path) -> Path:
    """A copy in which nothing is compiled and few modules are to be."""
    shutil.rmtree(tree / "gsmtp" / "_compiled")
    file = tree / "gsmtp" / "compiling.py"
    source = file.read_text(encoding="utf-8")
    begin, end = source.index("MODULES: "), source.index("_BUILD = ")
    names = '"gsmtp.core.reply", "gsmtp.smtp.abnf", "gsmtp.smtp.buffer"'
    file.write_text(f"{source[:begin]}MODULES = ({names})\n{source[end:]}", encoding="utf-8")
    return tree


def _python(tree: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name != "GSMTP_PURE"}
    return subprocess.run(
        [sys.executable, *words],
        cwd=tree,
        env={**kept, "PYTHONPATH": str(tree), **environment},
        capture_output=True,
        text=True,
        timeout=180,
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


def test_what_a_profile_guided_is_said_and_kept(tree: Path) -> None:
    _say_guided(tree, is_guided=True)
    assert _status(tree) == (True, "")
    told = _python(tree, "-m", "gsmtp", "compile", "--status")
    assert told.stdout == f"{len(MODULES)} modules run compiled, guided by a profile\n"
    for words in ((), ("--guided",)):
        told = _python(tree, "-m", "gsmtp", "compile", *words)
        assert told.stdout == f"{len(MODULES)} modules are compiled, guided by a profile, and up to date\n"
    assert _python(tree, "-c", WHERE).stdout == ".so .so\n"


def test_a_profile_is_made_of_mail_and_guides_the_compiler(few: Path) -> None:
    told = _python(few, "-m", "gsmtp", "compile", "--guided")
    assert (told.returncode, told.stderr.splitlines()) == (
        0,
        [
            "compiling 3 modules so that they count, one to two minutes …",
            "sending mail to them, some seconds …",
            "compiling 3 modules, about a minute …",
        ],
    )
    assert _python(few, "-m", "gsmtp", "compile", "--status").stdout == "3 modules run compiled, guided by a profile\n"
    code = (
        "from gsmtp.smtp import buffer as b; i = b.InputBuffer(9); i.feed(b'A\\r\\n'); print(b.__file__[-3:], i.line())"
    )
    assert _python(few, "-c", code).stdout == ".so b'A'\n"


def test_a_compiler_without_profiles_is_told_and_changes_nothing(few: Path) -> None:
    compiler = few / "cc"
    compiler.write_text(
        '#!/bin/sh\nfor a; do shift; [ "$a" = -fprofile-generate ] || set -- "$@" "$a"; done\nexec gcc "$@"\n'
    )
    compiler.chmod(0o755)
    told = _python(few, "-m", "gsmtp", "compile", "--guided", CC=str(compiler), LDSHARED=f"{compiler} -shared")
    assert (told.returncode, told.stderr.splitlines()[-1]) == (
        1,
        "gsmtp: not compiled, all runs in Python: no profile: the compiler left none, which only gcc does; on Debian: "
        "apt-get install gcc",
    )
    assert not (few / "gsmtp" / "_compiled").exists()


def test_a_server_that_does_not_start_for_the_training_is_told(tree: Path) -> None:
    spoilt = tree / "gsmtp" / "app" / "supervisor.py"
    spoilt.write_text("raise RuntimeError('spoilt')\n", encoding="utf-8")
    with pytest.raises(TrainingFailed, match=r"(?s)^it didn't start; the server says:\n.*RuntimeError: spoilt$"):
        train(str(tree))


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
