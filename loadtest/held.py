"""A client process for what `smtp-source` can't do: connections that are held, STARTTLS, the time to each 250.

Started by the comparison as ``python -m loadtest.held MODE …``; prints one JSON object. The mode `idle` then holds its
connections until its standard input is closed.
"""

from __future__ import annotations

import argparse
import gc
import json
import resource
import sys
import time
from collections.abc import Callable

import gevent
from gevent.pool import Pool

from loadtest.messages import Sample
from loadtest.smtp_client import SmtpClient, SmtpError, Tls

PROBES = 200


def percentile(values: list[float], share: float) -> float:
    """The value below which that share lies; 0 of nothing.

    >>> percentile([3.0, 1.0, 2.0], 0.99)
    3.0
    """
    return sorted(values)[min(len(values) - 1, int(len(values) * share))] if values else 0.0


def _raise_limit() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _counted(work: Callable[[], object], count: int, at_once: int) -> tuple[int, str]:
    """Do it so often, some at one time; how often it failed, and the first reason."""
    reasons: list[str] = []

    def one() -> None:
        try:
            work()
        except SmtpError as error:
            reasons.append(str(error))

    pool = Pool(at_once)
    for _ in range(count):
        pool.spawn(one)
    pool.join()
    return len(reasons), reasons[0] if reasons else ""


def idle(options: argparse.Namespace) -> dict[str, object]:
    """Open connections and say EHLO on each; then how long new clients wait for their banner."""
    held: list[SmtpClient] = []

    def hold() -> None:
        client = SmtpClient("127.0.0.1", options.port, timeout_s=options.timeout)
        client.connect()
        client.ehlo()
        held.append(client)

    started = time.perf_counter()
    failed, reason = _counted(hold, options.count, options.at_once)
    seconds = time.perf_counter() - started
    waits: list[float] = []
    gc.collect()
    gc.freeze()  # our own looks through all that is held would count as the server's time

    def probe() -> None:
        client = SmtpClient("127.0.0.1", options.port, timeout_s=options.timeout)
        begun = time.perf_counter()
        client.connect()
        waits.append((time.perf_counter() - begun) * 1000)
        client.close()

    missed, _ = _counted(probe, PROBES if held else 0, 1)
    options.keep = held
    return {
        "held": len(held),
        "failed": failed,
        "reason": reason,
        "seconds": seconds,
        "banner_p50_ms": percentile(waits, 0.5),
        "banner_p99_ms": percentile(waits, 0.99),
        "probes_missed": missed,
    }


def starttls(options: argparse.Namespace) -> dict[str, object]:
    """Sessions that connect, say EHLO, encrypt, say EHLO again and leave; no mail."""
    tls = Tls("starttls")
    tls = Tls("starttls", tls.client())

    def session() -> None:
        client = SmtpClient("127.0.0.1", options.port, timeout_s=options.timeout)
        client.connect()
        client.ehlo()
        client.starttls(tls)
        client.quit()

    started = time.perf_counter()
    failed, reason = _counted(session, options.count, options.at_once)
    return {
        "done": options.count - failed,
        "failed": failed,
        "reason": reason,
        "seconds": time.perf_counter() - started,
    }


def latency(options: argparse.Namespace) -> dict[str, object]:
    """Kept connections that send one message after the other; milliseconds from a text's first octet to its 250."""
    waits: list[float] = []
    wire = Sample("text", options.length).wire("latency")

    def note(step: str, seconds: float, octets: int, error: Exception | None) -> None:
        if step == "body" and error is None:
            waits.append(seconds * 1000)

    def session() -> None:
        client = SmtpClient("127.0.0.1", options.port, note, timeout_s=options.timeout)
        client.connect()
        client.ehlo()
        for _ in range(options.count // options.at_once):
            client.deliver("sender@example.net", ["recipient@example.com"], wire)
        client.quit()

    started = time.perf_counter()
    failed, reason = _counted(session, options.at_once, options.at_once)
    return {
        "done": len(waits),
        "failed": failed,
        "reason": reason,
        "seconds": time.perf_counter() - started,
        "p50_ms": percentile(waits, 0.5),
        "p99_ms": percentile(waits, 0.99),
    }


MODES = {"idle": idle, "starttls": starttls, "latency": latency}


def main() -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("mode", choices=sorted(MODES))
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--count", type=int, default=1000, help="connections, sessions or messages in all")
    parser.add_argument("--at-once", type=int, default=20)
    parser.add_argument("--length", type=int, default=1024, help="bytes of a message")
    parser.add_argument("--timeout", type=float, default=30.0, help="seconds for each step")
    options = parser.parse_args()
    _raise_limit()
    print(json.dumps(MODES[options.mode](options)), flush=True)
    if options.mode == "idle":
        gevent.get_hub().threadpool.apply(sys.stdin.read)
    return 0


if __name__ == "__main__":
    sys.exit(main())
