"""YAML, the second spelling of the same tree: reference section 16."""

from __future__ import annotations

import textwrap
from typing import Any

import pytest

from gsmtp.config.diagnostics import Problems
from gsmtp.config.dump import as_data
from gsmtp.config.source import read_text


def load(text: str, name: str = "x.yaml") -> dict[str, Any]:
    """The tree's data of a text without errors."""
    problems = Problems()
    tree = read_text(textwrap.dedent(text), name, problems, follow_includes=False)
    assert not problems.has_errors, [(str(problem.span), problem.message) for problem in problems]
    return as_data(tree.root)


PAIRS = [
    # Scalars keep their text.
    (
        "a: on\nb: True\nc: 0.0\nd: 1_000\ne: 1:30\nf: 2024-01-01",
        "a = on b = True c = 0.0 d = 1_000 e = 1:30 f = 2024-01-01",
    ),
    ("file_mode: '0660'\ndirmode: \"0770\"", "file_mode = 0660 dirmode = 0770"),
    ('a: "x\\r\\n"\nb: \'\\d\'\nc: ""', 'a = "x\\r\\n" b = "\\d" c = ""'),
    ("a: |\n  one\n  two\nb: >-\n  one\n  two", 'a = "one\ntwo\n" b = "one two"'),
    # Collections.
    ("a: [x, 'y z']\nb: []\nc:\n  - 1\n  - on", 'a = ( x "y z" ) b = ( ) c = ( 1 on )'),
    ("context: {a: 1, 'b c': on}", 'context = [ a = 1 "b c" = on ]'),
    (
        "AuthPlainParameters: {uri: 'x://'}\nauthorizationparameters: {}",
        'AuthPlainParameters [ uri = "x://" ] authorizationparameters = [ ]',
    ),
    ("context: {a: [x, y]}", "context = [ a = ( x y ) ]"),
    # Stanzas.
    ("security: {user: mail}", "security { user = mail }"),
    ("security:\nesmtp_listener: {}", "security { } esmtp_listener { }"),
    (
        "ESMTP_Listener: {Listen: {':25': {idle_time: 5}, '[::1]:25': }}",
        'ESMTP_Listener { Listen ":25" { idle_time = 5 } Listen "[::1]:25" { } }',
    ),
    ("listen: {25: {a: 1}, true: {}}", 'listen "25" { a = 1 } listen "true" { }'),
    (
        "domain:\n  - {name: /b/, a: 1}\n  - {name: /a/}\n  - {/c/: {a: 2}}",
        'domain "/b/" { a = 1 } domain "/a/" { } domain "/c/" { a = 2 }',
    ),
    # A list of mappings is read one after another.
    (
        "- {a: 1, security: {user: x}}\n- {b: 2}\n- security: {group: y}",
        "a = 1 security { user = x } b = 2 security { group = y }",
    ),
    ("security: [{user: x}, {group: y}]", "security { user = x } security { group = y }"),
    ("listen: {':25': [{a: 1}, {b: 2}]}", 'listen ":25" { a = 1 } listen ":25" { b = 2 }'),
    # Unknown words: by structure, or by tag.
    ("foo: {a: 1}", "foo { a = 1 }"),
    ("foo: {x: {a: 1}, y: {}}", 'foo "x" { a = 1 } foo "y" { }'),
    ("foo: !dict {a: 1}", "foo = [ a = 1 ]"),
    ("foo: !stanza {bar: {x: {a: 1}}}", 'foo { bar "x" { a = 1 } }'),
    ("foo: !named {x: }", 'foo "x" { }'),
    # Includes.
    (
        "include: a.yaml\nreadonly_include: [b.conf, 'c d']",
        'include "a.yaml" readonly_include "b.conf" readonly_include "c d"',
    ),
    # Anchors.
    ("listen:\n  ':25': &x {a: 1}\n  ':26': *x", 'listen ":25" { a = 1 } listen ":26" { a = 1 }'),
    ("", ""),
    ("# only a comment\n", "# only a comment"),
    ("{}", ""),
]


@pytest.mark.parametrize(("yaml", "conf"), PAIRS)
def test_same_tree(yaml: str, conf: str) -> None:
    """Both readers make the same tree."""
    assert load(yaml) == load(conf, "x.conf")


def test_places_are_those_of_keys_and_values() -> None:
    """Messages about a YAML file point into it."""
    text = "esmtp_listener:\n  listen:\n    ':25':\n      idle_time: 300\n"
    tree = read_text(text, "x.yaml", Problems())
    (listener,) = tree.root.all("esmtp_listener")
    (listen,) = listener.all("listen")
    setting = listen.settings["idle_time"]
    assert (listener.span.line, listener.span.column, listener.span.length) == (1, 1, 14)
    assert (listen.span.line, listen.span.column, listen.span.length) == (3, 5, 6)
    assert (setting.span.line, setting.span.column, setting.span.length) == (4, 7, 9)
    assert (setting.value.span.line, setting.value.span.column, setting.value.span.length) == (4, 18, 3)


def test_two_spellings_of_one_socket_are_merged_with_a_warning() -> None:
    """As in conf."""
    problems = Problems()
    tree = read_text("listen: {':25': {a: 1}, '*:25': {b: 2}}", "x.yaml", problems)
    assert [problem.code for problem in problems] == ["same-socket"]
    assert len(list(tree.root.all("listen"))) == 1


def test_aliases_cannot_explode() -> None:
    """A few lines of aliases that mean millions of settings are refused in no time."""
    levels = "\n".join(
        f"{chr(98 + n)}: &{chr(98 + n)} {{x: *{chr(97 + n)}, y: *{chr(97 + n)}, z: *{chr(97 + n)}}}" for n in range(20)
    )
    problems = Problems()
    read_text(f"a: &a {{p: {{q: 1}}}}\n{levels}\n", "x.yaml", problems)
    assert "too-much" in [problem.code for problem in problems]


def test_deep_nesting_is_an_error() -> None:
    """Neither deep flow collections nor deep blocks exhaust the stack."""
    for text in ("a: " + "{b: " * 3000 + "}" * 3000, "a: " + "[" * 3000 + "]" * 3000):
        problems = Problems()
        read_text(text, "x.yaml", problems)
        assert [problem.code for problem in problems] == ["too-deep"]
