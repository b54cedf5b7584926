"""The databases behind one Datasource, as native threads see them: round robin, fail-over, kept connections.

Only things that CPython does in one step are shared between threads here (list append and pop, attribute writes), so
no lock is needed. Source: reference/policy-and-context.md section 4 (ds_core).
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping, Sequence

from gsmtp.datasource.driver import Connection, Surroundings, split_uri
from gsmtp.datasource.result import ConnectionFault, Result

SKIP_DEAD_S = 10.0
"""How long a database that couldn't be reached is asked last."""


class _Backend:
    """One URI and its idle connections."""

    def __init__(self, uri: str, surroundings: Surroundings) -> None:
        self._driver, self._rest = split_uri(uri)
        self._surroundings = surroundings
        self._idle: list[Connection] = []
        self._is_closed = False
        self.dead_until_mono = 0.0

    def run(self, query: str, values: Mapping[str, str | None], max_rows: int, deadline_mono: float) -> Result:
        """Run a query over a kept connection or a new one. Raises ConnectionFault, QueryFault."""
        kept = self._take()
        if kept is not None:
            try:
                return self._run(kept, query, values, max_rows, deadline_mono)
            except ConnectionFault:  # the server may have let it go while it was idle
                if time.monotonic() >= deadline_mono:
                    raise
        try:
            fresh = self._driver.connect(self._rest, self._surroundings, deadline_mono)
            result = self._run(fresh, query, values, max_rows, deadline_mono)
        except ConnectionFault:
            self.dead_until_mono = time.monotonic() + SKIP_DEAD_S
            raise
        self.dead_until_mono = 0.0
        return result

    def _run(
        self, connection: Connection, query: str, values: Mapping[str, str | None], max_rows: int, deadline_mono: float
    ) -> Result:
        keep = True
        try:
            return connection.run(query, values, max_rows, deadline_mono)
        except ConnectionFault:
            keep = False
            raise
        finally:
            if keep and not self._is_closed:
                self._idle.append(connection)
            else:
                connection.close()

    def _take(self) -> Connection | None:
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return None
            if not connection.is_stale():
                return connection
            connection.close()

    def close(self) -> None:
        self._is_closed = True
        while True:
            try:
                self._idle.pop().close()
            except IndexError:
                return


class Backends:
    """All URIs of a Datasource.

    Args:
        uris: at least one.
        surroundings: for the drivers.
    """

    def __init__(self, uris: Sequence[str], surroundings: Surroundings) -> None:
        self._backends = [_Backend(uri, surroundings) for uri in uris]
        self._turn = itertools.count()

    def run(self, query: str, values: Mapping[str, str | None], max_rows: int, deadline_mono: float) -> Result:
        """Ask the one whose turn it is, the others when it can't be reached, and those lately dead last.

        Raises ConnectionFault of the last one tried, QueryFault.
        """
        first = next(self._turn) % len(self._backends)
        ordered = self._backends[first:] + self._backends[:first]
        now_mono = time.monotonic()
        ordered.sort(key=lambda backend: backend.dead_until_mono > now_mono)
        fault = ConnectionFault("no answer in time")
        for number, backend in enumerate(ordered):
            left = len(ordered) - number
            now_mono = time.monotonic()
            if now_mono >= deadline_mono:
                break
            # one that hangs leaves time for the others
            share_mono = deadline_mono if left == 1 else now_mono + (deadline_mono - now_mono) / 2
            try:
                return backend.run(query, values, max_rows, share_mono)
            except ConnectionFault as error:
                fault = error
        raise fault

    def close(self) -> None:
        """Close all kept connections; those in use are closed when their query ends."""
        for backend in self._backends:
            backend.close()
