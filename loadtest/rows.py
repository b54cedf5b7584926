"""The rows of the comparison: which work each is, how one round of it is measured, and what is made of the rounds."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from loadtest.contenders import Contender, Running
from loadtest.programs import environment, smtp_source

LARGE_BYTES = 100_000
FEWEST = 20
FEW = 200
CHILD_TIMEOUT_S = 300


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of work.

    Args:
        name: for ``--rows``.
        title: in the report.
        unit: of the figure.
        kind: ``source`` (smtp-source), ``idle``, ``starttls`` or ``latency``.
        length: bytes of a message.
        sessions: at one time.
        keeps: whether connections serve for many messages.
        more_is_better: of the figure.
    """

    name: str
    title: str
    unit: str = "messages/s"
    kind: str = "source"
    length: int = 1024
    sessions: int = 20
    keeps: bool = True
    more_is_better: bool = True


ROWS = {
    row.name: row
    for row in (
        Row("W1", "one message a connection, 1 KiB, 20 sessions", keeps=False),
        Row("W2", "connections kept, 1 KiB, 20 sessions"),
        Row("W3", "connections kept, 10 KiB, 50 sessions", length=10_240, sessions=50),
        Row("W4", "connections kept, 1 MiB, 8 sessions", unit="MB/s", length=1_048_576, sessions=8),
        Row("W5", "one session, 1 KiB", unit="ms/message", sessions=1, more_is_better=False),
        Row("P99", "time to 250, connections kept, 1 KiB, 20 sessions", "ms at p99", "latency", more_is_better=False),
        Row("IDLE", "connections held after EHLO", "KiB/connection", "idle", more_is_better=False),
        Row("TLS", "STARTTLS sessions, P-256, no mail", "sessions/s", "starttls"),
    )
}


@dataclass
class Series:
    """What the rounds of one server in one row gave.

    Args:
        server: its name.
        values: the figure of each round, in the row's unit.
        cpu: processor seconds per 1,000 messages, sessions or connections, of each round.
        notes: more of what was measured, by name, one value a round.
        problem: why there are no figures, "" when there are.
    """

    server: str
    values: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    notes: dict[str, list[float]] = field(default_factory=dict)
    problem: str = ""

    def middle(self) -> float:
        """The median of the figure."""
        return median(self.values)

    def middle_cpu(self) -> float:
        """The median of processor seconds per 1,000."""
        return median(self.cpu)


def _child(mode: str, port: int, count: int, at_once: int, length: int = 1024) -> dict[str, Any]:
    words = ["--port", str(port), "--count", str(count), "--at-once", str(at_once), "--length", str(length)]
    done = subprocess.run(
        [sys.executable, "-m", "loadtest.held", mode, *words],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=CHILD_TIMEOUT_S,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the client ended with {done.returncode}: {done.stderr[-500:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    if found["failed"]:
        raise RuntimeError(f"{found['failed']} of {count} failed: {found['reason']}")
    return found


class Measurement:
    """One server in one row.

    Args:
        row: the work.
        contender: the server; `running`: it, started.
        seconds: about so long is a round.
        held: connections of the row IDLE.
    """

    def __init__(self, row: Row, contender: Contender, running: Running, seconds: float, held: int) -> None:
        self.row, self.running, self.seconds = row, running, seconds
        self.series = Series(contender.name)
        self._held = min(held, contender.most_held - 10)
        self._count = 0
        self._empty_kib: int | None = None  # before the first round: what that one took stays with many a server

    def warm_up(self) -> None:
        """Rounds that don't count, ever longer; they say how many messages a round of so many seconds is to have."""
        if self.row.kind == "idle":
            return
        count = FEWEST if self.row.length > LARGE_BYTES else FEW
        while True:
            spent = self._send(count) if self.row.kind == "source" else self._ask(self.row.kind, count)["seconds"]
            self._count = max(FEWEST, int(count / spent * self.seconds))
            if spent > self.seconds / 4 or self._count <= count:
                break
            count = min(count * 10, self._count)
        self.running.drop(self.row.length > LARGE_BYTES)

    def round(self) -> float:
        """One round that counts; the figure."""
        before = self.running.cpu_s()
        value, count = getattr(self, f"_{self.row.kind}")()
        self.series.values.append(value)
        self.running.settle()
        if self.row.kind != "idle":
            self.series.cpu.append((self.running.cpu_s() - before) / count * 1000)
        self.running.drop(self.row.length > LARGE_BYTES)
        return float(value)

    def _send(self, count: int) -> float:
        row = self.row
        return smtp_source(self.running.port, messages=count, sessions=row.sessions, length=row.length, keeps=row.keeps)

    def _ask(self, mode: str, count: int) -> dict[str, Any]:
        return _child(mode, self.running.port, count, self.row.sessions, self.row.length)

    def _source(self) -> tuple[float, int]:
        seconds = self._send(self._count)
        if self.row.unit == "MB/s":
            return self._count * self.row.length / 1e6 / seconds, self._count
        if self.row.unit == "ms/message":
            return seconds / self._count * 1000, self._count
        return self._count / seconds, self._count

    def _note(self, name: str, value: float) -> None:
        self.series.notes.setdefault(name, []).append(round(value, 3))

    def _latency(self) -> tuple[float, int]:
        found = self._ask("latency", self._count)
        self._note("p50 ms", found["p50_ms"])
        return found["p99_ms"], found["done"]

    def _starttls(self) -> tuple[float, int]:
        found = self._ask("starttls", self._count)
        return found["done"] / found["seconds"], found["done"]

    def _idle(self) -> tuple[float, int]:
        count = self._held
        if self._empty_kib is None:
            self._empty_kib = self.running.memory_kib()
        words = ["--port", str(self.running.port), "--count", str(count), "--at-once", str(min(count, 5000))]
        command = [sys.executable, "-m", "loadtest.held", "idle", *words]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment(), text=True
        ) as client:
            assert client.stdout is not None
            line = client.stdout.readline()
            try:
                found = json.loads(line)
                memory = self.running.memory_kib() - self._empty_kib
            finally:
                client.communicate(timeout=60)
        if found["held"] < count / 2:
            raise RuntimeError(f"{found['failed']} of {count} connections failed: {found['reason']}")
        self._note("held", found["held"])
        self._note("without banner", found["failed"])
        self._note("banner p99 ms", found["banner_p99_ms"])
        self._note("banners missed", found["probes_missed"])
        return memory / found["held"], found["held"]


def ratios(row: Row, series: Sequence[Series], baseline: str) -> dict[str, tuple[float, float]]:
    """By server: how many times the baseline it is (above 1 is better), and its processor time against that of it.

    A ratio of times is turned round, so that more is better in each row. Servers without figures are left out, and all
    of them when the baseline has none; a ratio to nothing is 0.
    """
    base = next((one for one in series if one.server == baseline and one.values), None)
    if base is None:
        return {}
    found = {}
    for one in series:
        if not one.values:
            continue
        mine, its = one.middle(), base.middle()
        upper, lower = (mine, its) if row.more_is_better else (its, mine)
        cpu = one.middle_cpu() / base.middle_cpu() if one.cpu and base.cpu and base.middle_cpu() else 0.0
        found[one.server] = (upper / lower if lower else 0.0, cpu)
    return found
