"""The comparison without servers: figures to ratios, tables, page and pictures, and what its command line refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from loadtest import compare, profiling, report, rows, scaling
from loadtest.rows import ROWS, Row, Series

RECORDED: dict[str, list[Series]] = {
    "W2": [
        Series("smtp-sink", [30000.0, 29000.0, 31000.0], [0.032, 0.031, 0.033]),
        Series("gsmtp-sink", [24000.0, 27000.0, 28000.0], [0.028, 0.027, 0.029]),
        Series("postfix", [1250.0, 1200.0, 1300.0], [1.25, 1.2, 1.3]),
        Series("gsmtp", [12500.0, 12000.0, 13000.0], [0.0625, 0.06, 0.065]),
        Series("haraka", problem="nothing greets on port 1"),
    ],
    "W5": [Series("postfix", [1.5], [1.0]), Series("gsmtp", [0.3], [0.5])],
    "IDLE": [Series("smtp-sink", [258.0], notes={"banner p99 ms": [2.6], "held": [10000.0]})],
    "TLS": [Series("aiosmtpd-sink", [500.0], [0.9]), Series("postfix", [400.0], [1.08])],
}
ABOUT = {
    "date": "2026-01-02",
    "machine": {"processor": "Test", "cores": "2"},
    "versions": {"gsmtp": "gsmtp 0.1.0"},
    "rounds": 3,
    "seconds": 2.0,
}


def test_ratios_are_of_medians_and_more_is_better() -> None:
    found = rows.ratios(ROWS["W2"], RECORDED["W2"], "postfix")
    assert found["gsmtp"] == pytest.approx((10.0, 0.05))
    assert "haraka" not in found
    assert rows.ratios(ROWS["W5"], RECORDED["W5"], "postfix")["gsmtp"] == pytest.approx((5.0, 0.5))
    assert rows.ratios(ROWS["W2"], RECORDED["W5"], "smtp-sink") == {}


def test_the_table_of_a_row() -> None:
    assert report.table(ROWS["W2"], RECORDED["W2"]) == [
        "| server | messages/s, median | slowest to fastest round | times the baseline | CPU s per 1,000 | "
        "CPU, times the baseline's |",
        "| --- | --- | --- | --- | --- | --- |",
        "| smtp-sink | 30,000 | 29,000 to 31,000 | 1.00x | 0.032 | 1.00x |",
        "| gsmtp, sink | 27,000 | 24,000 to 28,000 | 0.90x | 0.028 | 0.88x |",
        "| Postfix, holding | 1,250 | 1,200 to 1,300 | 1.00x | 1.250 | 1.00x |",
        "| gsmtp | 12,500 | 12,000 to 13,000 | 10.00x | 0.062 | 0.05x |",
        "| Haraka, Maildir | - | nothing greets on port 1 | - | - | - |",
    ]


def test_the_table_of_held_connections_names_those_without_a_banner() -> None:
    notes = {"banner p99 ms": [2.6, 2.8], "held": [9990.0, 10000.0], "without banner": [10.0, 0.0]}
    lines = report.table(ROWS["IDLE"], [Series("smtp-sink", [258.0, 256.0], notes=notes)])
    assert lines[0].endswith("| banner p99, ms: median, worst round | held, and got no banner |")
    assert lines[2] == "| smtp-sink | 257 | 258 to 256 | 1.00x | 2.70, 2.80 | 9,990, 10 |"


def test_the_overview_shows_baselines_in_figures() -> None:
    lines = report.summary(RECORDED)
    assert lines[0].split(" | ")[1:4] == ["smtp-sink", "gsmtp, sink", "aiosmtpd, sink"]
    assert "| 30,000 messages/s, CPU 0.032 | 0.90x, CPU 0.88x | - |" in lines[2]
    assert "| 258 KiB/connection |" in lines[4]
    assert "1.25x, CPU 0.83x" in lines[5]


def test_raw_figures_are_read_back_and_written_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recorded = tmp_path / "raw.json"
    recorded.write_text(json.dumps(report.raw(RECORDED, ABOUT)))
    assert report.from_raw(json.loads(recorded.read_text())) == RECORDED
    page = tmp_path / "docs" / "performance.md"
    page.parent.mkdir()
    assert compare.main(["--from", str(recorded), "--docs", str(page)]) == 0
    text = page.read_text()
    assert "Measured on 2026-01-02" in text
    assert "| processor | Test |" in text
    for name in RECORDED:
        assert f"](performance/{name}.svg)" in text
        assert (tmp_path / "docs" / "performance" / f"{name}.svg").read_text().startswith("<?xml")
    assert json.loads((tmp_path / "docs" / "performance" / "raw.json").read_text())["about"] == ABOUT
    capsys.readouterr()
    assert compare.main(["--from", str(recorded), "--no-docs", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"]["W5"][1]["values"] == [0.3]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--rows", "W9"], "no W9; there are W1, W2, W3, W4, W5, P99, IDLE, TLS"),
        (["--servers", "exim"], "no exim; there are smtp-sink, gsmtp-sink"),
        (["--rounds", "0"], "above 0"),
    ],
)
def test_a_wrong_command_line_says_what_there_is(
    words: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        compare.arguments(words)
    assert complaint in capsys.readouterr().err


def test_rows_and_servers_are_taken_without_case_in_their_own_order() -> None:
    options = compare.arguments(["--rows", "tls,w1", "--servers", "gsmtp,smtp-sink", "--quick"])
    assert (options.rows, options.servers, options.rounds) == (["W1", "TLS"], ["smtp-sink", "gsmtp"], 1)


def test_missing_or_broken_raw_figures_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare.main(["--from", str(tmp_path / "none.json")]) == 2
    assert capsys.readouterr().err.startswith("error: [Errno 2] No such file")
    broken = tmp_path / "broken.json"
    broken.write_text("{")
    assert compare.main(["--from", str(broken)]) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_a_run_that_is_broken_off_leaves_the_rows_that_are_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tmp_path / "new" / "raw.json"

    def measure(row: Row, *_: object) -> list[Series]:
        if row.name == "W5":
            raise KeyboardInterrupt
        return RECORDED[row.name]

    monkeypatch.setattr(compare, "KEPT", kept)
    monkeypatch.setattr(compare, "find", lambda _name: "smtp-source")
    monkeypatch.setattr(compare, "measure", measure)
    with pytest.raises(KeyboardInterrupt):
        compare.main(["--rows", "W2,W5", "--servers", "gsmtp-sink"])
    assert report.from_raw(json.loads(kept.read_text())) == {"W2": RECORDED["W2"]}


def test_the_machine_is_described(tmp_path: Path) -> None:
    found = report.machine(str(tmp_path))
    assert int(found["cores"]) >= 1
    assert " on " in found["disk"]


def test_the_table_of_scaling() -> None:
    points = [scaling.Point(1, [1000.0], [0.5]), scaling.Point(1000, [900.0, 800.0, 1000.0], [0.6, 0.6, 0.7])]
    assert scaling.table({"peers": points})[2:] == [
        "| Peer blocks | 1 | 1,000 | 0.500 | 1.00x |",
        "| Peer blocks | 1,000 | 900 | 0.600 | 1.20x |",
    ]
    assert scaling.peers(1000).count("Peer ") == 1000


def test_the_table_of_a_profile() -> None:
    stacks = ["run (hub);read (channel) 3", "run (hub);read (channel);take (body) 6", "write (store) 1"]
    assert profiling.top(stacks, 2) == [
        "  alone     all  of 10 samples",
        "  60.0%   60.0%  take (body)",
        "  30.0%   90.0%  read (channel)",
    ]
