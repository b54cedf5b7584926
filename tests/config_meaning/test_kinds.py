"""Values: what is taken for each kind, what becomes of it, and what is said of the rest."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest

from gsmtp.config import kinds
from gsmtp.config.kinds import Kind
from gsmtp.config.tree import Array, Dictionary, Scalar
from gsmtp.core.domains import DomainPatterns


def word(text: str) -> Scalar:
    return Scalar(text, False)


def array(*texts: str) -> Array:
    return Array(tuple(word(text) for text in texts))


GOOD: list[tuple[Kind[Any], str, Any]] = [
    *((kinds.boolean, text, True) for text in ("true", "TRUE", "on", "enabled", "yes", "1")),
    *((kinds.boolean, text, False) for text in ("false", "Off", "disabled", "no", "0")),
    (kinds.integer, "-12", -12),
    (kinds.integer, "0010", 10),
    (kinds.count, "0", 0),
    (kinds.integer_between(1, 5), "5", 5),
    (kinds.size, "52428800", 52428800),
    (kinds.seconds, "300", 300),
    (kinds.mode, "0660", 0o660),
    (kinds.mode, "775", 0o775),
    (kinds.number, ".5", 0.5),
    (kinds.number, "0.2", 0.2),
    (kinds.rate, "3", (3, 1)),
    (kinds.rate, "100/60", (100, 60)),
    (kinds.enumeration("ignore", "fix"), "FIX", "fix"),
    (kinds.enumeration("a", aliases={"b": "a"}), "B", "a"),
    (kinds.words_or_integer(("auto", "none"), 0), "AUTO", "auto"),
    (kinds.words_or_integer(("auto", "none"), 0), "12", 12),
    (kinds.path, "/var/spool/x y", "/var/spool/x y"),
    (kinds.string, "", ""),
    (kinds.line, "4.3.2 Reconfiguration in progress", "4.3.2 Reconfiguration in progress"),
    (kinds.word, "mx.example.com", "mx.example.com"),
    (kinds.port, "65535", 65535),
    (kinds.strings, "one", ("one",)),
    (kinds.keywords, "auth  login", ("AUTH LOGIN",)),
    (kinds.networks, "10.0.0.1/8", (ip_network("10.0.0.0/8"),)),
    (kinds.networks, "::1", (ip_network("::1/128"),)),
]


@pytest.mark.parametrize(("kind", "text", "value"), GOOD, ids=lambda value: getattr(value, "name", None))
def test_a_written_value_becomes_a_typed_one(kind: Kind[Any], text: str, value: Any) -> None:
    assert kind.parse(word(text)) == value


BAD: list[tuple[Kind[Any], str, str]] = [
    (kinds.boolean, "maybe", "expected true, false, on, off, yes, no, 1 or 0"),
    (kinds.integer, "1.5", "expected a whole number"),
    (kinds.integer, "", "expected a whole number"),
    (kinds.integer, "١٢", "expected a whole number"),
    (kinds.integer, "9" * 21, "expected a whole number"),
    (kinds.count, "-1", "expected a number not below 0"),
    (kinds.integer_between(1, 5), "6", "expected a number from 1 to 5"),
    (kinds.size, "50M", "expected a number of bytes without a unit: 52428800"),
    (kinds.size, "many", "expected a number of bytes"),
    (kinds.seconds, "5m", "expected a number of seconds without a unit: 300"),
    (kinds.seconds, "2 hours", "expected a number of seconds without a unit: 7200"),
    (kinds.mode, "0698", "expected an octal mode such as 0660"),
    (kinds.mode, "77777", "expected an octal mode such as 0660"),
    (kinds.number, "1e5", "expected a number such as 0.5"),
    (kinds.rate, "0", 'expected a rate such as "5" (5 a second) or "100/60" (100 in 60 seconds)'),
    (kinds.rate, "5/0", 'expected a rate such as "5" (5 a second) or "100/60" (100 in 60 seconds)'),
    (kinds.enumeration("ignore", "pedantic", "fix"), "mend", "expected ignore, pedantic or fix"),
    (kinds.words_or_integer(("auto", "none"), 0), "soon", "expected auto, none or a number not below 0"),
    (kinds.word, "two words", "expected one word, without blanks"),
    (kinds.word, "evil\r\n250 ok", "control characters and line ends are not allowed here"),
    (kinds.line, "a\nb", "control characters and line ends are not allowed here"),
    (kinds.path, "a\0b", "a path can't hold a NUL"),
    (kinds.port, "0", "expected a number from 1 to 65535"),
    (
        kinds.domain_patterns,
        "a*.example",
        "only the first character of a domain pattern may be '*', not as in 'a*.example'",
    ),
    (
        kinds.domain_patterns,
        "u@example.com",
        "'u@example.com' is not a domain pattern such as example.com or *.example.com",
    ),
    (kinds.dictionary, "x", "a dictionary is expected, such as [ key = value ]"),
]


@pytest.mark.parametrize(("kind", "text", "reason"), BAD)
def test_a_bad_value_says_what_is_expected(kind: Kind[Any], text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=r".") as raised:
        kind.parse(word(text))
    assert str(raised.value) == reason


def test_lists_keep_their_order_and_take_one_item_without_parentheses() -> None:
    assert kinds.strings.parse(array("b", "a", "b")) == ("b", "a", "b")
    assert kinds.strings.parse(array()) == ()
    assert kinds.networks.parse(array("127.0.0.1", "fd00::/8")) == (ip_network("127.0.0.1"), ip_network("fd00::/8"))
    assert kinds.domain_patterns.parse(array("example.com", "*.example.com")) == DomainPatterns(
        ("example.com", "*.example.com")
    )


@pytest.mark.parametrize("kind", [kinds.boolean, kinds.integer, kinds.string, kinds.path])
def test_a_scalar_is_no_list_and_no_dictionary(kind: Kind[Any]) -> None:
    with pytest.raises(ValueError, match="one value is expected, not a list"):
        kind.parse(array("true"))
    with pytest.raises(ValueError, match="one value is expected, not a dictionary"):
        kind.parse(Dictionary(()))


def test_a_dictionary_keeps_its_keys_case() -> None:
    pairs = ((word("Key"), word("v w")), (word("list"), array("a", "b")))
    assert kinds.dictionary.parse(Dictionary(pairs)) == {"Key": "v w", "list": "a b"}


@pytest.mark.parametrize(
    ("kind", "value", "shown"),
    [
        (kinds.boolean, True, "true"),
        (kinds.mode, 0o660, "0660"),
        (kinds.rate, (100, 60), '"100/60"'),
        (kinds.rate, (5, 1), '"5"'),
        (kinds.strings, ("a", "b"), '( "a" "b" )'),
        (kinds.strings, (), "( )"),
        (kinds.domain_patterns, DomainPatterns(("*.x",)), '( "*.x" )'),
        (kinds.dictionary, {"a": "b"}, '[ a = "b" ]'),
        (kinds.seconds, 300, "300"),
        (kinds.word, "", '""'),
    ],
)
def test_values_are_shown_as_one_writes_them(kind: Kind[Any], value: Any, shown: str) -> None:
    assert kind.show(value) == shown
