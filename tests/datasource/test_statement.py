"""Named parameters in queries: found where they are meant, left alone elsewhere."""

from __future__ import annotations

import pytest

from gsmtp.datasource.statement import Statement, compile_query, parameter_names


@pytest.mark.parametrize(
    ("query", "text", "names"),
    [
        ("SELECT 1", "SELECT 1", ()),
        ("WHERE a = :user", "WHERE a = $1", ("user",)),
        ("WHERE a = :a AND b = :b OR c = :a", "WHERE a = $1 AND b = $2 OR c = $1", ("a", "b")),
        ("SELECT ':a', \":b\", 'it''s :c' WHERE x = :d", "SELECT ':a', \":b\", 'it''s :c' WHERE x = $1", ("d",)),
        ("SELECT x::text, :a::int", "SELECT x::text, $1::int", ("a",)),
        ("SELECT 1 -- :no\n, :yes", "SELECT 1 -- :no\n, $1", ("yes",)),
        ("SELECT /* :no\n :no */ :yes", "SELECT /* :no\n :no */ $1", ("yes",)),
        ("SELECT $$ :no $$, $t$ :no $$ $t$, :yes", "SELECT $$ :no $$, $t$ :no $$ $t$, $1", ("yes",)),
        ("SELECT a[1:2], :x", "SELECT a[1:2], $1", ("x",)),
    ],
)
def test_names_become_numbers(query: str, text: str, names: tuple[str, ...]) -> None:
    assert compile_query(query, "$") == Statement(text, names)
    assert parameter_names(query) == names
