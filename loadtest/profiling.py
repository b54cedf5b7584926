"""Where does the server's time go? Loads gsmtp as one row of the comparison does, and samples its stacks by py-spy.

Prints the functions in which most samples were taken, by themselves and with what they call, and keeps the stacks (one
a line, with how often each was seen) under var/profile/; ``--flame`` makes a flame graph instead. Samples of threads
that wait are left out. py-spy attaches to a running process: that needs root, or kernel.yama.ptrace_scope = 0.

examples:
  python -m loadtest.profiling                         W2, durable, 5 s
  python -m loadtest.profiling --row W1 --server gsmtp-sink
  python -m loadtest.profiling --row W3 --flame        var/profile/gsmtp-W3.svg, for a browser
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import cast

from loadtest.contenders import CONTENDERS, Running
from loadtest.programs import ROOT, end_on_term, find, smtp_source
from loadtest.rows import ROWS, Row

OUT = ROOT / "var" / "profile"
TOP = 25


def top(lines: Iterable[str], count: int = TOP) -> list[str]:
    """A table from stacks as py-spy's raw format has them: ``outer;…;inner 17``."""
    alone: Counter[str] = Counter()
    below: Counter[str] = Counter()
    for line in lines:
        stack, _, number = line.rstrip().rpartition(" ")
        frames = [frame.strip() for frame in stack.split(";")]
        alone[frames[-1]] += int(number)
        for frame in set(frames):
            below[frame] += int(number)
    total = sum(alone.values()) or 1
    table = [f"{'alone':>7} {'all':>7}  of {total} samples"]
    for frame, seen in alone.most_common(count):
        table.append(f"{seen / total:7.1%} {below[frame] / total:7.1%}  {frame}")
    return table


def _keep_busy(running: Running, row: Row, over: threading.Event) -> None:
    while not over.is_set():
        smtp_source(running.port, messages=2000, sessions=row.sessions, length=row.length, keeps=row.keeps)


def main(words: Sequence[str] | None = None) -> int:
    """Profile; the exit status."""
    text, _, examples = (__doc__ or "").partition("examples:\n")
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.profiling",
        description=text,
        epilog="examples:\n" + examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    rows = [name for name, row in ROWS.items() if row.kind == "source"]
    parser.add_argument("--row", choices=rows, default="W2", help="the work (%(default)s)")
    parser.add_argument("--server", choices=("gsmtp", "gsmtp-sink"), default="gsmtp", help="(%(default)s)")
    parser.add_argument("--seconds", type=int, default=5, help="of samples (%(default)s)")
    parser.add_argument("--flame", action="store_true", help="a flame graph instead of the table")
    options = parser.parse_args(words)
    sampler = find("py-spy") or str(ROOT / ".venv" / "bin" / "py-spy")
    row = ROWS[options.row]
    OUT.mkdir(parents=True, exist_ok=True)
    path = OUT / f"{options.server}-{row.name}.{'svg' if options.flame else 'txt'}"
    with cast(AbstractContextManager[Running], CONTENDERS[options.server].start(None)) as running:
        over = threading.Event()
        load = threading.Thread(target=_keep_busy, args=(running, row, over))
        load.start()
        command = [sampler, "record", "--pid", str(running.pid()), "--duration", str(options.seconds), "--rate", "500"]
        command += ["--nonblocking", "--format", "flamegraph" if options.flame else "raw", "--output", str(path)]
        command += [] if options.flame else ["--function"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError as error:
            done = subprocess.CompletedProcess(command, 1, "", f"py-spy can't be run ({error}); pip install py-spy")
        over.set()
        load.join()
    if done.returncode:
        print(f"error: {done.stderr.strip()[-600:]}", file=sys.stderr)
        return 2
    if not options.flame:
        print(*top(path.read_text().splitlines()), sep="\n")
    print(f"written: {path}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    end_on_term()
    sys.exit(main())
