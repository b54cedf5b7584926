"""gsmtp beside smtp-sink, Postfix, aiosmtpd and Haraka on this machine, whichever of them are installed.

Each row is one kind of work. Its servers run side by side, rounds alternate between them (A B C A B C …), and medians
are compared, so that all see the same weather on the machine. Writes docs/performance.md with figures, ratios, versions
and a picture of each row, and the raw figures as JSON beside it. Progress goes to standard error. A run that is broken
off leaves the rows that are done in var/compare/raw.json, for --from.

examples:
  python -m loadtest.compare                             all rows, all servers that are there, five rounds
  python -m loadtest.compare --install                   fetch what is missing first (apt, pip, npm)
  python -m loadtest.compare --rows W1,W2 --servers gsmtp-sink,smtp-sink --no-docs
  python -m loadtest.compare --quick --no-docs           one short round of each: does it work here?
  python -m loadtest.compare --from docs/performance/raw.json    draw and write anew, measure nothing

Exit status: 0 when figures were taken, 2 when none could be.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any, cast

from loadtest import install, report
from loadtest.contenders import CONTENDERS, Contender, Missing, Running
from loadtest.programs import ROOT, end_on_term, find
from loadtest.rows import ROWS, Measurement, Row, Series
from tests.support.certificates import Authority

PAGE = ROOT / "docs" / "performance.md"
KEPT = ROOT / "var" / "compare" / "raw.json"
"""The raw figures of the rows that are done, for ``--from``: what a run was before it was broken off."""
QUICK_S = 0.4
QUICK_HELD = 200


def say(text: str) -> None:
    """Progress, for people."""
    print(text, file=sys.stderr, flush=True)


def fits(row: Row, contender: Contender) -> bool:
    """Whether a server takes part in a row: encryption and idle connections don't depend on the disk."""
    if row.kind == "starttls":
        return contender.has_tls and contender.name in ("gsmtp", "postfix", "aiosmtpd-sink", "haraka-sink")
    if row.kind == "idle":
        return contender.name in ("smtp-sink", "gsmtp-sink", "aiosmtpd-sink", "haraka-sink", "postfix", "gsmtp")
    return True


def measure(row: Row, contenders: Sequence[Contender], options: argparse.Namespace, certificate: Path) -> list[Series]:
    """One row: start its servers, alternate, stop them."""
    with ExitStack() as stack:
        running: list[Measurement] = []
        lost: list[Series] = []
        for one in contenders:
            try:
                tls = certificate if row.kind == "starttls" else None
                server = stack.enter_context(cast(AbstractContextManager[Running], one.start(tls)))
                measurement = Measurement(row, one, server, options.seconds, options.held)
                measurement.warm_up()
                running.append(measurement)
            except (Missing, RuntimeError, AssertionError, OSError) as error:
                lost.append(_given_up(row, Series(one.name), error))
        for number in range(options.rounds):
            for measurement in list(running):
                try:
                    value = measurement.round()
                    say(f"{row.name} round {number + 1}: {measurement.series.server:16} {value:10.2f} {row.unit}")
                except (RuntimeError, AssertionError, OSError, ValueError) as error:
                    running.remove(measurement)
                    lost.append(_given_up(row, Series(measurement.series.server), error))
    found = {one.server: one for one in [*(measurement.series for measurement in running), *lost]}
    return [found[one.name] for one in contenders]


def _given_up(row: Row, series: Series, error: Exception) -> Series:
    series.problem = " ".join(str(error).split())[:160] or type(error).__name__
    say(f"{row.name}: {series.server} gives no figures: {error}")
    return series


def choose(options: argparse.Namespace) -> list[Contender]:
    """The servers that were asked for and are there; says why another is not."""
    found = []
    for name in options.servers:
        one = CONTENDERS[name]
        if one.version():
            found.append(one)
        else:
            say(f"{one.title} is left out: not installed ({one.needs})")
    return found


def _list(allowed: Sequence[str]) -> Any:
    def parse(text: str) -> list[str]:
        names = [name.strip() for name in text.split(",") if name.strip()]
        known = {name.lower(): name for name in allowed}
        wrong = [name for name in names if name.lower() not in known]
        if wrong or not names:
            raise argparse.ArgumentTypeError(f"no {', '.join(wrong) or 'name'}; there are {', '.join(allowed)}")
        return [name for name in allowed if name.lower() in {word.lower() for word in names}]

    return parse


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    text, _, examples = (__doc__ or "").partition("examples:\n")
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.compare",
        description=text,
        epilog="examples:\n" + examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    rows, servers = list(ROWS), list(CONTENDERS)
    parser.add_argument("--rows", type=_list(rows), default=rows, help=f"some of {','.join(rows)}")
    parser.add_argument("--servers", type=_list(servers), default=servers, help=f"some of {','.join(servers)}")
    parser.add_argument("--rounds", type=int, default=5, help="of each server (%(default)s)")
    parser.add_argument("--seconds", type=float, default=3.0, help="of a round, about (%(default)s)")
    parser.add_argument("--held", type=int, default=10_000, help="connections of the row IDLE (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="one short round of each: figures are worth nothing")
    parser.add_argument(
        "--dir", help="where servers keep mail: the disk that is measured (the system's temporary folder)"
    )
    parser.add_argument("--install", action="store_true", help="fetch what is missing: apt (root), pip and npm")
    parser.add_argument("--docs", type=Path, default=PAGE, metavar="FILE", help="the page (docs/performance.md)")
    parser.add_argument("--no-docs", action="store_true", help="write no page, print the tables")
    parser.add_argument("--json", action="store_true", help="print the raw figures")
    parser.add_argument("--from", dest="recorded", type=Path, metavar="FILE", help="take raw figures from a file")
    options = parser.parse_args(words)
    if options.quick:
        options.rounds, options.seconds, options.held = 1, QUICK_S, QUICK_HELD
    if options.rounds < 1 or options.seconds <= 0 or options.held < 1:
        parser.error("--rounds, --seconds and --held are above 0")
    return options


def _measured(options: argparse.Namespace) -> tuple[dict[str, list[Series]], dict[str, Any]]:
    tempfile.tempdir = options.dir
    folder = tempfile.gettempdir()
    disk = report.disk_of(folder)
    if disk.startswith("tmpfs"):
        say(f"warning: {folder} is in memory (tmpfs); durable servers look too good. Name a disk with --dir")
    contenders = choose(options)
    about = {
        "date": report.today(),
        "machine": report.machine(folder),
        "versions": {one.name: one.version() for one in contenders},
        "rounds": options.rounds,
        "seconds": options.seconds,
    }
    results: dict[str, list[Series]] = {}
    with tempfile.TemporaryDirectory() as keys:
        os.chmod(keys, 0o755)  # servers read it under users of their own
        certificate = Authority("comparison").issue("127.0.0.1").write(Path(keys) / "server.pem")
        for name in options.rows:
            row = ROWS[name]
            taking_part = [one for one in contenders if fits(row, one)]
            if taking_part:
                say(f"{name}: {row.title}: {', '.join(one.title for one in taking_part)}")
                results[name] = measure(row, taking_part, options, certificate)
                _keep(results, about)
    return results, about


def _keep(results: dict[str, list[Series]], about: dict[str, Any]) -> None:
    KEPT.parent.mkdir(parents=True, exist_ok=True)
    KEPT.write_text(json.dumps(report.raw(results, about)))


def main(words: Sequence[str] | None = None) -> int:
    """Compare; the exit status."""
    options = arguments(words)
    try:
        if options.install:
            install.install(say)
        if options.recorded is not None:
            found = json.loads(options.recorded.read_text())
            results, about = report.from_raw(found), found["about"]
        elif find("smtp-source") is None:
            say("error: smtp-source is not installed; --install gets it, or apt-get install postfix")
            return 2
        else:
            results, about = _measured(options)
    except (OSError, ValueError, KeyError, TypeError, install.Failed) as error:
        say(f"error: {error}")
        return 2
    if not any(one.values for series in results.values() for one in series):
        say("error: no figures could be taken")
        return 2
    if options.json:
        print(json.dumps(report.raw(results, about)))
    if options.no_docs:
        if not options.json:
            for name, series in results.items():
                print(f"\n{name}: {ROWS[name].title}\n", *report.table(ROWS[name], series), sep="\n")
        return 0
    for path in report.write(results, about, options.docs):
        say(f"written: {path}")
    return 0


if __name__ == "__main__":
    end_on_term()
    sys.exit(main())
