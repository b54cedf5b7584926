"""What a hook's `init` gets: the options of its script or module stanza, each read by name and kind.

An option that nobody read is told at load: a name that is misspelled must not be ignored in silence.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from gsmtp.config import kinds
from gsmtp.config.diagnostics import Span
from gsmtp.config.kinds import Kind
from gsmtp.config.tree import Array, Dictionary, Scalar, Setting
from gsmtp.core.errors import ConfigError

T = TypeVar("T")

_MISSING: Any = object()


class Settings(Mapping[str, Any]):
    """The options of one stanza. As a mapping: names in lower case to text, tuples of texts, or dictionaries.

    Args:
        settings: those that are the hook's own, by name in lower case.
        title: how messages call the stanza, e.g. ``script "subject"``.
        folder: of the configuration file, for relative paths.
        span: of the stanza.

    Attributes:
        read: names that were asked for.
    """

    def __init__(
        self, settings: Mapping[str, Setting], title: str = "", folder: str = ".", span: Span | None = None
    ) -> None:
        self._settings = dict(settings)
        self.title = title
        self.folder = folder
        self.span = span
        self.read: set[str] = set()

    @classmethod
    def of(cls, values: Mapping[str, object]) -> Settings:
        """Settings as a file would give them, for tests: texts, lists of texts and dictionaries of texts."""
        return cls({key.lower(): _setting(key, value) for key, value in values.items()}, "the test")

    def text(self, name: str, default: str = _MISSING) -> str:
        """A text. Raises ConfigError when it is not set and has no default, or is no text."""
        return self._value(name, kinds.string, default)

    def integer(self, name: str, default: int = _MISSING, *, low: int | None = None, high: int | None = None) -> int:
        """A whole number within limits. Raises ConfigError."""
        return self._value(name, kinds.integer_between(low, high), default)

    def number(self, name: str, default: float = _MISSING) -> float:
        """A number. Raises ConfigError."""
        return self._value(name, kinds.number, default)

    def boolean(self, name: str, default: bool = _MISSING) -> bool:
        """true or false, in any of the language's words. Raises ConfigError."""
        return self._value(name, kinds.boolean, default)

    def words(self, name: str, default: tuple[str, ...] = _MISSING) -> tuple[str, ...]:
        """An array of texts; a single text counts as one of one. Raises ConfigError."""
        return self._value(name, kinds.strings, default)

    def dictionary(self, name: str, default: dict[str, str] = _MISSING) -> dict[str, str]:
        """A dictionary of texts. Raises ConfigError."""
        return self._value(name, kinds.dictionary, default)

    def _value(self, name: str, kind: Kind[T], default: T) -> T:
        self.read.add(name.lower())
        setting = self._settings.get(name.lower())
        if setting is None:
            if default is _MISSING:
                raise ConfigError(f"{self._place(None)}{self.title} needs {name}")
            return default
        try:
            return kind.parse(setting.value)
        except ValueError as error:
            raise ConfigError(f"{self._place(setting)}{name}: {error}") from error

    def _place(self, setting: Setting | None) -> str:
        span = setting.value.span if setting is not None else self.span
        return f"{span}: error: " if span is not None else ""

    def unread(self) -> list[Setting]:
        """The options that nobody asked for."""
        return [setting for name, setting in self._settings.items() if name not in self.read]

    def __getitem__(self, name: str) -> Any:
        self.read.add(name.lower())
        return _plain(self._settings[name.lower()].value)

    def __iter__(self) -> Iterator[str]:
        return iter(self._settings)

    def __len__(self) -> int:
        return len(self._settings)


def _plain(value: Scalar | Array | Dictionary) -> Any:
    if isinstance(value, Scalar):
        return value.text
    if isinstance(value, Array):
        return tuple(item.text for item in value.items)
    return {key.text: _plain(item) for key, item in value.pairs}


def _setting(name: str, value: object) -> Setting:
    return Setting(name.lower(), name, _tree_value(value), Span("test", 1, 1))


def _tree_value(value: object) -> Any:
    if isinstance(value, Mapping):
        return Dictionary(tuple((Scalar(str(key), True), _tree_value(item)) for key, item in value.items()))
    if isinstance(value, (list, tuple)):
        return Array(tuple(Scalar(str(item), True) for item in value))
    if isinstance(value, bool):
        return Scalar("true" if value else "false", False)
    return Scalar(str(value), True)
