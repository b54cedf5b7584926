"""The rules of the language, one by one: reference/config-language.md sections 1 to 8 and 12."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import pytest

from gsmtp.config.diagnostics import Problems
from gsmtp.config.dump import as_data
from gsmtp.config.source import read, read_text


def load(text: str, *, warnings: int = 0) -> dict[str, Any]:
    """The tree's data of a text that has no error and that many warnings."""
    problems = Problems()
    tree = read_text(text, "x.conf", problems, follow_includes=False)
    assert not problems.has_errors, [(str(problem.span), problem.message) for problem in problems]
    assert len(problems) == warnings
    return as_data(tree.root)


def value(text: str, *, warnings: int = 0) -> Any:
    """The value of option `a`."""
    return load(text, warnings=warnings)["settings"]["a"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # Section 3: words.
        ("a = 300", "300"),
        ("a=300", "300"),
        ("a = x# note", "x"),
        ("a = x/* note */", "x"),
        ("a = /var/log/x.ec", "/var/log/x.ec"),
        ("a = digest:///etc/passwd", "digest:///etc/passwd"),
        ("a = //host/share", "//host/share"),
        ("a = x;y", "x;y"),
        ("a = a:b,c*d+e-f_g%h<i@j|k?l$m!n~o^p&q", "a:b,c*d+e-f_g%h<i@j|k?l$m!n~o^p&q"),
        ("a = é", "é"),
        ("a\n=\n300", "300"),
        ("a =\n  4096", "4096"),
        ("A = 1", "1"),
        # Section 4: strings.
        ('a = "b c"', "b c"),
        ('a = ""', ""),
        ('a = "# /* { } [ ] ( ) = \'"', "# /* { } [ ] ( ) = '"),
        (r'a = "^b-\d+\.\w@"', r"^b-\d+\.\w@"),
        (r'a = "\\d"', r"\d"),
        (r'a = "\\\\"', "\\\\"),
        (r'a = "say \"hi\""', 'say "hi"'),
        (r'a = "220 x\r\n\t."', "220 x\r\n\t."),
        (r'a = "\b\f\0\x41\u0041\q"', r"\b\f\0\x41\u0041\q"),
        ('a = "one \\\ntwo"', "one two"),
        ('a = "one \\\r\ntwo"', "one two"),
        ('a = "one\ntwo"', "one\ntwo"),
        ('a = "one\r\ntwo"', "one\ntwo"),
        ("a = 'raw \\n \"x\" # /* '", 'raw \\n "x" # /* '),
        ('a = "“typographic” as data"', "“typographic” as data"),
        ('a = "no-break\u00a0space"', "no-break\u00a0space"),
        ('a = "%{name} :user $x %Y"', "%{name} :user $x %Y"),
        # Section 6: arrays.
        ("a = ( x \"y\" 'z' )", ["x", "y", "z"]),
        ("a ( x )", ["x"]),
        ("a = ()", []),
        ("a = ( )", []),
        ("a = (x,y)", ["x", "y"]),
        ("a = ( x, y ,z , , )", ["x", "y", "z"]),
        ('a = ( "x","y" )', ["x", "y"]),
        ('a = ( "300,6" )', ["300,6"]),
        ("a = ( x x )", ["x", "x"]),
        ("a = ( # one\n x /* two */\n y )", ["x", "y"]),
        ("a = ( 127.0.0.0/8 ::1 *.example.com )", ["127.0.0.0/8", "::1", "*.example.com"]),
        ("a = ( include host )", ["include", "host"]),
        # Section 7: dictionaries.
        ("a = [ k = v ]", {"k": "v"}),
        ('a [ k = "v" ]', {"k": "v"}),
        ("a = []", {}),
        (
            'a = [ 99 = x "0" = "250 ok" 0.0.0.64 = l mx.example = 1 ]',
            {"99": "x", "0": "250 ok", "0.0.0.64": "l", "mx.example": "1"},
        ),
        ("a = [\n k = v\n l = w # note\n]", {"k": "v", "l": "w"}),
        ("a = [ k v ]", {"k": "v"}),
        ("a = [ k = ( x y ) l ( z ) ]", {"k": ["x", "y"], "l": ["z"]}),
        ("a = [ K = 1 k = 2 ]", {"K": "1", "k": "2"}),
        ("a = [ uri = digest:///etc/x ]", {"uri": "digest:///etc/x"}),
        ("a = [ include = 1 ]", {"include": "1"}),
    ],
)
def test_values(text: str, expected: Any) -> None:
    """Every spelling of a value that the reference accepts."""
    assert value(text) == expected
    assert value(text.replace("\r\n", "\n").replace("\n", "\r\n")) == expected


def test_quoted_and_unquoted_mean_the_same() -> None:
    """Section 5: the parser keeps the text, the option's kind makes the value."""
    for text in ("20", "true", "0644", "0.2", "-1"):
        assert value(f"a = {text}") == value(f'a = "{text}"') == text


@pytest.mark.parametrize(
    "text",
    [
        'Listen ":25" { a = 1 }',
        'Listen ":25"{a=1}',
        'Listen ":25" = { a = 1 }',
        'Listen ":25"\n{\n a = 1\n}',
        'Listen\n":25"\n=\n{ a = 1 }',
        "LISTEN :25 { a = 1 }",
        "listen *:25 { A = 1 }",
        'Listen ":25" { # note\n a = 1 }',
        'Listen /* note */ ":25" /* note */ { a = 1 }',
        "Listen ':25' { a = 1 }",
        'Listen ":25" { a = 1 } Listen ":25" { }',
        '\ufeffListen ":25" { a = 1 }',
        '\vListen\f":25"\t{ a = 1 }',
    ],
)
def test_stanza_spellings(text: str) -> None:
    """Section 8: every spelling of a named stanza makes the same tree."""
    assert load(text) == {"scopes": {"listen": [["0.0.0.0:25", {"settings": {"a": "1"}}]]}}


@pytest.mark.parametrize(
    "text",
    ["ESMTP_Listener { }", "ESMTP_Listener {}", "ESMTP_Listener = {\n}", "Esmtp_Listener\n{\n}", "esmtp_listener{}"],
)
def test_unnamed_stanza_spellings(text: str) -> None:
    """Section 8: braces are needed, `=` before them is dropped."""
    assert load(text) == {"scopes": {"esmtp_listener": [[None, {}]]}}


def test_several_statements_on_a_line() -> None:
    """Nothing ends a statement: ``a = 1 b = 2`` are two."""
    assert load('a = 1 b = "2" c = ( x ) d [ e = f ] S { } g = 3')["settings"] == {
        "a": "1", "b": "2", "c": ["x"], "d": {"e": "f"}, "g": "3",
    }  # fmt: skip


def test_option_without_equals() -> None:
    """Sections 8 and 15: taken on one line, with a warning."""
    assert load("a 300\nb = 1\n", warnings=1)["settings"] == {"a": "300", "b": "1"}
    assert load('S { a "x y" }', warnings=1)["scopes"] == {"s": [[None, {"settings": {"a": "x y"}}]]}


def test_names_with_odd_characters() -> None:
    """``hook:some_hook``, ``NAS-IP-Address`` and ``_unsafe_spool`` are names."""
    assert load("hook:x [ a = 1 ]\nNAS-IP-Address = 10.0.0.1\n_unsafe_spool = true\n")["settings"] == {
        "hook:x": {"a": "1"}, "nas-ip-address": "10.0.0.1", "_unsafe_spool": "true",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ('"/^(a|b)\\.fr$/"', r"/^(a|b)\.fr$/"),
        ('"/^(a|b)\\\\.fr$/"', r"/^(a|b)\.fr$/"),
        (r"/x\.co(m|\.uk)$/", r"/x\.co(m|\.uk)$/"),
        ("/^a[.]example$/", "/^a[.]example$/"),
        ("/a#b/", "/a#b/"),
        ("/a/b/", "/a/b/"),
    ],
)
def test_regex_names(written: str, name: str) -> None:
    """Section 12.3: in quotes, and for Domain and Host without them even with brackets."""
    for word in ("Domain", "host"):
        assert load(f"{word} {written} {{\n}}\n") == {"scopes": {word.lower(): [[name, {}]]}}
        assert load(f"{word} {written}{{ }}") == {"scopes": {word.lower(): [[name, {}]]}}


def test_undecodable_bytes_are_kept(tmp_path: Path) -> None:
    """Section 1: a byte that is no UTF-8 becomes a surrogate escape."""
    path = tmp_path / "x.conf"
    path.write_bytes(b'\xef\xbb\xbfa = "caf\xe9"  # \xff\n')
    problems = Problems()
    tree = read(str(path), problems)
    assert len(problems) == 0
    assert as_data(tree.root) == {"settings": {"a": "caf\udce9"}}


def test_manual_bold_marks_are_taken_with_a_warning() -> None:
    """The listener chapter prints its first option as ``**Listen_Backlog = 500**``; a copy of it works."""
    text = """\
        Listen ":25" {
            **Listen_Backlog = 500**       # new default, can be set > 200 now
            **static_banner = "220 x"**
        }
        """
    settings = load(textwrap.dedent(text), warnings=2)["scopes"]["listen"][0][1]["settings"]
    assert settings == {"listen_backlog": "500", "static_banner": "220 x"}


def test_commented_ipv6_forms_switched_on() -> None:
    """The listener chapter's example with its IPv6 forms: the last two are one socket, written in two ways."""
    path = Path(__file__).parent.parent / "golden" / "config" / "examples" / "11-listener-chapter.conf"
    text = path.read_text(encoding="utf-8").replace("  #Listen", "  Listen")
    data = load(text, warnings=1)
    names = [name for name, _ in data["scopes"]["esmtp_listener"][0][1]["scopes"]["listen"]]
    assert names == ["0.0.0.0:25", "0.0.0.0:587", "[::1]:25", "[::c0a8:1]:25"]


def test_positions_of_everything() -> None:
    """Places are those of names, instance names and values: 1-based lines and columns, 0-based offsets."""
    text = 'ESMTP_Listener {\r\n\tListen ":25" { idle_time = "300" relay = ( a "b c" ) }\r\n}\r\n'
    tree = read_text(text, "x.conf", Problems())
    listener = tree.root.children["esmtp_listener", None]
    listen = listener.children["listen", "0.0.0.0:25"]
    idle, relay = listen.settings["idle_time"], listen.settings["relay"]

    def shown(span: Any) -> tuple[int, int, str]:
        return span.line, span.column, text[span.offset : span.offset + span.length]

    assert shown(listener.span) == (1, 1, "ESMTP_Listener")
    assert shown(listen.span) == (2, 2, 'Listen ":25"')
    assert shown(idle.span) == (2, 17, "idle_time")
    assert shown(idle.value.span) == (2, 29, '"300"')
    assert shown(relay.value.span) == (2, 43, '( a "b c" )')
    assert [shown(item.span) for item in relay.value.items] == [(2, 45, "a"), (2, 47, '"b c"')]  # type: ignore[union-attr]
