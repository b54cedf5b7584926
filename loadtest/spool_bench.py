"""How many messages a second the spool makes durable, beside one file and one fsync a message; judged by nobody.

Committers are callbacks on the hub, as sessions are: each sends its next message when the last one was confirmed.
``--busy`` lets the hub compute all the time meanwhile (some 10 µs of Python between two system calls), as a server
under load does: then the commit thread has to wait for the GIL. Run it with ``python -m loadtest.spool_bench [--busy]
[--deliver] [--seconds S] [--dir DIR] [--switch-interval S]``; DIR has to be on a real disk.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable

import gevent
from gevent.event import Event

from gsmtp.core.envelope import Envelope, Recipient
from gsmtp.core.errors import SpoolError
from gsmtp.core.ids import IdMaker
from gsmtp.runtime.native import HubMailbox, NativePool
from gsmtp.spool.base import Record, State
from gsmtp.spool.sqlite import SqliteSpool

COMMITTERS = (1, 20, 200)
SIZES = (1024, 10_240)


def _percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))] * 1000


class _Run:
    """Some committers for some seconds."""

    def __init__(self, committers: int, seconds: float) -> None:
        self.latencies: list[float] = []
        self._over = Event()
        self._running = committers
        self._end = time.monotonic() + seconds
        self._begun = time.monotonic()

    def client(self, send: Callable[[Callable[[SpoolError | None], None]], None]) -> None:
        """Send again and again until the time is over."""
        started = time.monotonic()

        def done(problem: SpoolError | None) -> None:
            if problem is not None:
                raise problem
            self.latencies.append(time.monotonic() - started)
            if time.monotonic() < self._end:
                self.client(send)
            else:
                self._running -= 1
                if not self._running:
                    self._over.set()

        send(done)

    def result(self) -> str:
        """Wait for the end; messages a second and how long they took."""
        self._over.wait()
        rate = len(self.latencies) / (time.monotonic() - self._begun)
        p50, p99 = (_percentile(self.latencies, share) for share in (0.5, 0.99))
        return f"{rate:8.0f}/s   p50 {p50:7.2f} ms   p99 {p99:7.2f} ms"


def _busy_hub() -> None:
    reading, writing = os.pipe()
    while True:
        sum(range(1000))
        os.write(writing, b"x")
        os.read(reading, 1)
        gevent.sleep(0)  # the loop turns after 50 of these


def _spool(folder: str, committers: int, size: int, seconds: float, delivering: bool) -> str:
    spool = SqliteSpool.open_at(folder)
    ids, data = IdMaker(spool.generation, os.getpid()), os.urandom(size)

    def send(done: Callable[[SpoolError | None], None]) -> None:
        message_id = ids.next()
        body = spool.open()
        body.write(data)
        recipients = [Recipient("reader@example.com", "example.com")]
        envelope = Envelope(message_id, message_id, "sender@example.net", recipients, time.time(), size)

        def committed(problem: SpoolError | None) -> None:
            if delivering:
                reply = "250 2.0.0 OK"
                spool.record([Record(message_id, 0, State.DELIVERED, 0.0, 1, reply, "127.0.0.1:25", time.time())])
            done(problem)

        spool.commit(envelope, body, committed)

    run = _Run(committers, seconds)
    for _ in range(committers):
        run.client(send)
    text = run.result()
    counters = spool.counters
    grouped = counters.messages / max(counters.transactions, 1)
    spool.close()
    return f"{text}   {grouped:5.1f} a commit, {counters.checkpoints} checkpoints"


def _one_fsync(folder: str, committers: int, size: int, seconds: float) -> str:
    """As most servers do: a file, an fsync, a rename and the directory's fsync for each message, in 20 threads."""
    mailbox = HubMailbox()
    pool = NativePool("one fsync", min(committers, 20), mailbox)
    data = os.urandom(size)
    directory = os.open(folder, os.O_RDONLY)
    counter = iter(range(1 << 60))

    def write(number: int) -> None:
        path = f"{folder}/{number}"
        descriptor = os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT, 0o640)
        os.write(descriptor, data)
        os.fdatasync(descriptor)
        os.close(descriptor)
        os.rename(f"{path}.new", path)
        os.fsync(directory)

    def send(done: Callable[[SpoolError | None], None]) -> None:
        pool.submit(write, next(counter), done=lambda _, error: done(None))

    run = _Run(committers, seconds)
    for _ in range(committers):
        run.client(send)
    text = run.result()
    pool.close()
    mailbox.close()
    os.close(directory)
    return text


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2.0, help="for each line (2)")
    parser.add_argument("--busy", action="store_true", help="the hub computes meanwhile")
    parser.add_argument("--deliver", action="store_true", help="note each message as delivered, too")
    parser.add_argument("--switch-interval", type=float, default=sys.getswitchinterval(), help="of the GIL, in seconds")
    parser.add_argument("--dir", default=tempfile.gettempdir(), help="where, on a real disk")
    args = parser.parse_args()
    sys.setswitchinterval(args.switch_interval)
    if args.busy:
        gevent.spawn(_busy_hub)
    for size in SIZES:
        for committers in COMMITTERS:
            for name in ("spool", "one fsync each"):
                folder = tempfile.mkdtemp(prefix="spool-bench-", dir=args.dir)
                if name == "spool":
                    text = _spool(folder, committers, size, args.seconds, args.deliver)
                else:
                    text = _one_fsync(folder, committers, size, args.seconds)
                print(f"{size:6} bytes  {committers:4} committers  {name:15} {text}", flush=True)
                shutil.rmtree(folder)


if __name__ == "__main__":
    main()
