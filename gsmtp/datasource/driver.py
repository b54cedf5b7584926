"""What a driver is, and the registry of all of them: one file a driver in `datasource/drivers/`.

A driver runs in native threads only: no gevent, no logging, nothing patched. It is given a deadline and keeps it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from gsmtp.core.registry import Registry
from gsmtp.datasource.result import Result


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a driver may use.

    Args:
        charset: of text whose encoding the database doesn't tell.
        wait: ``wait(descriptor, read=…, write=…, deadline_mono=…)`` blocks the native thread; False when it is too
            late. Never `select`, which gevent patches.
    """

    charset: str
    wait: Callable[..., bool]


class Connection(Protocol):
    """One connection; used by one native thread at a time."""

    def run(self, query: str, values: Mapping[str, str | None], max_rows: int, deadline_mono: float) -> Result:
        """Run a query with its named parameters.

        Args:
            query: with ``:name`` parameters.
            values: at least those that it names.
            max_rows: rows to fetch at the most; -1 for all.
            deadline_mono: of `time.monotonic`.

        Raises:
            ConnectionFault: the connection is of no more use.
            QueryFault: the database refused.
        """

    def is_stale(self) -> bool:
        """Whether it should be made anew before its next use."""

    def close(self) -> None:
        """Let go; never waits."""


class Driver(Protocol):
    """How to reach one kind of database."""

    def check(self, rest: str) -> None:
        """Judge what stands behind ``driver:`` in a URI, opening nothing. Raises ValueError with what is wrong."""

    def requirement(self) -> str:
        """What is missing on this machine to use it, such as ``pip install gsmtp[pgsql]``; "" when nothing is."""

    def connect(self, rest: str, surroundings: Surroundings, deadline_mono: float) -> Connection:
        """Make a connection. Raises ConnectionFault."""


DRIVERS: Registry[Driver] = Registry("datasource driver")

NOT_SERVED = {
    "cdb": "convert the data base to SQLite",
    "csv": "load the file into SQLite: sqlite3 users.db '.import --csv users.csv users'",
    "iowrapper": "there are no I/O wrappers",
    "ldap": "LDAP directories are not asked",
    "mysql": "only SQLite and PostgreSQL are served",
    "odbc": "only SQLite and PostgreSQL are served",
}
"""Momentum's drivers that gsmtp has not, and what to do or why."""


def driver(name: str) -> Callable[[type[Driver]], type[Driver]]:
    """Register a driver class under its URI scheme; it is made once, without arguments."""

    def decorate(made: type[Driver]) -> type[Driver]:
        DRIVERS.add(name, made(), made.__module__)
        return made

    return decorate


def split_uri(uri: str) -> tuple[Driver, str]:
    """The driver of a URI and what is for it. Raises ValueError for one that can't be used."""
    scheme, colon, rest = uri.partition(":")
    if not colon:
        raise ValueError("expected DRIVER:REST, such as sqlite:/var/lib/gsmtp/users.sqlite")
    found = DRIVERS.get(scheme)
    if found is None:
        reason = NOT_SERVED.get(scheme.lower())
        known = ", ".join(DRIVERS.names())
        raise ValueError(f"gsmtp has no driver '{scheme}'" + (f": {reason}" if reason else f"; there are {known}"))
    found.check(rest)
    return found, rest
