"""Repeated stanzas and options: reference section 11."""

from __future__ import annotations

from typing import Any

import pytest

from gsmtp.config.diagnostics import Problems
from gsmtp.config.dump import as_data
from gsmtp.config.source import read_text


def load(text: str, name: str = "x.conf") -> tuple[dict[str, Any], list[str]]:
    """The tree's data and the codes of its warnings."""
    problems = Problems()
    tree = read_text(text, name, problems)
    assert not problems.has_errors
    return as_data(tree.root), [problem.code for problem in problems]


@pytest.mark.parametrize(
    ("word", "first", "second", "instance"),
    [
        ("Listen", ":25", "*:25", "0.0.0.0:25"),
        ("Listen", "[*]:25", "[::]:25", "[::]:25"),
        ("Listen", "[::192.168.0.1]:25", "[::C0A8:1]:25", "[::c0a8:1]:25"),
        ("Peer", "10.0.0.1/8", "10.0.0.0/8", "10.0.0.0/8"),
        ("Peer", "10.0.0.1", "10.0.0.1/32", "10.0.0.1/32"),
        ("Peer", "FD00::1", "[fd00::1]", "fd00::1/128"),
    ],
)
def test_two_names_of_one_thing(word: str, first: str, second: str, instance: str) -> None:
    """Both stanzas make one scope, with a warning."""
    data, codes = load(f'{word} "{first}" {{ a = 1 }}\n{word} "{second}" {{ b = 2 }}\n')
    assert data["scopes"][word.lower()] == [[instance, {"settings": {"a": "1", "b": "2"}}]]
    assert codes == ["same-socket" if word == "Listen" else "same-network"]


@pytest.mark.parametrize(
    ("word", "first", "second", "same"),
    [
        ("Domain", "Example.COM", "example.com", True),
        ("Domain", "/^A$/", "/^a$/", False),
        ("Domain", "[IPv6:FD00::1]", "[ipv6:fd00::1]", True),
        ("ThreadPool", "IO", "io", True),
        ("Pathway", "Strict", "strict", False),
        ("Pathway_Group", "G", "g", False),
        ("Binding", "B", "b", False),
        ("Binding_Group", "B", "b", False),
        ("some_module", "X", "x", True),
        ("Listen", ":25", ":26", False),
        ("Listen", ":25", "[*]:25", False),
        ("Listen", "127.0.0.1:25", ":25", False),
        ("Listen", "/run/x", "/run/X", False),
        ("Peer", "10.0.0.0/8", "10.0.0.0/9", False),
    ],
)
def test_case_of_instance_names(word: str, first: str, second: str, same: bool) -> None:
    """Section 11: which names are compared without case."""
    data, codes = load(f'{word} "{first}" {{ a = 1 }}\n{word} "{second}" {{ b = 2 }}\n')
    assert len(data["scopes"][word.lower()]) == (1 if same else 2)
    assert codes == []


def test_first_spelling_is_kept() -> None:
    """For messages and listings."""
    tree = read_text('ThreadPool "SwapIn" { }\nthreadpool "SWAPIN" { a = 1 }\n', "x.conf", Problems())
    (pool,) = tree.root.all("threadpool")
    assert (pool.instance, pool.spelled, len(pool.spans)) == ("swapin", "SwapIn", 2)


def test_unnamed_stanzas_are_merged_option_by_option() -> None:
    """A later stanza overrides what it sets and leaves the rest; twice in one file is worth a warning."""
    data, codes = load("Security { user = a group = b }\nSecurity { user = c }\n")
    assert data == {"scopes": {"security": [[None, {"settings": {"user": "c", "group": "b"}}]]}}
    assert codes == ["set-twice"]


def test_arrays_and_dictionaries_are_replaced() -> None:
    """Neither appended nor merged."""
    data, codes = load("a = ( x y )\na = ( z )\nb = [ k = 1 ]\nb = [ l = 2 ]\n")
    assert data["settings"] == {"a": ["z"], "b": {"l": "2"}}
    assert codes == ["set-twice", "set-twice"]


def test_repeated_key_of_a_dictionary() -> None:
    """The last one wins, in the place of the first, with a warning."""
    data, codes = load("a = [ k = 1 l = 2 k = 3 ]\n")
    assert list(data["settings"]["a"].items()) == [("k", "3"), ("l", "2")]
    assert codes == ["set-twice"]


def test_settings_keep_what_they_override() -> None:
    """The chain of a setting leads back through all that was said before."""
    tree = read_text("Idle_Time = 1\nidle_time = 2\nIDLE_TIME = 3\n", "x.conf", Problems())
    setting = tree.root.settings["idle_time"]
    assert (setting.spelled, setting.span.line) == ("IDLE_TIME", 3)
    assert setting.previous is not None
    assert setting.previous.previous is not None
    assert setting.previous.previous.spelled == "Idle_Time"
    assert setting.previous.previous.previous is None


def test_order_of_stanzas_is_that_of_first_appearance() -> None:
    """Regex domains are tried in file order."""
    tree = read_text(
        'Domain "/b/" { }\nDomain "/a/" { }\nDomain "/b/" { x = 1 }\nDomain "/c/" { }\n', "x.conf", Problems()
    )
    assert [scope.spelled for scope in tree.root.all("domain")] == ["/b/", "/a/", "/c/"]


def test_one_word_named_and_unnamed() -> None:
    """An unnamed stanza and a named one of the same word are two scopes."""
    data, _ = load('maildir { a = 1 }\nmaildir "x" { a = 2 }\n')
    assert [name for name, _ in data["scopes"]["maildir"]] == [None, "x"]
