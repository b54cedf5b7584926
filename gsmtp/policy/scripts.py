"""The hooks of one configuration: its scripts and modules, made in the order in which the file names them.

Made before the configuration takes effect; whatever fails leaves what runs as it was. A script that did not change,
file and stanza, goes on with the same object.

Source: reference/policy-and-context.md sections 3.1 and 6 number 1.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from gsmtp.config.diagnostics import Span
from gsmtp.config.option import OPTIONS
from gsmtp.config.scopes import Configuration
from gsmtp.config.tree import Array, Dictionary, Scalar, Scope, Value
from gsmtp.config.view import View
from gsmtp.core.errors import ConfigError
from gsmtp.core.records import Record
from gsmtp.policy import chain
from gsmtp.policy.call import Call, Calls
from gsmtp.policy.hook import METHODS, NATIVE_POOL, Hook, Manner, manner_of
from gsmtp.policy.loader import LoadedScript, LoadError, forget, load_script, recall
from gsmtp.policy.module import MODULES, Building
from gsmtp.policy.script_options import FAIL_OPEN, SOURCE, THREAD, TIMEOUT
from gsmtp.policy.settings import Settings

log = logging.getLogger("gsmtp.policy")

FIRST_ORDER = 10_000
"""Scripts and modules come behind the built-in checks."""

_FALSE = frozenset(("false", "no", "off", "disabled", "0", ""))
_TRUE = frozenset(("true", "yes", "on", "enabled", "1"))


@dataclass(slots=True)
class Installed:
    """The hooks of one stanza.

    Args:
        title: of the stanza, for messages.
        hooks: its objects.
        key: what they were made from; the same key and an unchanged file mean the same objects.
        script: what was imported, None for a module.
        fail_open: of the script.
        manner: what the stanza says on how to call them.
    """

    title: str
    hooks: list[Hook]
    key: object = None
    script: LoadedScript | None = None
    fail_open: bool = False
    manner: Manner = field(default_factory=Manner)


class Recorder:
    """Tells one hook of records (`observe.journal.RecordLog`); its trouble is logged, and nobody else's.

    Args:
        hook: with a method `record`.
    """

    def __init__(self, hook: Hook) -> None:
        self._hook = hook

    def record(self, record: Record) -> None:
        """Tell it."""
        try:
            self._hook.record(record)
        except Exception:
            log.exception("hook %s failed with a record", self._hook.name)

    def trouble(self, trouble: object) -> None:
        """Errors of the server are nothing to count."""


class Scripts:
    """All of them. Make it with `build`."""

    def __init__(self, installed: list[Installed]) -> None:
        self.installed = installed

    @classmethod
    def build(
        cls,
        configuration: Configuration,
        old: Scripts | None,
        *,
        datasources: Any = None,
        has_pool: Callable[[str], bool] = lambda _: True,
    ) -> Scripts:
        """Import and initialise what a configuration names.

        Args:
            configuration: the one that is being prepared.
            old: what runs, to go on with.
            datasources: for modules.
            has_pool: whether there is a ThreadPool of a name.

        Raises:
            ConfigError: with the place of the stanza or option; nothing has changed.
        """
        builder = _Builder(configuration, old, datasources, has_pool)
        try:
            for scope in configuration.tree.root.children.values():
                if scope.kind == "scriptlet":
                    for script in scope.all("script"):
                        builder.add_script(script)
                elif scope.kind in MODULES:
                    builder.add_module(scope)
        except BaseException:
            builder.undo()
            raise
        return cls(builder.installed)

    def hooks(self, calls: Calls) -> Iterator[chain.Hook]:
        """What a chain is made of."""
        for number, one in enumerate(self.installed):
            for hook in one.hooks:
                yield from _chain_hooks(hook, one, FIRST_ORDER + number, calls)

    def recorders(self) -> list[Recorder]:
        """The hooks that want to be told of records."""
        hooks = {id(hook): hook for one in self.installed for hook in one.hooks}
        return [Recorder(hook) for hook in hooks.values() if type(hook).record is not Hook.record]

    def roots(self) -> list[str]:
        """Files and folders of the operator's code."""
        return [one.script.root for one in self.installed if one.script is not None]

    def release(self, successor: Scripts | None = None) -> None:
        """Let go: `deinit` of every hook that `successor` doesn't go on with. Trouble is logged."""
        kept = {id(hook) for one in successor.installed for hook in one.hooks} if successor is not None else set()
        for one in self.installed:
            for hook in one.hooks:
                if id(hook) not in kept:
                    _deinit(one.title, hook)
        in_use = {id(module) for one in (successor.installed if successor else ()) if one.script is not None
                  for module in one.script.modules.values()}  # fmt: skip
        for one in self.installed:
            if one.script is not None:
                forget(one.script, in_use)
        for one in successor.installed if successor is not None else ():
            if one.script is not None:
                recall(one.script)


def _deinit(title: str, hook: Hook) -> None:
    try:
        answer = hook.deinit()
        if answer is not True:
            log.error("%s: deinit of %s returned %r instead of True", title, type(hook).__name__, answer)
    except BaseException:  # a script's sys.exit() stops no server
        log.exception("%s: deinit of %s failed", title, type(hook).__name__)


class _Builder:
    """Builds one `Scripts`, and can take it back."""

    def __init__(
        self, configuration: Configuration, old: Scripts | None, datasources: Any, has_pool: Callable[[str], bool]
    ) -> None:
        self._configuration = configuration
        self._old = {one.title: one for one in old.installed} if old is not None else {}
        self._datasources = datasources
        self._has_pool = has_pool
        self._folder = os.path.dirname(os.path.abspath(next(iter(configuration.tree.files), "")))
        self._made: list[tuple[str, Hook]] = []
        self._imported: dict[str, LoadedScript] = {}
        self.installed: list[Installed] = []

    def undo(self) -> None:
        for title, hook in self._made:
            _deinit(title, hook)
        for script in self._imported.values():
            forget(script)
        for one in self._old.values():
            if one.script is not None:
                recall(one.script)

    def add_script(self, scope: Scope) -> None:
        view = View((scope,), generation=self._configuration.generation)
        title = str(scope)
        setting = scope.settings[SOURCE.key]
        old = self._old.get(title)
        script = self._load(view[SOURCE], setting.value.span, old)
        manner = self._manner(view, scope)
        own = {name: one for name, one in scope.settings.items() if OPTIONS.find("script", name) is None}
        key = (view[SOURCE], tuple((name, _words(one.value)) for name, one in own.items()))
        if old is not None and old.script is script and old.key == key:
            hooks = old.hooks
        else:
            settings = Settings(own, title, self._folder, scope.span)
            hooks = [self._make(one, title, settings, setting.value.span) for one in script.classes]
            _tell_unread(settings)
            for remark in script.remarks:
                log.warning("%s: %s", title, remark)
        for hook in hooks:
            hook.name = hook.name or scope.spelled or ""
        self.installed.append(Installed(title, hooks, key, script, view[FAIL_OPEN], manner))

    def _load(self, source: str, span: Span, old: Installed | None) -> LoadedScript:
        known = self._imported.get(source)
        if known is not None:
            return known
        before = old.script if old is not None and old.script is not None and old.script.source == source else None
        try:
            script = load_script(source, self._folder, before)
        except LoadError as error:
            raise ConfigError(f"{span}: error: {error}") from error
        if script is not before:
            self._imported[source] = script
        return script

    def _make(self, one: type[Hook], title: str, settings: Settings, span: Span) -> Hook:
        try:
            hook = one()
            answer: object = hook.init(settings)
        except ConfigError:
            raise
        except BaseException as error:
            raise ConfigError(f"{span}: error: init of {one.__name__} failed: {_told(error)}") from error
        if answer is not True:
            raise ConfigError(f"{span}: error: init of {one.__name__} returned {answer!r}: it has to return True")
        self._made.append((title, hook))
        self._check_pools(hook, span)
        return hook

    def _check_pools(self, hook: Hook, span: Span) -> None:
        for phase, name in METHODS.items():
            pool = _manner(hook, phase, Manner()).pool
            if pool and not self._has_pool(pool):
                raise ConfigError(
                    f'{span}: error: {type(hook).__name__}.{name} wants ThreadPool "{pool}", which is not defined'
                )

    def _manner(self, view: View, scope: Scope) -> Manner:
        word = view[THREAD]
        if word.lower() in _FALSE:
            pool = None
        else:
            pool = NATIVE_POOL if word.lower() in _TRUE else word
            if not self._has_pool(pool):
                span = scope.settings[THREAD.key].value.span
                raise ConfigError(f'{span}: error: ThreadPool "{pool}" is not defined')
        if view[TIMEOUT] < 0:
            raise ConfigError(f"{scope.settings[TIMEOUT.key].value.span}: error: a deadline can't be negative")
        return Manner(pool, view[TIMEOUT])

    def add_module(self, scope: Scope) -> None:
        builder = MODULES.get(scope.kind)
        assert builder is not None
        title = str(scope)
        old = self._old.get(title)
        view = View((scope,), generation=self._configuration.generation)
        before = old.hooks[0] if old is not None and old.hooks else None
        made = builder(Building(self._configuration, view, scope, self._datasources, before))
        hooks: Sequence[Hook] = [] if made is None else [made] if isinstance(made, Hook) else list(made)
        self._made.extend((title, hook) for hook in hooks if hook is not before)
        for hook in hooks:
            hook.name = hook.name or scope.kind
        self.installed.append(Installed(title, list(hooks), manner=Manner(deadline_s=TIMEOUT.default)))


def _chain_hooks(hook: Hook, one: Installed, order: int, calls: Calls) -> Iterator[chain.Hook]:
    for phase, name in METHODS.items():
        if getattr(type(hook), name) is getattr(Hook, name):
            continue
        manner = _manner(hook, phase, one.manner)
        waits = manner.waits is not False or bool(manner.pool)
        call = Call(
            hook.name, phase, getattr(hook, name), calls, manner.deadline_s or 0.0, manner.pool or "",
            one.fail_open, waits,
        )  # fmt: skip
        yield chain.Hook(hook.name, phase, order, call, waits)


def _manner(hook: Hook, phase: Any, stanza: Manner) -> Manner:
    """What the method says, else its class, else the stanza."""
    method = manner_of(getattr(type(hook), METHODS[phase]))
    for one in type(hook).__mro__:
        method = method.under(manner_of(one))
    return method.under(stanza)


def _tell_unread(settings: Settings) -> None:
    for setting in settings.unread():
        log.warning("%s: %s doesn't read %s", setting.span, settings.title, setting.spelled)


def _told(error: BaseException) -> str:
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    place = f" ({frame.tb_frame.f_code.co_filename}:{frame.tb_lineno})" if frame is not None else ""
    return f"{type(error).__name__}: {error}{place}"


def _words(value: Value) -> object:
    """A value without its places, to compare."""
    if isinstance(value, Scalar):
        return value.text
    if isinstance(value, Array):
        return tuple(item.text for item in value.items)
    assert isinstance(value, Dictionary)
    return tuple((key.text, _words(item)) for key, item in value.pairs)
