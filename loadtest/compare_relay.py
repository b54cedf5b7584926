"""Messages relayed a second, gsmtp beside Postfix, in one interleaved run.

``smtp-source -d`` sends to each server, the server hands every message to a ``smtp-sink`` of its own, and a round ends
when the sink has counted the last message: so the figure is of accepting, keeping on disk, handing on and noting the
outcome together. Both sync every message before they say 250. Rounds alternate, so that all see the same weather on the
machine; medians are compared. Processor time is that of all processes of a server, not of load and sink.

Usage: ``python -m loadtest.compare_relay [--messages N] [--rounds N] [--only NAME] [--json]``, as root for Postfix.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from statistics import median

from loadtest.programs import family_cpu_s, smtp_source
from tests.support.peers import open_folder, program
from tests.support.ports import free_port, wait_for_port
from tests.support.postfix import postfix
from tests.support.server import serving
from tests.support.waiting import wait_until

CONF = """
hostname = "bench.example.com"
spoolbase = "{folder}/spool"
relay_domains = ( "example.com" )
gateway = "127.0.0.1:SINK_PORT"
max_outbound_connections = CONNECTIONS
ESMTP_Listener {
  smtp_extensions = ( "ENHANCEDSTATUSCODES" )
  Listen "127.0.0.1:{port}" { }
}
"""

POSTFIX = """\
in_flow_delay = 0
default_destination_concurrency_limit = {connections}
initial_destination_concurrency = {connections}
"""

_COUNT = re.compile(rb"mesg=(\d+)")


class Sink:
    """A running smtp-sink; it takes everything.

    Args:
        port: where it listens.
        process: it, with ``-c``: it prints its counters.
    """

    def __init__(self, port: int, process: subprocess.Popen[bytes]) -> None:
        self.port = port
        self.count = 0
        self._stdout = process.stdout
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        tail = b""
        while self._stdout is not None and (piece := os.read(self._stdout.fileno(), 65536)):
            found = _COUNT.findall(tail + piece)
            self.count = int(found[-1]) if found else self.count
            tail = (tail + piece)[-40:].rpartition(b"\r")[2]

    def wait_for(self, count: int) -> None:
        """Wait until so many messages came in all."""
        wait_until(lambda: self.count >= count, f"{count} messages at the sink (now {self.count})", 300, every_s=0.005)


@contextmanager
def sink() -> Iterator[Sink]:
    """Run a smtp-sink."""
    port = free_port()
    command = [program("smtp-sink", "postfix"), "-c", "-u", "nobody", f"127.0.0.1:{port}", "500"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for_port(port)
            yield Sink(port, process)
        finally:
            process.kill()


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


@dataclass
class Contender:
    """A server and the sink behind it.

    Args:
        name: for the table.
        port: on the loopback address.
        sink: where it hands on to.
        cpu_s: processor seconds so far, all its processes.
    """

    name: str
    port: int
    sink: Sink
    cpu_s: Callable[[], float]
    results: Results = field(default_factory=Results)
    accepted: list[float] = field(default_factory=list)

    def run(self, messages: int, options: argparse.Namespace) -> tuple[float, float, float]:
        """One round: messages accepted a second, relayed a second, processor seconds per 1,000."""
        before_s, already = self.cpu_s(), self.sink.count
        start = time.monotonic()
        accepted_s = smtp_source(self.port, messages=messages, sessions=options.sessions, length=options.length)
        self.sink.wait_for(already + messages)
        seconds = time.monotonic() - start
        return messages / accepted_s, messages / seconds, (self.cpu_s() - before_s) / messages * 1000

    def note(self, options: argparse.Namespace) -> None:
        """A round that counts."""
        accepted, relayed, cpu = self.run(options.messages, options)
        self.accepted.append(accepted)
        self.results.rates.append(relayed)
        self.results.cpu.append(cpu)


def _contenders(stack: ExitStack, options: argparse.Namespace) -> list[Contender]:
    found = []
    if options.only != "postfix":
        behind = stack.enter_context(sink())
        conf = CONF.replace("SINK_PORT", str(behind.port)).replace("CONNECTIONS", str(options.connections))
        ours = stack.enter_context(serving(stack.enter_context(open_folder("relay-gsmtp")), conf))
        found.append(Contender("gsmtp", ours.port, behind, ours.cpu_seconds))
    if options.only != "gsmtp":
        behind = stack.enter_context(sink())
        folder = stack.enter_context(open_folder("relay-postfix"))
        extra = POSTFIX.format(connections=options.connections)
        processes = max(50, options.sessions, options.connections)
        peer = stack.enter_context(postfix(folder, relayhost_port=behind.port, extra=extra, processes=processes))
        master = peer.master_pid()
        found.append(Contender("Postfix", peer.port, behind, lambda: family_cpu_s(master)))
    return found


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--messages", type=int, default=5000, help="a round (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="of each server (default %(default)s)")
    parser.add_argument("--length", type=int, default=1024, help="bytes of a message (default %(default)s)")
    parser.add_argument("--sessions", type=int, default=20, help="connections at one time (default %(default)s)")
    parser.add_argument("--connections", type=int, default=32, help="to the next hop at one time (default %(default)s)")
    parser.add_argument("--only", choices=("gsmtp", "postfix"), help="measure one of them alone")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    return parser.parse_args()


def main() -> int:
    """Run the comparison and print it."""
    options = _arguments()
    if os.geteuid() != 0 and options.only != "gsmtp":
        print("Postfix can only be started by root; nothing was measured.", file=sys.stderr)
        return 2
    with ExitStack() as stack:
        contenders = _contenders(stack, options)
        for one in contenders:
            one.run(min(500, options.messages), options)
        for number in range(options.rounds):
            for one in contenders:
                one.note(options)
            if not options.json:
                rates = "   ".join(
                    f"{one.name} {one.results.rates[-1]:.0f}/s (accepting {one.accepted[-1]:.0f}/s)"
                    for one in contenders
                )
                print(f"round {number + 1}: {rates}", flush=True)
    _report(options, {one.name: one.results.summary() for one in contenders})
    return 0


def _report(options: argparse.Namespace, rows: dict[str, dict[str, float]]) -> None:
    if options.json:
        print(json.dumps({"servers": rows, "options": vars(options)}))
        return
    print(f"\nmedians of {options.rounds} rounds of {options.messages} messages of {options.length} bytes, relayed:")
    for name, row in rows.items():
        times = f"   gsmtp is {rows['gsmtp']['rate'] / row['rate']:.1f} x" if "gsmtp" in rows else ""
        print(f"  {name:10} {row['rate']:8.0f} messages/s   {row['cpu_s_per_1000']:.3f} CPU s per 1,000{times}")


if __name__ == "__main__":
    sys.exit(main())
