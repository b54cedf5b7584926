"""The subcommands check, explain and options: what they print and how they end."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gsmtp import __version__
from gsmtp.cli import main as cli
from gsmtp.config.option import OPTIONS

GOOD = 'ESMTP_Listener { Listen ":25" { } }\n'
BAD = 'ESMTP_Listener {\n\tListen ":25" { }\n\tMax_Recipeints_Per_Message = 50\n}\n'
EXPLAINED = """\
ESMTP_Listener {
  max_message_size = 1000
  Peer "10.0.0.0/8"  { max_message_size = 8000 }
  Peer "10.1.0.0/16" { idle_time = 16 }
  Listen ":25" { Peer "10.1.2.3" { idle_time = 1 } }
}
Domain "example.com" { gateway = "10.0.0.20" }
ThreadPool "p" { Concurrency = 3 }
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, text in {"good.conf": GOOD, "bad.conf": BAD, "explained.conf": EXPLAINED}.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


Output = pytest.CaptureFixture[str]


def run(capsys: Output, *arguments: str) -> tuple[int, str, str]:
    status = cli.main(arguments)
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_check_says_ok(folder: Path, capsys: Output) -> None:
    assert run(capsys, "check", "good.conf") == (0, "good.conf: ok\n", "")


def test_check_shows_line_caret_and_suggestion(folder: Path, capsys: Output) -> None:
    status, out, err = run(capsys, "check", "bad.conf", "good.conf")
    assert (status, err) == (1, "")
    assert out == (
        "bad.conf:3:2: error: unknown option 'Max_Recipeints_Per_Message' in ESMTP_Listener\n"
        "    \tMax_Recipeints_Per_Message = 50\n"
        "    \t^^^^^^^^^^^^^^^^^^^^^^^^^^\n"
        "    hint: did you mean 'Max_Recipients_Per_Message'?\n"
        "good.conf: ok\n"
    )


def test_check_shows_warnings_and_ends_well(folder: Path, capsys: Output) -> None:
    (folder / "warn.conf").write_text("force_fsync = false\n", encoding="utf-8")
    status, out, _ = run(capsys, "check", "warn.conf")
    assert status == 0
    assert out.startswith("warn.conf:1:1: warning: Force_Fsync is false")
    assert out.splitlines()[-1] == "warn.conf: ok"


def test_check_syntax_only_judges_no_names_and_opens_no_includes(folder: Path, capsys: Output) -> None:
    (folder / "includes.conf").write_text('frob = 1\ninclude "missing.conf"\n', encoding="utf-8")
    assert run(capsys, "check", "--syntax-only", "includes.conf") == (0, "includes.conf: ok\n", "")
    (folder / "open.conf").write_text("Security {\n", encoding="utf-8")
    status, out, _ = run(capsys, "check", "--syntax-only", "open.conf")
    assert status == 1
    assert out.startswith("open.conf:1:")


def test_check_json(folder: Path, capsys: Output) -> None:
    status, out, _ = run(capsys, "check", "--json", "good.conf", "bad.conf")
    good, bad = json.loads(out)
    assert status == 1
    assert good == {"file": "good.conf", "ok": True, "problems": []}
    assert bad["ok"] is False
    problem = bad["problems"][0]
    assert (problem["severity"], problem["line"], problem["column"], problem["code"]) == (
        "error",
        3,
        2,
        "unknown-option",
    )


def test_check_tells_problems_by_file_and_line(folder: Path, capsys: Output) -> None:
    """Reading, names and values are judged in passes; a reader goes through the files."""
    (folder / "sub.inc").write_text("idle_time = x\n", encoding="utf-8")
    (folder / "many.conf").write_text(
        'ESMTP_Listener {\n  Listn ":25" { }\n  include "sub.inc"\n}\nhostname = a\nhostname = b\nFrobnicate = = 1\n',
        encoding="utf-8",
    )
    expected = [
        "many.conf:2:3: error: unknown stanza 'Listn' in ESMTP_Listener",
        "many.conf:6:1: warning: option 'hostname' is set twice in the global scope, the last one wins",
        "many.conf:7:1: error: unknown option 'Frobnicate' in the global scope",
        "many.conf:7:14: error: stray '='",
        "sub.inc:1:13: error: value 'x' is not valid for option 'idle_time': expected a number of seconds",
    ]
    _, out, _ = run(capsys, "check", "many.conf")
    assert [line for line in out.splitlines() if "error: " in line or "warning: " in line] == expected
    _, out, _ = run(capsys, "check", "--json", "many.conf", "good.conf")
    bad, good = json.loads(out)
    assert good["ok"]
    assert [
        f"{one['file']}:{one['line']}:{one['column']}: {one['severity']}: {one['message']}" for one in bad["problems"]
    ] == expected


def test_check_momentum(folder: Path, capsys: Output) -> None:
    (folder / "ours.conf").write_text("spool_reserve = 1\n", encoding="utf-8")
    assert run(capsys, "check", "ours.conf")[0] == 0
    status, out, _ = run(capsys, "check", "--momentum", "ours.conf")
    assert status == 1
    assert "Spool_Reserve is gsmtp's own" in out


def test_flags_hold_for_each_of_many_files(folder: Path, capsys: Output) -> None:
    (folder / "ours.conf").write_text("spool_reserve = 1\n", encoding="utf-8")
    (folder / "same.yaml").write_text("Spool_Reserve: 1\nListn: {':25': {}}\n", encoding="utf-8")
    status, out, _ = run(capsys, "check", "--momentum", "ours.conf", "good.conf", "same.yaml")
    assert status == 1
    assert [line for line in out.splitlines() if ": error: " in line or line.endswith(": ok")] == [
        "ours.conf:1:1: error: option Spool_Reserve is gsmtp's own: Momentum doesn't know it",
        "good.conf: ok",
        "same.yaml:1:1: error: option Spool_Reserve is gsmtp's own: Momentum doesn't know it",
        "same.yaml:2:9: error: unknown stanza 'Listn' in the global scope",
    ]
    status, out, _ = run(capsys, "check", "--syntax-only", "--json", "ours.conf", "bad.conf", "same.yaml")
    assert status == 0
    assert [(one["file"], one["ok"]) for one in json.loads(out)] == [
        ("ours.conf", True),
        ("bad.conf", True),
        ("same.yaml", True),
    ]


def test_check_of_a_file_that_is_not_there(folder: Path, capsys: Output) -> None:
    status, out, _ = run(capsys, "check", "none.conf")
    assert status == 1
    assert out.startswith("none.conf: error: can't be read")


def test_checking_many_files_is_one_process(folder: Path, capsys: Output) -> None:
    names = []
    for number in range(300):
        names.append(f"many{number}.conf")
        (folder / names[-1]).write_text(GOOD, encoding="utf-8")
    status, out, _ = run(capsys, "check", *names)
    assert status == 0
    assert out.splitlines() == [f"{name}: ok" for name in names]


PLACE = "esmtp_listener listen :25 peer 10.1.2.3"


def test_explain_tells_value_line_and_chain(folder: Path, capsys: Output) -> None:
    status, out, _ = run(capsys, "explain", "explained.conf", PLACE, "max_message_size")
    assert status == 0
    assert out == (
        "Max_Message_Size = 8000 bytes\n"
        '  set at explained.conf:3:24, in Peer "10.0.0.0/8"\n'
        "  asked, most specific first:\n"
        '    Peer "10.1.2.3" in Listen ":25": not set\n'
        '    Listen ":25": not set\n'
        '    Peer "10.1.0.0/16": not set\n'
        '    Peer "10.0.0.0/8": set at explained.conf:3:24\n'
    )


def test_explain_tells_of_a_default(folder: Path, capsys: Output) -> None:
    status, out, _ = run(capsys, "explain", "explained.conf", "listen :25", "Relay_Domains")
    assert status == 0
    assert out == (
        "Relay_Domains = ( )\n"
        "  built-in default: no scope sets it\n"
        "  asked, most specific first:\n"
        '    Listen ":25": can\'t be set there\n'
        "    ESMTP_Listener: can't be set there\n"
        "    the global scope: not set\n"
    )


def test_explain_json(folder: Path, capsys: Output) -> None:
    status, out, _ = run(capsys, "explain", "explained.conf", PLACE, "idle_time", "--json")
    assert status == 0
    assert json.loads(out) == {
        "option": "Idle_Time",
        "value": 1,
        "unit": "seconds",
        "default": False,
        "set_at": {"file": "explained.conf", "line": 5, "column": 36},
        "scope": 'Peer "10.1.2.3" in Listen ":25"',
        "walked": ['Peer "10.1.2.3" in Listen ":25"'],
        "served": True,
    }


@pytest.mark.parametrize(
    ("place", "line"),
    [
        (PLACE, "Idle_Time 1 explained.conf:5:36"),
        ("esmtp_listener listen 0.0.0.0:25", "Idle_Time 300 seconds built-in default"),
        ("esmtp_listener peer 10.1.9.9", "Idle_Time 16 seconds explained.conf:4:24"),
        ("ESMTP_Listener", "Max_Message_Size 1000 bytes explained.conf:2:3"),
        ("domain Example.COM", 'Gateway "10.0.0.20" explained.conf:7:24'),
        ("threadpool P", "Concurrency 3 explained.conf:8:18"),
        ("threadpool io", "Concurrency 50 built-in default"),
        ("security", 'User "" built-in default'),
        ("", 'Spoolbase "/var/spool/gsmtp" built-in default'),
    ],
)
def test_explain_without_an_option_shows_all_that_hold_there(
    folder: Path, capsys: Output, place: str, line: str
) -> None:
    status, out, _ = run(capsys, "explain", "explained.conf", place)
    assert status == 0
    assert line.replace("Idle_Time 1 e", "Idle_Time 1 seconds e") in [" ".join(one.split()) for one in out.splitlines()]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("explained.conf", "listen :26"), "gsmtp: there is no Listen :26; there is: :25\n"),
        (("explained.conf", "listen"), "gsmtp: 'listen' needs a name after it\n"),
        (("explained.conf", "lisen :25"), "gsmtp: 'lisen' is no stanza; did you mean 'Listen'?\n"),
        (
            ("explained.conf", "listen :25", "idel_time"),
            "gsmtp: there is no option 'idel_time'; did you mean 'Idle_Time'?\n",
        ),
        (
            ("explained.conf", "threadpool p", "gateway"),
            "gsmtp: option gateway has no meaning there; is valid in: the global scope, Domain, Binding, "
            "Binding_Group\n",
        ),
        (
            ("explained.conf", "listen :25", "open_tracking_enabled"),
            "gsmtp: option open_tracking_enabled is not served: messages are never changed for tracking\n",
        ),
        (
            ("explained.conf", "threadpool gone"),
            'gsmtp: there is no ThreadPool "gone" in the global scope; there is: p\n',
        ),
    ],
)
def test_explain_says_what_there_is(folder: Path, capsys: Output, arguments: tuple[str, ...], message: str) -> None:
    assert run(capsys, "explain", *arguments) == (1, "", message)


def test_explain_refuses_a_file_with_errors_and_shows_them(folder: Path, capsys: Output) -> None:
    status, out, err = run(capsys, "explain", "bad.conf", "", "hostname")
    assert (status, out) == (1, "")
    assert err.startswith("bad.conf:3:2: error: unknown option")
    assert err.endswith("gsmtp: bad.conf can't be used as it is\n")


def test_options_explains_a_name(folder: Path, capsys: Output) -> None:
    status, out, _ = run(capsys, "options", "IDLE_TIME")
    assert status == 0
    assert out.startswith("Idle_Time\n  How long a client may say nothing")
    assert "  default:  300 seconds\n" in out
    assert "  valid in: ESMTP_Listener, Listen, Pathway, Pathway_Group, Peer\n" in out


def test_options_without_a_name_lists_all_that_is_served(folder: Path, capsys: Output) -> None:
    status, out, _ = run(capsys, "options")
    assert status == 0
    listed = [line.split()[0] for line in out.splitlines() if line.startswith("  ")]
    assert sorted(listed) == sorted(option.name for option in OPTIONS if not option.unserved)
    assert "Spool_Reserve" in listed[listed.index("SMTP_Extensions") :]


def test_options_says_why_a_name_is_not_served(folder: Path, capsys: Output) -> None:
    status, out, _ = run(capsys, "options", "open_tracking_enabled")
    assert status == 0
    assert "  not served: messages are never changed for tracking\n" in out


def test_options_suggests(folder: Path, capsys: Output) -> None:
    assert run(capsys, "options", "idletime") == (
        1,
        "",
        "gsmtp: there is no option or stanza 'idletime'; did you mean 'Idle_Time'?\n",
    )


def test_unknown_commands_get_a_suggestion(capsys: Output) -> None:
    status, out, err = run(capsys, "chek", "x")
    assert (status, out) == (2, "")
    assert err.startswith("gsmtp: unknown command 'chek'; did you mean 'check'?\ncommands: ")


def test_version_and_help(capsys: Output) -> None:
    assert run(capsys, "--version") == (0, f"gsmtp {__version__}\n", "")
    status, out, _ = run(capsys, "--help")
    assert status == 0
    for name in ("check", "explain", "options", "run"):
        assert f"\n  {name:<10} " in out
    assert run(capsys)[0] == 2
    status, out, _ = run(capsys, "help", "check")
    assert status == 0
    assert out.startswith("usage: gsmtp check ")


def test_wrong_usage_ends_with_2(capsys: Output) -> None:
    assert run(capsys, "check")[0] == 2
    assert run(capsys, "check", "--frob", "x")[0] == 2


def test_an_interrupt_ends_with_130(capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(arguments: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_dispatch", interrupted)
    assert run(capsys, "check", "x") == (130, "", "")


def test_a_reader_that_goes_away_is_no_error() -> None:
    """`gsmtp options | head -1` prints no traceback."""
    command = f"{sys.executable} -m gsmtp options --markdown | head -n 1"
    done = subprocess.run(
        ["/bin/sh", "-c", command],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("# Options\n", "")
