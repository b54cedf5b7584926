"""The project's own files, for tests that judge them."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def files(folder: str, pattern: str = "*.py") -> list[Path]:
    """The files below a folder of the project, sorted."""
    return sorted(path for path in (ROOT / folder).rglob(pattern) if "__pycache__" not in path.parts)


@cache
def parsed(path: Path) -> ast.Module:
    """The syntax tree of a Python file."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def shown(path: Path) -> str:
    """The path as messages name it."""
    return str(path.relative_to(ROOT))


def module_name(path: Path) -> str:
    """``gsmtp/smtp/ext/size.py`` as ``gsmtp.smtp.ext.size``."""
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
