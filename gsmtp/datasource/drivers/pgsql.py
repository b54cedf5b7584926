"""PostgreSQL: ``pgsql:host=db.example.com;dbname=mail;user=gsmtp;password=secret;port=5432``.

Any setting of libpq may stand there, separated by semicolons or blanks; ``pgsql:postgresql://…`` works too. libpq is
driven through psycopg's low layer without blocking, so that every step keeps its deadline: a server that is stopped
in the middle of an answer costs one query, not one thread. Host names are resolved before libpq sees them, because
it would do so inside a call that holds up all other threads.
"""

from __future__ import annotations

import _socket
import importlib
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gsmtp.datasource.driver import Surroundings, driver
from gsmtp.datasource.result import ConnectionFault, QueryFault, Result
from gsmtp.datasource.statement import compile_query

if TYPE_CHECKING:
    from psycopg.pq.abc import PGconn

_BOOLEAN, _BYTES = 16, 17  # type OIDs
_PAIR = re.compile(r"\s*([A-Za-z_]\w*)\s*=\s*('(?:[^'\\]|\\.)*'|[^;\s]*)\s*(?:;|(?=\s)|\Z)")


def connection_string(rest: str) -> str:
    """libpq's form of what stands in a URI. Raises ValueError.

    >>> connection_string("host=db;dbname=mail;password=a'b")
    "host='db' dbname='mail' password='a\\\\'b'"
    """
    if rest.startswith(("postgresql://", "postgres://")):
        return rest
    pairs, place = [], 0
    while place < len(rest):
        match = _PAIR.match(rest, place)
        if match is None or match.end() == place:
            raise ValueError("expected settings such as host=db.example.com;dbname=mail;user=gsmtp")
        value = match[2]
        if not (len(value) > 1 and value.startswith("'")):
            value = "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
        pairs.append(f"{match[1]}={value}")
        place = match.end()
    if not pairs:
        raise ValueError("expected settings such as host=db.example.com;dbname=mail;user=gsmtp")
    return " ".join(pairs)


def _resolved(conninfo: str) -> dict[str, str]:
    """The settings with ``hostaddr`` for all hosts that are names. Raises ConnectionFault."""
    import psycopg
    from psycopg import pq

    try:
        options = pq.Conninfo.parse(conninfo.encode())
    except psycopg.Error as error:
        raise ConnectionFault(f"the settings can't be read: {error}") from None
    settings = {option.keyword.decode(): option.val.decode() for option in options if option.val is not None}
    host = settings.get("host", "")
    if host and "hostaddr" not in settings and not all(one.startswith(("/", "@")) for one in host.split(",")):
        try:
            addresses = [
                "" if one.startswith(("/", "@")) else _socket.getaddrinfo(one, None, 0, _socket.SOCK_STREAM)[0][4][0]
                for one in host.split(",")
            ]
        except OSError as error:
            raise ConnectionFault(f"{host}: {error}") from None
        settings["hostaddr"] = ",".join(str(address) for address in addresses)
    settings.setdefault("client_encoding", "UTF8")
    settings.setdefault("application_name", "gsmtp")
    return settings


def _quoted(settings: Mapping[str, str]) -> bytes:
    return " ".join(
        f"{key}='" + value.replace("\\", "\\\\").replace("'", "\\'") + "'" for key, value in settings.items()
    ).encode()


class PgsqlConnection:
    """One connection to a server."""

    def __init__(self, rest: str, surroundings: Surroundings, deadline_mono: float) -> None:
        from psycopg import pq

        self._pq = pq
        self._charset = surroundings.charset or "utf-8"
        self._wait = surroundings.wait
        settings = _resolved(connection_string(rest))
        self._name = settings.get("host", "") + "/" + settings.get("dbname", "")
        self._link: PGconn = pq.PGconn.connect_start(_quoted(settings))
        try:
            self._establish(deadline_mono)
        except self._error as error:
            self._link.finish()
            raise self._fault(str(error)) from None
        except BaseException:
            self._link.finish()
            raise

    def _fault(self, text: str = "") -> ConnectionFault:
        said = text or self._link.error_message.decode("utf-8", "replace").strip()
        return ConnectionFault(f"{self._name}: {' '.join(said.split())}")

    def _ready(self, deadline_mono: float, *, read: bool, write: bool) -> None:
        if not self._wait(self._link.socket, read=read, write=write, deadline_mono=deadline_mono):
            raise self._fault("no answer in time")

    def _establish(self, deadline_mono: float) -> None:
        status = self._pq.PollingStatus
        if self._link.status == self._pq.ConnStatus.BAD:
            raise self._fault()
        while True:
            state = self._link.connect_poll()
            if state == status.OK:
                break
            if state == status.FAILED:
                raise self._fault()
            self._ready(deadline_mono, read=state == status.READING, write=state == status.WRITING)
        self._link.nonblocking = 1
        self._link.notice_handler = None

    def run(self, query: str, values: Mapping[str, str | None], max_rows: int, deadline_mono: float) -> Result:
        """See `Connection.run`."""
        statement = compile_query(query, "$")
        given = [values[name] for name in statement.names]
        if any(value is not None and "\0" in value for value in given):
            raise QueryFault(f"{self._name}: a parameter holds a NUL, which PostgreSQL can't take")
        encoded = [None if value is None else value.encode("utf-8", "surrogateescape") for value in given]
        try:
            self._link.send_query_params(statement.text.encode("utf-8", "surrogateescape"), encoded)
            while self._link.flush():
                self._ready(deadline_mono, read=True, write=True)
                self._link.consume_input()
            results = self._results(deadline_mono)
        except self._error as error:
            raise self._fault(str(error)) from None
        for result in results:
            if result.status not in (self._pq.ExecStatus.TUPLES_OK, self._pq.ExecStatus.COMMAND_OK):
                said = " ".join(result.error_message.decode("utf-8", "replace").split())
                if self._link.status == self._pq.ConnStatus.BAD:
                    raise self._fault(said)
                raise QueryFault(f"{self._name}: {said}")
        return self._rows(results[0], max_rows) if results else Result((), ())

    @property
    def _error(self) -> type[Exception]:
        import psycopg

        return psycopg.Error

    def _results(self, deadline_mono: float) -> list[Any]:
        results: list[Any] = []
        while True:
            while self._link.is_busy():
                self._ready(deadline_mono, read=True, write=False)
                self._link.consume_input()
            result = self._link.get_result()
            if result is None:
                return results
            results.append(result)

    def _rows(self, result: Any, max_rows: int) -> Result:
        columns = tuple((result.fname(index) or b"").decode().lower() for index in range(result.nfields))
        kinds = [result.ftype(index) for index in range(result.nfields)]
        count = result.ntuples if max_rows < 0 else min(result.ntuples, max_rows)
        return Result(
            columns,
            tuple(
                tuple(self._text(result.get_value(row, column), kinds[column]) for column in range(len(columns)))
                for row in range(count)
            ),
        )

    def _text(self, value: bytes | None, kind: int) -> str | None:
        if value is None:
            return None
        if kind == _BOOLEAN:
            return "1" if value == b"t" else "0"
        if kind == _BYTES and value.startswith(b"\\x"):
            value = bytes.fromhex(value[2:].decode())
        return value.decode(self._charset, "surrogateescape")

    def is_stale(self) -> bool:
        """Whether libpq knows that it is lost; what it doesn't know the next query shows."""
        return bool(self._link.status != self._pq.ConnStatus.OK)

    def close(self) -> None:
        """Close without waiting."""
        self._link.finish()


@driver("pgsql")
class Pgsql:
    """Connects to servers; needs psycopg (``pip install gsmtp[pgsql]``)."""

    def check(self, rest: str) -> None:
        """See that it can be read."""
        connection_string(rest)

    def requirement(self) -> str:
        """psycopg is an extra and needs a libpq: importing it shows both, and the first query needn't wait for it."""
        try:
            importlib.import_module("psycopg.pq")
        except ImportError:
            return "pip install 'gsmtp[pgsql]'"
        return ""

    def connect(self, rest: str, surroundings: Surroundings, deadline_mono: float) -> PgsqlConnection:
        """Connect and log in."""
        return PgsqlConnection(rest, surroundings, deadline_mono)
