"""The example of docs/policy.md does what the page says: its test passes, and its configuration runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.support.inprocess import running
from tests.support.policy import play
from tests.support.source import ROOT

PAGE = ROOT / "docs" / "policy.md"
_BLOCK = re.compile(r"<!-- file: (\S+) -->\n```\w*\n(.*?)```\n", re.DOTALL)


def _write(folder: Path) -> dict[str, str]:
    files = dict(_BLOCK.findall(PAGE.read_text()))
    for name, text in files.items():
        (folder / name).write_text(text)
    return files


def test_the_test_of_the_page_passes(tmp_path: Path) -> None:
    assert set(_write(tmp_path)) == {"subject.py", "gsmtp.conf", "test_subject.py"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_subject.py"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "4 passed" in done.stdout, done.stdout + done.stderr


def test_the_configuration_of_the_page_runs(tmp_path: Path) -> None:
    files = _write(tmp_path)
    conf = files["gsmtp.conf"].replace("/var/spool/gsmtp", str(tmp_path / "spool")).replace("*:25", "127.0.0.1:0")
    with running(tmp_path, conf, base="Spool_Reserve = 0\nSuspend_Delivery = true\nDrain_Time = 1\n") as server:
        client = server.client()
        assert play(client, body=b"Subject: a Prize\r\n\r\n")["data"] == b"550 5.7.1 Not with this subject\r\n"
        assert client.transaction().startswith(b"250 ")
        assert "reason=\"subject holds 'prize'\"" in str(server.log)
