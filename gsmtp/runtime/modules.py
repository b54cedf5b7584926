"""Importing code of the operator's own, anew when it changed: policy scripts, and handlers of mail.

A source is a dotted name (``pkg.module``) or the path of a ``.py`` file, relative to a folder, which is searched behind
everything else on Python's path.

A module is imported anew when its file changed, or that of a module which it brought along from the same tree. Whatever
fails leaves the modules as they were.
"""

from __future__ import annotations

import importlib
import importlib.util
import linecache
import os
import sys
import traceback
from collections.abc import Callable, Container
from dataclasses import dataclass, field
from types import ModuleType
from typing import TypeVar

T = TypeVar("T")


class LoadError(Exception):
    """Why code can't be used; one line for the operator."""


@dataclass(slots=True)
class LoadedModule:
    """An imported module.

    Args:
        source: as configured.
        module: the module.
        files: of it and of what it brought along, with their stamps.
        modules: names of those in `sys.modules`.
    """

    source: str
    module: ModuleType
    files: dict[str, tuple[int, int]]
    modules: dict[str, ModuleType] = field(default_factory=dict)

    @property
    def root(self) -> str:
        """The file, or the folder of the package, that is the operator's code."""
        file = self.module.__file__ or ""
        return os.path.dirname(file) + os.sep if "." in self.module.__name__ else file

    @property
    def is_stale(self) -> bool:
        """Whether a file changed since."""
        return any(_stamp(path) != stamp for path, stamp in self.files.items())


def is_path(source: str) -> bool:
    """Whether a source is the path of a file."""
    return source.lower().endswith(".py") or os.sep in source


def load_module(
    source: str, folder: str, old: LoadedModule | None, look: Callable[[ModuleType], T]
) -> tuple[LoadedModule, T]:
    """Import a module, anew if `old` was imported before.

    Args:
        source: a dotted name or a path.
        folder: that paths are relative to, and that is added to Python's path.
        old: what was loaded from the same source before.
        look: finds what is wanted in the module; raises LoadError when it isn't there.

    Returns:
        The module, and what `look` found.

    Raises:
        LoadError: it can't be imported. The modules are as before.
    """
    before = dict(sys.modules)
    if old is not None:
        for name in old.modules:
            sys.modules.pop(name, None)
        for changed in old.files:
            _drop_bytecode(changed)
    if folder not in sys.path:
        sys.path.append(folder)  # last: a file beside the configuration must not hide a library
    importlib.invalidate_caches()
    try:
        module = _from_path(os.path.join(folder, source)) if is_path(source) else _from_name(source)
        found = look(module)
    except LoadError:
        _restore(before, source, folder)
        raise
    except BaseException as error:  # sys.exit() in a script stops no server
        _restore(before, source, folder)
        raise LoadError(f"{source} can't be imported: {last_line(error)}") from error
    brought = _brought(module, before, old)
    files = {one.__file__: _stamp(one.__file__) for one in brought.values() if one.__file__}
    return LoadedModule(source, module, files, brought), found


def _restore(before: dict[str, ModuleType], source: str, folder: str) -> None:
    """Take back what an import added of the operator's own code. Libraries stay: some can't be imported twice."""
    package = source.partition(".")[0]
    home = os.path.dirname(os.path.join(folder, source)) + os.sep
    for name, module in list(sys.modules.items()):
        if name in before:
            continue
        file = getattr(module, "__file__", None) or ""
        if name.partition(".")[0] == package or (file.startswith(home) and "site-packages" not in file):
            del sys.modules[name]
    sys.modules.update(before)


def forget(loaded: LoadedModule, in_use: Container[int] = ()) -> None:
    """Undo an import that is not used, but for modules whose `id` is in use."""
    for name, module in loaded.modules.items():
        if sys.modules.get(name) is module and id(module) not in in_use:
            del sys.modules[name]


def recall(loaded: LoadedModule) -> None:
    """Put the modules of what stays in force back in their places."""
    sys.modules.update(loaded.modules)


def _from_path(path: str) -> ModuleType:
    path = os.path.abspath(path)
    if not os.path.isfile(path):
        raise LoadError(f"there is no file {path}")
    name = "gsmtp_script_" + "".join(letter if letter.isalnum() else "_" for letter in path)
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise LoadError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    linecache.checkcache(path)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _from_name(name: str) -> ModuleType:
    if not all(part.isidentifier() for part in name.split(".")):
        raise LoadError(f"{name!r} is neither a module (pkg.module) nor the path of a .py file")
    return importlib.import_module(name)


def _brought(module: ModuleType, before: dict[str, ModuleType], old: LoadedModule | None) -> dict[str, ModuleType]:
    """The module, and those of its folder or package that its import added."""
    folder = os.path.dirname(module.__file__ or "") + os.sep
    package = module.__name__.partition(".")[0] if "." in module.__name__ else ""
    brought = {module.__name__: module}
    for name, one in list(sys.modules.items()):
        is_known = before.get(name) is one and not (old is not None and name in old.modules)
        file = getattr(one, "__file__", None)
        if is_known or not file or name.startswith("gsmtp."):
            continue
        in_package = package and (name == package or name.startswith(package + "."))
        if in_package or (file.startswith(folder) and "site-packages" not in file):
            brought[name] = one
    return brought


def last_line(error: BaseException) -> str:
    """The last line of the traceback, with the place in the operator's code where it happened."""
    text = "".join(traceback.format_exception_only(error)).strip().rpartition("\n")[2]
    if isinstance(error, SyntaxError) and error.filename:
        return f"{text} ({error.filename}:{error.lineno})"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "importlib" not in frame.filename]
    frames = [frame for frame in frames if frame.filename != __file__]
    return f"{text} ({frames[-1].filename}:{frames[-1].lineno})" if frames else text


def _drop_bytecode(path: str) -> None:
    """Python tells changed files by whole seconds and size; a quick edit may keep both."""
    try:
        os.unlink(importlib.util.cache_from_source(path))
    except OSError:
        pass


def _stamp(path: str) -> tuple[int, int]:
    try:
        found = os.stat(path)
    except OSError:
        return (0, -1)
    return found.st_mtime_ns, found.st_size
