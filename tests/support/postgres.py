"""A PostgreSQL server of our own: own cluster, socket and port, run by an unprivileged user."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from glob import glob
from pathlib import Path

import pytest

from tests.support.peers import open_folder
from tests.support.ports import free_port
from tests.support.waiting import wait_until

PASSWORD = "it's a s\\cret"


def _binary(name: str) -> str:
    found = sorted(glob(f"/usr/lib/postgresql/*/bin/{name}"))
    path = found[-1] if found else shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed (Debian package postgresql)")
    return path


class Postgres:
    """A running server; the user ``gsmtp`` logs in with a password and owns the database ``mail``."""

    def __init__(self, folder: Path, port: int, as_user: list[str]) -> None:
        self.folder = folder
        self.port = port
        self._as_user = as_user
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        """For a Datasource."""
        password = PASSWORD.replace("\\", "\\\\").replace("'", "\\'")
        return f"pgsql:host=localhost;hostaddr=127.0.0.1;port={self.port};dbname=mail;user=gsmtp;password='{password}'"

    @property
    def pid(self) -> int:
        """Of the server's first process."""
        return int((self.folder / "data" / "postmaster.pid").read_text().split()[0])

    def start(self) -> None:
        """Start and wait until it answers."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *self._as_user,
                    _binary("postgres"),
                    *("-D", str(self.folder / "data"), "-p", str(self.port), "-k", str(self.folder / "data")),
                    *("-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "max_connections=20"),
                ],
                stdout=log,
                stderr=log,
                cwd="/",
            )
        ready = [_binary("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        wait_until(lambda: subprocess.run(ready, check=False).returncode == 0, "PostgreSQL answers")

    def stop(self) -> None:
        """Stop at once; connections are cut."""
        if self._process is not None:
            if self._process.poll() is None:
                os.kill(self.pid, signal.SIGCONT)  # a test that failed may have left it stopped
                os.kill(self.pid, signal.SIGINT)  # fast shutdown
            self._process.wait(20)
            self._process = None

    def run(self, sql: str, database: str = "mail") -> str:
        """Run statements as the owner; the output of psql."""
        done = subprocess.run(
            [
                *(_binary("psql"), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"),
                *("-h", "127.0.0.1", "-p", str(self.port), "-U", "gsmtp", "-d", database),
            ],
            input=sql,
            env={**os.environ, "PGPASSWORD": PASSWORD},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


@contextmanager
def postgres() -> Iterator[Postgres]:
    """Run a server; skips the test, naming the package, when there is none."""
    _binary("postgres")
    with open_folder("postgres") as folder:
        as_user: list[str] = []
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            as_user = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
            shutil.chown(folder, "nobody", "nogroup")
        password = folder / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)
        subprocess.run(
            [
                *(*as_user, _binary("initdb"), "-D", str(folder / "data"), "-U", "gsmtp", "-A", "scram-sha-256"),
                *("--pwfile", str(password), "-E", "UTF8", "--locale=C", "-N"),
            ],
            stdout=subprocess.DEVNULL,
            check=True,
            timeout=60,
            cwd="/",
        )
        server = Postgres(folder, free_port(), as_user)
        server.start()
        try:
            server.run("CREATE DATABASE mail", "postgres")
            yield server
        finally:
            server.stop()
