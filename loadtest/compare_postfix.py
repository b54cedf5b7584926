"""Durable messages a second, gsmtp beside Postfix, in one interleaved run.

Both take the same messages from Postfix's own load generator (``smtp-source -d -s 20 -m N -l 1024``), keep them on the
same file system, and deliver none: gsmtp by ``Suspend_Delivery``, Postfix by HOLD, which leaves its queue manager out
of the way. Rounds alternate, so that both see the same weather on the machine; medians are compared. Postfix's queue is
emptied between rounds, gsmtp's spool grows.

Usage: ``python -m loadtest.compare_postfix [--messages N] [--rounds N] [--json]``, as root (Postfix needs it).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from tests.support.peers import open_folder, program
from tests.support.postfix import Postfix, postfix
from tests.support.server import Server, serving

CONF = """
hostname = "bench.example.com"
spoolbase = "{folder}/spool"
relay_domains = ( "example.com" )
suspend_delivery = true
ESMTP_Listener {
  smtp_extensions = ( "ENHANCEDSTATUSCODES" )
  Listen "127.0.0.1:{port}" { }
}
"""

HOLD = """\
smtpd_client_restrictions = check_client_access static:HOLD
in_flow_delay = 0
"""

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Results:
    """What the rounds of one server gave: messages a second, and its processor seconds per 1,000 messages."""

    rates: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def summary(self) -> dict[str, float]:
        """Medians, and the extremes of the rate."""
        return {
            "rate": round(median(self.rates), 1),
            "slowest": round(min(self.rates), 1),
            "fastest": round(max(self.rates), 1),
            "cpu_s_per_1000": round(median(self.cpu), 3),
        }


def _family_cpu_s(master: int) -> float:
    """Processor seconds of a process, its children that live, and those that it has waited for."""
    total = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if stat.parent.name == str(master):
            total += sum(int(value) for value in fields[11:15])
        elif fields[1] == str(master):
            total += int(fields[11]) + int(fields[12])
    return total / TICKS


def _load(port: int, messages: int, length: int, sessions: int) -> float:
    """Send the messages; the seconds it took."""
    start = time.monotonic()
    subprocess.run(
        [
            program("smtp-source", "postfix"),
            *("-d", "-s", str(sessions), "-m", str(messages), "-l", str(length)),
            *("-f", "sender@example.net", "-t", "recipient@example.com", f"127.0.0.1:{port}"),
        ],
        check=True,
        timeout=300,
        stdout=subprocess.DEVNULL,
    )
    return time.monotonic() - start


def _round(results: Results, options: argparse.Namespace, port: int, cpu_s: Callable[[], float]) -> None:
    before = cpu_s()
    seconds = _load(port, options.messages, options.length, options.sessions)
    results.rates.append(options.messages / seconds)
    results.cpu.append((cpu_s() - before) / options.messages * 1000)


def measure(options: argparse.Namespace, gsmtp: Server, peer: Postfix) -> tuple[Results, Results]:
    """Alternate rounds, a short one of each first that doesn't count."""
    ours, theirs = Results(), Results()
    for port in (gsmtp.port, peer.port):
        _load(port, min(500, options.messages), options.length, options.sessions)
    peer.drop_all()
    for number in range(options.rounds):
        _round(ours, options, gsmtp.port, gsmtp.cpu_seconds)
        _round(theirs, options, peer.port, lambda: _family_cpu_s(peer.master_pid()))
        held = peer.queued()
        assert held == options.messages, f"Postfix holds {held} of {options.messages}"
        peer.drop_all()
        if not options.json:
            print(f"round {number + 1}: gsmtp {ours.rates[-1]:8.0f}/s   Postfix {theirs.rates[-1]:8.0f}/s", flush=True)
    return ours, theirs


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--messages", type=int, default=5000, help="a round (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="of each server (default %(default)s)")
    parser.add_argument("--length", type=int, default=1024, help="bytes of a message (default %(default)s)")
    parser.add_argument("--sessions", type=int, default=20, help="connections at one time (default %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    return parser.parse_args()


def main() -> int:
    """Run the comparison and print it."""
    options = _arguments()
    if os.geteuid() != 0:
        print("Postfix can only be started by root; nothing was measured.", file=sys.stderr)
        return 2
    with (
        open_folder("bench-gsmtp") as ours_at,
        open_folder("bench-postfix") as theirs_at,
        serving(ours_at, CONF) as gsmtp,
        postfix(theirs_at, extra=HOLD, processes=max(50, options.sessions)) as peer,
    ):
        ours, theirs = measure(options, gsmtp, peer)
    a, b = ours.summary(), theirs.summary()
    ratio = a["rate"] / b["rate"]
    if options.json:
        print(json.dumps({"gsmtp": a, "postfix": b, "ratio": round(ratio, 2), "options": vars(options)}))
        return 0
    print(f"\nmedians of {options.rounds} rounds of {options.messages} messages of {options.length} bytes, durable:")
    for name, row in (("gsmtp", a), ("Postfix", b)):
        print(f"  {name:8} {row['rate']:8.0f} messages/s   {row['cpu_s_per_1000']:.3f} CPU s per 1,000 messages")
    print(f"  ratio    {ratio:8.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
