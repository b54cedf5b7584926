"""Which files are read, in which order, and what is said when one can't be: reference section 10 and 13."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from gsmtp.config.diagnostics import Problems
from gsmtp.config.dump import as_data
from gsmtp.config.render import render
from gsmtp.config.source import read, read_text
from gsmtp.config.tree import Setting, Tree


def write(folder: Path, files: dict[str, str]) -> None:
    """Make files below a folder."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def load(path: Path, search_path: Sequence[str] | None = None) -> Tree:
    """The tree of a configuration without problems."""
    problems = Problems()
    tree = read(str(path), problems, search_path=search_path)
    assert [(str(problem.span), problem.message) for problem in problems] == []
    return tree


def settings(tree: Tree) -> dict[str, Any]:
    """The global settings."""
    found: dict[str, Any] = as_data(tree.root).get("settings", {})
    return found


def messages(path: Path, tmp_path: Path, search_path: Sequence[str] | None = None) -> str:
    """All messages of a load, with the folder's name left out."""
    problems = Problems()
    tree = read(str(path), problems, search_path=search_path)
    return render(problems, tree).replace(f"{tmp_path}/", "")


def test_included_text_stands_in_place(tmp_path: Path) -> None:
    """Content is read as if it stood there, in any scope; later settings win."""
    write(
        tmp_path,
        {
            "main.conf": 'a = 1\nb = 1\nListen ":25" {\n include "in.inc"\n}\ninclude "over.conf"\nb = 3\n',
            "in.inc": "c = 1\n",
            "over.conf": "a = 2\nb = 2\n",
        },
    )
    tree = load(tmp_path / "main.conf")
    assert as_data(tree.root) == {
        "settings": {"a": "2", "b": "3"},
        "scopes": {"listen": [["0.0.0.0:25", {"settings": {"c": "1"}}]]},
    }
    b: Setting | None = tree.root.settings["b"]
    trail = []
    while b is not None:
        trail.append((Path(b.span.file).name, b.span.line))
        b = b.previous
    assert trail == [("main.conf", 7), ("over.conf", 2), ("main.conf", 2)]


def test_directory_in_byte_order_without_hidden_files_and_folders(tmp_path: Path) -> None:
    """All visible regular files, by the bytes of their names; links are followed, folders are not entered."""
    write(
        tmp_path,
        {
            "main.conf": 'include "d"\n',
            "d/b.conf": "x = b\n",
            "d/B.conf": "x = B\n",
            "d/README": "y = readme\n",
            "d/.hidden": "this is { no conf\n",
            "d/sub/z.conf": "x = z\n",
            "elsewhere": "x = é\n",
        },
    )
    (tmp_path / "d" / "é.conf").symlink_to(tmp_path / "elsewhere")
    tree = load(tmp_path / "main.conf")
    assert settings(tree) == {"x": "é", "y": "readme"}
    assert [Path(name).name for name in tree.files] == ["main.conf", "B.conf", "README", "b.conf", "é.conf"]


def test_empty_directory_is_fine(tmp_path: Path) -> None:
    """A directory without files adds nothing."""
    write(tmp_path, {"main.conf": 'include "d"\na = 1\n'})
    (tmp_path / "d").mkdir()
    assert settings(load(tmp_path / "main.conf")) == {"a": "1"}


def test_backup_file_in_a_directory_is_read_with_a_warning(tmp_path: Path) -> None:
    """There is no suffix filter, so that an editor's backup must be noticed."""
    write(tmp_path, {"main.conf": 'include "d"\n', "d/a.conf": "x = 1\n", "d/a.conf~": "x = 2\n"})
    assert messages(tmp_path / "main.conf", tmp_path) == (
        "main.conf:1:9: warning: 'd/a.conf~' is read like every visible file of the directory, "
        "though its name looks like a backup\n"
        '    include "d"\n'
        "            ^^^\n"
        "    hint: move it away, or give it a name that begins with a dot\n"
    )


def test_search_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """First beside the including file, then along the search path, where {NODENAME} is this host."""
    node = os.uname().nodename
    write(
        tmp_path,
        {
            "etc/main.conf": 'include "sub/one.conf"\ninclude "both.conf"\n',
            "etc/sub/one.conf": 'include "beside.conf"\ninclude "far.conf"\ninclude "node.conf"\n',
            "etc/sub/beside.conf": "beside = sub\n",
            "etc/beside.conf": "beside = etc\n",
            "etc/both.conf": "both = etc\n",
            "path/both.conf": "both = path\n",
            "path/far.conf": "far = path\n",
            f"nodes/{node}/node.conf": "node = mine\n",
        },
    )
    path = [str(tmp_path / "path"), str(tmp_path / "nodes" / "{NODENAME}")]
    expected = {"beside": "sub", "both": "etc", "far": "path", "node": "mine"}
    assert settings(load(tmp_path / "etc/main.conf", path)) == expected
    monkeypatch.setenv("EC_CONF_SEARCH_PATH", ":".join(path))
    assert settings(load(tmp_path / "etc/main.conf")) == expected


def test_default_search_path_begins_at_the_master_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file in a folder finds what stands beside the master file; the working directory doesn't count."""
    write(
        tmp_path,
        {
            "etc/main.conf": 'include "sub/one.conf"\n',
            "etc/sub/one.conf": 'include "top.conf"\n',
            "etc/top.conf": "a = 1\n",
            "cwd/lost.conf": "b = 1\n",
        },
    )
    assert settings(load(tmp_path / "etc/main.conf")) == {"a": "1"}
    monkeypatch.chdir(tmp_path / "cwd")
    write(tmp_path, {"etc/main.conf": 'include "lost.conf"\n'})
    assert "no such file or directory: lost.conf" in messages(tmp_path / "etc/main.conf", tmp_path)


def test_missing_include_is_an_error_at_the_statement(tmp_path: Path) -> None:
    """Told where it was looked for; other problems are told in the same run."""
    write(tmp_path, {"main.conf": 'a = 1\n  include "nope.conf"\n  include "/no/such"\nb = = 2\n'})
    (tmp_path / "there").mkdir()
    assert messages(tmp_path / "main.conf", tmp_path, [str(tmp_path / "there"), "/no/such/folder"]) == (
        "main.conf:2:11: error: no such file or directory: nope.conf\n"
        '      include "nope.conf"\n'
        "              ^^^^^^^^^^^\n"
        f"    hint: looked in {tmp_path}, there\n".replace(str(tmp_path) + "/", "")
        + "main.conf:3:11: error: no such file or directory: /no/such\n"
        '      include "/no/such"\n'
        "              ^^^^^^^^^^\n"
        "main.conf:4:5: error: stray '='\n"
        "    b = = 2\n"
        "        ^\n"
        "    hint: remove it: one '=' stands between name and value\n"
    )


def test_problem_in_an_include_shows_the_chain(tmp_path: Path) -> None:
    """The innermost include statement first."""
    write(
        tmp_path,
        {
            "main.conf": '\ninclude "one.conf"\n',
            "one.conf": 'Listen ":25" {\n  include "two.conf"\n}\n',
            "two.conf": "idle_time = = 5\n",
        },
    )
    assert messages(tmp_path / "main.conf", tmp_path) == (
        "two.conf:1:13: error: stray '='\n"
        "    idle_time = = 5\n"
        "                ^\n"
        "    hint: remove it: one '=' stands between name and value\n"
        "    one.conf:2:3: included from here\n"
        "    main.conf:2:1: included from here\n"
    )


def test_include_cycle_names_the_chain(tmp_path: Path) -> None:
    """It is reported where the circle closes, and reading goes on."""
    write(
        tmp_path,
        {
            "main.conf": 'include "a.conf"\nlast = 1\n',
            "a.conf": 'include "b.conf"\n',
            "b.conf": 'include "a.conf"\nb = 1\n',
        },
    )
    assert messages(tmp_path / "main.conf", tmp_path) == (
        "b.conf:1:9: error: include cycle: a.conf → b.conf → a.conf\n"
        '    include "a.conf"\n'
        "            ^^^^^^^^\n"
        "    hint: remove one of these includes\n"
        "    a.conf:1:1: included from here\n"
        "    main.conf:1:1: included from here\n"
    )
    assert settings(read(str(tmp_path / "main.conf"), Problems())) == {"b": "1", "last": "1"}


def test_file_that_includes_itself_by_a_link(tmp_path: Path) -> None:
    """A link is the same file."""
    write(tmp_path, {"main.conf": 'include "link.conf"\n'})
    (tmp_path / "link.conf").symlink_to("main.conf")
    assert "include cycle: main.conf → main.conf" in messages(tmp_path / "main.conf", tmp_path)


def test_file_included_twice_is_legal_and_readonly(tmp_path: Path) -> None:
    """So is one that readonly_include names; the others are not."""
    write(
        tmp_path,
        {
            "main.conf": 'Listen ":25" { include "same.conf" }\nListen ":26" { include "same.conf" }\n'
            'readonly_include "ro.conf"\ninclude "rw.conf"\n',
            "same.conf": "idle_time = 5\n",
            "ro.conf": "a = 1\n",
            "rw.conf": "b = 1\n",
        },
    )
    tree = load(tmp_path / "main.conf")
    assert {Path(name).name: file.readonly for name, file in tree.files.items()} == {
        "main.conf": False, "same.conf": True, "ro.conf": True, "rw.conf": False,
    }  # fmt: skip
    assert [scope.settings["idle_time"].value.text for scope in tree.root.all("listen")] == ["5", "5"]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("http://example.com/x.conf", "'http://' can't be included"),
        ("persist://x", "'persist://' can't be included"),
        ("file://host/x.conf", "a file:// URI names an absolute path"),
        ("", "an empty path"),
    ],
)
def test_other_schemes_are_refused(tmp_path: Path, uri: str, message: str) -> None:
    """Only plain paths and file:// are served."""
    write(tmp_path, {"main.conf": f'include "{uri}"\n'})
    assert messages(tmp_path / "main.conf", tmp_path).startswith(f"main.conf:1:9: error: {message}\n")


def test_file_uri(tmp_path: Path) -> None:
    """``file:///path``, percent escapes undone."""
    write(tmp_path, {"main.conf": f'include "file://{tmp_path}/my%20file.conf"\n', "my file.conf": "a = 1\n"})
    assert settings(load(tmp_path / "main.conf")) == {"a": "1"}


def test_stanza_may_not_cross_files(tmp_path: Path) -> None:
    """Opened in one file and closed in another is two mistakes."""
    write(tmp_path, {"main.conf": 'include "open.conf"\n}\n', "open.conf": "Security {\n"})
    text = messages(tmp_path / "main.conf", tmp_path)
    assert "main.conf:2:1: error: '}' closes nothing" in text
    assert "open.conf:1:1: error: scope 'Security' is not closed" in text


def test_special_file_is_not_read(tmp_path: Path) -> None:
    """A pipe would block for ever."""
    os.mkfifo(tmp_path / "pipe")
    write(tmp_path, {"main.conf": 'include "pipe"\n'})
    assert "error: neither a file nor a directory: pipe" in messages(tmp_path / "main.conf", tmp_path)


@pytest.mark.parametrize("name", ["nope.conf", ".", "\0"])
def test_master_file_that_cannot_be_read(tmp_path: Path, name: str) -> None:
    """A problem with the file's name, not a traceback."""
    problems = Problems()
    tree = read(f"{tmp_path}/{name}", problems)
    assert [problem.code for problem in problems] == ["unreadable-file"]
    assert render(problems, tree).startswith(f"{tmp_path}/".replace("\0", "\\x00"))
    assert tree.files == {}


def test_local_changes_are_read_last(tmp_path: Path) -> None:
    """Wherever the option stands; the file is found like an include and may be absent."""
    write(tmp_path, {"main.conf": 'local_changes_file = "local.conf"\na = 1\n', "local.conf": "a = 2\n"})
    assert settings(load(tmp_path / "main.conf"))["a"] == "2"
    (tmp_path / "local.conf").unlink()
    assert settings(load(tmp_path / "main.conf"))["a"] == "1"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("main.conf", "Local_Changes_File may not be the main file"),
        ("other.conf", "Local_Changes_File may not be an included file"),
        ("folder", "Local_Changes_File must be a file"),
        ("persist://x", "'persist://' can't be included"),
    ],
)
def test_local_changes_file_must_be_its_own(tmp_path: Path, name: str, message: str) -> None:
    """It is what online changes are written to."""
    write(tmp_path, {"main.conf": f'include "other.conf"\nlocal_changes_file = "{name}"\n', "other.conf": "a = 1\n"})
    (tmp_path / "folder").mkdir()
    assert messages(tmp_path / "main.conf", tmp_path).startswith(f"main.conf:2:22: error: {message}\n")


def test_syntax_only_opens_nothing(tmp_path: Path) -> None:
    """Neither includes nor local changes."""
    write(tmp_path, {"main.conf": 'include "nope.conf"\nlocal_changes_file = "main.conf"\n'})
    problems = Problems()
    tree = read(str(tmp_path / "main.conf"), problems, follow_includes=False)
    assert len(problems) == 0
    assert list(tree.files) == [str(tmp_path / "main.conf")]


def test_syntaxes_may_be_mixed(tmp_path: Path) -> None:
    """The suffix tells; a YAML file included in a scope is that scope's body."""
    write(
        tmp_path,
        {
            "main.conf": 'ESMTP_Listener {\n include "l.yaml"\n}\n',
            "l.yaml": "idle_time: 5\nlisten:\n  ':25':\n    include: [deep.conf]\n",
            "deep.conf": "context = [ a = b ]\n",
        },
    )
    assert as_data(load(tmp_path / "main.conf").root) == {
        "scopes": {
            "esmtp_listener": [
                [
                    None,
                    {
                        "settings": {"idle_time": "5"},
                        "scopes": {"listen": [["0.0.0.0:25", {"settings": {"context": {"a": "b"}}}]]},
                    },
                ]
            ]
        }
    }


def test_read_text_starts_from_its_name(tmp_path: Path) -> None:
    """A text that was never on disk includes from the folder of its name."""
    write(tmp_path, {"x.conf": "a = 1\n"})
    problems = Problems()
    tree = read_text('include "x.conf"', str(tmp_path / "virtual.conf"), problems)
    assert len(problems) == 0
    assert settings(tree) == {"a": "1"}
