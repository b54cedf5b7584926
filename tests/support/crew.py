"""`gsmtp run --workers N` as processes, for tests that look at them from outside."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.server import Server
from tests.support.waiting import wait_until

_SERVES = re.compile(r"worker serves worker=(\d+) pid=(\d+)")


class CrewServer(Server):
    """A server with workers.

    Args:
        folder: see `Server`.
        conf: likewise.
        workers: how many; None for what the configuration says.
    """

    def __init__(self, folder: Path, conf: str, workers: int | None = 2) -> None:
        super().__init__(folder, conf)
        self.workers = workers

    def launch(self, env: dict[str, str] | None = None, words: tuple[str, ...] = ()) -> None:
        """Start the parent."""
        more = ("--workers", str(self.workers)) if self.workers is not None else ()
        super().launch(env, (*words, *more))

    def pids(self) -> dict[int, int]:
        """The processes that serve, or served last, by slot."""
        return {int(slot): int(pid) for slot, pid in _SERVES.findall(self.log())}

    def children(self) -> list[int]:
        """The parent's own processes that are alive."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    fields = (entry / "stat").read_text().rpartition(")")[2].split()
                except OSError:
                    continue
                if int(fields[1]) == self.pid and fields[0] != "Z":
                    found.append(int(entry.name))
        return sorted(found)

    def wait_for(self, text: str, count: int = 1, deadline_s: float = 20.0) -> None:
        """Wait until the log has a text so often."""
        wait_until(lambda: self.log().count(text) >= count, f"{text} in the log", deadline_s, every_s=0.02)

    def folder_of(self, slot: int) -> Path:
        """A slot's spool."""
        return self.spool if slot == 1 else self.spool / f"worker-{slot}"

    def ids(self) -> list[str]:
        """The ids of all messages in all spools, sorted; an id that is there twice is twice in the list."""
        found: list[str] = []
        for folder in (self.spool, *sorted(self.spool.glob("worker-*"))):
            found += ids_in(folder)
        return sorted(found)


def ids_in(folder: Path) -> list[str]:
    """The ids of the messages in a spool, also beside its server."""
    path = folder / "spool.db"
    if not path.exists():
        return []
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)
    try:
        return [name for (name,) in connection.execute("SELECT name FROM message ORDER BY id")]
    finally:
        connection.close()


@contextmanager
def crew(folder: Path, conf: str, workers: int | None = 2) -> Iterator[CrewServer]:
    """A started server with workers, all gone afterwards, whatever happened."""
    server = CrewServer(folder, conf, workers)
    try:
        server.start()
        yield server
    finally:
        if server.is_running:
            server.stop()
