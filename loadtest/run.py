"""Is a server under load quick, does it fail nobody, and does it keep what it promised? `make loadtest`.

Starts a gsmtp of its own on the loopback address with a spool in a temporary folder (handing on is suspended, so that
all that was confirmed has to be there afterwards), lets locust's users of one or several scenarios loose on it for a
bounded time, stops both, and judges: failures, the 99th percentile of a transaction, and the gate of `ledger`: ids
confirmed to clients are ids in the spool. A report in HTML and the figures as JSON are left under var/loadtest/.

examples:
  python -m loadtest.run                                    all scenarios, 10 s each
  python -m loadtest.run gateway --seconds 60 --users 200
  python -m loadtest.run submission --implicit-tls --p99 500
  python -m loadtest.run gateway -- --mix text:1k --recipients 100 --messages 50

Exit status: 0 when all limits hold, 1 when one doesn't, 2 when nothing could be measured.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loadtest.ledger import Verdict, compare, read_ledgers, read_spools
from loadtest.programs import ROOT, end_on_term, environment, family_cpu_s
from tests.support.certificates import Authority
from tests.support.server import Server, serving

REPORTS = ROOT / "var" / "loadtest"
LOGIN = "alice:correct horse battery staple"
GRACE_S = 15

CONF = """
hostname = "load.example.com"
spoolbase = "{folder}/spool"
relay_domains = ( "example.com" )
suspend_delivery = true
server_max_file_descriptors = 20000
ESMTP_Listener {
  max_recipients_per_message = 100
  service_sessions = 5000
  SCENARIO
}
"""

LISTENERS = {
    "gateway": """
  smtp_extensions = ( "ENHANCEDSTATUSCODES" "SMTPUTF8" "CHUNKING" "DSN" )
  require_ehlo = true
  Listen "127.0.0.1:{port}" { }""",
    "hostile": """
  smtp_extensions = ( "ENHANCEDSTATUSCODES" "SMTPUTF8" "CHUNKING" "DSN" "STARTTLS" )
  tls_certificate = "{folder}/server.pem"
  require_ehlo = true
  idle_time = 10
  Listen "127.0.0.1:{port}" { }""",
    "submission": """
  smtp_extensions = ( "ENHANCEDSTATUSCODES" "SMTPUTF8" STARTTLS "AUTH PLAIN" )
  tls_certificate = "{folder}/server.pem"
  enable_authentication = true
  auth_requires_tls = true
  authplainparameters = [ uri = "file://{folder}/users" ]
  Listen "127.0.0.1:{port}" { IMPLICIT }""",
}


@dataclass
class Result:
    """What one scenario gave.

    Args:
        scenario: its name.
        entries: locust's figures, one a step and message.
        errors: what failed, with how often.
        gate: confirmed against spool.
        report: the HTML.
        problems: limits that don't hold, one line each.
    """

    scenario: str
    entries: list[dict[str, Any]]
    errors: list[dict[str, Any]]
    gate: Verdict
    report: Path
    cpu_s: float = 0.0
    problems: list[str] = field(default_factory=list)

    def judge(self, options: argparse.Namespace) -> None:
        """Fill in `problems`."""
        count = sum(entry["count"] for entry in self.entries)
        failures = sum(entry["failures"] for entry in self.entries)
        if not any(entry["type"] == "mail" and entry["count"] > entry["failures"] for entry in self.entries):
            self.problems.append("no message got through")
        if failures > options.failures / 100 * count:
            worst = max(self.errors, key=lambda error: int(error["count"]), default={"name": "?", "error": "?"})
            self.problems.append(f"{failures} of {count} steps failed, mostly {worst['name']}: {worst['error']}")
        slow = [entry for entry in self.entries if entry["type"] == "mail" and entry["p99_ms"] > options.p99]
        self.problems += [f"{entry['name']}: p99 {entry['p99_ms']:g} ms, limit {options.p99:g} ms" for entry in slow]
        self.problems += self.gate.problems


def listeners(scenario: str, implicit_tls: bool) -> str:
    """The configuration of a scenario's server."""
    text = LISTENERS[scenario].replace("IMPLICIT", "use_ssl = true" if implicit_tls else "")
    return CONF.replace("SCENARIO", text)


def _command(scenario: str, options: argparse.Namespace, server: Server, folder: Path, report: Path) -> list[str]:
    scheme = {"submission": "smtps" if options.implicit_tls else "smtp+starttls"}.get(scenario, "smtp")
    users = max(2, options.users) if scenario == "hostile" else options.users
    words = [
        *(sys.executable, "-m", "locust", "-f", str(ROOT / "loadtest" / "scenarios" / f"{scenario}.py")),
        *("--host", f"{scheme}://127.0.0.1:{server.port}", "--headless", "--only-summary", "--loglevel", "WARNING"),
        *("-u", str(users), "-r", str(max(1, users)), "-t", f"{options.seconds}s", "--stop-timeout", str(GRACE_S)),
        *("--html", str(report), "--ledger", str(folder / "ledgers"), "--summary", str(folder / "summary.json")),
        *("--exit-code-on-error", "0"),
    ]
    if options.processes > 1:
        words += ["--processes", str(options.processes)]
    return [*words, *options.locust]


def run_scenario(scenario: str, options: argparse.Namespace) -> Result:
    """Serve, load, stop, compare.

    Raises:
        RuntimeError: nothing could be measured; with the end of the log that says why.
    """
    options.out.mkdir(parents=True, exist_ok=True)
    report = options.out / f"{scenario}.html"
    with tempfile.TemporaryDirectory(prefix="gsmtp-load-", dir=options.dir) as name:
        folder = Path(name)
        Authority("load test").issue("127.0.0.1").write(folder / "server.pem")
        (folder / "users").write_text(LOGIN.replace(":", ":{CLEAR}", 1) + "\n")
        with serving(folder, listeners(scenario, options.implicit_tls)) as server:
            command = _command(scenario, options, server, folder, report)
            log = options.out / f"{scenario}.log"
            with log.open("wb") as output:
                done = subprocess.run(
                    command,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=environment(),
                    cwd=ROOT,
                    timeout=options.seconds + 4 * GRACE_S,
                    check=False,
                )
            if not server.is_running:
                raise RuntimeError(f"the server ended under load:\n{server.log()[-2000:]}")
            cpu_s = family_cpu_s(server.pid)
            server.stop()
        summary = folder / "summary.json"
        if done.returncode or not summary.exists():
            raise RuntimeError(f"locust ended with {done.returncode} ({log}):\n{log.read_text()[-2000:]}")
        (options.out / f"{scenario}.server.log").write_bytes(server.log_file.read_bytes())
        figures = json.loads(summary.read_text())
        gate = compare(read_ledgers(folder / "ledgers"), read_spools(server.spool))
    result = Result(scenario, figures["entries"], figures["errors"], gate, report, cpu_s)
    result.judge(options)
    return result


def show(result: Result) -> None:
    """For people."""
    print(f"\n{result.scenario}")
    print(f"  {'':32}{'count':>9}{'failed':>8}{'a second':>10}{'p50 ms':>8}{'p99 ms':>8}")
    for entry in sorted(result.entries, key=lambda entry: (entry["type"] != "mail", entry["type"], entry["name"])):
        print(
            f"  {entry['type'] + ' ' + entry['name']:32}{entry['count']:9}{entry['failures']:8}{entry['rate']:10.1f}"
            f"{entry['p50_ms'] or 0:8g}{entry['p99_ms'] or 0:8g}"
        )
    for error in result.errors[:10]:
        print(f"  failed {error['count']} times: {error['name']}: {error['error']}")
    print(f"  server: {result.cpu_s:.1f} CPU s")
    for line in result.gate.lines():
        print(f"  gate: {line}")
    print(f"  report: {result.report}")
    for problem in result.problems:
        print(f"  NOT MET: {problem}")
    print(f"  {'not met' if result.problems else 'all limits hold'}")


def _arguments(words: list[str] | None) -> argparse.Namespace:
    text, _, examples = (__doc__ or "").partition("examples:\n")
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.run",
        description=text,
        epilog="examples:\n" + examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=f"of {', '.join(LISTENERS)}; all by default")
    parser.add_argument("--seconds", type=int, default=10, help="of load for each scenario (%(default)s)")
    parser.add_argument("--users", type=int, default=20, help="at one time (%(default)s)")
    parser.add_argument("--processes", type=int, default=1, help="of locust (%(default)s)")
    parser.add_argument("--failures", type=float, default=0.0, metavar="PERCENT", help="of steps (%(default)s)")
    parser.add_argument("--p99", type=float, default=1000.0, metavar="MS", help="of a transaction (%(default)s)")
    parser.add_argument("--implicit-tls", action="store_true", help="submission by smtps instead of STARTTLS")
    parser.add_argument("--out", type=Path, default=REPORTS, metavar="DIR", help="for reports (var/loadtest)")
    parser.add_argument("--dir", default=None, metavar="DIR", help="for the spool: the disk that is to be measured")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    words = sys.argv[1:] if words is None else words
    split = words.index("--") if "--" in words else len(words)
    options = parser.parse_args(words[:split])
    options.locust = words[split + 1 :]
    unknown = [name for name in options.scenarios if name not in LISTENERS]
    if unknown:
        parser.error(f"no scenario {', '.join(unknown)}; there are {', '.join(LISTENERS)}")
    if options.seconds < 1 or options.users < 1:
        parser.error("--seconds and --users are at least 1")
    return options


def main(words: list[str] | None = None) -> int:
    """Run the scenarios; the exit status."""
    options = _arguments(words)
    if importlib.util.find_spec("locust") is None:
        print("error: locust is not installed; run `make loadtest`, or pip install -r loadtest/requirements.txt")
        return 2
    results = []
    for scenario in options.scenarios or list(LISTENERS):
        print(f"{scenario}: {options.users} users for {options.seconds} s …", file=sys.stderr, flush=True)
        started = time.monotonic()
        try:
            results.append(run_scenario(scenario, options))
        except (RuntimeError, AssertionError, subprocess.TimeoutExpired, OSError) as error:
            print(f"error: {scenario}: {error}", file=sys.stderr)
            return 2
        if not options.json:
            show(results[-1])
        print(f"{scenario}: done after {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    if options.json:
        print(json.dumps([vars(one) | {"gate": vars(one.gate), "report": str(one.report)} for one in results]))
    return 1 if any(one.problems for one in results) else 0


if __name__ == "__main__":
    end_on_term()
    sys.exit(main())
