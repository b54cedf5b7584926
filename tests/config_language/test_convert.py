"""`gsmtp convert`: nothing is lost, or it says so and writes nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gsmtp.cli.convert import convert
from gsmtp.config.diagnostics import Problems
from gsmtp.config.dump import as_data
from gsmtp.config.source import read_text

ROOT = Path(__file__).parent.parent.parent
GOLDEN = Path(__file__).parent.parent / "golden" / "config" / "convert"
SOURCES = ["comments.conf", "comments-in-yaml.yaml"]


def gsmtp(*arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
    """Run the command."""
    command = [sys.executable, "-m", "gsmtp", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, check=False, timeout=60, cwd=ROOT)


def converted(text: str, name: str, to: str) -> str:
    """The text in the other syntax, which must be able to express it."""
    problems = Problems()
    output = convert(text, name, to, problems)
    assert output is not None, [problem.message for problem in problems]
    return output


def refused(text: str, name: str, to: str) -> list[str]:
    """What is said about a text that can't be converted."""
    problems = Problems()
    assert convert(text, name, to, problems) is None
    return [f"{problem.span.line}:{problem.span.column}: {problem.message}" for problem in problems]


@pytest.mark.parametrize("to", ["conf", "yaml"])
@pytest.mark.parametrize("name", SOURCES)
def test_comments_and_order_are_kept(name: str, to: str) -> None:
    """Golden files: a comment in every place where one can stand, repetitions, includes between settings."""
    text = (GOLDEN / name).read_text(encoding="utf-8")
    output = converted(text, name, to)
    expected = GOLDEN / f"{name}.to.{to}"
    if os.environ.get("GSMTP_UPDATE_GOLDEN"):
        expected.write_text(output, encoding="utf-8")
    assert output == expected.read_text(encoding="utf-8")
    trees = [
        as_data(read_text(one, file, Problems(), follow_includes=False).root)
        for one, file in ((text, name), (output, f"x.{to}"))
    ]
    assert trees[0] == trees[1]


@pytest.mark.parametrize(
    ("text", "yaml"),
    [
        # What YAML readers would change stands in quotes, and so does what was quoted on purpose.
        (
            "a = true b = \"true\" c = on d = 0660 e = 300 f = '300' g = 1.5",
            'a: true\nb: "true"\nc: "on"\nd: "0660"\ne: 300\nf: "300"\ng: 1.5\n',
        ),
        (
            'a = "" b = "~" c = "null" d = "1:30" e = "x: y" f = "- x"',
            'a: ""\nb: "~"\nc: "null"\nd: "1:30"\ne: "x: y"\nf: "- x"\n',
        ),
        (r'a = "^x\d+$" b = "220 x\r\n" c = "say \"hi\""', "a: '^x\\d+$'\nb: \"220 x\\r\\n\"\nc: 'say \"hi\"'\n"),
        ("a = ( ) b = [ ] Security { }", "a: []\nb: !dict {}\nSecurity: {}\n"),
        ('Listen ":25" { } Listen "*:26" { }', 'Listen:\n  ":25": {}\n  "*:26": {}\n'),
        ("a = 1 a = 2", "- a: 1\n- a: 2\n"),
        ('include "a" include "b"', "include:\n  - a\n  - b\n"),
        ('include "a" x = 1 include "b"', "- include: a\n  x: 1\n- include: b\n"),
        ("Security { user = a } x = 1 Security { group = b }", "Security:\n  - user: a\n  - group: b\nx: 1\n"),
        (
            'Security { user = a } include "f" Security { group = b }',
            "- Security:\n    user: a\n  include: f\n- Security:\n    group: b\n",
        ),
        (
            'Listen ":25" { a = 1 } Listen "*:25" { a = 2 } Listen ":25" { a = 3 }',
            '- Listen:\n    ":25":\n      a: 1\n    "*:25":\n      a: 2\n- Listen:\n    ":25":\n      a: 3\n',
        ),
        ("unknown { a = 1 }", "unknown:\n  a: 1\n"),
        ("unknown [ a = 1 ]", "unknown: !dict\n  a: 1\n"),
        ('unknown "x" { }', "unknown:\n  x: {}\n"),
        ("unknown { inner { } }", "unknown: !stanza\n  inner: {}\n"),
        ("", "{}\n"),
        ("# nothing", "# nothing\n"),
    ],
)
def test_conf_to_yaml(text: str, yaml: str) -> None:
    """How statements look in YAML; each reads back as the same tree."""
    output = converted(text, "x.conf", "yaml")
    assert output == yaml
    again = read_text(output, "x.yaml", Problems(), follow_includes=False)
    assert as_data(again.root) == as_data(read_text(text, "x.conf", Problems(), follow_includes=False).root)


@pytest.mark.parametrize(
    ("text", "conf"),
    [
        ("a: 300\nb: '300'\nc: on", 'a = 300\nb = "300"\nc = on\n'),
        ("a: /var/log\nb: a b\nc: [x, 'y', a/b]", 'a = "/var/log"\nb = "a b"\nc = ( x "y" "a/b" )\n'),
        ("listen: {':25': {a: 1}, '/run/x': {}}", 'listen ":25" { a = 1 }\nlisten "/run/x" { }\n'),
        ("domain:\n  '/^a\\.b$/':\n    gateway: 10.0.0.1\n", 'domain "/^a\\\\.b$/" {\n  gateway = 10.0.0.1\n}\n'),
        ("context: {a: b, 'c d': 'e'}", 'context = [ a = b  "c d" = "e" ]\n'),
        ("include: [a.yaml, b.conf]", 'include "a.yaml"\ninclude "b.conf"\n'),
    ],
)
def test_yaml_to_conf(text: str, conf: str) -> None:
    """How YAML looks in conf: in quotes where the reference says so."""
    assert converted(text, "x.yaml", "conf") == conf


def test_what_conf_cannot_say_is_told() -> None:
    """A control character, and a name that is no word."""
    assert refused('a: "x\\0y"\nb c: 1\n"d#": 2\nfoo: {x: {"e=": 1}}\n', "x.yaml", "conf") == [
        "1:4: a control character can't be written in conf",
        "2:1: 'b c' can't be the name of an option in conf",
        "3:1: 'd#' can't be the name of an option in conf",
        "4:11: 'e=' can't be the name of an option in conf",
    ]


def test_what_yaml_writes_differently_is_told() -> None:
    """Bytes of a comment that are no UTF-8 become escapes; a dictionary's overridden value is named."""
    problems = Problems()
    output = convert('# caf\udce9\na = [ k = 1 k = 2 ]\nb = "caf\udce9"\n', "x.conf", "yaml", problems)
    assert output == '# caf\\xe9\na: !dict\n  k: 2\nb: "caf\\udce9"\n'
    assert [problem.code for problem in problems] == ["inexpressible", "inexpressible"]


def test_wrong_file_is_not_converted() -> None:
    """Problems are reported as by check."""
    assert refused("a = = 1\n", "x.conf", "yaml") == ["1:5: stray '='"]
    assert refused("a: [x\n", "x.yaml", "conf")[0].startswith("1:4: list is not closed")


def test_command_prints(tmp_path: Path) -> None:
    """To standard output, byte for byte what the function makes; nothing on standard error."""
    source = tmp_path / "x.conf"
    source.write_bytes(b'hostname = "caf\xe9"\n')
    done = gsmtp("convert", source, "--to", "conf")
    assert (done.returncode, done.stdout, done.stderr) == (0, b'hostname = "caf\xe9"\n', b"")


def test_command_writes_a_file(tmp_path: Path) -> None:
    """In one step, also over its own input, and keeps the mode."""
    source = tmp_path / "x.conf"
    source.write_text("a=1", encoding="utf-8")
    source.chmod(0o640)
    assert gsmtp("convert", source, "--to", "conf", "-o", source).returncode == 0
    assert source.read_text(encoding="utf-8") == "a = 1\n"
    assert source.stat().st_mode & 0o777 == 0o640
    assert gsmtp("convert", source, "--to", "yaml", "-o", tmp_path / "x.yaml").returncode == 0
    assert (tmp_path / "x.yaml").read_text(encoding="utf-8") == "a: 1\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.conf", "x.yaml"]


def test_command_writes_nothing_when_something_is_wrong(tmp_path: Path) -> None:
    """Exit status 1, the message on standard error, the old file as it was."""
    source, target = tmp_path / "x.conf", tmp_path / "x.yaml"
    source.write_text("a = = 1\n", encoding="utf-8")
    target.write_text("old: 1\n", encoding="utf-8")
    done = gsmtp("convert", source, "--to", "yaml", "-o", target)
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.decode().startswith(f"{source}:1:5: error: stray '='\n")
    assert target.read_text(encoding="utf-8") == "old: 1\n"
    done = gsmtp("convert", tmp_path / "nope.conf", "--to", "yaml")
    assert done.returncode == 1
    assert done.stderr.decode() == f"{tmp_path}/nope.conf: error: can't be read: No such file or directory\n"
    done = gsmtp("convert", source, "--to", "json")
    assert done.returncode == 2


def test_reading_a_configuration_starts_light() -> None:
    """Neither gevent nor PyYAML nor the explaining reader is loaded to read a conf file that is right."""
    script = (
        "import sys\n"
        "from gsmtp.config.source import read_text\n"
        "from gsmtp.config.diagnostics import Problems\n"
        "problems = Problems()\n"
        "read_text('a = 1', 'x.conf', problems)\n"
        "assert len(problems) == 0\n"
        "print([name for name in ('gevent', 'yaml', 'socket', 'gsmtp.config.recover') if name in sys.modules])\n"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, cwd=ROOT)
    assert done.stdout == "[]\n"
