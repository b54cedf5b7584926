"""What the measuring tools share: processes, their processor time and memory, ports, and `smtp-source`."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TICKS = os.sysconf("SC_CLK_TCK")
SEARCH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin:/usr/local/bin"


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """For child processes that import this project."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **(extra or {})}


def end_on_term() -> None:
    """Let TERM end this process as Ctrl-C does, so that the servers it started are stopped first."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def find(name: str) -> str | None:
    """Where a program is, /usr/sbin included; None when it isn't installed."""
    return shutil.which(name, path=SEARCH)


def _parents() -> dict[int, tuple[int, list[str]]]:
    """All processes: parent and the fields of /proc/PID/stat behind the name."""
    found: dict[int, tuple[int, list[str]]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        found[int(stat.parent.name)] = (int(fields[1]), fields)
    return found


def family(master: int) -> dict[int, list[str]]:
    """A process and its descendants that live, with their fields of /proc/PID/stat behind the name."""
    everybody = _parents()
    found: dict[int, list[str]] = {}
    new = [master] if master in everybody else []
    while new:
        pid = new.pop()
        found[pid] = everybody[pid][1]
        new += [child for child, (parent, _) in everybody.items() if parent == pid and child not in found]
    return found


def family_cpu_s(master: int) -> float:
    """Processor seconds, user and system, of a process, its descendants, and those that they have waited for."""
    return sum(sum(int(value) for value in fields[11:15]) for fields in family(master).values()) / TICKS


def family_memory_kib(master: int) -> int:
    """Memory of a process and its descendants, what they share counted once (proportional set size)."""
    total = 0
    for pid in family(master):
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total


def smtp_source(
    port: int,
    *,
    messages: int,
    sessions: int,
    length: int,
    keeps: bool = True,
    recipients: int = 1,
    timeout_s: int = 300,
) -> float:
    """Send messages with Postfix's load generator; the seconds it took.

    Args:
        port: on the loopback address.
        messages: in all.
        sessions: connections at one time.
        length: bytes of a message.
        keeps: whether a connection serves for all messages, or for one.
        recipients: a message.

    Raises:
        RuntimeError: it isn't installed, or a message was not taken; with what it said.
    """
    path = find("smtp-source")
    if path is None:
        raise RuntimeError("smtp-source is not installed (Debian package postfix)")
    start = time.monotonic()
    done = subprocess.run(
        [
            *(path, *(("-d",) if keeps else ()), "-s", str(sessions), "-m", str(messages), "-l", str(length)),
            *("-r", str(recipients), "-f", "sender@example.net", "-t", "recipient@example.com", f"127.0.0.1:{port}"),
        ],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"smtp-source: {(done.stderr or done.stdout).strip()[-300:]}")
    return time.monotonic() - start


def version_of(*command: str, line: int = 0) -> str:
    """A line of what a program says about itself, or "" when it can't be run."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except OSError:
        return ""
    lines = (done.stdout or done.stderr).strip().splitlines()
    return lines[line].strip() if line < len(lines) else ""
