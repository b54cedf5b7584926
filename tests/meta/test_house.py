"""Packaging, Makefile, README and docs say what is true."""

from __future__ import annotations

import ast
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gsmtp import __version__
from tests.support.source import ROOT, shown

README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCS = sorted(p for p in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "loadtest" / "README.md"])


def _gsmtp(*words: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gsmtp", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def _pins(name: str) -> dict[str, str]:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return {m[1].lower(): m[2] for line in lines if (m := re.fullmatch(r"([\w.-]+)==([\w.]+)", line))}


def _setup_lists() -> dict[str, dict[str, str]]:
    """``install_requires`` and the dev extra of setup.py as name → lower bound."""
    words = {
        k.arg: k.value
        for n in ast.walk(ast.parse((ROOT / "setup.py").read_text()))
        if isinstance(n, ast.Call) and getattr(n.func, "id", "") == "setup"
        for k in n.keywords
    }
    runtime = ast.literal_eval(words["install_requires"])
    dev = ast.literal_eval(words["extras_require"])["dev"]
    return {
        kind: {name.lower(): low for name, low in (item.split(">=") for item in items)}
        for kind, items in (("runtime", runtime), ("dev", dev))
    }


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


def test_pinned_versions_are_within_the_accepted_ones() -> None:
    wanted = _setup_lists()
    runtime = _pins("requirements.txt")
    dev = runtime | _pins("requirements-compile.txt") | _pins("requirements-dev.txt")
    for name, low in wanted["runtime"].items():
        assert _numbers(runtime[name]) >= _numbers(low), name
    for name, low in wanted["dev"].items():
        assert _numbers(dev[name]) >= _numbers(low), name


def test_the_version_is_the_packages() -> None:
    run = _gsmtp("--version")
    assert run.stdout.strip() == f"gsmtp {__version__}"


def _commands_of_readme() -> list[str]:
    return sorted(set(re.findall(r"`gsmtp ([a-z]+)", README)))


def test_readme_names_commands_that_exist() -> None:
    text = _gsmtp("--help").stdout
    commands = _commands_of_readme()
    assert {"run", "check", "explain", "convert", "options", "queue"} <= set(commands)
    for command in commands:
        assert re.search(rf"\b{command}\b", text), command
        assert _gsmtp(command, "--help").returncode == 0


@pytest.mark.parametrize("path", DOCS, ids=shown)
def test_links_lead_somewhere(path: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)", path.read_text(encoding="utf-8"))
    assert not [link for link in links if "://" not in link and not (path.parent / link).exists()]


@pytest.mark.parametrize("path", DOCS, ids=shown)
def test_files_and_make_targets_named_in_docs_exist(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert not set(re.findall(r"`make ([a-z-]+)", text)) - targets
    named = set(re.findall(r"`((?:gsmtp|tests|conf|docs|loadtest|scripts)/[\w./-]*\w)`", text))
    assert not [name for name in named if "NAME" not in name and not (ROOT / name).exists()]


def test_the_first_mail_line_is_one_line_everywhere() -> None:
    """README and `make run` give the same command, but for the folder."""
    run = subprocess.run([str(ROOT / "scripts" / "first-mail")], capture_output=True, text=True, timeout=10, check=True)
    line = next(line.strip() for line in run.stdout.splitlines() if "curl" in line)
    assert line.replace(f'"{ROOT}/', "").rstrip('"') in README


def _conf_blocks() -> list[str]:
    """The configurations that README and the introduction show, those aside that include files of the reader's."""
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "README.md", ROOT / "docs" / "configuration.md")]
    blocks = [block for text in texts for block in re.findall(r"^```\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)]
    return [block for block in blocks if "include " not in block]


@pytest.mark.parametrize("block", _conf_blocks())
def test_configurations_shown_in_docs_load(block: str, tmp_path: Path) -> None:
    path = tmp_path / "shown.conf"
    path.write_text(block, encoding="utf-8")
    run = _gsmtp("check", str(path))
    assert run.returncode == 0, run.stdout
    if block in README:
        assert run.stdout == f"{path}: ok\n", "the first thing that a reader sees has no warning"


def _command_lines() -> list[str]:
    """The command lines of README, docs and the help texts that a reader may type in, of commands that end."""
    texts = [path.read_text(encoding="utf-8") for path in (*DOCS, *sorted(ROOT.glob("gsmtp/cli/*.py")))]
    lines = [
        line
        for text in texts
        for line in re.findall(r"^ +gsmtp ((?:check|explain|options|convert|queue) .*)", text, re.M)
    ]
    plain = {re.split(r"   +| #| \| | && | > ", line)[0].strip() for line in lines}
    needs_message = re.compile(r"queue show|queue .*\d\d/\w\w-")  # tests/durability and tests/spool show these
    return sorted(line for line in plain if not needs_message.search(line))


@pytest.mark.parametrize("line", _command_lines())
def test_command_lines_shown_in_docs_work(line: str, tmp_path: Path) -> None:
    """Typed in a folder that holds the files that they name."""
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    for name in ("ecelerity.conf", "ecelerity.conf.new", "gsmtp.yaml"):
        shutil.copy(ROOT / "conf" / name.removesuffix(".new"), tmp_path / name)
    plain = re.sub(r"\b(?:CONF|FILE)\b", "ecelerity.conf", line)
    words = [
        word
        for part in shlex.split(plain)
        for word in (sorted(str(path.relative_to(tmp_path)) for path in tmp_path.glob(part)) if "*" in part else [part])
    ]
    run = _gsmtp(*words, folder=tmp_path)
    assert run.returncode == 0, (run.stdout, run.stderr)


def test_options_page_is_fresh() -> None:
    run = _gsmtp("options", "--markdown")
    assert run.returncode == 0
    assert run.stdout == (ROOT / "docs" / "options.md").read_text(encoding="utf-8")


def test_configurations_load_cleanly() -> None:
    paths = [*ROOT.glob("conf/*.conf"), *ROOT.glob("conf/*.yaml"), *ROOT.glob("conf/examples/*.conf")]
    names = sorted(str(path.relative_to(ROOT)) for path in paths)
    run = _gsmtp("check", *names)
    assert run.returncode == 0, run.stdout
    assert [line for line in run.stdout.splitlines() if line.endswith(": ok")] == [f"{name}: ok" for name in names]


def test_what_the_gateway_has_commented_out_would_load_cleanly(tmp_path: Path) -> None:
    code = r"(Listen |Peer |\}|[a-z_]+ += |ec_logger |scriptlet |script |maildir )"
    text, count = re.subn(
        rf"^( *)# ( *{code})", r"\1\2", (ROOT / "conf/ecelerity.conf").read_text(), flags=re.MULTILINE
    )
    assert count > 20
    (tmp_path / "gateway.conf").write_text(text)
    run = _gsmtp("check", "gateway.conf", folder=tmp_path)
    assert run.stdout == "gateway.conf: ok\n"


def test_yaml_and_conf_samples_are_the_same_configuration() -> None:
    """conf/gsmtp.yaml is conf/dev.conf in the other spelling, to the last value."""
    from_conf = _gsmtp("explain", "conf/dev.conf", "esmtp_listener listen 127.0.0.1:2525")
    from_yaml = _gsmtp("explain", "conf/gsmtp.yaml", "esmtp_listener listen 127.0.0.1:2525")
    values = [
        [line.split("  ")[0] + " = " + re.split(r" {2,}", line)[1] for line in run.stdout.splitlines()]
        for run in (from_conf, from_yaml)
    ]
    assert "Max_Message_Size = 52428800 bytes" in values[0]
    assert values[0] == values[1]


def test_nothing_names_the_machine_it_was_made_on() -> None:
    """Paths of one person's machine and addresses of package hosts have no place in the project."""
    texts = [
        p
        for folder in ("gsmtp", "tests", "loadtest", "docs", "conf", "scripts", "changes", ".ci")
        for p in (ROOT / folder).rglob("*")
        if p.is_file() and p.suffix != ".pyc" and "_compiled" not in p.parts
    ]
    texts += [ROOT / name for name in ("Makefile", "Procfile", "setup.py", "pyproject.toml", "requirements.txt")]
    marks = re.compile(rb"(?<![\w.}])/(?:root|home|work)/|index-url|find-links|pythonhosted")
    found = [
        f"{shown(path)}: {hit[0]!r}"
        for path in texts
        if path != Path(__file__) and (hit := marks.search(path.read_bytes()))
    ]
    assert not found
