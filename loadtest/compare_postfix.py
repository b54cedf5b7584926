"""Durable messages a second, gsmtp beside Postfix, in one interleaved run.

All take the same messages from Postfix's own load generator (``smtp-source -d -s 20 -m N -l 1024``), on the
same file system. gsmtp keeps them in its queue (`Suspend_Delivery`). Postfix runs twice: once it holds what it queued,
which leaves its queue manager out of the way and is the best it can do; once it discards it, so that its whole way of
a message is in the figure. Rounds alternate, so that all see the same weather on the machine; medians are compared.
Postfix's queues are emptied between rounds, gsmtp's spool grows.

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
from tests.support.waiting import wait_until

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

DISCARD = """\
default_transport = discard
relay_transport = discard
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


@dataclass
class Contender:
    """One server that takes the load.

    Args:
        name: for the table.
        port: on the loopback address.
        cpu_s: processor seconds so far, all its processes.
        drop: empties its queue, where it keeps one.
        settle: run after each round, outside the time.
    """

    name: str
    port: int
    cpu_s: Callable[[], float]
    drop: Callable[[], None]
    settle: Callable[[], None]
    results: Results = field(default_factory=Results)

    def run(self, options: argparse.Namespace) -> None:
        """One round."""
        before = self.cpu_s()
        seconds = _load(self.port, options.messages, options.length, options.sessions)
        self.results.rates.append(options.messages / seconds)
        self.settle()
        self.results.cpu.append((self.cpu_s() - before) / options.messages * 1000)


def _contenders(options: argparse.Namespace, gsmtp: Server, holding: Postfix, discarding: Postfix) -> list[Contender]:
    def check_held() -> None:
        held = holding.queued()
        assert held == options.messages, f"Postfix holds {held} of {options.messages}"
        holding.drop_all()

    def wait_discarded() -> None:
        wait_until(lambda: discarding.queued() == 0, "an empty queue", 120, every_s=0.1)

    def cpu_of(peer: Postfix) -> Callable[[], float]:
        return lambda: _family_cpu_s(peer.master_pid())

    return [
        Contender("gsmtp", gsmtp.port, gsmtp.cpu_seconds, lambda: None, lambda: None),
        Contender("Postfix, holding", holding.port, cpu_of(holding), holding.drop_all, check_held),
        Contender("Postfix, discarding", discarding.port, cpu_of(discarding), wait_discarded, wait_discarded),
    ]


def measure(options: argparse.Namespace, contenders: list[Contender]) -> None:
    """Alternate rounds, a short one of each first that doesn't count."""
    for one in contenders:
        _load(one.port, min(500, options.messages), options.length, options.sessions)
        one.drop()
    for number in range(options.rounds):
        for one in contenders:
            one.run(options)
        if not options.json:
            rates = "   ".join(f"{one.name} {one.results.rates[-1]:.0f}/s" for one in contenders)
            print(f"round {number + 1}: {rates}", flush=True)


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
    processes = max(50, options.sessions)
    with (
        open_folder("bench-gsmtp") as ours_at,
        open_folder("bench-holding") as holding_at,
        open_folder("bench-discarding") as discarding_at,
        serving(ours_at, CONF) as gsmtp,
        postfix(holding_at, extra=HOLD, processes=processes) as holding,
        postfix(discarding_at, extra=DISCARD, processes=processes) as discarding,
    ):
        contenders = _contenders(options, gsmtp, holding, discarding)
        measure(options, contenders)
    _report(options, {one.name: one.results.summary() for one in contenders})
    return 0


def _report(options: argparse.Namespace, rows: dict[str, dict[str, float]]) -> None:
    ours = rows["gsmtp"]["rate"]
    for row in rows.values():
        row["gsmtp_is_times"] = round(ours / row["rate"], 2)
    if options.json:
        print(json.dumps({"servers": rows, "options": vars(options)}))
        return
    print(f"\nmedians of {options.rounds} rounds of {options.messages} messages of {options.length} bytes, durable:")
    for name, row in rows.items():
        print(
            f"  {name:20} {row['rate']:8.0f} messages/s   {row['cpu_s_per_1000']:.3f} CPU s per 1,000 messages"
            f"   gsmtp is {row['gsmtp_is_times']:.1f} x"
        )


if __name__ == "__main__":
    sys.exit(main())
