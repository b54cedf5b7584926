"""From a script's source to Hook classes: importing what the configuration names, anew when it changed.

A source is a dotted name (``pkg.module``, ``pkg.module:Class``) or the path of a ``.py`` file, relative to the
configuration file. How they are imported is in `runtime.modules`.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import ModuleType

from gsmtp.config.suggest import did_you_mean
from gsmtp.policy.hook import METHODS, Hook
from gsmtp.runtime.modules import LoadedModule, LoadError, forget, is_path, load_module, recall

__all__ = ["LoadError", "LoadedScript", "forget", "load_script", "recall"]

_FOREIGN = {".lua": "Lua", ".luac": "Lua", ".siv": "Sieve", ".sieve": "Sieve", ".sv": "Sieve"}
_OWN_METHODS = frozenset((*METHODS.values(), "init", "deinit", "record"))


@dataclass(slots=True)
class LoadedScript(LoadedModule):
    """An imported script.

    Args:
        classes: its hooks, in the order in which they are written.
        remarks: what looks like a mistake and stops nothing.
    """

    classes: list[type[Hook]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


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
    name, _, wanted = (source, "", "") if is_path(source) else source.partition(":")

    def look(module: ModuleType) -> tuple[list[type[Hook]], list[str]]:
        classes = list(_classes(module, wanted))
        return classes, [remark for one in classes for remark in _check_class(one)]

    loaded, (classes, remarks) = load_module(name, folder, old, look)
    return LoadedScript(source, loaded.module, loaded.files, loaded.modules, classes, remarks)


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
