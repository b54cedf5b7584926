"""What `make loadtest` makes of figures: limits that don't hold, and hosts that it doesn't send to."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest

from loadtest import run
from loadtest.ledger import Verdict
from loadtest.target import check_target


def judged(entries: list[dict[str, Any]], gate: Verdict | None = None, failures: float = 0.0) -> list[str]:
    errors = [{"name": "step RCPT", "error": "550 5.7.1 no", "count": 3}]
    result = run.Result("gateway", entries, errors, gate or Verdict(10, 10, 0, 0), Path("report.html"))
    result.judge(argparse.Namespace(failures=failures, p99=500.0))
    return result.problems


def entry(kind: str, name: str, count: int, failures: int = 0, p99_ms: float = 5.0) -> dict[str, Any]:
    return {"type": kind, "name": name, "count": count, "failures": failures, "p99_ms": p99_ms}


def test_good_figures_have_no_problems() -> None:
    assert judged([entry("mail", "text 1 KiB", 100), entry("step", "RCPT", 100)]) == []


def test_failures_are_counted_and_the_most_frequent_is_named() -> None:
    entries = [entry("mail", "text 1 KiB", 97), entry("step", "RCPT", 103, failures=3)]
    assert judged(entries) == ["3 of 200 steps failed, mostly step RCPT: 550 5.7.1 no"]
    assert judged(entries, failures=2.0) == []


def test_slow_transactions_are_named_and_slow_steps_are_not() -> None:
    entries = [entry("mail", "text 1 KiB", 100, p99_ms=501.0), entry("hostile", "never says a word", 9, p99_ms=1000.0)]
    assert judged(entries) == ["text 1 KiB: p99 501 ms, limit 500 ms"]


def test_a_run_without_mail_and_a_gate_that_does_not_hold_are_problems() -> None:
    assert judged([entry("hostile", "garbage", 5)]) == ["no message got through"]
    gate = Verdict(1, 0, 0, 0, ["LOST (confirmed, not in the spool): 1: id1"])
    assert judged([entry("mail", "text 1 KiB", 1)], gate) == gate.problems


def test_hosts_of_this_machine_are_taken() -> None:
    assert check_target("smtp://127.0.0.1:2525", False) == ("127.0.0.1", 2525, "")
    assert check_target("smtps://localhost", False) == ("localhost", 465, "implicit")
    assert check_target("smtp+starttls://[::1]:2587", False) == ("::1", 2587, "starttls")
    assert check_target("smtp://192.0.2.1", True) == ("192.0.2.1", 25, "")


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("smtp://192.0.2.1:25", "192.0.2.1 is not this machine.*--allow-remote"),
        ("http://127.0.0.1", "is none of smtp://HOST:PORT, smtps://HOST:PORT"),
        ("127.0.0.1:25", "is none of"),
    ],
)
def test_other_hosts_are_not(url: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        check_target(url, False)


def test_a_scenario_that_there_is_not_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        run.main(["spam"])
    assert "no scenario spam; there are gateway, hostile, submission" in capsys.readouterr().err
