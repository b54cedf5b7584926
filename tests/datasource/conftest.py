"""One PostgreSQL server for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.postgres import Postgres, postgres


@pytest.fixture(scope="session")
def database() -> Iterator[Postgres]:
    with postgres() as server:
        server.run("CREATE TABLE users (login text primary key, password text, kind text, is_active boolean, n int)")
        server.run("INSERT INTO users VALUES ('ann', 'böse', 'C', true, 7), ('bob', NULL, 'H', false, 8)")
        yield server
