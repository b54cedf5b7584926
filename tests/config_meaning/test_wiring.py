"""What declares is loaded, once, and without gevent."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from gsmtp.app import wiring
from gsmtp.config.option import OPTIONS
from gsmtp.core.errors import ConfigError

ROOT = Path(__file__).parents[2]


def _python(code: str, *arguments: str) -> str:
    run = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "conf/dev.conf"],
        ["check", "--syntax-only", "conf/dev.conf"],
        ["explain", "conf/dev.conf", "", "hostname"],
        ["options", "hostname"],
        ["--version"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_no_subcommand_but_run_imports_gevent(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom gsmtp.__main__ import main\nassert main() == 0\n"
        "print('gevent was imported' if 'gevent' in sys.modules else 'no gevent')"
    )
    assert _python(code, *arguments).splitlines()[-1] == "no gevent"


def test_run_patches_before_anything_else_is_imported() -> None:
    """By the time `gsmtp.cli` is imported, sockets and threads are green."""
    code = (
        "import sys\nimport gsmtp.__main__\n"
        "from gevent import monkey\n"
        "print(monkey.is_module_patched('socket'), monkey.is_module_patched('threading'), 'gsmtp.cli' in sys.modules)"
    )
    assert _python(code, "run", "none.conf").strip() == "True True False"


def test_syntax_only_loads_no_declarations() -> None:
    code = "import sys\nfrom gsmtp.__main__ import main\nmain()\nprint('gsmtp.policy.options' in sys.modules)"
    assert _python(code, "check", "--syntax-only", "conf/dev.conf").splitlines()[-1] == "False"


def test_what_only_a_server_loads_declares_nothing() -> None:
    code = (
        "import sys\nfrom gsmtp.app import wiring\nfrom gsmtp.config.option import OPTIONS\n"
        "from gsmtp.config.stanza import STANZAS\n"
        "def known(): return [*OPTIONS, *STANZAS]\n"
        "wiring.load(serving=False)\nbefore = known()\nwiring.load()\nprint(known() == before)"
    )
    assert _python(code).strip() == "True"


def test_loading_again_does_nothing() -> None:
    wiring.load()
    before = list(OPTIONS)
    wiring.load()
    wiring.declare_all()
    assert list(OPTIONS) == before


def test_files_with_a_leading_underscore_do_not_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "some_plugins"
    folder.mkdir()
    for name in ("__init__", "_skeleton", "second", "first"):
        (folder / f"{name}.py").write_text("", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    assert wiring.plugin_modules("some_plugins") == ["some_plugins.first", "some_plugins.second"]


def test_a_plugin_of_another_package_that_fails_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "theirs-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n", encoding="utf-8")
    (package / "entry_points.txt").write_text(
        f"[{wiring.ENTRY_POINTS}]\ntheirs = no_such_module_of_theirs\n", encoding="utf-8"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    wiring.load.cache_clear()
    try:
        with pytest.raises(ConfigError, match=r"plug-in theirs \(no_such_module_of_theirs\) can't be loaded"):
            wiring.load()
    finally:
        wiring.load.cache_clear()
