"""Options and plug-ins: each is documented, sourced and read; importing one registers it and does nothing else."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gsmtp.app import wiring
from gsmtp.app.wiring import load
from gsmtp.config.option import OPTIONS, Option
from tests.support.source import ROOT, files, module_name, parsed, shown

load()

PLUGIN_FOLDERS = tuple(folder.replace(".", "/") for folder in wiring.PLUGIN_FOLDERS + wiring.SERVING_FOLDERS)
PLUGINS = [p for folder in PLUGIN_FOLDERS for p in files(folder) if not p.name.startswith("_")]


def _constants() -> list[tuple[str, Option[Any]]]:
    """The module constants by which code reads options."""
    modules = [module for name, module in sys.modules.items() if name.partition(".")[0] == "gsmtp"]
    return [
        (name, option)
        for module in modules
        for name, value in vars(module).items()
        for option in (value.values() if isinstance(value, dict) else (value,))
        if isinstance(option, Option)
    ]


def test_every_declared_option_has_a_name_in_code() -> None:
    """A declaration that no constant holds can't be read by anything."""
    held = {id(option) for _, option in _constants()}
    assert not [str(option) for option in OPTIONS if id(option) not in held and not option.unserved]


def test_every_served_option_is_read() -> None:
    """An option that nothing reads would be ignored in silence."""
    read = {
        node.id if isinstance(node, ast.Name) else node.attr
        for path in files("gsmtp")
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load)
    }
    served = {name for name, option in _constants() if not option.unserved}
    assert len(served) > 40
    assert not sorted(served - read)


def test_every_option_says_what_it_does_and_where_it_comes_from() -> None:
    assert not [str(option) for option in OPTIONS if len(option.doc) < 15 or not option.doc.rstrip().endswith(".")]
    assert not [str(option) for option in OPTIONS if not option.source and not option.ours]


def _run(code: str) -> str:
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.mark.parametrize("path", PLUGINS, ids=shown)
def test_importing_a_plugin_only_registers_it(path: Path) -> None:
    out = _run(
        "import sys, threading, os, json\n"
        "before = set(os.listdir('/proc/self/fd'))\n"
        f"import {module_name(path)}\n"
        "after = set(os.listdir('/proc/self/fd'))\n"
        "print(json.dumps({'threads': threading.active_count(), 'fds': sorted(after - before),\n"
        "                  'gevent': 'gevent' in sys.modules}))"
    )
    assert json.loads(out) == {"threads": 1, "fds": [], "gevent": False}


def test_the_order_of_imports_never_matters() -> None:
    names = [module_name(path) for path in PLUGINS]
    shown_tables = (
        "from gsmtp.config.option import OPTIONS\nfrom gsmtp.delivery.transport import TRANSPORTS\n"
        "print(sorted((o.key, o.scopes) for o in OPTIONS), TRANSPORTS.names())"
    )
    orders = ["\n".join(f"import {name}" for name in order) for order in (names, names[::-1])]
    first, second = (_run(f"{order}\n{shown_tables}") for order in orders)
    assert first == second


def test_declarations_need_no_gevent() -> None:
    """`gsmtp check` starts fast, and nothing is imported before the patch."""
    out = _run("import sys\nfrom gsmtp.app.wiring import load\nload()\nprint('gevent' in sys.modules)")
    assert out.strip() == "False"
