"""What a million queued messages cost: the rate of accepting, the memory, and looking, beside an empty queue.

A spool is filled fast through its own writer, with mail of many domains whose delivery is suspended, or that goes to a
next hop that is dead. Then a server is started on it, and ``smtp-source`` sends to it and to one with an empty spool in
turns; both hand on what they take to a ``smtp-sink``. What is compared: messages a second, resident memory, and how
long after the start the first message is through.

Usage: ``python -m loadtest.million [--queued N] [--messages N] [--rounds N] [--dead]``
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from gsmtp.core.envelope import Envelope, Recipient
from gsmtp.core.ids import IdMaker
from gsmtp.core.ids import number as number_of
from gsmtp.spool import recover, schema, store
from gsmtp.spool.body_files import BodyFiles
from gsmtp.spool.codec import encode_envelope, microseconds
from loadtest.compare_relay import Sink, sink
from loadtest.programs import smtp_source
from tests.support.peers import open_folder
from tests.support.ports import free_port
from tests.support.server import Server, serving

CONF = """
hostname = "bench.example.com"
spoolbase = "{folder}/spool"
relay_domains = ( "example.com" )
gateway = "127.0.0.1:SINK_PORT"
Domain "/^d[0-9]+[.]queued$/" { QUEUED }
ESMTP_Listener { Listen "127.0.0.1:{port}" { } }
"""

DOMAINS = 1000
BODY = b"Subject: queued\r\n\r\n" + b"x" * 1000 + b"\r\n"


def fill(base: Path, count: int) -> float:
    """Put so many messages into a new spool; the seconds it took."""
    start = time.monotonic()
    base.mkdir()
    recover.make_directories(str(base), BodyFiles(str(base), mode=0o640, fsync=False))
    connection, generation = recover.open_database(str(base))
    connection.close()
    writer = schema.connect_writer(schema.database_path(str(base)), fsync=False)
    store.prepare_writer(writer)
    writer.execute("PRAGMA wal_autocheckpoint=20000").fetchall()
    ids = IdMaker(generation, 1)
    now = time.time() - 3600
    rows: list[store.Row] = []
    for number in range(count):
        domain = f"d{number % DOMAINS}.queued"
        envelope = Envelope(
            ids.next(),
            ids.next(),
            reverse_path="from@example.net",
            recipients=[Recipient(f"u{number}@{domain}", domain)],
        )
        envelope.received_wall = now + number / 1000
        row = store.accept_row(
            number_of(envelope.message_id), envelope.message_id, len(BODY), microseconds(envelope.received_wall),
            encode_envelope(envelope), BODY, envelope.recipients,
        )  # fmt: skip
        rows.append(row)
        if len(rows) == store.MOST_ROWS:
            store.apply(writer, rows)
            rows.clear()
    if rows:
        store.apply(writer, rows)
    writer.close()
    return time.monotonic() - start


def _round(server: Server, behind: Sink, messages: int) -> tuple[float, float]:
    """Messages relayed a second, and processor seconds per 1,000."""
    already, cpu_s, start = behind.count, server.cpu_seconds(), time.monotonic()
    smtp_source(server.port, messages=messages, sessions=20, length=1024)
    behind.wait_for(already + messages)
    seconds = time.monotonic() - start
    return messages / seconds, (server.cpu_seconds() - cpu_s) / messages * 1000


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--queued", type=int, default=1_000_000, help="messages in the queue (default %(default)s)")
    parser.add_argument("--messages", type=int, default=3000, help="a round (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="of each server (default %(default)s)")
    parser.add_argument("--dead", action="store_true", help="queue for a dead next hop instead of suspended domains")
    return parser.parse_args()


def main() -> int:
    """Fill, run and print."""
    options = _arguments()
    queued = f'gateway = "127.0.0.1:{free_port()}"' if options.dead else "suspend_delivery = true"
    with ExitStack() as stack:
        full_at = stack.enter_context(open_folder("million"))
        print(f"filled with {options.queued} messages in {fill(full_at / 'spool', options.queued):.0f} s", flush=True)
        servers: dict[str, tuple[Server, Sink]] = {}
        for name, folder in (("empty", stack.enter_context(open_folder("empty"))), ("full", full_at)):
            behind = stack.enter_context(sink())
            conf = CONF.replace("SINK_PORT", str(behind.port)).replace("QUEUED", queued)
            start = time.monotonic()
            server = stack.enter_context(serving(folder, conf))
            ready_s = time.monotonic() - start
            _round(server, behind, 1)
            print(f"{name}: ready after {ready_s:.1f} s, first message through {time.monotonic() - start:.1f} s after")
            servers[name] = (server, behind)
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in servers}
        for _ in range(options.rounds):
            for name, (server, behind) in servers.items():
                found[name].append(_round(server, behind, options.messages))
        for name, (server, _) in servers.items():
            rate, cpu_s = (median(column) for column in zip(*found[name], strict=True))
            print(f"{name:6} {rate:7.0f} messages/s  {cpu_s:.3f} CPU s per 1,000  {server.rss_bytes() / 2**20:.0f} MiB")
            before = server.cpu_seconds()
            time.sleep(5)
            print(f"       at rest: {(server.cpu_seconds() - before) / 5:.1%} of a processor", flush=True)
        size = sum(file.stat().st_size for file in (full_at / "spool").rglob("*") if file.is_file())
        print(f"the spool of the full one: {size / 2**20:.0f} MiB")
    subprocess.run(["sync"], check=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
