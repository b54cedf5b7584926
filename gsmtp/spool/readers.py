"""How the spool is read while it is in use: functions on a connection, run in native threads."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any, TypeVar

from gsmtp.core.errors import SpoolUnhealthy
from gsmtp.runtime.native import HubMailbox, NativePool
from gsmtp.spool import schema

T = TypeVar("T")

READERS = 2  # native threads that read, each with its own connection (SwapIn)


class Readers:
    """Native threads that read, and their connections.

    Args:
        base: the spool's directory.
        mailbox: where answers come to the hub.
    """

    def __init__(self, base: str, mailbox: HubMailbox) -> None:
        self._path = schema.database_path(base)
        self._pool = NativePool("SwapIn", READERS, mailbox)
        self._idle: list[sqlite3.Connection] = []

    def read(self, function: Callable[..., T], *args: Any) -> T:
        """What ``function(connection, *args)`` returns; the calling green thread waits. Raises SpoolUnhealthy when the
        database can't be read."""
        result: T = self._pool.call(self._read, function, args)
        return result

    def call(self, function: Callable[..., T], *args: Any) -> T:
        """What a function that needs no connection returns; the calling green thread waits."""
        return self._pool.call(function, *args)

    def close(self) -> None:
        """End the threads. Their connections are closed by `close_connections`."""
        self._pool.close()

    # In native threads.

    def _read(self, function: Callable[..., T], args: tuple[Any, ...]) -> T:
        connection: sqlite3.Connection | None = None
        try:
            connection = self._idle.pop()
        except IndexError:  # a list of its own per thread would need thread-locals, which monkey patching makes green
            pass
        try:
            if connection is None:
                connection = schema.connect(self._path)
                connection.execute("PRAGMA query_only=ON")
            result = function(connection, *args)
        except sqlite3.Error as error:
            if connection is not None:
                connection.close()
            raise SpoolUnhealthy(f"the spool's database can't be read: {error}") from error
        self._idle.append(connection)
        return result

    def close_connections(self) -> None:
        """Close those that nobody uses. In a native thread."""
        while self._idle:
            self._idle.pop().close()
