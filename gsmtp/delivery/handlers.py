"""Handlers of mail in Python: from ``pkg.module:function`` to something that can be called; who is in force.

A load examines: it imports what is new, and puts the modules that are in force back into their places. Only when the
load as a whole succeeds the new ones take over (`adopt`). Used by the server and by its worker processes; no gevent.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import ModuleType

from gsmtp.core.inboundmail import InboundMail
from gsmtp.runtime.modules import LoadedModule, LoadError, forget, load_module, recall

Handler = Callable[[InboundMail], object]


@dataclass(frozen=True, slots=True)
class Source:
    """Where a handler is.

    Args:
        module: a dotted name, or the path of a ``.py`` file.
        name: of the function in it; dots lead into classes and objects.
        folder: that paths are relative to, and that is added to Python's path.
    """

    module: str
    name: str
    folder: str

    @classmethod
    def of(cls, text: str, folder: str) -> Source:
        """Take ``pkg.module:function`` apart. Raises ValueError with a text that completes "the handler …"."""
        module, colon, name = text.rpartition(":")
        if not colon or not module or not all(part.isidentifier() for part in name.split(".")):
            raise ValueError("is to be written pkg.module:function, or path/file.py:function")
        return cls(module, name, folder)

    def __str__(self) -> str:
        return f"{self.module}:{self.name}"


def find(source: Source, module: ModuleType) -> Handler:
    """The function of a module. Raises LoadError when there is none, or none that can be called with a message."""
    found: object = module
    for part in source.name.split("."):
        found = getattr(found, part, None)
    if not callable(found):
        raise LoadError(f"{module.__name__} has no function {source.name}")
    if inspect.iscoroutinefunction(found) or inspect.isgeneratorfunction(found) or inspect.isasyncgenfunction(found):
        raise LoadError(f"{source} is a coroutine or generator: handlers are plain functions")
    try:
        inspect.signature(found).bind(object())
    except TypeError as error:
        raise LoadError(f"{source} is called with one argument, the message: {error}") from error
    except ValueError:
        pass  # something of C that doesn't say what it takes
    return found


class Handlers:
    """The modules of all handlers in this process."""

    def __init__(self) -> None:
        self._in_force: dict[tuple[str, str], LoadedModule] = {}
        self._examined: dict[tuple[str, str], LoadedModule] = {}

    def examine(self, source: Source) -> None:
        """Import what `adopt` may put into force later. Raises LoadError; what is in force stays."""
        key = (source.module, source.folder)
        current = self._in_force.get(key)
        known = self._examined.get(key) or current
        if known is not None and not known.is_stale:
            find(source, known.module)
            self._examined[key] = known
            return
        try:
            loaded, _ = load_module(source.module, source.folder, known, lambda module: find(source, module))
        except LoadError:
            if current is not None:
                recall(current)
            raise
        self._examined[key] = loaded
        if current is not None:
            forget(loaded)
            recall(current)

    def adopt(self, sources: Iterable[Source]) -> dict[Source, Handler]:
        """Put handlers into force, those that were examined, and let go of all others. Raises LoadError."""
        wanted = list(dict.fromkeys(sources))
        for source in wanted:
            if (source.module, source.folder) not in self._examined:
                self.examine(source)  # nobody did: a test
        keys = {(source.module, source.folder) for source in wanted}
        old = self._in_force
        self._in_force = {key: self._examined[key] for key in keys}
        self._examined = {}
        in_use = {id(module) for one in self._in_force.values() for module in one.modules.values()}
        for one in old.values():
            forget(one, in_use)
        for one in self._in_force.values():
            recall(one)
        return {source: find(source, self._in_force[source.module, source.folder].module) for source in wanted}


HANDLERS = Handlers()
"""Those of this process."""
