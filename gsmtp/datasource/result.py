"""What a query gives: rows of texts, or an error."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gsmtp.core.errors import GsmtpError

Row = tuple[str | None, ...]


class DatasourceError(GsmtpError):
    """A query could not be answered; the text is for the log."""


class ConnectionFault(DatasourceError):
    """The server or file can't be reached, or was lost: another URI may answer."""


class QueryFault(DatasourceError):
    """The database refused the query: no other URI would do better."""


@dataclass(frozen=True, slots=True)
class Result:
    """The rows of one query.

    Args:
        columns: names in lower case.
        rows: texts, None for NULL; numbers as written, booleans as "1" and "0".
    """

    columns: tuple[str, ...]
    rows: tuple[Row, ...]

    def __len__(self) -> int:
        return len(self.rows)

    def column(self, name: str = "") -> Iterator[str | None]:
        """The values of a column, any case; of the first one without a name. Raises DatasourceError when missing."""
        index = self.index(name)
        return (row[index] for row in self.rows)

    def index(self, name: str = "") -> int:
        """The place of a column. Raises DatasourceError when the query doesn't return it."""
        if not name and self.columns:
            return 0
        try:
            return self.columns.index(name.lower())
        except ValueError:
            raise DatasourceError(f"the query returns no column '{name}', but {', '.join(self.columns)}") from None

    def first(self, name: str = "") -> str | None:
        """The value of a column in the first row; None without rows, or for NULL."""
        return next(self.column(name), None)


EMPTY = Result((), ())
