"""What a backlog for a dead next hop costs until each of its messages was deferred once, and what new mail waits then.

A spool is filled with due mail for many domains behind one next hop that refuses connections, and a server is started
on it. First alone: seconds, and processor time per 1,000 deferrals. Then, with ``--beside``, on a spool filled anew
while ``smtp-source`` sends mail for a hop that is alive: messages relayed a second during that time.

Usage: ``python -m loadtest.dead_hop [--queued N] [--beside]``
"""

from __future__ import annotations

import argparse
import sqlite3
import sys
import time
from contextlib import ExitStack, closing
from pathlib import Path

from gsmtp.spool import schema
from loadtest.compare_relay import sink
from loadtest.million import CONF, fill
from loadtest.programs import smtp_source
from tests.support.peers import open_folder
from tests.support.ports import free_port
from tests.support.server import serving

_ROUND = 1000


def _untried(base: Path) -> int:
    """Recipients that were never tried."""
    with closing(sqlite3.connect(f"file:{schema.database_path(str(base))}?mode=ro", uri=True, timeout=30)) as database:
        found: int = database.execute(
            "SELECT count(*) FROM recipient WHERE attempts = 0 AND domain LIKE '%.queued'"
        ).fetchone()[0]
    return found


def _run(count: int, *, is_beside: bool) -> None:
    with ExitStack() as stack:
        folder = stack.enter_context(open_folder("dead-hop"))
        fill(folder / "spool", count)
        behind = stack.enter_context(sink())
        conf = CONF.replace("SINK_PORT", str(behind.port)).replace("QUEUED", f'gateway = "127.0.0.1:{free_port()}"')
        server = stack.enter_context(serving(folder, conf))
        start, cpu_s, relayed = time.monotonic(), server.cpu_seconds(), 0
        while left := _untried(folder / "spool"):
            if is_beside:
                smtp_source(server.port, messages=_ROUND, sessions=20, length=1024)
                relayed += _ROUND
                behind.wait_for(relayed)
            else:
                time.sleep(0.5)
            print(f"  {time.monotonic() - start:5.1f} s: {left} left", end="\r", flush=True)
        seconds, cpu_s = time.monotonic() - start, server.cpu_seconds() - cpu_s
        text = f"{count} deferred in {seconds:.1f} s: {count / seconds:.0f}/s"
        if is_beside:
            print(f"{text}; {relayed / seconds:.0f} messages/s relayed beside, {cpu_s:.1f} CPU s in all")
        else:
            print(f"{text}, {cpu_s / count * 1000:.3f} CPU s per 1,000")


def main() -> int:
    """Fill, run and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--queued", type=int, default=50_000, help="messages in the queue (default %(default)s)")
    parser.add_argument("--beside", action="store_true", help="relay other mail meanwhile, too")
    options = parser.parse_args()
    _run(options.queued, is_beside=False)
    if options.beside:
        _run(options.queued, is_beside=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
