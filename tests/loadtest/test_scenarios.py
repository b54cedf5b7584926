"""Each scenario against a real server for a second, as `make loadtest` runs it: limits, gate, report, exit status."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.source import ROOT

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("locust") is None, reason="locust is not installed (loadtest/requirements.txt)"
)
DEADLINE_S = 60


def load(*words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "loadtest.run", "--seconds", "1", "--users", "6", "--p99", "30000", "--json"]
    return subprocess.Popen(
        [*command, *words], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, dict[str, Any], str]]:
    """Exit status, figures and messages of all three, which run side by side."""
    out = tmp_path_factory.mktemp("out")
    started = {name: load(name, "--out", str(out)) for name in ("gateway", "submission", "hostile")}
    found = {}
    for name, process in started.items():
        stdout, stderr = process.communicate(timeout=DEADLINE_S)
        found[name] = (process.returncode, json.loads(stdout)[0] if stdout else {}, stderr)
    return found


@pytest.mark.parametrize("scenario", ["gateway", "submission", "hostile"])
def test_limits_hold_and_all_that_was_confirmed_is_there(
    scenario: str, runs: dict[str, tuple[int, dict[str, Any], str]]
) -> None:
    status, result, messages = runs[scenario]
    assert status == 0, (result.get("problems"), messages)
    assert result["problems"] == []
    gate = result["gate"]
    assert gate["confirmed"] > 0
    assert gate["stored"] == gate["confirmed"] + gate["kept"]
    assert "<html" in Path(result["report"]).read_text()
    steps = {entry["name"] for entry in result["entries"] if entry["type"] == "step"}
    secure = {"STARTTLS", "AUTH"} if scenario == "submission" else set()
    assert {"connect", "EHLO", "MAIL", "RCPT", "DATA", "body", "QUIT"} | secure == steps


def test_another_host_is_refused() -> None:
    command = [sys.executable, "-m", "locust", "-f", "loadtest/scenarios/gateway.py", "--host", "smtp://192.0.2.1:25"]
    done = subprocess.run(
        [*command, "--headless", "-t", "1s"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 2
    assert "error: 192.0.2.1 is not this machine" in done.stderr
