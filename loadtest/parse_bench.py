"""How fast a large configuration parses, beside crossplane on the same content in nginx syntax.

Makes ten thousand stanzas (80,000 lines, some 2 MB) in both syntaxes, parses them in turns in one process, and prints
the medians and the ratio. Both read text into a tree of statements with their lines; neither judges names or values::

    python loadtest/parse_bench.py
    python loadtest/parse_bench.py --stanzas 2000 --rounds 3 --at-most 3
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import crossplane

from gsmtp.config.diagnostics import Problems
from gsmtp.config.grammar import parse
from gsmtp.config.source import read

STANZAS = 10_000
MAX_STANZAS = 100_000


def content(stanzas: int) -> tuple[str, str]:
    """The same statements as conf and as nginx blocks: six options in each stanza, some lists, comments, numbers."""
    conf: list[str] = []
    nginx: list[str] = []
    for number in range(stanzas):
        name = f"customer-{number}.example.com"
        conf.append(f'Domain "{name}" {{')
        nginx.append(f"server {name} {{")
        for option, value in _options(number):
            note = "  # two days" if option == "message_expiration" and number % 20 == 0 else ""
            if isinstance(value, list):
                conf.append(f"  {option} = ( " + " ".join(f'"{item}"' for item in value) + " )")
                nginx.append(f"  {option} " + " ".join(f'"{item}"' for item in value) + ";")
            else:
                conf.append(f"  {option} = {value}{note}")
                nginx.append(f"  {option} {value};{note}")
        conf.append("}")
        nginx.append("}")
    return "\n".join(conf) + "\n", "\n".join(nginx) + "\n"


def _options(number: int) -> list[tuple[str, str | list[str]]]:
    third: tuple[str, str | list[str]] = ("remote_smtp_port", str(2500 + number % 100))
    if number % 10 == 0:
        third = ("routes", [f"smtp://10.0.{number % 250}.20?pref=10", f"smtp://10.0.{number % 250}.21?pref=20"])
    return [
        ("gateway", f'"10.{number % 250}.7.20"'),
        ("delivery_method", '"LMTP"'),
        third,
        ("retry_interval", "300"),
        ("max_retry_interval", f"{3600 + number}"),
        ("message_expiration", "172800"),
    ]


def _timed(work: Callable[[], object]) -> float:
    gc.collect()
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure(stanzas: int, rounds: int) -> dict[str, float]:
    """Medians in seconds over interleaved rounds, and the ratios to crossplane's."""
    conf, nginx = content(stanzas)
    times: dict[str, list[float]] = {"gsmtp_parse_s": [], "gsmtp_load_s": [], "crossplane_s": []}
    with tempfile.TemporaryDirectory() as folder:
        conf_path, nginx_path = Path(folder, "ecelerity.conf"), Path(folder, "nginx.conf")
        conf_path.write_text(conf, encoding="utf-8")
        nginx_path.write_text(nginx, encoding="utf-8")

        def ours() -> None:
            problems = Problems()
            document = parse(conf_path.read_text(encoding="utf-8"), str(conf_path), problems)
            assert len(document.items) == stanzas
            assert len(problems) == 0

        def load() -> None:
            problems = Problems()
            assert len(read(str(conf_path), problems).root.children) == stanzas
            assert len(problems) == 0

        def theirs() -> None:
            found = crossplane.parse(str(nginx_path), check_ctx=False, check_args=False)
            assert found["status"] == "ok"
            assert len(found["config"][0]["parsed"]) == stanzas

        for _ in range(rounds):
            times["gsmtp_parse_s"].append(_timed(ours))
            times["crossplane_s"].append(_timed(theirs))
            times["gsmtp_load_s"].append(_timed(load))
    result = {name: statistics.median(values) for name, values in times.items()}
    result["parse_ratio"] = result["gsmtp_parse_s"] / result["crossplane_s"]
    result["load_ratio"] = result["gsmtp_load_s"] / result["crossplane_s"]
    result["stanzas"], result["lines"], result["bytes"] = stanzas, conf.count("\n"), len(conf)
    return result


def main() -> int:
    """Print the figures; 1 when the ratio is above ``--at-most``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stanzas", type=int, default=STANZAS, help="how many stanzas, at most 100,000")
    parser.add_argument("--rounds", type=int, default=5, choices=range(1, 51), metavar="1-50", help="rounds of each")
    parser.add_argument("--at-most", type=float, metavar="RATIO", help="fail when parsing takes longer than this")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    args = parser.parse_args()
    result = measure(max(1, min(args.stanzas, MAX_STANZAS)), args.rounds)
    if args.json:
        print(json.dumps(result))
    else:
        print(f"{result['stanzas']} stanzas, {result['lines']} lines, {result['bytes'] / 1e6:.1f} MB")
        print(f"gsmtp       text to nodes  {result['gsmtp_parse_s']:.3f} s   {result['parse_ratio']:.2f} x crossplane")
        print(f"gsmtp       merged tree    {result['gsmtp_load_s']:.3f} s   {result['load_ratio']:.2f} x crossplane")
        print(f"crossplane  parse          {result['crossplane_s']:.3f} s")
    return 1 if args.at_most is not None and result["parse_ratio"] > args.at_most else 0


if __name__ == "__main__":
    sys.exit(main())
