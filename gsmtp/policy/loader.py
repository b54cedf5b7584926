"""From a script's source to Hook classes: importing what the configuration names, anew when it changed.

A source is a dotted name (``pkg.module``, ``pkg.module:Class``) or the path of a ``.py`` file, relative to the
configuration file. The folder of the configuration file is searched behind everything else on Python's path.

A script is imported anew when its file changed, or that of a module which it brought along from the same tree. Whatever
fails leaves the modules as they were.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import linecache
import os
import sys
import traceback
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from types import ModuleType

from gsmtp.config.suggest import did_you_mean
from gsmtp.policy.hook import METHODS, Hook

_FOREIGN = {".lua": "Lua", ".luac": "Lua", ".siv": "Sieve", ".sieve": "Sieve", ".sv": "Sieve"}
_OWN_METHODS = frozenset((*METHODS.values(), "init", "deinit", "record"))


class LoadError(Exception):
    """Why a script can't be used; one line for the operator."""


@dataclass(slots=True)
class LoadedScript:
    """An imported script.

    Args:
        source: as configured.
        module: the module.
        classes: its hooks, in the order in which they are written.
        files: of it and of what it brought along, with their stamps.
        modules: names of those in `sys.modules`.
        remarks: what looks like a mistake and stops nothing.
    """

    source: str
    module: ModuleType
    classes: list[type[Hook]]
    files: dict[str, tuple[int, int]]
    modules: dict[str, ModuleType] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    @property
    def root(self) -> str:
        """The file, or the folder of the package, that is the operator's code."""
        file = self.module.__file__ or ""
        return os.path.dirname(file) + os.sep if "." in self.module.__name__ else file

    @property
    def is_stale(self) -> bool:
        """Whether a file changed since."""
        return any(_stamp(path) != stamp for path, stamp in self.files.items())


def load_script(source: str, folder: str, old: LoadedScript | None = None) -> LoadedScript:
    """Import a script, or give `old` back when nothing of it changed.

    Args:
        source: as configured.
        folder: of the configuration file.
        old: what was loaded from the same source before.

    Raises:
        LoadError: it can't be imported, or holds no usable hook. The modules are as before.
    """
    suffix = os.path.splitext(source)[1].lower()
    if suffix in _FOREIGN:
        raise LoadError(f"{source} is {_FOREIGN[suffix]}, which gsmtp doesn't run: policy is written in Python")
    if old is not None and not old.is_stale:
        return old
    before = dict(sys.modules)
    if old is not None:
        for name in old.modules:
            sys.modules.pop(name, None)
        for changed in old.files:
            _drop_bytecode(changed)
    if folder not in sys.path:
        sys.path.append(folder)  # last: a file beside the configuration must not hide a library
    importlib.invalidate_caches()
    is_path = suffix == ".py" or os.sep in source
    try:
        if is_path:
            module, wanted = _from_path(os.path.join(folder, source)), ""
        else:
            name, _, wanted = source.partition(":")
            module = _from_name(name)
        classes = list(_classes(module, wanted))
        remarks = [remark for one in classes for remark in _check_class(one)]
    except LoadError:
        _restore(before, source, folder)
        raise
    except BaseException as error:  # sys.exit() in a script stops no server
        _restore(before, source, folder)
        raise LoadError(f"{source} can't be imported: {_last_line(error)}") from error
    brought = _brought(module, before, old)
    files = {one.__file__: _stamp(one.__file__) for one in brought.values() if one.__file__}
    return LoadedScript(source, module, classes, files, brought, remarks)


def _restore(before: dict[str, ModuleType], source: str, folder: str) -> None:
    """Take back what an import added of the operator's own code. Libraries stay: some can't be imported twice."""
    package = source.partition(":")[0].partition(".")[0]
    home = os.path.dirname(os.path.join(folder, source)) + os.sep
    for name, module in list(sys.modules.items()):
        if name in before:
            continue
        file = getattr(module, "__file__", None) or ""
        if name.partition(".")[0] == package or (file.startswith(home) and "site-packages" not in file):
            del sys.modules[name]
    sys.modules.update(before)


def forget(script: LoadedScript, in_use: Container[int] = ()) -> None:
    """Undo the import of a script that is not used, but for modules whose `id` is in use."""
    for name, module in script.modules.items():
        if sys.modules.get(name) is module and id(module) not in in_use:
            del sys.modules[name]


def recall(script: LoadedScript) -> None:
    """Put the modules of a script that stays in force back in their places."""
    sys.modules.update(script.modules)


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


def _brought(module: ModuleType, before: dict[str, ModuleType], old: LoadedScript | None) -> dict[str, ModuleType]:
    """The script's module, and those of its folder or package that its import added."""
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


def _classes(module: ModuleType, wanted: str) -> Iterator[type[Hook]]:
    if wanted:
        found = getattr(module, wanted, None)
        if not (isinstance(found, type) and issubclass(found, Hook)):
            raise LoadError(f"{module.__name__} has no Hook class {wanted}")
        yield found
        return
    own = [
        one
        for one in vars(module).values()
        if isinstance(one, type)
        and issubclass(one, Hook)
        and one.__module__ == module.__name__
        and not one.__name__.startswith("_")
    ]
    if not own:
        raise LoadError(f"{module.__file__} has no class that is a gsmtp.api.Hook")
    yield from own


def _check_class(one: type[Hook]) -> Iterator[str]:
    """Raise LoadError for what can't work, and give remarks on what looks like a mistake."""
    if not any(_is_own(one, method) for method in METHODS.values()):
        hint = ", ".join(METHODS.values())
        raise LoadError(f"{_place(one)}: class {one.__name__} has no hook: none of {hint}")
    for name in sorted(_OWN_METHODS):
        if _is_own(one, name):
            _check_signature(one, name)
    for name, value in vars(one).items():
        if inspect.isfunction(value) and not name.startswith("_") and name not in _OWN_METHODS:
            hint = did_you_mean(name, _OWN_METHODS)
            if hint:
                yield f"{_place(value)}: {one.__name__}.{name} is never called: {hint}"


def _is_own(one: type[Hook], name: str) -> bool:
    return getattr(one, name) is not getattr(Hook, name)


def _check_signature(one: type[Hook], name: str) -> None:
    method = getattr(one, name)
    wanted = list(inspect.signature(getattr(Hook, name)).parameters)
    shown = f"{name}({', '.join(wanted)})"
    if not callable(method):
        raise LoadError(f"{_place(one)}: {one.__name__}.{name} is no method; it is called as {shown}")
    if inspect.iscoroutinefunction(method) or inspect.isgeneratorfunction(method) or inspect.isasyncgenfunction(method):
        raise LoadError(
            f"{_place(method)}: {one.__name__}.{name} is a coroutine or generator: hooks are plain functions"
        )
    is_bound = isinstance(inspect.getattr_static(one, name), (staticmethod, classmethod))
    count = len(wanted) - 1 if is_bound else len(wanted)
    try:
        inspect.signature(method).bind(*range(count))
    except TypeError as error:
        raise LoadError(f"{_place(method)}: {one.__name__}.{name} is called as {shown}: {error}") from error


def _place(thing: object) -> str:
    try:
        code = inspect.unwrap(thing).__code__  # type: ignore[arg-type]
        return f"{code.co_filename}:{code.co_firstlineno}"
    except AttributeError:
        pass
    try:
        lines, first = inspect.getsourcelines(thing)  # type: ignore[arg-type]
        return f"{inspect.getsourcefile(thing)}:{first}" if lines else ""  # type: ignore[arg-type]
    except (OSError, TypeError):
        return getattr(thing, "__module__", "?")


def _last_line(error: BaseException) -> str:
    """The last line of the traceback, with the place in the script where it happened."""
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
