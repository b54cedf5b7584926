"""How problems look, for people and for programs."""

from __future__ import annotations

import json

from gsmtp.config.diagnostics import Problems, Span
from gsmtp.config.render import as_json, render
from gsmtp.config.tree import SourceFile


def test_shape_of_a_message() -> None:
    """Place, severity, text; the source line with its tabs; the caret; the hint."""
    text = "ESMTP_Listener {\n\tMax_Recipeints_Per_Message = 50\n}\n"
    problems = Problems()
    problems.error(
        Span("ecelerity.conf", 2, 2, 26, 18),
        "unknown option 'Max_Recipeints_Per_Message' in ESMTP_Listener",
        "did you mean 'Max_Recipients_Per_Message'?",
        "unknown-option",
    )
    assert render(problems, {"ecelerity.conf": SourceFile("ecelerity.conf", text)}) == (
        "ecelerity.conf:2:2: error: unknown option 'Max_Recipeints_Per_Message' in ESMTP_Listener\n"
        "    \tMax_Recipeints_Per_Message = 50\n"
        "    \t^^^^^^^^^^^^^^^^^^^^^^^^^^\n"
        "    hint: did you mean 'Max_Recipients_Per_Message'?\n"
    )


def test_related_places_and_include_chain() -> None:
    """Each with its line; the chain innermost first, told once."""
    problems = Problems()
    problems.warning(Span("b.conf", 1, 1, 1, 0), "twice", related=[("before here", Span("a.conf", 2, 1, 1, 3))])
    files = {
        "a.conf": SourceFile("a.conf", "x\nb = 1\n"),
        "b.conf": SourceFile("b.conf", "b = 2", chain=(Span("a.conf", 3, 1), Span("c.conf", 4, 5))),
    }
    assert render(problems, files) == (
        "b.conf:1:1: warning: twice\n"
        "    b = 2\n"
        "    ^\n"
        "    a.conf:2:1: before here\n"
        "    b = 1\n"
        "    ^\n"
        "    c.conf:4:5: included from here\n"
        "    a.conf:3:1: included from here\n"
    )


def test_place_without_offset_or_source() -> None:
    """A span without offset finds its line by number; a file without a place is named alone."""
    problems = Problems()
    problems.note(Span("a.conf", 2, 3, 1), "note")
    problems.error(Span("gone.conf", 0, 0), "can't be read")
    problems.error(Span("other.conf", 5, 1), "elsewhere")
    problems.error(Span("a.conf", 9, 1), "beyond the end")
    assert render(problems, {"a.conf": SourceFile("a.conf", "one\r\ntwo\r\n")}) == (
        "a.conf:2:3: note: note\n"
        "    two\n"
        "      ^\n"
        "a.conf:9:1: error: beyond the end\n"
        "gone.conf: error: can't be read\n"
        "other.conf:5:1: error: elsewhere\n"
    )


def test_long_line_is_cut_around_the_place() -> None:
    """The caret stays under what is meant."""
    text = "a" * 500 + "X" + "b" * 500
    problems = Problems()
    problems.error(Span("a.conf", 1, 501, 1, 500), "here")
    line, caret = render(problems, {"a.conf": SourceFile("a.conf", text)}).split("\n")[1:3]
    assert len(line) == 164
    assert line[caret.index("^")] == "X"


def test_terminal_sees_no_control_characters() -> None:
    """Neither escape sequences nor undecodable bytes reach the terminal; the caret still fits."""
    text = 'a = "\x1b[31m\udcff" = b'
    problems = Problems()
    problems.error(Span("a.conf", 1, 14, 1, 13), "stray '\x1b'")
    assert render(problems, {"a.conf": SourceFile("a.conf", text)}) == (
        "a.conf:1:14: error: stray '\\x1b'\n"
        '    a = "\\x1b[31m\\xff" = b\n'
        "                       ^\n"
    )  # fmt: skip


def test_color() -> None:
    """Colours wrap words and add nothing else."""
    problems = Problems()
    problems.error(Span("a.conf", 1, 1, 2, 0), "bad")
    colored = render(problems, {"a.conf": SourceFile("a.conf", "ab")}, color=True)
    assert "\x1b[1;31merror:\x1b[0m bad" in colored
    assert colored.count("\x1b[0m") == 3


def test_json() -> None:
    """Plain values, one object a problem."""
    problems = Problems()
    problems.error(Span("a.conf", 3, 4, 5, 9), "bad \udcff", "fix", "code", [("there", Span("b.conf", 1, 2))])
    found = as_json(problems, {})
    assert json.loads(json.dumps(found)) == [
        {
            "severity": "error", "file": "a.conf", "line": 3, "column": 4, "length": 5,
            "message": "bad \\xff", "hint": "fix", "code": "code",
            "related": [{"message": "there", "file": "b.conf", "line": 1, "column": 2}],
        }
    ]  # fmt: skip


def test_nothing_to_say() -> None:
    """No problems, no text."""
    assert render(Problems(), {}) == ""


def test_problems_are_shown_by_file_line_and_column() -> None:
    """Found pass by pass, told as they are read: a file, then what it includes, then what was never opened."""
    problems = Problems()
    for span in (Span("b.inc", 2, 1), Span("a.conf", 9, 1), Span("c.conf", 0, 0), Span("a.conf", 2, 8), Span("", 0, 0)):
        problems.error(span, "first pass")
    problems.warning(Span("a.conf", 2, 1), "second pass")
    problems.warning(Span("b.inc", 2, 1), "second pass")
    files = {"a.conf": SourceFile("a.conf", ""), "b.inc": SourceFile("b.inc", "")}
    expected = [
        "a.conf:2:1: warning: second pass",
        "a.conf:2:8: error: first pass",
        "a.conf:9:1: error: first pass",
        "b.inc:2:1: error: first pass",
        "b.inc:2:1: warning: second pass",
        "c.conf: error: first pass",
        "gsmtp: error: first pass",
    ]
    assert render(problems, files).splitlines() == expected
    places = [(one["file"], one["line"], one["column"], one["message"]) for one in as_json(problems, files)]
    assert places[:2] == [("a.conf", 2, 1, "second pass"), ("a.conf", 2, 8, "first pass")]
    assert [place[0] for place in places] == ["a.conf", "a.conf", "a.conf", "b.inc", "b.inc", "c.conf", ""]
