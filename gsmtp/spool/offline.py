"""Changing a spool that no server uses, as the server's own writer would. Holds its lock meanwhile. No gevent."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gsmtp.core.errors import SpoolUnhealthy
from gsmtp.core.ids import number as id_number
from gsmtp.spool import recover, schema, store
from gsmtp.spool.actions import Action, Changed
from gsmtp.spool.body_files import BodyFiles
from gsmtp.spool.inspect import look
from gsmtp.spool.selection import START, Place, Selected, Selection, page

Progress = Callable[[int], None]


@contextmanager
def _opened(base: str) -> Iterator[sqlite3.Connection]:
    path = look(base)
    lock = recover.take_lock(base, 0o640)
    try:
        connection = schema.connect_writer(path, fsync=True)
        try:
            schema.check_version(connection, path)
            store.prepare_writer(connection)
            yield connection
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise SpoolUnhealthy(f"can't change the spool {path}: {error}") from error
    finally:
        os.close(lock)


def change(
    base: str, selection: Selection, action: Action, who: str, progress: Progress = lambda done: None
) -> Changed:
    """Do something to all recipients that are meant.

    Raises:
        NoSpool: nothing is there.
        SpoolUnhealthy: a server uses the spool, or it can't be written.
    """
    result = Changed()
    last = ""
    now = time.time()
    with _opened(base) as connection:
        files = BodyFiles(base, mode=0o640, fsync=True)
        after: Place | None = START
        while after is not None:
            found, after = page(connection, selection, now, after)
            fitting = [one for one in found if one.state in action.states]
            result.passed_over += len(found) - len(fitting)
            if not fitting:
                continue
            rows = [store.change_row(id_number(one.message_id), action.make(one, who, now)) for one in fitting]
            store.apply(connection, rows)
            _remove_bodies(connection, files, fitting)
            result.changed += len(fitting)
            for one in fitting:
                result.messages += one.message_id != last
                last = one.message_id
            progress(result.changed)
    return result


def _remove_bodies(connection: sqlite3.Connection, files: BodyFiles, changed: list[Selected]) -> None:
    numbers = {id_number(one.message_id) for one in changed}
    for number in numbers - store.still_there(connection, sorted(numbers)):
        path = files.path(number)
        if os.path.exists(path):
            os.unlink(path)
