"""Which modules run compiled: those that `gsmtp compile` made, as long as each is true to its source.

The sources are the product; compiling them with mypyc makes the same code faster and changes nothing else. What was
made lies in `gsmtp/_compiled/` beside a manifest with a hash of every source. One source that has changed since,
another Python, or GSMTP_PURE=1 in the environment, and all of it is left aside: compiled modules know each other's
insides, so it is all or nothing.
"""

from __future__ import annotations

import _imp
import os
import sys
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader, ModuleSpec

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "_compiled")
MANIFEST = os.path.join(FOLDER, "manifest")
SUFFIX = EXTENSION_SUFFIXES[0]
GROUP = "gsmtp_engine__mypyc"  # the library with the code of all modules; theirs only point into it
GUIDED = "guided"  # on the manifest's first line: laid out after a profile

_MAGIC = 0x6773  # any number that stays the same
_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class _Finder:
    """Finds compiled modules, by name."""

    def __init__(self, modules: dict[str, str]) -> None:
        self._modules = modules

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """The module's spec, or None when it isn't compiled (`importlib.abc.MetaPathFinder`)."""
        file = self._modules.get(name)
        if file is None:
            return None
        return ModuleSpec(name, ExtensionFileLoader(name, file), origin=file)


def source(name: str) -> str:
    """The path of a module's source."""
    return os.path.join(_ROOT, *name.split(".")) + ".py"


def fingerprint(path: str) -> str:
    """A hash of a file's content, as in the manifest. Raises OSError."""
    with open(path, "rb") as file:
        return _imp.source_hash(_MAGIC, file.read()).hex()


def binary(name: str, folder: str = FOLDER) -> str:
    """The path of a compiled module."""
    return os.path.join(folder, *name.split(".")) + SUFFIX


def state() -> tuple[dict[str, str], str]:
    """The files of the compiled modules by name, or none and why not."""
    if os.environ.get("GSMTP_PURE", "") not in ("", "0"):
        return {}, "GSMTP_PURE is set"
    try:
        with open(MANIFEST, encoding="utf-8") as file:
            lines = [line.split() for line in file]
    except OSError:
        return {}, "nothing has been compiled; `gsmtp compile` does it"
    if not lines or lines[0][:1] != [SUFFIX]:
        return {}, "what was compiled is for another Python; `gsmtp compile` does it anew"
    try:
        stale = [name for name, hashed in lines[1:] if fingerprint(source(name)) != hashed]
    except (OSError, ValueError):
        stale = ["a module that is gone"]
    if stale:
        return {}, f"{stale[0]} has changed since it was compiled; `gsmtp compile` does it anew"
    modules = {name: binary(name) for name, _ in lines[1:]}
    modules[GROUP] = binary(GROUP)
    return modules, ""


def is_guided() -> bool:
    """Whether what was compiled was laid out after a profile (`gsmtp compile --guided`)."""
    try:
        with open(MANIFEST, encoding="utf-8") as file:
            return file.readline().split()[1:] == [GUIDED]
    except OSError:
        return False


def use() -> None:
    """Have compiled modules imported instead of their sources, when they are true to them."""
    modules, _ = state()
    if modules:
        sys.meta_path.insert(0, _Finder(modules))


def is_used() -> bool:
    """Whether this process runs compiled modules."""
    return any(isinstance(finder, _Finder) for finder in sys.meta_path)


def words() -> str:
    """What runs in this process, in a few words for its log: "compiled", or "Python" and why if that can be mended."""
    if is_used():
        return "compiled"
    _, reason = state()
    return f"Python: {reason}" if os.path.exists(MANIFEST) else "Python"
