"""Kinds of option values: how a written value becomes a Python one, and what to say when it can't.

A parse function raises ValueError with a text that completes "value 'X' is not valid for option 'Y': …". Where a value
must be a scalar, an array or a dictionary is refused; where an array is expected, a scalar counts as one item.
Source: reference/config-language.md section 5.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from gsmtp.config.tree import Array, Dictionary, Scalar, Value
from gsmtp.core.address import Network as Network
from gsmtp.core.address import parse_network
from gsmtp.core.domains import DomainPatterns

T = TypeVar("T")

Rate = tuple[int, int]


def show_value(value: Any) -> str:
    """A typed value as one would write it in a configuration file."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "[ " + " ".join(f'{key} = "{item}"' for key, item in value.items()) + " ]" if value else "[ ]"
    if isinstance(value, tuple | DomainPatterns):
        return "( " + " ".join(f'"{item}"' for item in value) + " )" if len(value) else "( )"
    return f'"{value}"' if isinstance(value, str) else str(value)


@dataclass(frozen=True, eq=False)
class Kind(Generic[T]):
    """A type of value.

    Args:
        name: for the reference page and messages, e.g. ``"boolean"``.
        parse: turns a written value into a typed one; raises ValueError with a text that completes
            "value 'X' is not valid for option 'Y': …".
        describe: what is accepted, in words, e.g. ``"true, false, on, off, yes, no, 1 or 0"``.
        show: the typed value as it would be written; what the typed value of `show` parses to is the value again.
    """

    name: str
    parse: Callable[[Value], T]
    describe: str
    show: Callable[[Any], str] = show_value


def scalar_text(value: Value) -> str:
    """The text of a scalar. Raises ValueError for an array or a dictionary."""
    if isinstance(value, Scalar):
        return value.text
    raise ValueError("one value is expected, not " + ("a list" if isinstance(value, Array) else "a dictionary"))


def item_texts(value: Value) -> tuple[str, ...]:
    """The texts of an array; a scalar counts as an array of one. Raises ValueError for a dictionary."""
    if isinstance(value, Scalar):
        return (value.text,)
    if isinstance(value, Array):
        return tuple(item.text for item in value.items)
    raise ValueError("a list in ( ) is expected, not a dictionary")


def one(parse: Callable[[str], T]) -> Callable[[Value], T]:
    """A parser of scalars from a parser of their text."""
    return lambda value: parse(scalar_text(value))


# --- scalars --------------------------------------------------------------------------------------

BOOLEAN_WORDS = {
    **dict.fromkeys(("true", "on", "enabled", "yes", "1"), True),
    **dict.fromkeys(("false", "off", "disabled", "no", "0"), False),
}
"""Documented words, and yes/no (reference/config-language.md section 5)."""

_INTEGER = re.compile(r"-?[0-9]+\Z")
_UNIT_TEXT = re.compile(r"\s*([0-9]+)\s*([A-Za-z]+)\s*\Z")
_SIZE_UNITS = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_TIME_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def _boolean(text: str) -> bool:
    try:
        return BOOLEAN_WORDS[text.lower()]
    except KeyError:
        raise ValueError("expected true, false, on, off, yes, no, 1 or 0") from None


def _without_unit(text: str, units: dict[str, int], what: str) -> str:
    """What to write instead of a number with a unit, which no option of the listener takes."""
    match = _UNIT_TEXT.match(text)
    factor = units.get(match[2][0].lower()) if match else None
    if match is None or factor is None:
        return f"expected a number of {what}"
    return f"expected a number of {what} without a unit: {int(match[1]) * factor}"


def _number(text: str, low: int | None, high: int | None, otherwise: str = "expected a whole number") -> int:
    if not _INTEGER.match(text) or len(text) > 20:
        raise ValueError(otherwise)
    number = int(text)
    if (low is not None and number < low) or (high is not None and number > high):
        raise ValueError(f"expected a number {_range(low, high)}")
    return number


def _range(low: int | None, high: int | None) -> str:
    if low is not None and high is not None:
        return f"from {low} to {high}"
    return f"not below {low}" if low is not None else f"not above {high}"


def integer_between(low: int | None = None, high: int | None = None) -> Kind[int]:
    """Whole numbers from `low` to `high`, both included; None leaves an end open. Leading zeros don't mean octal."""
    name = "integer" if (low, high) == (None, None) else f"integer {_range(low, high)}"
    return Kind(name, one(lambda text: _number(text, low, high)), f"a whole number {_range(low, high)}")


def _mode(text: str) -> int:
    digits = text.removeprefix("0o")
    if not re.fullmatch(r"[0-7]{1,5}", digits) or int(digits, 8) > 0o7777:
        raise ValueError("expected an octal mode such as 0660")
    return int(digits, 8)


def _float(text: str) -> float:
    if not re.fullmatch(r"-?([0-9]+(\.[0-9]*)?|\.[0-9]+)", text):
        raise ValueError("expected a number such as 0.5")
    return float(text)


def _rate(text: str) -> Rate:
    match = re.fullmatch(r"([0-9]{1,9})(?:/([0-9]{1,9}))?", text.strip())
    if not match or not int(match[1]) or not int(match[2] or 1):
        raise ValueError('expected a rate such as "5" (5 a second) or "100/60" (100 in 60 seconds)')
    return int(match[1]), int(match[2] or 1)


def _no_controls(text: str) -> str:
    if any(ord(character) < 32 or ord(character) == 127 for character in text):
        raise ValueError("control characters and line ends are not allowed here")
    return text


def _word(text: str) -> str:
    if any(character.isspace() for character in _no_controls(text)):
        raise ValueError("expected one word, without blanks")
    return text


def _path(text: str) -> str:
    if "\0" in text:
        raise ValueError("a path can't hold a NUL")
    return text


def enumeration(*words: str, aliases: dict[str, str] | None = None) -> Kind[str]:
    """One of a set of words, matched without case; the value is spelled as in `words`.

    Args:
        words: the values.
        aliases: other spellings (lower case) and the word each stands for.
    """
    table = {word.lower(): word for word in words} | (aliases or {})
    expected = _either(words)

    def parse(text: str) -> str:
        try:
            return table[text.lower()]
        except KeyError:
            raise ValueError(f"expected {expected}") from None

    return Kind("one of " + ", ".join(words), one(parse), expected)


def words_or_integer(words: tuple[str, ...], low: int, high: int | None = None) -> Kind[str | int]:
    """One of a set of words (the value is that word) or a whole number (the value is an int)."""
    expected = f"{', '.join(words)} or a number {_range(low, high)}"

    def parse(text: str) -> str | int:
        if text.lower() in words:
            return text.lower()
        if not _INTEGER.match(text):
            raise ValueError(f"expected {expected}")
        return _number(text, low, high)

    return Kind(f"{', '.join(words)} or integer", one(parse), expected)


def _either(words: tuple[str, ...]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


boolean: Kind[bool] = Kind("boolean", one(_boolean), "true, false, on, off, enabled, disabled, yes, no, 1 or 0")
integer: Kind[int] = Kind("integer", one(lambda text: _number(text, None, None)), "a whole number")
count: Kind[int] = integer_between(0)
port: Kind[int] = Kind("port", one(lambda text: _number(text, 1, 65535)), "a port number from 1 to 65535")
size: Kind[int] = Kind(
    "size",
    one(lambda text: _number(text, 0, None, _without_unit(text, _SIZE_UNITS, "bytes"))),
    "a number of bytes, 0 or more",
)
seconds: Kind[int] = Kind(
    "seconds",
    one(lambda text: _number(text, 0, None, _without_unit(text, _TIME_UNITS, "seconds"))),
    "a number of seconds, 0 or more",
)
mode: Kind[int] = Kind("mode", one(_mode), "permission bits in octal, such as 0660", show=lambda value: f"{value:04o}")
number: Kind[float] = Kind("number", one(_float), "a number such as 0.5")
rate: Kind[Rate] = Kind(
    "rate",
    one(_rate),
    '"N" (N a second) or "N/S" (N in S seconds)',
    show=lambda value: f'"{value[0]}/{value[1]}"' if value[1] != 1 else f'"{value[0]}"',
)
path: Kind[str] = Kind("path", one(_path), "a path")
string: Kind[str] = Kind("string", one(str), "text")
line: Kind[str] = Kind("line", one(_no_controls), "text without line ends or control characters")
word: Kind[str] = Kind("word", one(_word), "one word")


# --- lists and dictionaries -----------------------------------------------------------------------


def _networks(value: Value) -> tuple[Network, ...]:
    return tuple(parse_network(text) for text in item_texts(value))


def _dictionary(value: Value) -> dict[str, str]:
    if not isinstance(value, Dictionary):
        raise ValueError("a dictionary is expected, such as [ key = value ]")
    return {key.text: " ".join(item_texts(item)) for key, item in value.pairs}


def _keywords(value: Value) -> tuple[str, ...]:
    return tuple(dict.fromkeys(" ".join(_no_controls(text).upper().split()) for text in item_texts(value)))


strings: Kind[tuple[str, ...]] = Kind("list of strings", item_texts, "a list of texts in ( )")
keywords: Kind[tuple[str, ...]] = Kind("list of keywords", _keywords, "a list of keywords in ( ), in any case")
networks: Kind[tuple[Network, ...]] = Kind(
    "list of networks", _networks, "a list of addresses and CIDR blocks, such as ( 127.0.0.1 10.0.0.0/8 ::1 )"
)
domain_patterns: Kind[DomainPatterns] = Kind(
    "list of domain patterns",
    lambda value: DomainPatterns(item_texts(value)),
    "a list of domains, *.domain (everything below it) or *text (everything that ends so)",
)
dictionary: Kind[dict[str, str]] = Kind("dictionary", _dictionary, "pairs in [ ], such as [ key = value ]")
